//! HGPO (<https://arxiv.org/abs/2505.14631>): completions that think are compared with each other, those that do not likewise, and
//! the two modes with one another.
//!
//! Within a group, a completion counts 1 if its reward is the greatest of its mode, else 0; its advantage is that number less its
//! mean over the group, divided by its deviation. A mode counts 1 if its mean reward is the greater one, where thinking has to be
//! better by a margin; that advantage, times a coefficient, is added for the first token of a completion alone.
//!
//! The paper takes one completion as the best of its mode. Here all with the greatest reward are, so that the order of equal
//! ones does not matter.

use super::{AdvantageOptions, Advantages, Estimator, Scale, advantages};

/// Computes the advantages of a step by HGPO. `thinks` says of each completion whether it thinks.
pub fn hybrid_advantages(
    rewards: &[Option<f64>],
    thinks: &[bool],
    group_size: usize,
    options: &AdvantageOptions,
) -> Advantages {
    let relative = AdvantageOptions { estimator: Estimator::GroupRelative, scale: Scale::Group, ..*options };
    // It decides which groups and which completions count.
    let compared = advantages(rewards, group_size, &relative);
    let counted: Vec<Option<f64>> = rewards
        .iter()
        .zip(&compared.values)
        .map(|(reward, advantage)| reward.filter(|_| advantage.is_some()))
        .collect();
    let (mut best, mut better) = (Vec::with_capacity(rewards.len()), Vec::with_capacity(rewards.len()));
    let size = group_size.max(1);
    for (rewards, thinks) in counted.chunks(size).zip(thinks.chunks(size)) {
        let of_mode = |mode: bool| {
            let of = rewards.iter().zip(thinks).filter(move |(_, thinks)| **thinks == mode);
            of.filter_map(|(reward, _)| *reward)
        };
        let greatest = |mode| of_mode(mode).fold(f64::NEG_INFINITY, f64::max);
        let mean = |mode| {
            let (sum, count) =
                of_mode(mode).fold((0.0, 0.0), |(sum, count), reward| (sum + reward, count + 1.0));
            (count > 0.0).then(|| sum / count)
        };
        let thinking_is_better = match (mean(true), mean(false)) {
            (Some(thinking), Some(without)) => Some(thinking > without + options.mode_margin),
            // With one mode there is nothing to compare.
            _ => None,
        };
        for (reward, &thinks) in rewards.iter().zip(thinks) {
            let is = |holds: bool| f64::from(u8::from(holds));
            best.push(reward.map(|reward| is(reward == greatest(thinks))));
            better.push(reward.and(thinking_is_better).map(|better| is(better == thinks)));
        }
    }
    // What was left out once is missing here already.
    let plain = AdvantageOptions { keep: 0, discard_equal: false, ..relative };
    let within = advantages(&best, group_size, &plain);
    let between = advantages(&better, group_size, &plain);
    let of_modes: Vec<f64> =
        between.values.iter().map(|value| options.mode_coefficient * value.unwrap_or_default()).collect();
    let values: Vec<Option<f64>> = compared
        .values
        .iter()
        .zip(&within.values)
        .map(|(compared, within)| compared.map(|_| within.unwrap_or_default()))
        .collect();
    let learns = |group: usize| {
        let rows = group * size..((group + 1) * size).min(values.len());
        rows.into_iter().any(|row| values[row].is_some_and(|value| value != 0.0) || of_modes[row] != 0.0)
    };
    let groups = 0..values.len().div_ceil(size);
    let zero_std_groups =
        groups.filter(|group| !compared.excluded_groups.contains(group) && !learns(*group)).count();
    Advantages { values, of_modes, zero_std_groups, excluded_groups: compared.excluded_groups }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXACT: AdvantageOptions = AdvantageOptions {
        estimator: Estimator::Hgpo,
        scale: Scale::Group,
        epsilon: 0.0,
        keep: 0,
        discard_equal: false,
        mode_margin: 0.2,
        mode_coefficient: 0.5,
    };

    fn close(found: &[f64], expected: &[f64]) {
        assert_eq!(found.len(), expected.len());
        for (found, expected) in found.iter().zip(expected) {
            assert!((found - expected).abs() < 1e-12, "{found} is not {expected}");
        }
    }

    #[test]
    fn the_best_of_each_mode_counts_and_the_better_mode() {
        // Thinking: 1, 0; without: 0.5, 0.5. Best: 1 0 1 1, mean 0.75, deviation 0.5.
        let rewards = [1.0, 0.0, 0.5, 0.5].map(Some);
        let thinks = [true, true, false, false];
        let found = hybrid_advantages(&rewards, &thinks, 4, &EXACT);
        let values: Vec<f64> = found.values.iter().flatten().copied().collect();
        close(&values, &[0.5, -1.5, 0.5, 0.5]);
        // Both means are 0.5, so thinking is not better by 0.2: 0 0 1 1, mean 0.5, deviation sqrt(1/3), times 0.5.
        let mode = 0.25 * 3f64.sqrt();
        close(&found.of_modes, &[-mode, -mode, mode, mode]);
        let better = hybrid_advantages(&[0.9, 0.8, 0.5, 0.5].map(Some), &thinks, 4, &EXACT);
        close(&better.of_modes, &[mode, mode, -mode, -mode]);
    }

    #[test]
    fn groups_of_one_mode_or_without_rewards_are_compared_as_far_as_they_can_be() {
        let rewards = [Some(1.0), Some(0.0), None, Some(1.0), Some(1.0), Some(1.0)];
        let thinks = [false, false, true, true, false, true];
        let found = hybrid_advantages(&rewards, &thinks, 2, &EXACT);
        let half = 0.5f64.sqrt();
        assert_eq!(found.excluded_groups, [1]);
        assert_eq!((found.values[2], found.values[3]), (None, None));
        close(&[found.values[0].unwrap(), found.values[1].unwrap()], &[half, -half]);
        close(&found.of_modes[..2], &[0.0, 0.0]);
        // Equal rewards in both modes: each is the best of its own, and not thinking is the better mode.
        assert_eq!((found.values[4], found.values[5]), (Some(0.0), Some(0.0)));
        close(&found.of_modes[4..], &[0.5 * half, -0.5 * half]);
        assert_eq!(found.zero_std_groups, 0);
        let alike = hybrid_advantages(&[1.0, 1.0].map(Some), &[true, true], 2, &EXACT);
        assert_eq!((alike.zero_std_groups, alike.values), (1, vec![Some(0.0), Some(0.0)]));
    }

    /// Against the equations of the module's comment, written group by group.
    #[test]
    fn random_steps_with_missing_rewards_equal_the_equations() {
        let mut state = 11u64;
        let mut draw = |below: u64| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state % below
        };
        for _ in 0..200 {
            let (groups, size) = (1 + draw(3) as usize, 2 + draw(5) as usize);
            let rewards: Vec<Option<f64>> =
                (0..groups * size).map(|_| (draw(6) > 0).then(|| draw(4) as f64)).collect();
            let thinks: Vec<bool> = (0..groups * size).map(|_| draw(2) == 0).collect();
            let options = AdvantageOptions { epsilon: 1e-4, ..EXACT };
            let found = hybrid_advantages(&rewards, &thinks, size, &options);
            for group in 0..groups {
                let scored: Vec<usize> =
                    (group * size..(group + 1) * size).filter(|row| rewards[*row].is_some()).collect();
                if scored.len() < 2 {
                    assert!(found.excluded_groups.contains(&group));
                    continue;
                }
                let normalized = |numbers: &[f64]| -> Vec<f64> {
                    let mean = numbers.iter().sum::<f64>() / numbers.len() as f64;
                    let squares: f64 = numbers.iter().map(|x| (x - mean).powi(2)).sum();
                    let std = (squares / (numbers.len() as f64 - 1.0)).sqrt();
                    numbers.iter().map(|x| if std == 0.0 { 0.0 } else { (x - mean) / (std + 1e-4) }).collect()
                };
                let of = |mode: bool| -> Vec<f64> {
                    scored
                        .iter()
                        .filter(|row| thinks[**row] == mode)
                        .filter_map(|row| rewards[*row])
                        .collect()
                };
                let best = |row: usize| {
                    of(thinks[row]).iter().all(|other| *other <= rewards[row].unwrap_or_default())
                };
                let mean = |numbers: &[f64]| numbers.iter().sum::<f64>() / numbers.len() as f64;
                let is = |holds: bool| f64::from(u8::from(holds));
                let within = normalized(&scored.iter().map(|row| is(best(*row))).collect::<Vec<_>>());
                let both = !of(true).is_empty() && !of(false).is_empty();
                let thinking = both && mean(&of(true)) > mean(&of(false)) + 0.2;
                let between: Vec<f64> =
                    scored.iter().map(|row| is(both && thinks[*row] == thinking)).collect();
                let between = normalized(&between);
                for (place, row) in scored.into_iter().enumerate() {
                    close(
                        &[found.values[row].unwrap(), found.of_modes[row]],
                        &[within[place], 0.5 * between[place]],
                    );
                }
            }
        }
    }
}
