//! Group-relative advantages (arXiv 2508.08039v3, Eq. 8), computed from the completions that have a reward.
//!
//! `Â_i = (R_i - mean(R)) / (std(R) + ε)` over the completions of one prompt. The standard deviation has n - 1 in its
//! denominator, and ε is added, as in TRL; the paper has no ε. The other members of [`Estimator`] compare completions in
//! other ways; `docs/algorithms.md` has their equations.
//!
//! Invariants, which the tests check:
//! - ADV-1 a completion whose reward is missing or not finite has no advantage and does not enter mean and std.
//! - ADV-2 a group with fewer than 2 rewards is excluded: none of its completions has an advantage.
//! - ADV-3 in a group whose rewards are all equal every advantage is 0, under every scale, and the group is counted. The
//!   exception is `reinforce_plus_plus`, which compares it with the other groups.
//! - ADV-6 with `keep` or `discard_equal`, what is left out enters no mean and no deviation: the advantages of the rest are
//!   those of a step without it.

use serde::{Deserialize, Serialize};

mod gdpo;
mod hgpo;
mod moments;
mod varied;

pub use gdpo::{Part, weighted_parts};
pub use hgpo::hybrid_advantages;
use moments::Moments;
use varied::most_varied;

/// What a reward is compared with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Estimator {
    /// The mean of its group, divided as [`Scale`] says (GRPO, Dr. GRPO).
    #[default]
    GroupRelative,
    /// As `GroupRelative` for each term of the reward; their sum is then normalised over the step (GDPO).
    Gdpo,
    /// The mean of the other rewards of its group, without a divisor (RLOO).
    Rloo,
    /// The mean of the step, divided by the standard deviation of the step (REINFORCE++).
    ReinforcePlusPlus,
    /// The mean of its group; the result is then normalised over the step (REINFORCE++ with baseline).
    ReinforcePlusPlusBaseline,
    /// Whether it is the best of its mode in its group, and for the first token whether its mode is the better one (HGPO); see
    /// [`hybrid_advantages`].
    Hgpo,
}

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
    /// What a reward is compared with.
    pub estimator: Estimator,
    /// The divisor of the centred rewards, for the group-relative estimator.
    pub scale: Scale,
    /// Added to the standard deviation, so that a very small one does not make huge advantages.
    pub epsilon: f64,
    /// Number of completions of each group that are compared, those whose rewards have the greatest variance; the others
    /// have no advantage. 0 compares all.
    pub keep: usize,
    /// Whether groups of equal rewards are left out of what is computed over the step, under every estimator. Their
    /// advantages are 0.
    pub discard_equal: bool,
    /// HGPO: by how much the mean reward of thinking must exceed that of not thinking.
    pub mode_margin: f64,
    /// HGPO: weight of the advantage of a mode.
    pub mode_coefficient: f64,
}

impl Default for AdvantageOptions {
    fn default() -> Self {
        Self {
            estimator: Estimator::GroupRelative,
            scale: Scale::Group,
            epsilon: 1e-4,
            keep: 0,
            discard_equal: false,
            mode_margin: 0.2,
            mode_coefficient: 1.0,
        }
    }
}

/// The advantages of one step.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Advantages {
    /// One per completion; `None` if the completion has no reward or its group is excluded.
    pub values: Vec<Option<f64>>,
    /// What is added for the first token of each completion, which decides its mode; empty if nothing is.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub of_modes: Vec<f64>,
    /// Number of groups that are not excluded and whose rewards are all equal.
    pub zero_std_groups: usize,
    /// Indices of the groups with fewer than 2 rewards, or with rewards so large that their deviation is infinite.
    pub excluded_groups: Vec<usize>,
}

