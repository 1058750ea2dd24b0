//! Group-relative advantages (arXiv 2508.08039v3, Eq. 8), computed from the completions that have a reward.
//!
//! `Â_i = (R_i - mean(R)) / (std(R) + ε)` over the completions of one prompt. The standard deviation has n - 1 in its
//! denominator, and ε is added, as in TRL; the paper has no ε.
//!
//! Invariants, which the tests check:
//! - ADV-1 a completion whose reward is missing or not finite has no advantage and does not enter mean and std.
//! - ADV-2 a group with fewer than 2 rewards is excluded: none of its completions has an advantage.
//! - ADV-3 in a group whose rewards are all equal every advantage is 0, under every scale, and the group is counted.

use serde::{Deserialize, Serialize};

/// A standard deviation below this counts as 0, since it comes from rounding (TRL tests it with `isclose`).
const ZERO_STD: f64 = 1e-8;

/// The divisor of the centred rewards.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scale {
    /// The standard deviation of the completion's own group, as in the paper.
    #[default]
    Group,
    /// The standard deviation over all rewards of the groups that are not excluded.
    Batch,
    /// No divisor: the rewards are only centred, as in Dr. GRPO.
    None,
}

/// Options for the computation of advantages.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AdvantageOptions {
    /// The divisor of the centred rewards.
    pub scale: Scale,
    /// Added to the standard deviation, so that a very small one does not make huge advantages.
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
    /// One per completion; `None` if the completion has no reward or its group is excluded.
    pub values: Vec<Option<f64>>,
    /// Number of groups that are not excluded and whose rewards are all equal.
    pub zero_std_groups: usize,
    /// Indices of the groups with fewer than 2 rewards, or with rewards so large that their deviation is infinite.
    pub excluded_groups: Vec<usize>,
}

