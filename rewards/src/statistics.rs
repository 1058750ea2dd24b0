//! Statistics of a batch that several rewards use: the fraction of think completions and their mean quality.
//!
//! λ of the adaptive-think reward (arXiv 2508.08039v3, Eq. 3-5) and the mean R_t of the think reward are computed here
//! only (REWARD-2). The paper computes them "in the batch" without defining it;
//! [`Scope`] selects the completions.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{RewardBatch, RewardItem};

/// The completions over which a statistic is computed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// All completions of the optimizer step.
    #[default]
    Step,
    /// The completions of one prompt.
    Group,
    /// The completions of one micro-batch of the optimizer.
    #[serde(rename = "microbatch")]
    MicroBatch,
}

/// The statistics of a batch, separately for each part into which a [`Scope`] divides it.
#[derive(Clone, Debug)]
pub struct BatchStatistics {
    scope: Scope,
    microbatch: usize,
    parts: BTreeMap<usize, PartStatistics>,
}

/// The statistics of one part of a batch.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct PartStatistics {
    /// Number of completions in this part.
    pub completions: usize,
    /// Number of think completions, including malformed ones.
    pub think: usize,
    /// Number of think completions whose quality is known.
    pub scored: usize,
    /// Sum of the known qualities.
    pub quality_sum: f64,
}

impl PartStatistics {
    /// λ, the fraction of think completions; 0 without completions.
    pub fn think_fraction(&self) -> f64 {
        if self.completions == 0 { 0.0 } else { self.think as f64 / self.completions as f64 }
    }

    /// The mean of the known qualities; `None` if there is none.
    pub fn mean_quality(&self) -> Option<f64> {
        (self.scored > 0).then(|| self.quality_sum / self.scored as f64)
    }
}

impl BatchStatistics {
    /// Computes the statistics of a batch.
    pub fn of(batch: &RewardBatch, scope: Scope) -> Self {
        let mut statistics = Self { scope, microbatch: batch.microbatch, parts: BTreeMap::new() };
        for item in &batch.items {
            let part = statistics.parts.entry(statistics.part_of(item)).or_default();
            part.completions += 1;
            part.think += usize::from(item.thinks());
            if let Some(quality) = think_quality(item) {
                part.scored += 1;
                part.quality_sum += quality;
            }
        }
        statistics
    }

    /// The statistics of the part that contains this item.
    pub fn around(&self, item: &RewardItem) -> PartStatistics {
        self.parts.get(&self.part_of(item)).copied().unwrap_or_default()
    }

    fn part_of(&self, item: &RewardItem) -> usize {
        match self.scope {
            Scope::Step => 0,
            Scope::Group => item.group,
            Scope::MicroBatch => item.group.checked_div(self.microbatch).unwrap_or(0),
        }
    }
}

/// The quality R_t of an item's thinking, in 0..=1: the judge's grade, or 0 for a malformed think completion. `None`
/// for a no-think completion, or if the judge gave no grade.
pub fn think_quality(item: &RewardItem) -> Option<f64> {
    match (item.thinks(), item.parsed.well_formed) {
        (false, _) => None,
        (true, false) => Some(0.0),
        (true, true) => item.verdict.as_ref()?.think_quality.filter(|quality| quality.is_finite()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{batch, broken_thought, direct, thought};

    #[test]
    fn the_scope_selects_the_completions() {
        // Groups 0 to 2 have a think and a no-think completion each, group 3 has two no-think completions. A
        // micro-batch has two groups.
        let items = vec![
            thought(0, "dog", None, Some(0.2)),
            direct(0, "dog"),
            thought(1, "dog", None, Some(0.4)),
            direct(1, "dog"),
            thought(2, "dog", None, Some(0.9)),
            direct(2, "dog"),
            direct(3, "dog"),
            direct(3, "dog"),
        ];
        let batch = batch(1, items);
        let around = |scope, index: usize| {
            let part = BatchStatistics::of(&batch, scope).around(&batch.items[index]);
            (part.think_fraction(), part.mean_quality())
        };
        assert_eq!(around(Scope::Step, 0), (3.0 / 8.0, Some((0.2 + 0.4 + 0.9) / 3.0)));
        assert_eq!(around(Scope::Step, 7), around(Scope::Step, 0));
        assert_eq!(around(Scope::Group, 3), (0.5, Some(0.4)));
        assert_eq!(around(Scope::Group, 7), (0.0, None));
        assert_eq!(around(Scope::MicroBatch, 1), (0.5, Some((0.2 + 0.4) / 2.0)));
        assert_eq!(around(Scope::MicroBatch, 7), (0.25, Some(0.9)));
        let whole = RewardBatch { microbatch: 0, ..batch.clone() };
        let part = BatchStatistics::of(&whole, Scope::MicroBatch).around(&whole.items[7]);
        assert_eq!(
            part.think_fraction(),
            3.0 / 8.0,
            "with 0 prompts per micro-batch the step is one micro-batch"
        );
    }

    #[test]
    fn a_missing_quality_is_left_out_of_the_mean_and_a_malformed_one_counts_as_zero() {
        let items = vec![
            thought(0, "dog", None, Some(0.8)),
            thought(0, "dog", None, None),
            thought(0, "dog", None, Some(f64::NAN)),
            broken_thought(0),
            direct(0, "dog"),
        ];
        let batch = batch(1, items);
        let part = BatchStatistics::of(&batch, Scope::Step).around(&batch.items[0]);
        // (0.8 + 0) / 2; four of five are think completions
        assert_eq!((part.mean_quality(), part.think_fraction()), (Some(0.4), 0.8));
    }

    #[test]
    fn the_scope_is_written_in_one_word() {
        for (scope, word) in
            [(Scope::Step, "step"), (Scope::Group, "group"), (Scope::MicroBatch, "microbatch")]
        {
            assert_eq!(serde_json::to_value(scope).unwrap(), word);
        }
    }
}