/// Computes the advantages of a step. `rewards` has the completions group after group, `group_size` per group; a
/// shorter rest is a group of its own. GDPO takes the reward as its only term; see [`decoupled_advantages`].
pub fn advantages(rewards: &[Option<f64>], group_size: usize, options: &AdvantageOptions) -> Advantages {
    let step = Step::new(rewards, group_size, options);
    match options.estimator {
        // Without their modes, completions can only be compared with each other.
        Estimator::GroupRelative | Estimator::Hgpo => step.group_relative(options),
        Estimator::Gdpo => {
            let whole = Part { coefficient: 1.0, values: step.scored.clone() };
            step.decoupled(&[whole], options.epsilon)
        }
        Estimator::Rloo => step.each(|reward, moments, scores| match moments.alike() {
            true => 0.0,
            false => {
                let sum: f64 = scores.clone().sum();
                reward - (sum - reward) / (scores.count() - 1) as f64
            }
        }),
        Estimator::ReinforcePlusPlus => {
            let rewards = step.scored.clone();
            step.normalized(rewards, options.epsilon, |_| false)
        }
        Estimator::ReinforcePlusPlusBaseline => {
            let centred = step.each(|reward, moments, _| reward - moments.mean).values;
            step.normalized(centred, options.epsilon, Moments::alike)
        }
    }
}

/// Computes the advantages of a step whose rewards are sums of `parts`, each normalised on its own (GDPO). `rewards` are
/// the sums; a completion without one has no advantage.
pub fn decoupled_advantages(
    rewards: &[Option<f64>],
    parts: &[Part],
    group_size: usize,
    options: &AdvantageOptions,
) -> Advantages {
    let step = Step::new(rewards, group_size, options);
    if step.left_out.is_empty() {
        return step.decoupled(parts, options.epsilon);
    }
    let mut parts = parts.to_vec();
    for part in &mut parts {
        step.left_out.iter().for_each(|&place| part.values[place] = None);
    }
    step.decoupled(&parts, options.epsilon)
}

/// The rewards of a step by group.
struct Step {
    group_size: usize,
    /// Without those that are not finite, and those that are left out.
    scored: Vec<Option<f64>>,
    /// The completions that `keep` leaves out.
    left_out: Vec<usize>,
    /// The groups that can be compared, with the moments of their rewards.
    included: Vec<(usize, Moments)>,
    /// Groups of equal rewards that are discarded.
    discarded: Vec<usize>,
    excluded: Vec<usize>,
}

impl Step {
    fn new(rewards: &[Option<f64>], group_size: usize, options: &AdvantageOptions) -> Self {
        let group_size = group_size.max(1);
        let mut scored: Vec<Option<f64>> =
            rewards.iter().map(|reward| reward.filter(|r| r.is_finite())).collect();
        let left_out = match options.keep {
            0 => Vec::new(),
            keep => most_varied(&scored, group_size, keep),
        };
        left_out.iter().for_each(|&place| scored[place] = None);
        let (mut included, mut discarded, mut excluded) = (Vec::new(), Vec::new(), Vec::new());
        for (index, group) in scored.chunks(group_size).enumerate() {
            match Moments::of(group.iter().flatten()) {
                Some(moments) if options.discard_equal && moments.alike() => discarded.push(index),
                Some(moments) => included.push((index, moments)),
                None => excluded.push(index),
            }
        }
        Step { group_size, scored, left_out, included, discarded, excluded }
    }

    fn rows(&self, group: usize) -> std::ops::Range<usize> {
        let start = group * self.group_size;
        start..(start + self.group_size).min(self.scored.len())
    }

    /// The moments of some numbers of the included groups.
    fn moments(&self, numbers: &[Option<f64>]) -> Option<Moments> {
        Moments::of(self.included.iter().flat_map(|(group, _)| numbers[self.rows(*group)].iter().flatten()))
    }

    fn excluding_all(self) -> Advantages {
        if self.included.is_empty() {
            return self.each(|_, _, _| 0.0);
        }
        let mut excluded: Vec<usize> = (0..self.scored.len().div_ceil(self.group_size)).collect();
        // Those that are excluded on their own come first.
        excluded.sort_by_key(|group| !self.excluded.contains(group));
        Advantages {
            values: vec![None; self.scored.len()],
            excluded_groups: excluded,
            ..Advantages::default()
        }
    }

    fn group_relative(self, options: &AdvantageOptions) -> Advantages {
        let batch = self.moments(&self.scored);
        if batch.is_none() && matches!(options.scale, Scale::Batch) {
            return self.excluding_all();
        }
        self.each(|reward, moments, _| {
            let divisor = match options.scale {
                Scale::Group => moments.std + options.epsilon,
                Scale::Batch => batch.map_or(0.0, |batch| batch.std) + options.epsilon,
                Scale::None => 1.0,
            };
            if moments.alike() { 0.0 } else { (reward - moments.mean) / divisor }
        })
    }

