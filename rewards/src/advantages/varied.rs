//! Max-variance down-sampling: of many completions of a prompt, those are trained on whose rewards differ most
//! (arXiv 2504.13818).
//!
//! A subset of given size has the greatest variance if it consists of the lowest and the highest rewards; how many of
//! each is found by trying all splits.

/// The places of the completions that are left out when `keep` of each group stay. Completions without a reward are not
/// compared anyway and are not named; groups with at most `keep` rewards stay whole. Among equal rewards the earlier
/// completion stays.
pub(super) fn most_varied(scored: &[Option<f64>], group_size: usize, keep: usize) -> Vec<usize> {
    let mut left_out = Vec::new();
    for (group, rewards) in scored.chunks(group_size).enumerate() {
        let mut places: Vec<(f64, usize)> = rewards
            .iter()
            .enumerate()
            .filter_map(|(place, reward)| reward.map(|reward| (reward, group * group_size + place)))
            .collect();
        if places.len() <= keep {
            continue;
        }
        let lowest = lowest_to_keep(&mut places, keep);
        let highest = keep - lowest;
        // From above, the earlier of equal rewards would come last.
        let mut rest = places.split_off(lowest);
        rest.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        left_out.extend(rest.into_iter().skip(highest).map(|(_, place)| place));
    }
    left_out.sort_unstable();
    left_out
}