/// Computes the advantages of a step. `rewards` has the completions group after group, `group_size` per group; a
/// shorter rest is a group of its own.
pub fn advantages(rewards: &[Option<f64>], group_size: usize, options: &AdvantageOptions) -> Advantages {
    let mut result = Advantages { values: vec![None; rewards.len()], ..Advantages::default() };
    let scored: Vec<Option<f64>> = rewards.iter().map(|reward| reward.filter(|r| r.is_finite())).collect();
    let mut included = Vec::new();
    for (index, group) in scored.chunks(group_size.max(1)).enumerate() {
        match Moments::of(group.iter().flatten()) {
            Some(moments) => included.push((index, moments)),
            None => result.excluded_groups.push(index),
        }
    }
    let group_of = |index: usize| {
        let start = index * group_size.max(1);
        start..(start + group_size.max(1)).min(scored.len())
    };
    let batch = Moments::of(included.iter().flat_map(|(index, _)| scored[group_of(*index)].iter().flatten()));
    for (index, moments) in included {
        if batch.is_none() && matches!(options.scale, Scale::Batch) {
            result.excluded_groups.push(index);
            continue;
        }
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

/// Mean and standard deviation (with n - 1 in the denominator) of at least two numbers; both are finite.
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
        let std = variance.sqrt();
        (mean.is_finite() && std.is_finite()).then_some(Self { mean, std })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXACT: AdvantageOptions = AdvantageOptions { scale: Scale::Group, epsilon: 0.0 };

    fn close(found: Option<f64>, expected: f64) {
        let found = found.unwrap();
        assert!((found - expected).abs() < 1e-12, "{found} is not {expected}");
    }

    #[test]
    fn rewards_are_centred_and_divided_by_the_std_of_their_group() {
        // mean 2, deviations -1 -1 1 1, variance 4/3, std 1.1547005383792515
        let result = advantages(&[1.0, 1.0, 3.0, 3.0].map(Some), 4, &AdvantageOptions::default());
        for (value, sign) in result.values.iter().zip([-1.0, -1.0, 1.0, 1.0]) {
            close(*value, sign / (1.154_700_538_379_251_5 + 1e-4));
        }
        assert_eq!((result.zero_std_groups, result.excluded_groups), (0, vec![]));
    }

    /// Such rewards are finite, but their sum or their squares are not, and an advantage would be NaN.
    #[test]
    fn groups_whose_rewards_are_too_large_are_excluded() {
        let huge = [f64::MAX, f64::MAX, 1e200, -1e200, 1.0, 2.0].map(Some);
        for scale in [Scale::Group, Scale::None] {
            let result = advantages(&huge, 2, &AdvantageOptions { scale, epsilon: 1e-4 });
            assert_eq!(result.values[..4], [None; 4]);
            assert!(result.values[4..].iter().flatten().count() == 2, "{:?}", result.values);
            assert_eq!(result.excluded_groups, [0, 1]);
        }
        // Each group has a finite deviation, all together have none.
        let together = [1e200, 1e200, -1e200, -1e200].map(Some);
        let result = advantages(&together, 2, &AdvantageOptions { scale: Scale::Batch, epsilon: 1e-4 });
        assert_eq!((result.values, result.excluded_groups), (vec![None; 4], vec![0, 1]));
    }

    #[test]
    fn each_group_has_its_own_mean_and_std() {
        // first: mean 1, std of (0, 2) = sqrt(2); second: mean 15, std of (10, 20) = sqrt(50)
        let result = advantages(&[0.0, 2.0, 10.0, 20.0].map(Some), 2, &EXACT);
        close(result.values[0], -1.0 / 2_f64.sqrt());
        close(result.values[1], 1.0 / 2_f64.sqrt());
        close(result.values[2], -5.0 / 50_f64.sqrt());
        close(result.values[3], 5.0 / 50_f64.sqrt());
    }

    #[test]
    fn a_missing_reward_does_not_change_mean_and_std_of_the_others() {
        // (1, 3): mean 2, std sqrt(2). With the missing one as 0 the mean would be 4/3.
        let result = advantages(&[Some(1.0), None, Some(3.0)], 3, &EXACT);
        close(result.values[0], -1.0 / 2_f64.sqrt());
        assert_eq!(result.values[1], None);
        close(result.values[2], 1.0 / 2_f64.sqrt());
        let with_nan = advantages(&[Some(1.0), Some(f64::NAN), Some(3.0)], 3, &EXACT);
        assert_eq!(with_nan, result);
    }

    #[test]
    fn a_group_with_fewer_than_two_rewards_is_excluded() {
        let rewards = [Some(1.0), None, None, None, Some(0.0), Some(2.0)];
        let result = advantages(&rewards, 2, &EXACT);
        assert_eq!(result.excluded_groups, [0, 1]);
        assert_eq!(result.values[..4], [None; 4]);
        close(result.values[5], 1.0 / 2_f64.sqrt());
        assert_eq!(advantages(&[Some(1.0)], 1, &EXACT).excluded_groups, [0]);
        assert_eq!(advantages(&[], 8, &EXACT), Advantages::default());
    }

    #[test]
    fn equal_rewards_have_advantage_zero_and_are_counted() {
        for scale in [Scale::Group, Scale::Batch, Scale::None] {
            // Three times 0.1 has a mean that is not exactly 0.1.
            let rewards = [0.1, 0.1, 0.1, 0.0, 3.0, 3.0].map(Some);
            let result = advantages(&rewards, 3, &AdvantageOptions { scale, epsilon: 0.0 });
            assert_eq!(result.values[..3], [Some(0.0); 3]);
            assert_eq!(result.zero_std_groups, 1);
            assert!(result.values[3].unwrap() < 0.0);
        }
    }

    #[test]
    fn batch_scale_divides_by_the_std_of_all_groups_that_are_not_excluded() {
        // Group means 1 and 3; all four: mean 2, deviations -2 0 0 2, variance 8/3. The third group is excluded, so
        // its reward of 100 does not enter the std.
        let rewards = [Some(0.0), Some(2.0), Some(2.0), Some(4.0), Some(100.0), None];
        let options = AdvantageOptions { scale: Scale::Batch, epsilon: 0.0 };
        let result = advantages(&rewards, 2, &options);
        let std = (8.0 / 3.0_f64).sqrt();
        for (value, centred) in result.values.iter().zip([-1.0, 1.0, -1.0, 1.0]) {
            close(*value, centred / std);
        }
        assert_eq!(result.excluded_groups, [2]);
    }

    #[test]
    fn scale_none_only_centres() {
        let options = AdvantageOptions { scale: Scale::None, epsilon: 1e-4 };
        let result = advantages(&[0.0, 1.0, 5.0].map(Some), 3, &options);
        assert_eq!(result.values, [-2.0, -1.0, 3.0].map(Some));
    }

    #[test]
    fn options_are_read_from_toml_with_trl_defaults() {
        let defaults: AdvantageOptions = toml::from_str("").unwrap();
        assert_eq!(defaults, AdvantageOptions { scale: Scale::Group, epsilon: 1e-4 });
        let batch: AdvantageOptions = toml::from_str("scale = \"batch\"").unwrap();
        assert_eq!(batch.scale, Scale::Batch);
    }
}