    /// The advantages whose values are a function of the reward, of the moments of its group, and of the group's rewards.
    fn each(
        &self,
        value: impl Fn(
            f64,
            &Moments,
            std::iter::Copied<std::iter::Flatten<std::slice::Iter<'_, Option<f64>>>>,
        ) -> f64,
    ) -> Advantages {
        let mut result = Advantages {
            values: vec![None; self.scored.len()],
            of_modes: Vec::new(),
            excluded_groups: self.excluded.clone(),
            zero_std_groups: self.discarded.len(),
        };
        for row in self.discarded.iter().flat_map(|group| self.rows(*group)) {
            result.values[row] = self.scored[row].map(|_| 0.0);
        }
        for (group, moments) in &self.included {
            result.zero_std_groups += usize::from(moments.alike());
            let rows = self.rows(*group);
            for row in rows.clone() {
                let scores = || self.scored[rows.clone()].iter().flatten().copied();
                result.values[row] = self.scored[row].map(|reward| value(reward, moments, scores()));
            }
        }
        result
    }

    /// `numbers`, less their mean over the step and divided by their standard deviation. A group with moments that are
    /// `without_signal` has advantages of 0.
    fn normalized(
        self,
        numbers: Vec<Option<f64>>,
        epsilon: f64,
        without_signal: impl Fn(&Moments) -> bool,
    ) -> Advantages {
        let Some(batch) = self.moments(&numbers) else {
            return self.excluding_all();
        };
        let mut result = self.each(|_, _, _| 0.0);
        for (group, moments) in &self.included {
            if without_signal(moments) || batch.alike() {
                continue;
            }
            for row in self.rows(*group) {
                result.values[row] = numbers[row].map(|number| (number - batch.mean) / (batch.std + epsilon));
            }
        }
        result
    }

