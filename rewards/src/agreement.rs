//! How far two assignments of advantages to the same completions agree: as they were recorded, and as other weights or
//! another formula would have made them.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

/// The agreement of the advantages of some completions before and after a change.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Agreement {
    /// Completions with an advantage in both cases, of which the figures below are.
    pub compared: u64,
    /// Completions with an advantage after the change only.
    pub gained: u64,
    /// Completions with an advantage before the change only.
    pub lost: u64,
    /// Share of the compared completions whose advantage has the other sign; 0 counts as a sign of its own. `None` if
    /// nothing is compared.
    pub changed_signs: Option<f64>,
    /// Spearman's rank correlation; `None` if one side is constant or nothing is compared.
    pub rank_correlation: Option<f64>,
    /// The largest difference between two advantages of a completion; 0 if nothing is compared.
    pub largest_difference: f64,
}

impl Agreement {
    /// Compares advantages place by place; `None` where a completion has none.
    pub fn of(before: &[Option<f64>], after: &[Option<f64>]) -> Self {
        let mut found = Agreement::default();
        let mut pairs = [Vec::new(), Vec::new()];
        let mut changed = 0_u64;
        for (before, after) in before.iter().zip(after) {
            match (before, after) {
                (Some(before), Some(after)) => {
                    changed += u64::from(sign(*before) != sign(*after));
                    found.largest_difference = found.largest_difference.max((before - after).abs());
                    pairs[0].push(*before);
                    pairs[1].push(*after);
                }
                (None, Some(_)) => found.gained += 1,
                (Some(_), None) => found.lost += 1,
                (None, None) => {}
            }
        }
        found.compared = pairs[0].len() as u64;
        found.changed_signs = (found.compared > 0).then(|| changed as f64 / found.compared as f64);
        found.rank_correlation = rank_correlation(&pairs);
        found
    }
}

/// −1, 0 or 1.
fn sign(advantage: f64) -> i8 {
    i8::from(advantage > 0.0) - i8::from(advantage < 0.0)
}

/// Spearman's rank correlation; equal values have the mean of their ranks.
fn rank_correlation(pairs: &[Vec<f64>; 2]) -> Option<f64> {
    let [first, second] = [ranks(&pairs[0]), ranks(&pairs[1])];
    let mean = (first.len() as f64 + 1.0) / 2.0;
    let product = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| (a - mean) * (b - mean)).sum::<f64>();
    let spread = (product(&first, &first) * product(&second, &second)).sqrt();
    (spread > 0.0).then(|| product(&first, &second) / spread)
}

fn ranks(values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|a, b| values[*a].total_cmp(&values[*b]));
    let mut ranks = vec![0.0; values.len()];
    let mut equal: BTreeMap<u64, (f64, u64)> = BTreeMap::new();
    for (rank, &place) in order.iter().enumerate() {
        // −0 and 0 are equal.
        match equal.entry((values[place] + 0.0).to_bits()) {
            Entry::Vacant(entry) => drop(entry.insert((rank as f64 + 1.0, 1))),
            Entry::Occupied(mut entry) => {
                entry.get_mut().0 += rank as f64 + 1.0;
                entry.get_mut().1 += 1;
            }
        }
    }
    for (rank, value) in ranks.iter_mut().zip(values) {
        if let Some((sum, count)) = equal.get(&(value + 0.0).to_bits()) {
            *rank = sum / *count as f64;
        }
    }
    ranks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_values_share_their_rank() {
        assert_eq!(ranks(&[0.5, -1.0, 0.5, 2.0, 0.0, -0.0]), [4.5, 1.0, 4.5, 6.0, 2.5, 2.5]);
    }

    #[test]
    fn the_rank_correlation_is_of_ranks_and_not_of_values() {
        let close = |found: Option<f64>, expected: f64| assert!((found.unwrap() - expected).abs() < 1e-12);
        close(rank_correlation(&[vec![1.0, 2.0, 3.0], vec![1.0, 10.0, 1000.0]]), 1.0);
        close(rank_correlation(&[vec![1.0, 2.0, 3.0], vec![3.0, 2.0, -5.0]]), -1.0);
        // Ranks 1 2 3 4 and 2 1 4 3: 1 − 6·4/(4·15).
        close(rank_correlation(&[vec![1.0, 2.0, 3.0, 4.0], vec![2.0, 1.0, 9.0, 3.0]]), 0.6);
        assert_eq!(rank_correlation(&[vec![1.0, 1.0], vec![1.0, 2.0]]), None);
    }

    #[test]
    fn only_completions_with_both_advantages_are_compared() {
        let before = [Some(1.0), Some(-0.5), Some(0.0), None, Some(2.0), None];
        let after = [Some(0.5), Some(0.5), Some(0.0), Some(1.0), None, None];
        let found = Agreement::of(&before, &after);
        assert_eq!((found.compared, found.gained, found.lost), (3, 1, 1));
        // One of three changes its sign; |−0.5 − 0.5| is the largest difference.
        assert_eq!((found.changed_signs, found.largest_difference), (Some(1.0 / 3.0), 1.0));
        // Ranks 3 1 2 and 2.5 2.5 1: Σ = 0.5·1 + (−1)·0.5 + 0 = 0.
        assert_eq!(found.rank_correlation, Some(0.0));
        let nothing = Agreement::of(&[None], &[Some(1.0)]);
        assert_eq!((nothing.gained, nothing.changed_signs, nothing.rank_correlation), (1, None, None));
    }
}
