//! What each term of a formula adds to the reward of a completion, or on average to those of a batch.

use std::collections::BTreeMap;

use rewards::{Formula, Term, Weights, shape};
use schemars::JsonSchema;
use serde::Serialize;

/// A term of the outermost sum of a formula, and what it adds to the reward.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub(super) struct Contribution {
    /// Its text, without the sign in front of it.
    pub term: String,
    /// Whether the formula subtracts it.
    pub subtracted: bool,
    /// What it adds to the reward, negative where it lowers the reward; `null` if a score it needs is missing.
    pub value: Option<f64>,
}

impl Contribution {
    fn new(term: &Term, value: Option<f64>) -> Self {
        Contribution { term: term.text().to_owned(), subtracted: term.is_subtracted(), value }
    }
}

/// The contributions to the reward of one completion.
pub(super) fn contributions(
    terms: &[Term],
    scores: &BTreeMap<String, f64>,
    weights: &Weights,
) -> Vec<Contribution> {
    terms.iter().map(|term| Contribution::new(term, term.contribution(scores, weights))).collect()
}

/// The scores of the completions of one training step.
#[derive(Debug, PartialEq)]
pub(super) struct ScoredBatch {
    pub step: u64,
    /// The version of the conditions that scored them.
    pub version: Option<u64>,
    /// One score per completion and component; `None` where it is missing.
    pub components: BTreeMap<String, Vec<Option<f64>>>,
    /// The advantages as they were trained on.
    pub advantages: Vec<Option<f64>>,
    /// Whether each completion thinks.
    pub thinks: Vec<bool>,
}

/// What a formula makes of a batch.
#[derive(Debug, PartialEq, Serialize, JsonSchema)]
pub(super) struct BatchValues {
    /// The step in which the completions were sampled.
    pub step: u64,
    /// The number of completions.
    pub completions: usize,
    /// The mean reward of the completions that have one; `null` if none has, as when the formula uses a new reward that
    /// has not scored yet.
    pub reward: Option<f64>,
    /// The mean of each term, over the same completions; if none has a reward, over those where the term has a value.
    pub terms: Vec<Contribution>,
}

impl BatchValues {
    pub fn of(batch: &ScoredBatch, formula: &Formula, weights: &Weights) -> Self {
        let rewards = shape(formula, &batch.components, weights);
        let any = rewards.iter().any(Option::is_some);
        let counted: Vec<BTreeMap<String, f64>> = (0..rewards.len())
            .filter(|&row| !any || rewards[row].is_some())
            .map(|row| {
                let score = |(name, scores): (&String, &Vec<Option<f64>>)| {
                    Some((name.clone(), scores.get(row).copied().flatten()?))
                };
                batch.components.iter().filter_map(score).collect()
            })
            .collect();
        let term = |term: &Term| {
            Contribution::new(term, mean(counted.iter().filter_map(|row| term.contribution(row, weights))))
        };
        BatchValues {
            step: batch.step,
            completions: rewards.len(),
            reward: mean(rewards.iter().flatten().copied()),
            terms: formula.terms().iter().map(term).collect(),
        }
    }
}

fn mean(values: impl Iterator<Item = f64>) -> Option<f64> {
    let (sum, count) = values.fold((0.0, 0_u32), |(sum, count), value| (sum + value, count + 1));
    (count > 0).then(|| sum / f64::from(count))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch() -> ScoredBatch {
        let components =
            [("a", vec![Some(1.0), Some(0.0), None]), ("b", vec![Some(2.0), Some(4.0), Some(8.0)])];
        ScoredBatch {
            step: 9,
            version: None,
            advantages: vec![None; 3],
            thinks: vec![false; 3],
            components: components.into_iter().map(|(name, scores)| (name.to_owned(), scores)).collect(),
        }
    }

    fn weights() -> Weights {
        Weights { version: 0, values: BTreeMap::from([("b".to_owned(), 0.5)]) }
    }

    #[test]
    fn the_means_of_the_terms_add_up_to_the_mean_reward() {
        let formula = Formula::parse("a - w_b * b", ["a", "b"], ["b"]).unwrap();
        let values = BatchValues::of(&batch(), &formula, &weights());
        // Rewards 1 - 1 and 0 - 2; the third completion has none, so it does not count in the terms either.
        assert_eq!((values.step, values.completions, values.reward), (9, 3, Some(-1.0)));
        let expected = [("a", false, Some(0.5)), ("w_b * b", true, Some(-1.5))];
        assert_eq!(
            values.terms,
            expected.map(|(term, subtracted, value)| Contribution { term: term.into(), subtracted, value })
        );
    }

    #[test]
    fn a_reward_that_has_not_scored_yet_leaves_the_other_terms_their_values() {
        let formula = Formula::parse("w_b * b + new", ["a", "b", "new"], ["b"]).unwrap();
        let values = BatchValues::of(&batch(), &formula, &weights());
        assert_eq!(values.reward, None);
        // (1 + 2 + 4) / 3
        let means: Vec<Option<f64>> = values.terms.iter().map(|term| term.value).collect();
        assert_eq!(means, [Some(7.0 / 3.0), None]);
    }
}
