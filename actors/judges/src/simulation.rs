//! What the noise of a judge does to the rewards that use it, for `sandbox judge --simulate`.
//!
//! The model: every completion of a group thinks and answers correctly, so that the judged part of its reward is
//! `w_consistency · c + w_think · q`. Its true verdict `(c, q)` is drawn from those that the rules give to the built-in
//! soundscapes. The noisy judge calls a consistent completion consistent with the probability `sensitivity`, and an
//! inconsistent one inconsistent with the probability `specificity`; its quality is `R · q` plus normal noise, so that it has
//! the spread of the true one and the correlation `R` with it. Rewards become advantages as in training.
//!
//! The sensitivity and the specificity less 1 is the factor by which a true difference in consistency shows in the verdicts
//! (`2a − 1` if both are `a`), and `R` is that of a difference in quality. An advantage that correlates by `ρ` with the true one
//! points the gradient as far in the right direction as `ρ²` as many completions with a faultless judge.

use rewards::{AdvantageOptions, Judge, RulesJudge, advantages};
use scenarios::{JudgeSet, open_judge_set};
use serde::Serialize;

use crate::calibration::Grades;
use crate::error::JudgeError;

/// Number of groups that are simulated.
const GROUPS: usize = 4_000;

/// Below this correlation no number of steps is named.
const LEAST_CORRELATION: f64 = 0.02;

/// How noisy a judge is.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Noise {
    /// Share of the consistent completions that it calls consistent.
    pub sensitivity: f64,
    /// Share of the inconsistent completions that it calls inconsistent.
    pub specificity: f64,
    /// Correlation of its quality with the true one.
    pub correlation: f64,
}

/// What a step is computed from.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Setting {
    /// Completions of a prompt.
    pub group_size: usize,
    /// The weight of the consistency reward.
    pub consistency: f64,
    /// The weight of the think reward.
    pub think: f64,
    /// How rewards become advantages.
    pub advantages: AdvantageOptions,
}

/// What remains of an effect.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Attenuation {
    /// The factor by which a true difference in the reward shows in the judged one.
    pub effect_factor: f64,
    /// Correlation of the noisy advantages with the true ones.
    pub advantage_correlation: f64,
    /// How many times as many steps or seeds it takes; `None` if the advantages hardly correlate.
    pub times_as_many: Option<f64>,
}

/// What remains of the rewards that use the judge. A reward whose weight is 0 is left out.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Simulation {
    /// The judge's noise.
    pub noise: Noise,
    /// The setting.
    pub setting: Setting,
    /// Number of groups that were simulated.
    pub groups: usize,
    /// The consistency reward alone.
    pub consistency: Option<Attenuation>,
    /// The think reward alone.
    pub think: Option<Attenuation>,
    /// Both together, with their weights.
    pub both: Option<Attenuation>,
}

impl Noise {
    /// A judge that errs alike on consistent and inconsistent completions.
    pub fn symmetric(agreement: f64, correlation: f64) -> Noise {
        Noise { sensitivity: agreement, specificity: agreement, correlation }
    }

    /// The noise that a calibration measured. `None` if it does not say it.
    pub fn measured(grades: &Grades) -> Option<Noise> {
        let [specificity, sensitivity] = grades.agreement_by_sort()?;
        Some(Noise { sensitivity, specificity, correlation: grades.quality_correlation()?.value })
    }

    /// The factor by which a true difference in consistency shows in the verdicts.
    pub fn consistency_factor(&self) -> f64 {
        self.sensitivity + self.specificity - 1.0
    }
}

/// Simulates groups of completions under a judge with this noise.
///
/// Errors: [`JudgeError::CalibrationSet`] if the built-in soundscapes can't be read.
pub fn simulate(noise: Noise, setting: Setting, seed: u64) -> Result<Simulation, JudgeError> {
    let examples = open_judge_set(&JudgeSet::Soundscapes)
        .map_err(|error| JudgeError::CalibrationSet(error.to_string()))?;
    let verdicts = examples.iter().map(|example| RulesJudge.judge(&example.request()));
    let truth: Vec<(f64, f64)> =
        verdicts.filter_map(|verdict| Some((verdict.consistency?, verdict.think_quality?))).collect();
    Ok(simulate_from(&truth, noise, setting, seed))
}

