//! Answers by question and training seed, and the variance of what is estimated from them.
//!
//! With `Q` questions in `C` clusters (clips) and `S` seeds, a rate is a ratio `R = Σ sums / Σ counts`, and each question and
//! seed has the residual `e = (sum − R · count) / mean count`. The variance of the rate has a part of the questions and a
//! part of the seeds. Each is computed from the means over the other level, and so contains the part of their interaction,
//! which is subtracted once: the moment estimator of the crossed random-effects model (Owen 2007, "The pigeonhole bootstrap";
//! Cameron, Gelbach and Miller 2011, "Robust inference with multiway clustering").
//!
//! ```text
//! V = V_questions + max(V_seeds − V_interaction, 0)
//! ```
//!
//! The quantile is Student's with Satterthwaite's degrees of freedom. A share gets Wilson's interval for the number of
//! independent answers that have this variance (Korn and Graubard 1998), so that it keeps within 0 and 1 and holds near them.
//!
//! A difference of two arms is paired: its part of the questions is computed from the difference of each question's
//! residuals. Its part of the seeds is the sum of those of the arms, for which the variance between seeds is pooled over all
//! arms of a table ([`SeedVariance`]): two or three seeds of one arm say too little. A difference of shares gets Agresti and
//! Min's (2005) half an observation more in each cell.
//!
//! - STAT-1 asking the same questions again, with the same answers, changes no interval.

use std::collections::{BTreeMap, BTreeSet};

use crate::decide::Comparison;
use crate::spread::{SeedVariance, Spread, squares};
use crate::{Estimate, wilson};

/// The values of one question under one seed.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Cell {
    sum: f64,
    count: f64,
}

/// The values of one metric of one arm, by question and training seed.
#[derive(Clone, Debug, Default)]
pub struct Panel {
    /// By question: its cluster, and its values by seed.
    questions: BTreeMap<String, (String, BTreeMap<u64, Cell>)>,
}

impl Panel {
    /// Adds values of a question under a seed: their sum and their number, such as 1 of 1 for a right answer. `cluster` is
    /// what the question has in common with others, such as its clip.
    pub fn add(&mut self, question: &str, cluster: &str, seed: u64, sum: f64, count: f64) {
        let (_, cells) = match self.questions.get_mut(question) {
            Some(found) => found,
            None => self
                .questions
                .entry(question.to_owned())
                .or_insert_with(|| (cluster.to_owned(), BTreeMap::new())),
        };
        let cell = cells.entry(seed).or_default();
        cell.sum += sum;
        cell.count += count;
    }

    /// The rate of each seed that has values.
    pub fn by_seed(&self) -> BTreeMap<u64, f64> {
        let mut totals: BTreeMap<u64, Cell> = BTreeMap::new();
        for (&seed, cell) in self.questions.values().flat_map(|(_, cells)| cells) {
            let total = totals.entry(seed).or_default();
            total.sum += cell.sum;
            total.count += cell.count;
        }
        totals
            .into_iter()
            .filter(|(_, total)| total.count > 0.0)
            .map(|(seed, total)| (seed, total.sum / total.count))
            .collect()
    }

    /// The rate, which is a share or a mean of values between 0 and 1, with its interval; `None` without values.
    pub fn share(&self) -> Option<Estimate> {
        let Fitted { grid, levels, spread } = self.fit()?;
        // With one question a clip and no seeds, the variance of a share follows from the share itself.
        let known = spread.number_of_seeds == 1 && grid.number_of_clusters() == grid.cells.len();
        let variance = spread.questions + spread.seeds;
        let independent = if variance > 0.0 {
            // No more than were asked; asking again under another seed counts as far as the answers differ.
            let most = grid.cells.len() as f64 * levels.independent_seeds();
            // What the estimate of a variance that is known has lost.
            let lost = f64::from(u8::from(known));
            (grid.rate * (1.0 - grid.rate) / variance + lost).min(most)
        } else {
            grid.number_of_clusters() as f64
        };
        let quantile = if known { wilson::Z } else { spread.quantile(0.975) };
        let interval = wilson::interval(grid.rate, independent, quantile);
        Some(Estimate { n: grid.count().round() as u64, ..interval })
    }

    /// The rate of values of any size, with Student's interval; `None` with fewer than two clusters that have values.
    pub fn mean(&self) -> Option<Estimate> {
        let Fitted { grid, spread, .. } = self.fit()?;
        if grid.number_of_clusters() < 2 {
            return None;
        }
        let half = spread.quantile(0.975) * spread.error();
        let n = grid.count().round() as u64;
        Some(Estimate { value: grid.rate, low: grid.rate - half, high: grid.rate + half, n })
    }

