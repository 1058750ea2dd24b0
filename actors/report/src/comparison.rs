//! What each reward contributes: every arm is compared with the arm that it extends by one change. A comparison gives
//! the difference of each metric with its 95 % interval, and a verdict that claims no more than the interval supports.

use serde::Serialize;

use crate::arm_summary::{ArmSummary, Evaluation, Score, SeedScores};
use crate::paper;
use crate::stats::{self, Estimate};

/// The comparison of an arm with the arm that it extends.
#[derive(Clone, Debug, Serialize)]
pub struct Comparison {
    /// Name of the arm.
    pub arm: String,
    /// Name of the arm that it is compared with.
    pub over: String,
    /// What the arm adds, such as `consistency reward (CR)`.
    pub adds: String,
    /// How many questions each arm was asked, if not both were asked all: the difference may then be one of the questions.
    pub questions: Option<String>,
    /// One difference per metric, in the order in which they are shown.
    pub differences: Vec<Difference>,
}

/// The difference of one metric between two arms.
#[derive(Clone, Debug, Serialize)]
pub struct Difference {
    /// `accuracy`, `accuracy (hard)`, `consistency`, `think quality`, `think rate` or `length`.
    #[serde(rename = "figure")]
    pub metric: String,
    /// `points` (percentage points) or `tokens`.
    pub unit: String,
    /// This arm minus the other, in that unit; `None` if one of the arms has no value.
    pub estimate: Option<Estimate>,
    /// Of the seeds that both arms were evaluated with: how many have a difference of the same sign as the pooled one,
    /// and how many there are. `None` with fewer than two such seeds.
    pub seeds_agreeing: Option<(usize, usize)>,
    /// What the interval and the seeds allow to conclude, in a few words.
    pub verdict: String,
}

/// Compares every arm with its predecessor, where both were evaluated on the suite.
pub(super) fn compare(arms: &[ArmSummary], suite: &str) -> Vec<Comparison> {
    let mut comparisons = Vec::new();
    for (at, arm) in arms.iter().enumerate() {
        let Some((over, adds)) = predecessor(arms, at) else {
            continue;
        };
        if let (Some(new), Some(old)) = (arm.evals.get(suite), over.evals.get(suite)) {
            let differences = differences(new, old);
            let questions = (new.asked.is_some() || old.asked.is_some()).then(|| {
                let asked = |eval: &Evaluation| {
                    eval.asked.clone().unwrap_or_else(|| format!("all {} asked", eval.questions))
                };
                format!("{}: {}; {}: {}", arm.name, asked(new), over.name, asked(old))
            });
            comparisons.push(Comparison {
                arm: arm.name.clone(),
                over: over.name.clone(),
                adds,
                questions,
                differences,
            });
        }
    }
    comparisons
}

/// The arm that `arms[at]` is compared with, and what it adds to that arm. In this order: the predecessor in the paper;
/// the arm with the longest name that this name extends (`grpo` for `grpo+brevity`); the previous arm in the scenario
/// that has the same training method.
fn predecessor(arms: &[ArmSummary], at: usize) -> Option<(&ArmSummary, String)> {
    let arm = &arms[at];
    let named = |name: &str| arms.iter().find(|other| other.name.eq_ignore_ascii_case(name));
    if let Some((before, adds)) = paper::predecessor(&arm.name)
        && let Some(over) = named(before)
    {
        return Some((over, adds.to_owned()));
    }
    let extended = arms
        .iter()
        .filter_map(|over| Some((over, arm.name.strip_prefix(&over.name)?.strip_prefix('+')?)))
        .min_by_key(|(_, adds)| adds.len());
    if let Some((over, adds)) = extended {
        return Some((over, adds.to_owned()));
    }
    let over = arms[..at].iter().rev().find(|other| other.method == arm.method)?;
    Some((over, format!("{} instead of {}", arm.name, over.name)))
}