fn simulate_from(truth: &[(f64, f64)], noise: Noise, setting: Setting, seed: u64) -> Simulation {
    let drawn = draw(truth, noise, setting.group_size, seed);
    let attenuation = |consistency: f64, think: f64, effect_factor: f64| {
        let reward = |(c, q): (f64, f64)| Some(consistency * c + think * q);
        let of =
            |rewards: Vec<Option<f64>>| advantages(&rewards, setting.group_size, &setting.advantages).values;
        let right = of(drawn.iter().map(|verdicts| reward(verdicts.right)).collect());
        let noisy = of(drawn.iter().map(|verdicts| reward(verdicts.noisy)).collect());
        let pairs: Vec<(f64, f64)> =
            right.into_iter().zip(noisy).filter_map(|(a, b)| Some((a?, b?))).collect();
        let advantage_correlation = correlation(&pairs);
        let times_as_many =
            (advantage_correlation > LEAST_CORRELATION).then(|| advantage_correlation.powi(-2));
        Attenuation { effect_factor, advantage_correlation, times_as_many }
    };
    let (weight_c, weight_t) = (setting.consistency, setting.think);
    let (factor_c, factor_t) = (noise.consistency_factor(), noise.correlation);
    let sum = weight_c.abs() + weight_t.abs();
    let mixed = (weight_c.abs() * factor_c + weight_t.abs() * factor_t) / sum;
    Simulation {
        noise,
        setting,
        groups: GROUPS,
        consistency: (weight_c != 0.0).then(|| attenuation(weight_c, 0.0, factor_c)),
        think: (weight_t != 0.0).then(|| attenuation(0.0, weight_t, factor_t)),
        both: (weight_c != 0.0 && weight_t != 0.0).then(|| attenuation(weight_c, weight_t, mixed)),
    }
}

/// The true verdict of a completion, and the judge's: consistency and quality.
struct Verdicts {
    right: (f64, f64),
    noisy: (f64, f64),
}

/// The completions of all groups, group after group.
fn draw(truth: &[(f64, f64)], noise: Noise, group_size: usize, seed: u64) -> Vec<Verdicts> {
    if truth.is_empty() {
        return Vec::new();
    }
    let n = truth.len() as f64;
    let mean = truth.iter().map(|(_, quality)| quality).sum::<f64>() / n;
    let spread = (truth.iter().map(|(_, quality)| (quality - mean).powi(2)).sum::<f64>() / n).sqrt();
    let mut random = Random(seed);
    let completion = |_| {
        let place = (random.uniform() * n) as usize;
        let (consistency, quality) = truth[place.min(truth.len() - 1)];
        let right_with = if consistency > 0.5 { noise.sensitivity } else { noise.specificity };
        let judged = if random.uniform() < right_with { consistency } else { 1.0 - consistency };
        let error = (1.0 - noise.correlation.powi(2)).max(0.0).sqrt() * spread * random.normal();
        let graded = mean + noise.correlation * (quality - mean) + error;
        Verdicts { right: (consistency, quality), noisy: (judged, graded) }
    };
    (0..GROUPS * group_size).map(completion).collect()
}

/// Pearson's correlation; 0 if one side does not vary.
fn correlation(pairs: &[(f64, f64)]) -> f64 {
    let n = pairs.len().max(1) as f64;
    let mean = pairs.iter().fold((0.0, 0.0), |sum, pair| (sum.0 + pair.0 / n, sum.1 + pair.1 / n));
    let (mut product, mut one, mut two) = (0.0, 0.0, 0.0);
    for pair in pairs {
        let (a, b) = (pair.0 - mean.0, pair.1 - mean.1);
        product += a * b;
        one += a * a;
        two += b * b;
    }
    let spread = f64::sqrt(one * two);
    if spread > 0.0 { product / spread } else { 0.0 }
}

