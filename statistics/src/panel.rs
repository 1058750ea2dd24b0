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

use std::collections::BTreeMap;

use crate::contrast::Contrasts;
use crate::decide::Comparison;
use crate::grid::{Cell, Grid, Levels};
use crate::spread::{SeedVariance, Spread};
use crate::{Estimate, wilson};

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
        let grid = self.grid(&[])?;
        let levels = grid.levels();
        let seeds = levels.seed_variance().map(|seeds| (seeds, levels.seeds, 1.0));
        let spread = Spread::new(&levels.of_question, &grid.clusters, 0.0, seeds.as_slice());
        Some(Fitted { grid, levels, spread })
    }

    /// What its seeds say of the variance between seeds; `None` if it has a single one, or the same answers under all.
    pub fn seed_variance(&self) -> Option<SeedVariance> {
        self.grid(&[])?.levels().seed_variance()
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
        let contrasts = if shares {
            Panel::share_contrasts(&[self, other])
        } else {
            Panel::mean_contrasts(&[self, other])
        };
        contrasts?.of(&[1.0, -1.0], seeds)
    }

    /// The contrasts of the shares of these arms, over the questions that all of them were asked. `None` if there is nothing to
    /// compare.
    pub fn share_contrasts(arms: &[&Panel]) -> Option<Contrasts> {
        Self::contrasts(arms, true)
    }

    /// The contrasts of their means, as [`share_contrasts`](Self::share_contrasts) takes them.
    pub fn mean_contrasts(arms: &[&Panel]) -> Option<Contrasts> {
        Self::contrasts(arms, false)
    }

    fn contrasts(arms: &[&Panel], shares: bool) -> Option<Contrasts> {
        let grids = arms.iter().map(|arm| Some((arm.grid(arms)?, arm.by_seed())));
        Contrasts::new(grids.collect::<Option<Vec<_>>>()?, shares)
    }

    /// The values of the questions that all of `others` have too; `None` if there are none.
    fn grid(&self, others: &[&Panel]) -> Option<Grid> {
        let mut numbers: BTreeMap<&str, usize> = BTreeMap::new();
        let mut grid = Grid::default();
        for (question, (cluster, cells)) in &self.questions {
            if !others.iter().all(|other| other.questions.contains_key(question)) {
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
