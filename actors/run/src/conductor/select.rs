//! Which rows a GRPO step asks, and which it asks in place of those from which nothing is learned.

use std::collections::{BTreeMap, HashSet};

use rand::Rng;
use runtime::seed::{Purpose, generator};
use scenarios::SelectionConfig;

use crate::context::ArmContext;
use crate::rows::Row;

/// How many rows are drawn at most to find one that may be asked.
const DRAWS: usize = 64;

/// Distance from the preferred pass rate at which a question is e times less likely to be asked again.
const WIDTH: f64 = 0.15;

/// The rows that `step`, counted from 0, begins with: the next of the epoch, some of them replaced as `[selection]` says.
pub(super) fn rows_of_step(arm: &ArmContext, step: u64) -> Vec<Row> {
    let (count, selection) = (arm.config.sampling.prompts_per_step, &arm.config.selection);
    if !selection.uses_pass_rates() {
        return arm.rows.of_step(step, count);
    }
    let rates = known_rates(arm, step);
    let mut random = generator(arm.id.seed, Purpose::Selection, &[step]);
    let revisits = Revisits::before(step, selection, count);
    let first = step * count as u64 - revisits.earlier;
    let mut rows = arm.rows.next(first, count - revisits.now);
    let mut taken: HashSet<usize> = rows.iter().map(|row| row.place).collect();
    for row in &mut rows {
        if !may_be_asked(rates.get(&row.place), selection)
            && let Some(other) = draw(arm, &mut random, &rates, &taken)
        {
            taken.insert(other.place);
            *row = other;
        }
    }
    let target = target(selection, step, arm.config.steps);
    for _ in 0..revisits.now {
        let row = revisit(arm, &mut random, &rates, target, &taken);
        if let Some(row) = row.or_else(|| draw(arm, &mut random, &rates, &taken)) {
            taken.insert(row.place);
            rows.push(row);
        }
    }
    rows
}

/// `count` further rows for round `round` of `step`, none of which is in `taken`. There are fewer if the data has no more.
pub(super) fn further_rows(
    arm: &ArmContext,
    step: u64,
    round: u64,
    count: usize,
    taken: &mut HashSet<usize>,
) -> Vec<Row> {
    let rates = match arm.config.selection.uses_pass_rates() {
        true => known_rates(arm, step),
        false => BTreeMap::new(),
    };
    let mut random = generator(arm.id.seed, Purpose::Selection, &[step, round]);
    let mut rows = Vec::with_capacity(count);
    for _ in 0..count {
        let Some(row) = draw(arm, &mut random, &rates, taken) else { break };
        taken.insert(row.place);
        rows.push(row);
    }
    rows
}

/// The pass rates that `step` may depend on: those of the steps that are always recorded before it begins (SELECT-1).
fn known_rates(arm: &ArmContext, step: u64) -> BTreeMap<usize, f64> {
    arm.pass_rates.up_to(step.saturating_sub(arm.config.grpo.max_staleness))
}

fn may_be_asked(rate: Option<&f64>, selection: &SelectionConfig) -> bool {
    let [least, most] = selection.pass_rate;
    rate.is_none_or(|rate| (least..=most).contains(rate))
}

/// A random row that may be asked and is not in `taken`; `None` if none was found among [`DRAWS`].
fn draw(
    arm: &ArmContext,
    random: &mut impl Rng,
    rates: &BTreeMap<usize, f64>,
    taken: &HashSet<usize>,
) -> Option<Row> {
    let places = (0..DRAWS).map(|_| random.random_range(0..arm.rows.len()));
    let suits =
        |place: &usize| !taken.contains(place) && may_be_asked(rates.get(place), &arm.config.selection);
    // All draws are made, so that what is drawn next does not depend on how many were needed.
    let places: Vec<usize> = places.collect();
    places.into_iter().find(suits).map(|place| arm.rows.at_place(place))
}

/// A question that was asked before, preferably with a pass rate near `target`.
fn revisit(
    arm: &ArmContext,
    random: &mut impl Rng,
    rates: &BTreeMap<usize, f64>,
    target: f64,
    taken: &HashSet<usize>,
) -> Option<Row> {
    let drawn: f64 = random.random();
    let weight = |(place, rate): (&usize, &f64)| {
        let suits = !taken.contains(place) && may_be_asked(Some(rate), &arm.config.selection);
        (*place, if suits { (-(rate - target).abs() / WIDTH).exp() } else { 0.0 })
    };
    let weights: Vec<(usize, f64)> = rates.iter().map(weight).filter(|(_, weight)| *weight > 0.0).collect();
    let mut left = drawn * weights.iter().map(|(_, weight)| weight).sum::<f64>();
    let chosen = weights.iter().find(|(_, weight)| {
        left -= weight;
        left < 0.0
    });
    // Rounding may leave a little at the end.
    chosen.or(weights.last()).map(|(place, _)| arm.rows.at_place(*place))
}

/// The preferred pass rate of `step`, counted from 0, of `steps`.
fn target(selection: &SelectionConfig, step: u64, steps: u64) -> f64 {
    let [first, last] = selection.revisit_target;
    let fraction = step as f64 / steps.saturating_sub(1).max(1) as f64;
    first + (last - first) * fraction.min(1.0)
}

/// Prompts that are asked again: in a step, and in all steps before it. Their fractions add up over the steps, so that a
/// share of 0.1 is one prompt of 4 in some steps and none in others.
struct Revisits {
    earlier: u64,
    now: usize,
}

impl Revisits {
    fn before(step: u64, selection: &SelectionConfig, count: usize) -> Self {
        let until = |steps: u64| (steps as f64 * selection.revisit_share * count as f64).floor() as u64;
        Revisits { earlier: until(step), now: (until(step + 1) - until(step)) as usize }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_share_of_revisited_prompts_holds_over_the_steps() {
        for (share, count) in [(0.1, 4), (0.25, 8), (1.0, 3), (0.33, 1), (0.0, 8)] {
            let selection = SelectionConfig { revisit_share: share, ..SelectionConfig::default() };
            let mut earlier = 0;
            for step in 0..200 {
                let revisits = Revisits::before(step, &selection, count);
                assert_eq!(revisits.earlier, earlier, "{share} {count} {step}");
                assert!(revisits.now <= count);
                earlier += revisits.now as u64;
            }
            let expected = 200.0 * share * count as f64;
            assert!((earlier as f64 - expected).abs() < 1.0, "{earlier} {expected}");
        }
    }

    #[test]
    fn the_preferred_pass_rate_moves_from_the_first_step_to_the_last() {
        let selection = SelectionConfig { revisit_target: [0.8, 0.2], ..SelectionConfig::default() };
        let close =
            |found: f64, expected: f64| assert!((found - expected).abs() < 1e-12, "{found} {expected}");
        close(target(&selection, 0, 5), 0.8);
        close(target(&selection, 2, 5), 0.5);
        close(target(&selection, 4, 5), 0.2);
        close(target(&selection, 0, 1), 0.8);
    }
}