    fn fit(&self) -> Option<Fitted> {
        let grid = self.grid(self)?;
        let levels = grid.levels();
        let seeds = levels.seed_variance().map(|seeds| (seeds, levels.seeds));
        let spread = Spread::new(&levels.of_question, &grid.clusters, 0.0, seeds.as_slice());
        Some(Fitted { grid, levels, spread })
    }

    /// What its seeds say of the variance between seeds; `None` if it has a single one, or the same answers under all.
    pub fn seed_variance(&self) -> Option<SeedVariance> {
        self.grid(self)?.levels().seed_variance()
    }

    /// The difference of two shares, `self − other`, over the questions that both arms were asked. `seeds` is the variance
    /// between seeds, pooled over the arms of the table. `None` if there is nothing to compare.
    pub fn share_difference(&self, other: &Panel, seeds: Option<SeedVariance>) -> Option<Comparison> {
        self.difference(other, seeds, true)
    }

    /// The difference of two means, `self − other`, as [`share_difference`](Self::share_difference) takes it.
    pub fn mean_difference(&self, other: &Panel, seeds: Option<SeedVariance>) -> Option<Comparison> {
        self.difference(other, seeds, false)
    }

    fn difference(&self, other: &Panel, seeds: Option<SeedVariance>, shares: bool) -> Option<Comparison> {
        let (new, old) = (self.grid(other)?, other.grid(self)?);
        if new.number_of_clusters() < 2 {
            return None;
        }
        let (left, right) = (new.levels(), old.levels());
        let apart: Vec<f64> =
            left.of_question.iter().zip(&right.of_question).map(|(new, old)| new - old).collect();
        // An arm that answers alike under all seeds has no variance between seeds.
        let varies = |levels: &Levels| levels.seeds == 1 || levels.seed_variance().is_some();
        let arms: Vec<(SeedVariance, usize)> = [&left, &right]
            .into_iter()
            .filter(|levels| varies(levels))
            .filter_map(|levels| Some((seeds?, levels.seeds)))
            .collect();
        let pseudo = if shares { 1.0 / left.independent_seeds().min(right.independent_seeds()) } else { 0.0 };
        let spread = Spread::new(&apart, &new.clusters, pseudo, &arms);
        let (of_new, of_old) = (self.by_seed(), other.by_seed());
        let by_seed = of_new.iter().filter_map(|(seed, rate)| Some(rate - of_old.get(seed)?)).collect();
        let n = new.count().min(old.count()).round() as u64;
        let mut comparison = Comparison::new(new.rate - old.rate, spread, n, by_seed);
        if shares {
            let estimate = &mut comparison.estimate;
            (estimate.low, estimate.high) = (estimate.low.max(-1.0), estimate.high.min(1.0));
        }
        Some(comparison)
    }

    /// The values of the questions that `other` has too; `None` if there are none.
    fn grid(&self, other: &Panel) -> Option<Grid> {
        let mut numbers: BTreeMap<&str, usize> = BTreeMap::new();
        let mut grid = Grid { rate: 0.0, clusters: Vec::new(), cells: Vec::new() };
        for (question, (cluster, cells)) in &self.questions {
            if !other.questions.contains_key(question) {
                continue;
            }
            let next = numbers.len();
            grid.clusters.push(*numbers.entry(cluster).or_insert(next));
            grid.cells.push(cells.clone());
        }
        grid.set_rate()?;
        Some(grid)
    }
}

/// The rate of a panel.
struct Fitted {
    grid: Grid,
    levels: Levels,
    spread: Spread,
}

/// The questions that enter an estimate.
struct Grid {
    rate: f64,
    /// The number of each question's cluster, from 0.
    clusters: Vec<usize>,
    /// The values of each question by seed.
    cells: Vec<BTreeMap<u64, Cell>>,
}

/// The residuals of a grid, and what they say of its two levels.
struct Levels {
    seeds: usize,
    /// The mean residual of each question over the seeds.
    of_question: Vec<f64>,
    /// The variance of the rate, as the seeds show it.
    of_seeds: f64,
    /// The part of it that is the interaction's.
    interaction: f64,
    /// The mean square of all residuals.
    mean_square: f64,
}

impl Levels {
    /// What the seeds say of the variance between them; `None` if there is one, or the same answers under all.
    fn seed_variance(&self) -> Option<SeedVariance> {
        // Nothing but rounding.
        let alike = self.interaction + self.of_seeds < 1e-20;
        (self.seeds > 1 && !alike).then(|| SeedVariance::new(self.of_seeds, self.interaction, self.seeds))
    }

    /// As how many independent seeds the seeds count: 1 if the answers are the same under all.
    fn independent_seeds(&self) -> f64 {
        let of_means = squares(&self.of_question) / self.of_question.len() as f64;
        if of_means > 0.0 { (self.mean_square / of_means).clamp(1.0, self.seeds as f64) } else { 1.0 }
    }
}

