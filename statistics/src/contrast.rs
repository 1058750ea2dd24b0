//! Contrasts: sums of the rates of several arms, each times a weight, such as a difference, a main effect or a Shapley value.
//!
//! A contrast is paired like a difference, which is the contrast with the weights 1 and −1: its part of the questions is computed
//! from the contrast of each question's residuals, and its part of the seeds is the sum of those of the arms, each times the
//! square of its weight. Agresti and Min's (2005) half observations of a difference of shares add 1 to the sum of its squares; in
//! a contrast each arm adds half of the square of its weight, which is the same for a difference.
//!
//! - STAT-2 all contrasts of a set of arms are over the same questions, so that what is true of their weights is true of them: the
//!   Shapley values of all factors add up to the difference between all on and all off.

use std::collections::BTreeMap;

use crate::decide::Comparison;
use crate::grid::{Grid, Levels};
use crate::spread::{SeedVariance, Spread, squares};

/// The rates of several arms over the questions that all of them were asked.
pub struct Contrasts {
    arms: Vec<Arm>,
    /// The number of each question's cluster, from 0.
    clusters: Vec<usize>,
    shares: bool,
}

struct Arm {
    rate: f64,
    count: f64,
    levels: Levels,
    by_seed: BTreeMap<u64, f64>,
}

impl Contrasts {
    /// From the grid of each arm, all over the same questions, and its rates by seed. `None` with fewer than two clusters.
    pub(crate) fn new(grids: Vec<(Grid, BTreeMap<u64, f64>)>, shares: bool) -> Option<Self> {
        let (first, _) = grids.first()?;
        if first.number_of_clusters() < 2 {
            return None;
        }
        let clusters = first.clusters.clone();
        let arm = |(grid, by_seed): (Grid, BTreeMap<u64, f64>)| Arm {
            rate: grid.rate,
            count: grid.count(),
            levels: grid.levels(),
            by_seed,
        };
        Some(Self { arms: grids.into_iter().map(arm).collect(), clusters, shares })
    }

    /// Number of questions.
    pub fn questions(&self) -> usize {
        self.clusters.len()
    }

    /// The contrast with these weights, in the order of the arms. `seeds` is the variance between seeds, pooled over the arms of
    /// the table. `None` if all weights are 0, or there is not one for each arm.
    pub fn of(&self, weights: &[f64], seeds: Option<SeedVariance>) -> Option<Comparison> {
        if weights.len() != self.arms.len() {
            return None;
        }
        let used: Vec<(&Arm, f64)> =
            self.arms.iter().zip(weights.iter().copied()).filter(|(_, weight)| *weight != 0.0).collect();
        let mut of_question = vec![0.0; self.clusters.len()];
        for (arm, weight) in &used {
            for (sum, residual) in of_question.iter_mut().zip(&arm.levels.of_question) {
                *sum += weight * residual;
            }
        }
        // An arm that answers alike under all seeds has no variance between seeds.
        let varies = |levels: &Levels| levels.seeds == 1 || levels.seed_variance().is_some();
        let of_seeds: Vec<(SeedVariance, usize, f64)> = used
            .iter()
            .filter(|(arm, _)| varies(&arm.levels))
            .filter_map(|(arm, weight)| Some((seeds?, arm.levels.seeds, weight * weight)))
            .collect();
        let independent =
            used.iter().map(|(arm, _)| arm.levels.independent_seeds()).min_by(f64::total_cmp)?;
        let weights: Vec<f64> = used.iter().map(|(_, weight)| *weight).collect();
        let pseudo = if self.shares { squares(&weights) / 2.0 / independent } else { 0.0 };
        let spread = Spread::new(&of_question, &self.clusters, pseudo, &of_seeds);
        let value = used.iter().map(|(arm, weight)| weight * arm.rate).sum();
        let count = used.iter().map(|(arm, _)| arm.count).min_by(f64::total_cmp)?;
        let mut comparison = Comparison::new(value, spread, count.round() as u64, by_seed(&used));
        if self.shares {
            // The most and the least that the weighted sum of shares can be.
            let most: f64 = weights.iter().filter(|weight| **weight > 0.0).sum();
            let least: f64 = weights.iter().filter(|weight| **weight < 0.0).sum();
            let estimate = &mut comparison.estimate;
            (estimate.low, estimate.high) = (estimate.low.max(least), estimate.high.min(most));
        }
        Some(comparison)
    }
}