/// Sorts the rewards, and returns how many of the lowest belong to the subset of `keep` with the greatest variance; the
/// others are the highest.
fn lowest_to_keep(places: &mut [(f64, usize)], keep: usize) -> usize {
    places.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    let variance = |lowest: usize| {
        let chosen = || places[..lowest].iter().chain(&places[places.len() - (keep - lowest)..]).map(|p| p.0);
        let mean = chosen().sum::<f64>() / keep as f64;
        chosen().map(|reward| (reward - mean).powi(2)).sum::<f64>()
    };
    // Of equal splits the one that keeps most of the lowest, which come first in their group.
    (0..=keep).max_by(|a, b| variance(*a).total_cmp(&variance(*b))).unwrap_or(keep)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::advantages::{AdvantageOptions, Estimator, Part, Scale, advantages, decoupled_advantages};

    /// An xorshift generator of numbers below a bound.
    fn generator() -> impl FnMut(u64) -> u64 {
        let mut state = 0x2545_f491_4f6c_dd1d_u64;
        move |below| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state % below
        }
    }

    fn variance(rewards: &[f64]) -> f64 {
        let mean = rewards.iter().sum::<f64>() / rewards.len() as f64;
        rewards.iter().map(|reward| (reward - mean).powi(2)).sum()
    }

    /// The greatest variance of all subsets of `keep`.
    fn greatest(rewards: &[f64], keep: usize) -> f64 {
        let subsets = (0_u32..1 << rewards.len()).filter(|subset| subset.count_ones() as usize == keep);
        let of = |subset: u32| {
            let chosen: Vec<f64> =
                (0..rewards.len()).filter(|i| subset >> i & 1 == 1).map(|i| rewards[i]).collect();
            variance(&chosen)
        };
        subsets.map(of).fold(0.0, f64::max)
    }

    #[test]
    fn what_stays_has_the_greatest_variance_of_all_subsets() {
        let mut draw = generator();
        for _ in 0..200 {
            let size = 2 + draw(8) as usize;
            let keep = 2 + draw(size as u64 - 1) as usize;
            let levels = 2 + draw(4);
            let scored: Vec<Option<f64>> =
                (0..3 * size).map(|_| (draw(8) > 0).then(|| draw(levels) as f64 / 2.0)).collect();
            let left_out = most_varied(&scored, size, keep);
            for group in 0..3 {
                let places = || group * size..(group + 1) * size;
                let all: Vec<f64> = places().filter_map(|place| scored[place]).collect();
                let stay: Vec<f64> = places()
                    .filter(|place| !left_out.contains(place))
                    .filter_map(|place| scored[place])
                    .collect();
                assert_eq!(stay.len(), all.len().min(keep));
                if all.len() > keep {
                    assert!((variance(&stay) - greatest(&all, keep)).abs() < 1e-9, "{all:?} {stay:?}");
                }
            }
        }
    }

    #[test]
    fn of_equal_rewards_the_earlier_stay() {
        let scored = [1.0, 0.0, 1.0, 0.0, 1.0, 1.0].map(Some);
        assert_eq!(most_varied(&scored, 6, 4), [4, 5]);
        assert_eq!(most_varied(&[0.5; 6].map(Some), 6, 4), [4, 5]);
        assert_eq!(most_varied(&[None, Some(1.0), None, Some(0.0)], 4, 2), [0; 0]);
    }

    /// ADV-6: the advantages of what is left are those of a step without what is left out.
    #[test]
    fn what_is_left_out_does_not_enter_the_advantages_of_the_rest() {
        let mut draw = generator();
        let mut compared = 0;
        for _ in 0..200 {
            let size = 4;
            let column = |draw: &mut dyn FnMut(u64) -> u64| -> Vec<Option<f64>> {
                (0..3 * size).map(|_| (draw(9) > 0).then(|| draw(3) as f64)).collect()
            };
            let (first, second) = (column(&mut draw), column(&mut draw));
            let rewards: Vec<Option<f64>> =
                first.iter().zip(&second).map(|(a, b)| Some((*a)? + (*b)?)).collect();
            let keep = 2 + draw(3) as usize;
            let left_out = most_varied(&rewards, size, keep);
            let equal = |group: usize| {
                let places = group * size..(group + 1) * size;
                let stay =
                    places.filter(|place| !left_out.contains(place)).filter_map(|place| rewards[place]);
                let stay: Vec<f64> = stay.collect();
                stay.len() >= 2 && stay.iter().all(|reward| *reward == stay[0])
            };
            let without = |column: &[Option<f64>], equal_too: bool| -> Vec<Option<f64>> {
                let stays = |place: usize| !(left_out.contains(&place) || equal_too && equal(place / size));
                column.iter().enumerate().map(|(place, score)| score.filter(|_| stays(place))).collect()
            };
            let all = AdvantageOptions { scale: Scale::Batch, ..AdvantageOptions::default() };
            for estimator in [
                Estimator::GroupRelative,
                Estimator::Gdpo,
                Estimator::Rloo,
                Estimator::ReinforcePlusPlus,
                Estimator::ReinforcePlusPlusBaseline,
            ] {
                let all = AdvantageOptions { estimator, ..all };
                let fewer = AdvantageOptions { keep, discard_equal: true, ..all };
                let of = |rewards: &[Option<f64>], parts: [&[Option<f64>]; 2], options: &AdvantageOptions| {
                    let part = |values: &[Option<f64>]| Part { coefficient: 1.0, values: values.to_vec() };
                    match options.estimator {
                        Estimator::Gdpo => decoupled_advantages(rewards, &parts.map(part), size, options),
                        _ => advantages(rewards, size, options),
                    }
                };
                let found = of(&rewards, [&first, &second], &fewer);
                let rest = without(&rewards, true);
                let expected = of(&rest, [&without(&first, false), &without(&second, false)], &all);
                for (place, advantage) in found.values.iter().enumerate() {
                    let expected = match expected.values[place] {
                        None if equal(place / size) && !left_out.contains(&place) => {
                            rewards[place].map(|_| 0.0)
                        }
                        advantage => advantage,
                    };
                    assert_eq!(*advantage, expected, "{estimator:?} {rewards:?} keep {keep}");
                    compared += usize::from(advantage.is_some_and(|advantage| advantage != 0.0));
                }
                let discarded = (0..3).filter(|group| equal(*group)).count();
                assert!(found.zero_std_groups >= discarded, "{found:?}");
                assert!(found.excluded_groups.iter().all(|group| !equal(*group)), "{found:?}");
            }
        }
        assert!(compared > 1000, "{compared}");
    }
}
