//! How the reward components of an arm's completions go together. Two components that always agree teach the same thing, and
//! two that go against each other are weighed against each other by every step.

use std::collections::BTreeMap;

use serde::Serialize;

/// The correlation of two reward components over the completions that an arm was trained on.
#[derive(Clone, Debug, Serialize)]
pub struct Correlation {
    /// The names of the two components.
    pub components: [String; 2],
    /// Pearson's coefficient, −1 to 1.
    pub r: f64,
    /// Number of completions that have both scores.
    pub n: u64,
}

/// The sums of which correlations are made, by pair of names in their order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sums(BTreeMap<(String, String), Pair>);

#[derive(Clone, Copy, Debug, Default)]
struct Pair {
    n: f64,
    sum: [f64; 2],
    squares: [f64; 2],
    product: f64,
}

impl Sums {
    /// Adds the scores of a completion.
    pub(crate) fn add(&mut self, components: &BTreeMap<String, Option<f64>>) {
        let scores: Vec<(&String, f64)> = components
            .iter()
            .filter_map(|(name, score)| Some((name, score.filter(|score| score.is_finite())?)))
            .collect();
        for (at, &(name, score)) in scores.iter().enumerate() {
            for &(other, second) in &scores[at + 1..] {
                // Names are copied once, for the first completion.
                let key = (name.clone(), other.clone());
                let pair = self.0.entry(key).or_default();
                pair.n += 1.0;
                pair.sum = [pair.sum[0] + score, pair.sum[1] + second];
                pair.squares = [pair.squares[0] + score * score, pair.squares[1] + second * second];
                pair.product += score * second;
            }
        }
    }
}

impl Pair {
    fn plus(self, other: Pair) -> Pair {
        let both = |a: [f64; 2], b: [f64; 2]| [a[0] + b[0], a[1] + b[1]];
        Pair {
            n: self.n + other.n,
            sum: both(self.sum, other.sum),
            squares: both(self.squares, other.squares),
            product: self.product + other.product,
        }
    }

    /// `None` if one of the components is the same everywhere.
    fn correlation(&self) -> Option<f64> {
        let covariance = self.product - self.sum[0] * self.sum[1] / self.n;
        let spread = |which: usize| self.squares[which] - self.sum[which] * self.sum[which] / self.n;
        let (first, second) = (spread(0), spread(1));
        // What rounding leaves of scores of about 1 that are all the same.
        let constant = 1e-9 * self.n;
        (first > constant && second > constant).then(|| covariance / (first * second).sqrt())
    }
}

/// The correlations over all seeds of an arm, in the order of the names.
pub(crate) fn correlations<'a>(seeds: impl Iterator<Item = &'a Sums>) -> Vec<Correlation> {
    let mut pairs: BTreeMap<&(String, String), Pair> = BTreeMap::new();
    for (names, pair) in seeds.flat_map(|sums| &sums.0) {
        let sum = pairs.entry(names).or_default();
        *sum = sum.plus(*pair);
    }
    let found = pairs.into_iter().filter_map(|((one, other), pair)| {
        let components = [one.clone(), other.clone()];
        Some(Correlation { components, r: pair.correlation()?, n: pair.n as u64 })
    });
    found.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_correlation_is_that_of_the_completions_with_both_scores() {
        let mut sums = Sums::default();
        // a: 1, 2, 3; b: 2, 4, 5; r = 1.5 / √(1 · 2.333) = 0.98198. One row has no b.
        let rows = [(1.0, Some(2.0)), (2.0, Some(4.0)), (3.0, Some(5.0)), (9.0, None)];
        for (a, b) in rows {
            sums.add(&[("a".to_owned(), Some(a)), ("b".to_owned(), b), ("c".to_owned(), Some(0.1))].into());
        }
        let of = |one: &str, other: &str| sums.0[&(one.to_owned(), other.to_owned())];
        assert!((of("a", "b").correlation().unwrap() - 0.981_980_5).abs() < 1e-7);
        assert_eq!(of("a", "b").n, 3.0);
        assert_eq!(of("a", "c").correlation(), None, "c is the same everywhere");
        assert!((of("a", "b").plus(of("a", "b")).correlation().unwrap() - 0.981_980_5).abs() < 1e-7);
    }
}
