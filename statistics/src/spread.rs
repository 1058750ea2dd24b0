//! The variance of an estimate: its parts, its degrees of freedom, its quantiles.

use statrs::distribution::{ContinuousCDF, StudentsT};

/// The variance of a rate between training seeds, as one arm or several show it.
#[derive(Clone, Copy, Debug, Default)]
pub struct SeedVariance {
    /// Of the rate of a single seed; below 0 if the seeds differ less than their answers would by chance.
    variance: f64,
    /// The same with the part of chance, which `variance` is without.
    with_chance: f64,
    freedom: f64,
}

impl SeedVariance {
    /// From the variance of the rate of `seeds` seeds, as the seeds show it, and the part of it that is chance.
    pub(crate) fn new(of_seeds: f64, interaction: f64, seeds: usize) -> Self {
        let seeds = seeds as f64;
        SeedVariance {
            variance: (of_seeds - interaction) * seeds,
            with_chance: of_seeds * seeds,
            freedom: seeds - 1.0,
        }
    }

    /// The variance over several arms, each counted by its number of seeds.
    pub fn pooled(arms: impl IntoIterator<Item = SeedVariance>) -> Option<Self> {
        let mut total = SeedVariance::default();
        for arm in arms {
            total.variance += arm.variance * arm.freedom;
            total.with_chance += arm.with_chance * arm.freedom;
            total.freedom += arm.freedom;
        }
        (total.freedom > 0.0).then(|| SeedVariance {
            variance: total.variance / total.freedom,
            with_chance: total.with_chance / total.freedom,
            freedom: total.freedom,
        })
    }
}

/// The variance of an estimate.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spread {
    /// The part of the questions, that of the interaction included.
    pub(crate) questions: f64,
    /// The part of the seeds alone; 0 with a single seed.
    pub(crate) seeds: f64,
    /// Degrees of freedom.
    pub(crate) freedom: f64,
    pub(crate) number_of_questions: usize,
    pub(crate) number_of_seeds: usize,
}

impl Spread {
    /// The variance of the mean of residuals by question, and of the seeds: for each arm the variance between seeds, their number,
    /// and the square of the arm's weight. `pseudo` is added to the squares of the questions, with two questions more.
    pub(crate) fn new(
        residuals: &[f64],
        clusters: &[usize],
        pseudo: f64,
        arms: &[(SeedVariance, usize, f64)],
    ) -> Self {
        let number_of_clusters = clusters.iter().max().map_or(1, |last| last + 1);
        let mut sums = vec![0.0; number_of_clusters];
        for (residual, &cluster) in residuals.iter().zip(clusters) {
            sums[cluster] += residual;
        }
        let (q, c) = (residuals.len() as f64, number_of_clusters as f64);
        let more = if pseudo > 0.0 { q + 2.0 } else { q };
        let questions = c / (c - 1.0).max(1.0) * (squares(&sums) + pseudo) / (more * more);
        let seeds: f64 = arms
            .iter()
            .map(|(seeds, number, square)| square * seeds.variance.max(0.0) / *number as f64)
            .sum();
        // What is uncertain in the part of the seeds is the variance between them before that of chance is subtracted.
        let uncertain: f64 =
            arms.iter().map(|(seeds, number, square)| square * seeds.with_chance / *number as f64).sum();
        let of_seeds = arms.first().map_or(1.0, |(seeds, ..)| seeds.freedom);
        let freedom = satterthwaite(questions + seeds, &[(questions, c - 1.0), (uncertain, of_seeds)]);
        Spread {
            questions,
            seeds,
            freedom,
            number_of_questions: residuals.len(),
            number_of_seeds: arms.iter().map(|(_, number, _)| *number).min().unwrap_or(1),
        }
    }

    /// The standard error.
    pub(crate) fn error(&self) -> f64 {
        (self.questions + self.seeds).sqrt()
    }

    /// Student's quantile: `0.975` for the ends of a 95 % interval.
    pub(crate) fn quantile(&self, probability: f64) -> f64 {
        student(self.freedom).inverse_cdf(probability)
    }

    /// The p-value of a value against 0, two-sided.
    pub(crate) fn p_value(&self, value: f64) -> f64 {
        match self.error() {
            error if error > 0.0 => 2.0 * student(self.freedom).cdf(-(value / error).abs()),
            _ if value == 0.0 => 1.0,
            _ => 0.0,
        }
    }
}

/// Beyond a million degrees of freedom, Student's distribution is the normal one to all digits that are shown.
fn student(freedom: f64) -> StudentsT {
    StudentsT::new(0.0, 1.0, freedom.clamp(1.0, 1e6)).expect("the scale and the freedom are positive")
}

/// The sum of the squares.
pub(crate) fn squares(values: &[f64]) -> f64 {
    values.iter().map(|value| value * value).sum()
}

/// Satterthwaite's degrees of freedom of a variance that is computed from others, each with its own.
fn satterthwaite(variance: f64, parts: &[(f64, f64)]) -> f64 {
    let squares: f64 = parts.iter().map(|(part, freedom)| part * part / freedom.max(1.0)).sum();
    if squares > 0.0 { variance * variance / squares } else { f64::INFINITY }
}
