//! Which arms of a design count on a suite: those that were trained to their end and evaluated after it (REPORT-5).

use records::{ArmId, ArmState, changes_in_order};
use scenarios::Design;

use crate::outcomes::{Outcome, Outcomes};
use crate::recorded::{RecordedArm, RecordedRun, RecordedSeed};

/// An arm that counts.
pub(super) struct UsableArm {
    pub(super) name: String,
    pub(super) levels: Vec<usize>,
    pub(super) outcomes: Outcomes,
    /// Number of its seeds that count.
    pub(super) seeds: usize,
}

/// The arms that count, and why others do not.
pub(super) struct Usable {
    pub(super) arms: Vec<UsableArm>,
    pub(super) remarks: Vec<String>,
}

/// The arms of the design that count, in the report's order.
pub(super) fn usable(run: &RecordedRun, design: &Design, suite: &str) -> Usable {
    let mut found = Usable { arms: Vec::new(), remarks: Vec::new() };
    let recorded: Vec<&RecordedArm> =
        run.arms.iter().filter(|arm| design.arms.contains_key(&arm.name)).collect();
    for arm in &recorded {
        let Some(levels) = design.levels_of(&arm.name) else { continue };
        let (mut outcomes, mut seeds) = (Outcomes::default(), 0);
        let mut left_out = Vec::new();
        for seed in &run.seeds {
            let recorded = arm.seeds.iter().find(|recorded| recorded.seed == *seed);
            let why = match recorded {
                Some(recorded) => unfinished(recorded, suite),
                None => Some("not started".to_owned()),
            };
            match why {
                Some(why) => left_out.push(format!("seed {seed} ({why})")),
                None => {
                    outcomes.add(
                        *seed,
                        recorded.and_then(|recorded| answers(recorded, suite)).unwrap_or_default(),
                    );
                    seeds += 1;
                }
            }
        }
        let left_out = left_out.join(", ");
        if seeds == 0 {
            found.remarks.push(format!("{} does not count: {left_out}.", arm.name));
            continue;
        }
        if !left_out.is_empty() {
            found.remarks.push(format!("{} counts without {left_out}.", arm.name));
        }
        let changed =
            |seed: &&u64| !changes_in_order(&run.changes, &ArmId::new(arm.name.clone(), **seed)).is_empty();
        if run.seeds.iter().any(|seed| changed(&seed)) {
            found.remarks.push(format!(
                "{} was changed while it was trained, so it differs from the other arms in more than its levels.",
                arm.name
            ));
        }
        found.arms.push(UsableArm { name: arm.name.clone(), levels, outcomes, seeds });
    }
    let missing: Vec<&str> = design
        .arms
        .keys()
        .filter(|name| !recorded.iter().any(|arm| arm.name == **name))
        .map(String::as_str)
        .collect();
    if !missing.is_empty() {
        found.remarks.push(format!("These arms of the design were not run: {}.", missing.join(", ")));
    }
    found
}

/// Why a seed does not count, in words; `None` if it was trained to its end and evaluated after it.
fn unfinished(seed: &RecordedSeed, suite: &str) -> Option<String> {
    let Some(status) = &seed.status else { return Some("no status.json".to_owned()) };
    let (step, total) = (status.step, status.total_steps);
    if status.state != ArmState::Done {
        return Some(format!("{} at step {step} of {total}", status.state.name()));
    }
    let Some((&evaluated, row)) = seed.evals.get(suite).and_then(|rows| rows.last_key_value()) else {
        return Some("not evaluated".to_owned());
    };
    if evaluated != step || step != total {
        return Some(format!("evaluated after step {evaluated}, and trained for {step} of {total}"));
    }
    let recorded = answers(seed, suite).map_or(0, |answers| answers.len() as u64);
    (recorded != row.overall.n || recorded == 0).then(|| "its answers are not all recorded".to_owned())
}

/// The answers of the latest evaluation. Rows of older runs do not name their suite.
fn answers<'a>(seed: &'a RecordedSeed, suite: &str) -> Option<&'a [Outcome]> {
    let of_suite = seed.rollouts.outcomes.get(suite).or_else(|| seed.rollouts.outcomes.get(""));
    of_suite.map(Vec::as_slice)
}