/// The contrast within each seed that all arms have.
fn by_seed(used: &[(&Arm, f64)]) -> Vec<f64> {
    let Some((first, _)) = used.first() else { return Vec::new() };
    let of = |seed: &u64| used.iter().map(|(arm, weight)| Some(weight * arm.by_seed.get(seed)?)).sum();
    first.by_seed.keys().filter_map(of).collect()
}

#[cfg(test)]
mod tests {
    use crate::tests::close;
    use crate::{Panel, SeedVariance};

    /// Answers to 40 questions under three seeds; `right` decides by question and seed.
    fn panel(right: impl Fn(u64, u64) -> bool) -> Panel {
        let mut panel = Panel::default();
        for question in 0..40 {
            for seed in 0..3 {
                let sum = f64::from(u8::from(right(question, seed)));
                panel.add(&question.to_string(), &question.to_string(), seed, sum, 1.0);
            }
        }
        panel
    }

    fn arms() -> [Panel; 4] {
        [
            panel(|question, seed| (question + seed).is_multiple_of(4)),
            panel(|question, seed| (question + seed).is_multiple_of(3)),
            panel(|question, seed| (question * seed).is_multiple_of(3)),
            panel(|question, seed| question % 5 > seed),
        ]
    }

    #[test]
    fn a_difference_is_the_contrast_of_one_and_minus_one() {
        let arms = arms();
        let seeds = SeedVariance::pooled(arms.iter().filter_map(Panel::seed_variance));
        let contrasts = Panel::share_contrasts(&arms.each_ref()).unwrap();
        let found = contrasts.of(&[0.0, 1.0, -1.0, 0.0], seeds).unwrap();
        let difference = arms[1].share_difference(&arms[2], seeds).unwrap();
        assert_eq!((found.estimate, found.p_value), (difference.estimate, difference.p_value));
        assert_eq!(found.by_seed, difference.by_seed);
    }

    // STAT-2
    #[test]
    fn contrasts_add_up_as_their_weights_do() {
        let mut arms = arms();
        // A question that one arm alone was asked enters no contrast, not even one without that arm.
        arms[3].add("only here", "elsewhere", 0, 1.0, 1.0);
        let contrasts = Panel::share_contrasts(&arms.each_ref()).unwrap();
        let of = |weights: [f64; 4]| contrasts.of(&weights, None).unwrap().estimate.value;
        close(of([-0.5, 0.5, -0.5, 0.5]) + of([-0.5, -0.5, 0.5, 0.5]), of([-1.0, 0.0, 0.0, 1.0]));
        assert_eq!(contrasts.questions(), 40);
    }

    #[test]
    fn the_mean_of_two_differences_is_as_certain_as_their_variances_allow() {
        // Two pairs of arms that do not depend on each other. The variance of a question's difference, without pseudo
        // observations, is that of means: x = 1 in 10 of 20 questions in one pair, in the other half of them in the other.
        let length = |of: fn(u64) -> f64| {
            let mut panel = Panel::default();
            (0..20).for_each(|question: u64| {
                panel.add(&question.to_string(), &question.to_string(), 1, of(question), 1.0)
            });
            panel
        };
        let arms =
            [length(|_| 0.0), length(|q| (q % 2) as f64), length(|_| 0.0), length(|q| (q / 2 % 2) as f64)];
        let contrasts = Panel::mean_contrasts(&arms.each_ref()).unwrap();
        let half = |weights: [f64; 4]| {
            let found = contrasts.of(&weights, None).unwrap().estimate;
            (found.high - found.low) / 2.0
        };
        // Each difference: 20/19 · (20 · 0.25) / 400 = 0.01316; Student's quantile with 19 degrees of freedom is 2.093.
        close(half([-1.0, 1.0, 0.0, 0.0]), 0.2401);
        // Their mean: residuals of ±0.5 in 10 of 20 questions, so half the variance.
        close(half([-0.5, 0.5, -0.5, 0.5]), 0.2401 / 2.0_f64.sqrt());
    }

    #[test]
    fn nothing_to_contrast_is_none() {
        let [a, b, ..] = arms();
        let contrasts = Panel::share_contrasts(&[&a, &b]).unwrap();
        assert!(contrasts.of(&[0.0, 0.0], None).is_none() && contrasts.of(&[1.0], None).is_none());
        assert!(Panel::share_contrasts(&[&a, &Panel::default()]).is_none());
        assert!(Panel::share_contrasts(&[]).is_none());
    }
}
