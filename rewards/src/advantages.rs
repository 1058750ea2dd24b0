//! Group-relative advantages (arXiv 2508.08039v3, Eq. 8), with missing rewards left out.
//!
//! `Â_i = (R_i - mean(R)) / (std(R) + ε)` over the scored completions of one prompt, std with n - 1 in the
//! denominator, as TRL computes it.
//!
//! Invariants:
//! - ADV-1 a completion whose reward is `None` (or not finite) has no advantage and no part in mean and std.
//! - ADV-2 a group with fewer than 2 scored completions is excluded: none of its completions has an advantage.
//! - ADV-3 a group whose rewards are all alike has advantage 0, under every scale, and is counted.

use serde::{Deserialize, Serialize};

/// A standard deviation below this is rounding, not difference (TRL's `isclose` to 0).
const ZERO_STD: f64 = 1e-8;

/// By what the centred rewards are divided.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scale {
    /// The std of the completion's own group (the paper).
    #[default]
    Group,
    /// The std over all scored completions of the groups that take part.
    Batch,
    /// Nothing: the rewards are centred only (Dr. GRPO).
    None,
}

/// How advantages are computed.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AdvantageOptions {
    /// By what the centred rewards are divided.
    pub scale: Scale,
    /// Added to the std, so that a small one does not blow up the advantage.
    pub epsilon: f64,
}

impl Default for AdvantageOptions {
    fn default() -> Self {
        Self { scale: Scale::Group, epsilon: 1e-4 }
    }
}

/// The advantages of one step.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Advantages {
    /// One per completion; `None` where the completion or its group takes no part.
    pub values: Vec<Option<f64>>,
    /// How many groups that take part have rewards that are all alike.
    pub zero_std_groups: usize,
    /// The groups with fewer than 2 scored completions.
    pub excluded_groups: Vec<usize>,
}

/// Computes the advantages of groups of `group_size` that lie side by side; a shorter rest is a group of its own.
pub fn advantages(rewards: &[Option<f64>], group_size: usize, options: &AdvantageOptions) -> Advantages {
    let mut result = Advantages { values: vec![None; rewards.len()], ..Advantages::default() };
    let scored: Vec<Option<f64>> = rewards.iter().map(|reward| reward.filter(|r| r.is_finite())).collect();
    let mut taking_part = Vec::new();
    for (index, group) in scored.chunks(group_size.max(1)).enumerate() {
        match Moments::of(group.iter().flatten()) {
            Some(moments) => taking_part.push((index, moments)),
            None => result.excluded_groups.push(index),
        }
    }
    let group_of = |index: usize| {
        let start = index * group_size.max(1);
        start..(start + group_size.max(1)).min(scored.len())
    };
    let batch =
        Moments::of(taking_part.iter().flat_map(|(index, _)| scored[group_of(*index)].iter().flatten()));
    for (index, moments) in taking_part {
        let alike = moments.std < ZERO_STD;
        result.zero_std_groups += usize::from(alike);
        let divisor = match options.scale {
            Scale::Group => moments.std + options.epsilon,
            Scale::Batch => batch.map_or(0.0, |batch| batch.std) + options.epsilon,
            Scale::None => 1.0,
        };
        for row in group_of(index) {
            result.values[row] =
                scored[row].map(|reward| if alike { 0.0 } else { (reward - moments.mean) / divisor });
        }
    }
    result
}

/// Mean and std (n - 1 in the denominator) of at least two numbers.
#[derive(Clone, Copy)]
struct Moments {
    mean: f64,
    std: f64,
}

impl Moments {
    fn of<'a>(numbers: impl Iterator<Item = &'a f64> + Clone) -> Option<Self> {
        let count = numbers.clone().count();
        if count < 2 {
            return None;
        }
        let mean = numbers.clone().sum::<f64>() / count as f64;
        let variance = numbers.map(|x| (x - mean).powi(2)).sum::<f64>() / (count - 1) as f64;
        Some(Self { mean, std: variance.sqrt() })
    }
}
