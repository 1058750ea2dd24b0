//! The reward of a rollout as the sum of the terms of the formula that made it.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use rewards::{Formula, Term};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value};

use super::contribution::{Contribution, contributions};
use super::history::PastConditions;
use records::JournalEntry;
use run::{ArmHandle, Conditions, RunHandle};

/// A rollout's reward, term by term.
#[derive(Debug, PartialEq, Serialize, JsonSchema)]
pub(super) struct Breakdown {
    /// The formula that made the reward.
    pub formula: String,
    /// The rewards that it uses.
    pub rewards: Vec<String>,
    /// Its terms; their values add up to the reward.
    pub terms: Vec<Contribution>,
}

/// Breaks down the rollouts of one arm.
pub(super) struct Breakdowns {
    in_force: Arc<Conditions>,
    /// The entries of the arm.
    journal: Vec<Arc<JournalEntry>>,
    /// Of a fork: the steps that are its parent's, and how those are broken down.
    parent: Option<(u64, Box<Breakdowns>)>,
    /// Versions that rollouts were shaped under, by their number; `None` for those that are not known.
    versions: HashMap<u64, Option<Version>>,
}

struct Version {
    conditions: PastConditions,
    formula: Formula,
    terms: Vec<Term>,
}

impl Breakdowns {
    /// For an arm's rollouts; `None` for an arm that is not trained by rewards.
    pub fn new(run: &RunHandle, arm: &ArmHandle) -> Option<Self> {
        // Before the journal: a change is written to the journal first, so that all changes up to these are in it.
        let in_force = arm.conditions()?;
        let is_arms = |entry: &Arc<JournalEntry>| entry.id == *arm.id();
        let journal = run.journal().into_iter().filter(is_arms).collect();
        let parent = arm.parent().and_then(|(parent, step)| {
            let breakdowns = Breakdowns::new(run, &run.arm(&parent)?)?;
            Some((step, Box::new(breakdowns)))
        });
        Some(Breakdowns { in_force, journal, parent, versions: HashMap::new() })
    }

    /// The breakdown of a line of `rollouts.jsonl`; `None` for evaluations, and where the formula and weights of the
    /// line's version are not known.
    pub fn of(&mut self, line: &Map<String, Value>) -> Option<Breakdown> {
        let version = line.get("weights_version")?.as_u64()?;
        let step = line.get("step")?.as_u64()?;
        let components = line.get("components")?.as_object()?;
        if let Some((_, parent)) = self.parent.as_mut().filter(|(last, _)| step <= *last) {
            return parent.of(line);
        }
        let Breakdowns { in_force, journal, versions, .. } = self;
        let version = versions
            .entry(version)
            .or_insert_with(|| {
                Version::read(PastConditions::of_version(version, in_force, journal)?, components)
            })
            .as_ref()?;
        let score = |(name, score): (&String, &Value)| Some((name.clone(), score.as_f64()?));
        let scores: BTreeMap<String, f64> = components.iter().filter_map(score).collect();
        let weights = version.conditions.weights_at(step);
        let terms = contributions(&version.terms, &scores, &weights);
        let reward = line.get("reward").and_then(Value::as_f64);
        adds_up(&terms, reward).then(|| Breakdown {
            formula: version.conditions.formula.clone(),
            rewards: version.formula.component_names().map(str::to_owned).collect(),
            terms,
        })
    }
}

impl Version {
    fn read(conditions: PastConditions, components: &Map<String, Value>) -> Option<Self> {
        let formula =
            Formula::parse(&conditions.formula, components.keys(), conditions.weights.keys()).ok()?;
        let terms = formula.terms();
        Some(Version { conditions, formula, terms })
    }
}

/// Whether the terms add up to the recorded reward, up to rounding; always true without a reward. If they do not, the
/// journal does not tell how the reward was made.
fn adds_up(terms: &[Contribution], reward: Option<f64>) -> bool {
    let Some(reward) = reward else { return true };
    let sum: Option<f64> = terms.iter().map(|term| term.value).sum();
    sum.is_some_and(|sum| (sum - reward).abs() <= 1e-6 * reward.abs().max(1.0))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Version 1, under which `b` counts; before, only `a` did.
    fn breakdowns() -> Breakdowns {
        let formula = Formula::parse("a - w_b * b", ["a", "b"], ["b"]).unwrap();
        let entry = json!({
            "time": "2026-01-31T12:00:00Z", "by": "page", "arm": "a", "seed": 3, "action": "change",
            "change": {"formula": "a - w_b * b"}, "from": {"formula": "a"}, "version": 1, "step": 5,
        });
        Breakdowns {
            in_force: Arc::new(Conditions {
                version: 1,
                formula: Arc::new(formula),
                weights: BTreeMap::from([("b".to_owned(), 0.5.into())]),
                rewards: BTreeMap::new(),
                settings: BTreeMap::new(),
                config: Arc::new(
                    serde_json::from_value(json!({"name": "a", "steps": 9, "shaping": {"formula": "a"}}))
                        .unwrap(),
                ),
                live_settings: BTreeMap::new(),
            }),
            parent: None,
            journal: vec![Arc::new(serde_json::from_value(entry).unwrap())],
            versions: HashMap::new(),
        }
    }

    fn line(version: Value, a: Value, reward: Value) -> Map<String, Value> {
        let line = json!({
            "step": 4, "components": {"a": a, "b": 3.0}, "reward": reward, "weights_version": version,
        });
        line.as_object().unwrap().clone()
    }

    #[test]
    fn a_reward_is_broken_down_by_the_formula_of_its_version() {
        let mut breakdowns = breakdowns();
        let terms = |breakdown: Breakdown| -> Vec<(String, bool, Option<f64>)> {
            breakdown.terms.into_iter().map(|term| (term.term, term.subtracted, term.value)).collect()
        };
        let now = breakdowns.of(&line(json!(1), json!(2.0), json!(0.5))).unwrap();
        assert_eq!((now.formula.as_str(), now.rewards.len()), ("a - w_b * b", 2));
        assert_eq!(terms(now), [("a".into(), false, Some(2.0)), ("w_b * b".into(), true, Some(-1.5))]);
        let before = breakdowns.of(&line(json!(0), json!(2.0), json!(2.0))).unwrap();
        assert_eq!(before.rewards, ["a"]);
        assert_eq!(terms(before), [("a".into(), false, Some(2.0))]);
    }

    #[test]
    fn a_missing_score_leaves_its_terms_without_a_value() {
        let breakdown = breakdowns().of(&line(json!(1), json!(null), json!(null))).unwrap();
        let values: Vec<Option<f64>> = breakdown.terms.iter().map(|term| term.value).collect();
        assert_eq!(values, [None, Some(-1.5)]);
    }

    #[test]
    fn evaluations_and_rewards_made_in_an_unknown_way_have_none() {
        let mut breakdowns = breakdowns();
        assert_eq!(breakdowns.of(&line(json!(null), json!(2.0), json!(null))), None);
        assert_eq!(breakdowns.of(&line(json!(2), json!(2.0), json!(0.5))), None);
        assert_eq!(breakdowns.of(&line(json!(1), json!(2.0), json!(7.0))), None);
    }
}