impl Grid {
    fn number_of_clusters(&self) -> usize {
        self.clusters.iter().max().map_or(0, |last| last + 1)
    }

    fn count(&self) -> f64 {
        self.cells.iter().flat_map(|cells| cells.values()).map(|cell| cell.count).sum()
    }

    fn set_rate(&mut self) -> Option<()> {
        let sum: f64 = self.cells.iter().flat_map(|cells| cells.values()).map(|cell| cell.sum).sum();
        let count = self.count();
        self.rate = sum / count;
        (count > 0.0).then_some(())
    }

    fn levels(&self) -> Levels {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::close;

    /// Answers to 40 questions, two about each clip, under `seeds` seeds; `right` decides by question and seed.
    fn panel(seeds: u64, right: impl Fn(usize, u64) -> bool) -> Panel {
        let mut panel = Panel::default();
        for question in 0..40 {
            for seed in 0..seeds {
                let sum = f64::from(u8::from(right(question, seed)));
                panel.add(&question.to_string(), &(question / 2).to_string(), seed, sum, 1.0);
            }
        }
        panel
    }

    // STAT-1
    #[test]
    fn asking_the_same_questions_again_narrows_no_interval() {
        let untrained = |seeds| panel(seeds, |question, _| question % 3 == 0);
        let (once, five) = (untrained(1).share().unwrap(), untrained(5).share().unwrap());
        close(once.low, five.low);
        close(once.high, five.high);
        assert_eq!((once.n, five.n), (40, 200));
        let other = |seeds| panel(seeds, |question, _| question % 4 == 0);
        let of = |seeds: u64| untrained(seeds).share_difference(&other(seeds), None).unwrap().estimate;
        close(of(1).low, of(5).low);
        close(of(1).high, of(5).high);
    }

    #[test]
    fn questions_of_a_clip_count_as_one_draw_if_they_are_answered_alike() {
        let alike = panel(1, |question, _| question / 2 % 3 == 0).share().unwrap();
        let apart = panel(1, |question, _| question % 3 == 0).share().unwrap();
        let width = |found: Estimate| found.high - found.low;
        assert!(width(alike) > 1.3 * width(apart), "{alike:?} {apart:?}");
    }

    #[test]
    fn answers_to_the_same_questions_are_compared_in_pairs() {
        // The arms differ in two questions of 40 only; independent shares would differ by ±21 points.
        let old = panel(1, |question, _| question % 2 == 0);
        let new = panel(1, |question, _| question % 2 == 0 || question == 7 || question == 21);
        let found = new.share_difference(&old, None).unwrap();
        close(found.estimate.value, 0.05);
        assert!(found.estimate.high - found.estimate.low < 0.2, "{:?}", found.estimate);
        assert!(found.p_value > 0.05 && found.p_value < 0.5, "{}", found.p_value);
        // Without a difference the interval still has a width.
        let same = old.share_difference(&old, None).unwrap();
        assert!(same.estimate.high > 0.02 && same.p_value == 1.0, "{same:?}");
    }

    #[test]
    fn seeds_that_differ_widen_the_interval() {
        let alike = panel(4, |question, seed| (question + seed as usize).is_multiple_of(2));
        let apart = panel(4, |question, seed| question < 12 * seed as usize);
        let error = |panel: &Panel| {
            let found = panel.share().unwrap();
            found.high - found.low
        };
        assert!(error(&apart) > 1.5 * error(&alike), "{} {}", error(&apart), error(&alike));
        let seeds = SeedVariance::pooled([&alike, &apart].into_iter().filter_map(Panel::seed_variance));
        let paired = apart.share_difference(&alike, seeds).unwrap();
        assert_eq!(paired.by_seed.len(), 4);
        assert!(paired.estimate.includes_zero(), "{:?}", paired.estimate);
    }

    #[test]
    fn questions_that_one_arm_was_not_asked_are_left_out_of_a_comparison() {
        let mut old = panel(1, |question, _| question % 2 == 0);
        old.add("only here", "elsewhere", 0, 1.0, 1.0);
        let new = panel(1, |question, _| question % 2 == 0);
        assert_eq!(new.share_difference(&old, None).unwrap().estimate.value, 0.0);
        let nothing = Panel::default();
        assert!(new.share_difference(&nothing, None).is_none() && nothing.share().is_none());
    }

    #[test]
    fn the_mean_of_lengths_is_the_textbook_s() {
        let mut lengths = Panel::default();
        for (question, tokens) in [1.0, 2.0, 4.0, 8.0, 10.0].into_iter().enumerate() {
            lengths.add(&question.to_string(), &question.to_string(), 1, tokens, 1.0);
        }
        // Mean 5, variance 15, of the mean 3; Student's quantile with 4 degrees of freedom is 2.776.
        let found = lengths.mean().unwrap();
        close(found.value, 5.0);
        close(found.high - found.value, 4.8089);
    }
}
