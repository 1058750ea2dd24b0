//! The values of one arm by question and seed, and the residuals from its rate.

use std::collections::{BTreeMap, BTreeSet};

use crate::spread::{SeedVariance, squares};

/// The values of one question under one seed.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Cell {
    pub(crate) sum: f64,
    pub(crate) count: f64,
}

/// The questions that enter an estimate.
#[derive(Default)]
pub(crate) struct Grid {
    pub(crate) rate: f64,
    /// The number of each question's cluster, from 0.
    pub(crate) clusters: Vec<usize>,
    /// The values of each question by seed.
    pub(crate) cells: Vec<BTreeMap<u64, Cell>>,
}

/// The residuals of a grid, and what they say of its two levels.
pub(crate) struct Levels {
    pub(crate) seeds: usize,
    /// The mean residual of each question over the seeds.
    pub(crate) of_question: Vec<f64>,
    /// The variance of the rate, as the seeds show it.
    of_seeds: f64,
    /// The part of it that is the interaction's.
    interaction: f64,
    /// The mean square of all residuals.
    mean_square: f64,
}

impl Levels {
    /// What the seeds say of the variance between them; `None` if there is one, or the same answers under all.
    pub(crate) fn seed_variance(&self) -> Option<SeedVariance> {
        // Nothing but rounding.
        let alike = self.interaction + self.of_seeds < 1e-20;
        (self.seeds > 1 && !alike).then(|| SeedVariance::new(self.of_seeds, self.interaction, self.seeds))
    }

    /// As how many independent seeds the seeds count: 1 if the answers are the same under all.
    pub(crate) fn independent_seeds(&self) -> f64 {
        let of_means = squares(&self.of_question) / self.of_question.len() as f64;
        if of_means > 0.0 { (self.mean_square / of_means).clamp(1.0, self.seeds as f64) } else { 1.0 }
    }
}

impl Grid {
    pub(crate) fn number_of_clusters(&self) -> usize {
        self.clusters.iter().max().map_or(0, |last| last + 1)
    }

    pub(crate) fn count(&self) -> f64 {
        self.cells.iter().flat_map(|cells| cells.values()).map(|cell| cell.count).sum()
    }

    pub(crate) fn set_rate(&mut self) -> Option<()> {
        let sum: f64 = self.cells.iter().flat_map(|cells| cells.values()).map(|cell| cell.sum).sum();
        let count = self.count();
        self.rate = sum / count;
        (count > 0.0).then_some(())
    }

    pub(crate) fn levels(&self) -> Levels {
        let seeds: BTreeSet<u64> = self.cells.iter().flat_map(|cells| cells.keys().copied()).collect();
        let (q, s) = (self.cells.len() as f64, seeds.len() as f64);
        let mean_count = self.count() / (q * s);
        let residual = |cells: &BTreeMap<u64, Cell>, seed| {
            cells.get(seed).map_or(0.0, |cell| (cell.sum - self.rate * cell.count) / mean_count)
        };
        let rows: Vec<Vec<f64>> =
            self.cells.iter().map(|cells| seeds.iter().map(|seed| residual(cells, seed)).collect()).collect();
        let of_question: Vec<f64> = rows.iter().map(|row| row.iter().sum::<f64>() / s).collect();
        let of_seed: Vec<f64> =
            (0..seeds.len()).map(|seed| rows.iter().map(|row| row[seed]).sum::<f64>() / q).collect();
        let mean_square = rows.iter().map(|row| squares(row)).sum::<f64>() / (q * s);
        let (mut of_seeds, mut interaction) = (0.0, 0.0);
        if seeds.len() > 1 {
            let mut left = vec![0.0; self.number_of_clusters() * seeds.len()];
            for ((row, mean), &cluster) in rows.iter().zip(&of_question).zip(&self.clusters) {
                for (seed, value) in row.iter().enumerate() {
                    left[cluster * seeds.len() + seed] += value - mean - of_seed[seed];
                }
            }
            let c = self.number_of_clusters() as f64;
            of_seeds = squares(&of_seed) / (s * (s - 1.0));
            interaction = c / (c - 1.0).max(1.0) * squares(&left) / (q * q * s * (s - 1.0));
        }
        Levels { seeds: seeds.len(), of_question, of_seeds, interaction, mean_square }
    }
}