fn differences(new: &Evaluation, old: &Evaluation) -> Vec<Difference> {
    let share = |metric: &str, get: fn(&Score) -> Option<Estimate>| {
        let estimate = get(&new.overall).zip(get(&old.overall)).map(|(new, old)| points(new, old));
        let by_seed = by_seed(new, old, |scores| Some(get(&scores.overall)?.value));
        difference(metric, "points", estimate, &by_seed, ["higher", "lower"])
    };
    let hard = new.at("hard").zip(old.at("hard"));
    let hard = hard.and_then(|(new, old)| Some(points(new.accuracy?, old.accuracy?)));
    let hard_by_seed = by_seed(new, old, |scores| Some(scores.by_difficulty.get("hard")?.accuracy?.value));
    let length = new.length.zip(old.length).map(|(new, old)| stats::mean_difference(new, old));
    let lengths = by_seed(new, old, |scores| scores.overall.completion_tokens);
    let mut all = vec![share("accuracy", |score| score.accuracy)];
    if hard.is_some() {
        all.push(difference("accuracy (hard)", "points", hard, &hard_by_seed, ["higher", "lower"]));
    }
    all.push(share("consistency", |score| score.consistency));
    all.push(share("think quality", |score| score.think_quality));
    all.push(share("think rate", |score| score.think_rate));
    all.push(difference("length", "tokens", length, &lengths, ["longer", "shorter"]));
    all
}

/// The difference of two shares in percentage points.
fn points(new: Estimate, old: Estimate) -> Estimate {
    let difference = stats::share_difference(new, old);
    Estimate {
        value: 100.0 * difference.value,
        low: 100.0 * difference.low,
        high: 100.0 * difference.high,
        n: difference.n,
    }
}

/// The difference within each seed that both arms were evaluated with.
fn by_seed(new: &Evaluation, old: &Evaluation, get: impl Fn(&SeedScores) -> Option<f64>) -> Vec<f64> {
    let pairs = new.by_seed.iter().filter_map(|(seed, scores)| Some((scores, old.by_seed.get(seed)?)));
    pairs.filter_map(|(new, old)| Some(get(new)? - get(old)?)).collect()
}

fn difference(
    metric: &str,
    unit: &str,
    estimate: Option<Estimate>,
    by_seed: &[f64],
    words: [&str; 2],
) -> Difference {
    let agreeing = estimate.filter(|_| by_seed.len() > 1).map(|estimate| {
        let same = by_seed.iter().filter(|&&value| value * estimate.value > 0.0).count();
        (same, by_seed.len())
    });
    Difference {
        metric: metric.to_owned(),
        unit: unit.to_owned(),
        estimate,
        seeds_agreeing: agreeing,
        verdict: verdict(estimate, agreeing, by_seed.len(), words),
    }
}

/// The verdict in words. If the interval includes zero, the arms cannot be distinguished. If it does not, the pooled
/// completions differ, and whether a rerun would differ the same way depends on how many seeds agree.
fn verdict(
    estimate: Option<Estimate>,
    agreeing: Option<(usize, usize)>,
    seeds: usize,
    [up, down]: [&str; 2],
) -> String {
    let Some(estimate) = estimate else {
        return "nothing to compare".to_owned();
    };
    if estimate.includes_zero() {
        return format!("not distinguishable at n = {}", estimate.n);
    }
    let word = if estimate.value > 0.0 { up } else { down };
    match agreeing {
        Some((same, all)) if same == all => format!("{word}, in each of {all} seeds"),
        Some((same, all)) => format!("{word} when pooled, but only in {same} of {all} seeds"),
        None if seeds == 1 => format!("{word} in one seed; reruns may differ"),
        None => word.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn estimate(value: f64, low: f64, high: f64) -> Option<Estimate> {
        Some(Estimate { value, low, high, n: 400 })
    }

    #[test]
    fn the_verdict_claims_no_more_than_the_interval_and_the_seeds_support() {
        let words = ["higher", "lower"];
        assert_eq!(
            verdict(estimate(1.0, -2.0, 4.0), Some((3, 3)), 3, words),
            "not distinguishable at n = 400"
        );
        assert_eq!(verdict(estimate(3.0, 1.0, 5.0), Some((3, 3)), 3, words), "higher, in each of 3 seeds");
        assert_eq!(
            verdict(estimate(-3.0, -5.0, -1.0), Some((2, 3)), 3, words),
            "lower when pooled, but only in 2 of 3 seeds"
        );
        assert_eq!(verdict(estimate(3.0, 1.0, 5.0), None, 1, words), "higher in one seed; reruns may differ");
        assert_eq!(verdict(None, None, 0, words), "nothing to compare");
    }
}