    fn decoupled(self, parts: &[Part], epsilon: f64) -> Advantages {
        let (sums, alike) = gdpo::decoupled(&self.scored, parts, self.group_size, epsilon);
        let Some(batch) = self.moments(&sums) else {
            return self.excluding_all();
        };
        let mut result = self.each(|_, _, _| 0.0);
        result.zero_std_groups =
            self.discarded.len() + self.included.iter().filter(|(group, _)| alike[*group]).count();
        for (group, _) in self.included.iter().filter(|(group, _)| !alike[*group] && !batch.alike()) {
            for row in self.rows(*group) {
                result.values[row] = sums[row].map(|sum| (sum - batch.mean) / (batch.std + epsilon));
            }
        }
        result
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::{Formula, Weights, shape};

    const EXACT: AdvantageOptions = AdvantageOptions {
        estimator: Estimator::GroupRelative,
        scale: Scale::Group,
        epsilon: 0.0,
        keep: 0,
        discard_equal: false,
        mode_margin: 0.2,
        mode_coefficient: 1.0,
    };

    fn scaled(scale: Scale, epsilon: f64) -> AdvantageOptions {
        AdvantageOptions { scale, epsilon, ..EXACT }
    }

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
            let result = advantages(&huge, 2, &scaled(scale, 1e-4));
            assert_eq!(result.values[..4], [None; 4]);
            assert!(result.values[4..].iter().flatten().count() == 2, "{:?}", result.values);
            assert_eq!(result.excluded_groups, [0, 1]);
        }
        // Each group has a finite deviation, all together have none.
        let together = [1e200, 1e200, -1e200, -1e200].map(Some);
        let result = advantages(&together, 2, &scaled(Scale::Batch, 1e-4));
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
            let result = advantages(&rewards, 3, &scaled(scale, 0.0));
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
        let options = scaled(Scale::Batch, 0.0);
        let result = advantages(&rewards, 2, &options);
        let std = (8.0 / 3.0_f64).sqrt();
        for (value, centred) in result.values.iter().zip([-1.0, 1.0, -1.0, 1.0]) {
            close(*value, centred / std);
        }
        assert_eq!(result.excluded_groups, [2]);
    }

    #[test]
    fn scale_none_only_centres() {
        let options = scaled(Scale::None, 1e-4);
        let result = advantages(&[0.0, 1.0, 5.0].map(Some), 3, &options);
        assert_eq!(result.values, [-2.0, -1.0, 3.0].map(Some));
    }

    #[test]
    fn options_are_read_from_toml_with_trl_defaults() {
        let defaults: AdvantageOptions = toml::from_str("").unwrap();
        assert_eq!(defaults, scaled(Scale::Group, 1e-4));
        let batch: AdvantageOptions = toml::from_str("scale = \"batch\"").unwrap();
        assert_eq!(batch.scale, Scale::Batch);
    }

    #[test]
    fn rloo_compares_with_the_mean_of_the_others() {
        // The means of the other two of 0, 1, 5 are 3, 2.5 and 0.5; a missing reward is none of them.
        let options = AdvantageOptions { estimator: Estimator::Rloo, ..EXACT };
        let rewards = [Some(0.0), Some(1.0), None, Some(5.0), Some(2.0), Some(2.0), None, Some(2.0)];
        let result = advantages(&rewards, 4, &options);
        let expected = [Some(-3.0), Some(-1.5), None, Some(4.5), Some(0.0), Some(0.0), None, Some(0.0)];
        assert_eq!((result.values, result.zero_std_groups), (expected.to_vec(), 1));
    }

    #[test]
    fn reinforce_plus_plus_normalises_over_the_step() {
        // 0 2 4 4 4 4: mean 3, squares 9 1 1 1 1 1, variance 14/5. The group of equal rewards is above the mean.
        let rewards = [0.0, 2.0, 4.0, 4.0, 4.0, 4.0].map(Some);
        let plain = AdvantageOptions { estimator: Estimator::ReinforcePlusPlus, ..EXACT };
        let std = (14.0 / 5.0_f64).sqrt();
        let result = advantages(&rewards, 2, &plain);
        for (value, centred) in result.values.iter().zip([-3.0, -1.0, 1.0, 1.0, 1.0, 1.0]) {
            close(*value, centred / std);
        }
        assert_eq!(result.zero_std_groups, 2);
        // Less the means of the groups: -1 1 0 0 0 0, mean 0, variance 2/5.
        let baseline = AdvantageOptions { estimator: Estimator::ReinforcePlusPlusBaseline, ..EXACT };
        let result = advantages(&rewards, 2, &baseline);
        for (value, centred) in result.values.iter().zip([-1.0, 1.0, 0.0, 0.0, 0.0, 0.0]) {
            close(*value, centred / (2.0 / 5.0_f64).sqrt());
        }
        let equal = advantages(&[0.3; 4].map(Some), 2, &plain);
        assert_eq!(equal.values, [Some(0.0); 4], "nothing to compare with");
    }

    #[test]
    fn gdpo_tells_rewards_apart_whose_sums_are_equal() {
        // Two prompts. The components of the first differ as 0 1 and 1 1: GRPO gives its completions ±, and the same to
        // the second, which differs in both. Normalised one by one (±1/√2 each, ε = 0), the sums are ±1/√2 and ±√2.
        let part = |values: [f64; 4]| Part { coefficient: 1.0, values: values.map(Some).to_vec() };
        let parts = [part([0.0, 1.0, 0.0, 1.0]), part([1.0, 1.0, 0.0, 1.0])];
        let rewards = [1.0, 2.0, 0.0, 2.0].map(Some);
        let result = decoupled_advantages(&rewards, &parts, 2, &EXACT);
        // Squares 1/2 1/2 2 2, variance 5/3.
        let std = (5.0 / 3.0_f64).sqrt();
        let half = 0.5_f64.sqrt();
        for (value, sum) in result.values.iter().zip([-half, half, -2.0 * half, 2.0 * half]) {
            close(*value, sum / std);
        }
        let grpo = advantages(&rewards, 2, &EXACT);
        assert_eq!(grpo.values[0], grpo.values[2]);
    }

    /// ADV-1 to ADV-4 in 200 random steps with missing components, against the equations written out with vectors.
    #[test]
    fn every_estimator_equals_its_equation_in_random_steps_with_missing_scores() {
        let mut state = 0x2545_f491_4f6c_dd1d_u64;
        let mut draw = |below: u64| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state % below
        };
        let moments = |numbers: &[f64]| {
            let mean = numbers.iter().sum::<f64>() / numbers.len() as f64;
            let squares: f64 = numbers.iter().map(|x| (x - mean) * (x - mean)).sum();
            (mean, (squares / (numbers.len() as f64 - 1.0)).sqrt())
        };
        let mut compared = 0;
        for _ in 0..200 {
            let (groups, size) = (1 + draw(4) as usize, 2 + draw(5) as usize);
            let n = groups * size;
            let missing = draw(3);
            let mut column = || -> Vec<Option<f64>> {
                (0..n).map(|_| (draw(10) >= missing).then(|| draw(5) as f64 / 2.0)).collect()
            };
            let columns = BTreeMap::from([("a".to_owned(), column()), ("b".to_owned(), column())]);
            let weights = Weights { version: 0, values: BTreeMap::from([("b".to_owned(), 0.5)]) };
            let formula = Formula::parse("2 * a - w_b * b", ["a", "b"], ["b"]).unwrap();
            let rewards = shape(&formula, &columns, &weights);
            let of_group = |column: &[Option<f64>], group: usize| -> Vec<f64> {
                column[group * size..(group + 1) * size].iter().flatten().copied().collect()
            };
            let counts = |group: usize| of_group(&rewards, group).len() >= 2;
            let epsilon = 1e-4;
            // Before anything is normalised over the step.
            let raw = |estimator: Estimator, row: usize| -> Option<f64> {
                let (reward, group) = (rewards[row]?, row / size);
                let scores = of_group(&rewards, group);
                let (mean, _) = moments(&scores);
                counts(group).then(|| match estimator {
                    Estimator::Rloo => {
                        let others = scores.iter().sum::<f64>() - reward;
                        reward - others / (scores.len() as f64 - 1.0)
                    }
                    Estimator::Gdpo => [("a", 2.0), ("b", -0.5)]
                        .iter()
                        .map(|(name, weight)| {
                            let (mean, std) = moments(&of_group(&columns[*name], group));
                            weight * (columns[*name][row].unwrap() - mean) / (std + epsilon)
                        })
                        .sum(),
                    Estimator::ReinforcePlusPlus => reward,
                    Estimator::GroupRelative | Estimator::Hgpo | Estimator::ReinforcePlusPlusBaseline => {
                        reward - mean
                    }
                })
            };
            for estimator in [
                Estimator::GroupRelative,
                Estimator::Gdpo,
                Estimator::Rloo,
                Estimator::ReinforcePlusPlus,
                Estimator::ReinforcePlusPlusBaseline,
            ] {
                let options = AdvantageOptions { estimator, scale: Scale::None, epsilon, ..EXACT };
                let found = match estimator {
                    Estimator::Gdpo => decoupled_advantages(
                        &rewards,
                        &weighted_parts(&formula, &columns, &weights),
                        size,
                        &options,
                    ),
                    _ => advantages(&rewards, size, &options),
                };
                let numbers: Vec<Option<f64>> = (0..n).map(|row| raw(estimator, row)).collect();
                let all: Vec<f64> = numbers.iter().flatten().copied().collect();
                let over_step = !matches!(estimator, Estimator::GroupRelative | Estimator::Rloo);
                for (row, (found, number)) in found.values.iter().zip(numbers).enumerate() {
                    let Some(number) = number else {
                        assert_eq!(*found, None, "{estimator:?} {rewards:?}");
                        continue;
                    };
                    let (mean, std) = moments(&all);
                    let expected = if over_step { (number - mean) / (std + epsilon) } else { number };
                    let found = found.unwrap();
                    // ADV-3: a group of equal rewards is 0 and not shifted by the mean of the step.
                    let zero = found == 0.0 && {
                        let scores = of_group(&rewards, row / size);
                        let equal = |column: &[f64]| moments(column).1 < 1e-8;
                        match estimator {
                            Estimator::Gdpo => ["a", "b"].iter().all(|name| {
                                let column = of_group(&columns[*name], row / size);
                                column.len() < 2 || equal(&column)
                            }),
                            _ => equal(&scores) || std < 1e-8,
                        }
                    };
                    assert!(
                        zero || (found - expected).abs() < 1e-9,
                        "{estimator:?}: {found} is not {expected}"
                    );
                    compared += 1;
                }
            }
        }
        assert!(compared > 5_000, "{compared}");
    }
}
