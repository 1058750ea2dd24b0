//! Which rank trains on which groups of a step.

/// The places of the groups of each rank, in order. The largest group goes first, to the rank with the fewest tokens so far;
/// among equals the earlier group and the lower rank come first, so that the split follows from the sizes alone.
pub(crate) fn split(tokens: &[usize], ranks: usize) -> Vec<Vec<usize>> {
    let mut order: Vec<usize> = (0..tokens.len()).collect();
    order.sort_by_key(|place| std::cmp::Reverse(tokens[*place]));
    let mut shares = vec![Vec::new(); ranks];
    let mut loads = vec![0usize; ranks];
    for place in order {
        let rank = (0..ranks).min_by_key(|rank| loads[*rank]).unwrap_or(0);
        loads[rank] += tokens[place];
        shares[rank].push(place);
    }
    shares.iter_mut().for_each(|share| share.sort_unstable());
    shares
}

#[cfg(test)]
mod tests {
    use super::split;

    #[test]
    fn every_group_goes_to_one_rank_and_loads_are_even() {
        // 9 | 7; 7 + 5; 9 + 4; 12 + 3 against 13.
        assert_eq!(split(&[3, 9, 4, 7, 5], 2), [vec![1, 2], vec![0, 3, 4]]);
        assert_eq!(split(&[5, 5, 5, 5], 2), [vec![0, 2], vec![1, 3]]);
        assert_eq!(split(&[3, 9, 4], 1), [vec![0, 1, 2]]);
    }

    #[test]
    fn a_rank_without_a_group_has_an_empty_share() {
        assert_eq!(split(&[2], 3), [vec![0], vec![], vec![]]);
        assert_eq!(split(&[], 2), [vec![0usize; 0], vec![]]);
    }
}