/// SplitMix64 (Steele, Lea and Flood 2014): the same numbers on every machine.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// From 0 to below 1.
    fn uniform(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Standard normal, by Box and Muller.
    fn normal(&mut self) -> f64 {
        let radius = (-2.0 * (1.0 - self.uniform()).ln()).sqrt();
        radius * (std::f64::consts::TAU * self.uniform()).cos()
    }
}

#[cfg(test)]
mod tests {
    use rewards::Scale;

    use super::*;

    fn setting(consistency: f64, think: f64, scale: Scale) -> Setting {
        let advantages = AdvantageOptions { scale, ..AdvantageOptions::default() };
        Setting { group_size: 8, consistency, think, advantages }
    }

    /// Half of the completions are consistent; the qualities are 0 and 1.
    const HALVES: [(f64, f64); 4] = [(1.0, 1.0), (1.0, 0.0), (0.0, 1.0), (0.0, 0.0)];

    #[test]
    fn symmetric_flips_with_agreement_a_attenuate_by_two_a_less_one() {
        // With as many consistent as inconsistent completions, true and noisy verdicts have the same variance, so their
        // correlation is 2a − 1, and centring does not change it: 2 · 0.8 − 1 = 0.6, and 1 / 0.6² = 2.78 times as many steps.
        let simulated = simulate_from(&HALVES, Noise::symmetric(0.8, 0.5), setting(0.5, 0.0, Scale::None), 7);
        let consistency = simulated.consistency.unwrap();
        assert!((consistency.effect_factor - 0.6).abs() < 1e-12);
        // 32,000 completions: the correlation's standard error is about (1 − 0.36) / 179 = 0.004.
        assert!((consistency.advantage_correlation - 0.6).abs() < 0.015, "{consistency:?}");
        assert!((consistency.times_as_many.unwrap() - 2.78).abs() < 0.15, "{consistency:?}");
        assert_eq!((simulated.think, simulated.both), (None, None));
    }

    #[test]
    fn the_think_reward_attenuates_by_the_correlation_and_both_lie_between() {
        let noise = Noise::symmetric(0.9, 0.5);
        let simulated = simulate_from(&HALVES, noise, setting(1.0, 1.0, Scale::None), 7);
        let think = simulated.think.unwrap();
        assert!((think.effect_factor - 0.5).abs() < 1e-12);
        assert!((think.advantage_correlation - 0.5).abs() < 0.015, "{think:?}");
        // Both have the variance 1/4 and are independent: the sum correlates by the mean of 0.8 and 0.5.
        let both = simulated.both.unwrap();
        assert!((both.advantage_correlation - 0.65).abs() < 0.015, "{both:?}");
        assert!((both.effect_factor - 0.65).abs() < 1e-12);
    }

    #[test]
    fn a_faultless_judge_changes_nothing_and_a_blind_one_leaves_nothing() {
        let faultless = simulate(Noise::symmetric(1.0, 1.0), setting(0.5, 1.0, Scale::Group), 7).unwrap();
        for attenuation in [faultless.consistency, faultless.think, faultless.both] {
            let attenuation = attenuation.unwrap();
            assert!((attenuation.advantage_correlation - 1.0).abs() < 1e-9, "{attenuation:?}");
            assert!((attenuation.times_as_many.unwrap() - 1.0).abs() < 1e-9);
        }
        let blind = simulate(Noise::symmetric(0.5, 0.0), setting(0.5, 1.0, Scale::Group), 7).unwrap();
        let both = blind.both.unwrap();
        assert!(both.advantage_correlation.abs() < 0.02 && both.times_as_many.is_none(), "{both:?}");
    }

    #[test]
    fn the_same_seed_gives_the_same_figures() {
        let noise = Noise::symmetric(0.7, 0.3);
        let with = |seed| simulate(noise, setting(0.5, 1.0, Scale::Group), seed).unwrap();
        assert_eq!(with(1), with(1));
        assert_ne!(with(1), with(2));
    }
}
