//! Notes that warn the reader: what is missing, has failed or was changed during the run.

use std::collections::BTreeSet;

use records::{AlarmFiring, changes_in_order};
use scenarios::RowCause;

use crate::arm_summary::ArmSummary;
use crate::recorded::{Origin, RecordedRun};

/// A note on an arm whose conditions were changed while it ran, because the tables show the scenario's formula.
fn changed(run: &RecordedRun, arm: &str, seed: u64) -> Option<String> {
    let id = records::ArmId::new(arm, seed);
    let changes = changes_in_order(&run.changes, &id);
    let (first, times) = (changes.first()?, changes.len());
    Some(format!(
        "{arm} (seed {seed}) was changed while it ran ({times}×, first at step {}); control.jsonl records the \
         changes.",
        first.step
    ))
}

/// Notes on the alarms of an arm, one for each time that one went off.
fn alarms(run: &RecordedRun, arm: &str, seed: u64) -> Vec<String> {
    let of_arm = run.alarms.iter().filter(|entry| entry.id.arm == arm && entry.id.seed == seed);
    let note = |alarm: &AlarmFiring| {
        let message = if alarm.message.is_empty() { String::new() } else { format!("; {}", alarm.message) };
        let done =
            if alarm.then.is_empty() { String::new() } else { format!(" ({})", alarm.then.join(", ")) };
        let (name, step, evidence) = (&alarm.name, alarm.step, alarm.evidence());
        format!(
            "{arm} (seed {seed}): the alarm \"{name}\" went off at step {step}{done}: {evidence}{message}."
        )
    };
    of_arm.filter_map(|entry| entry.alarm.as_ref()).map(note).collect()
}

/// All notes, in the order of the arms.
pub(crate) fn notes(run: &RecordedRun, arms: &[ArmSummary]) -> Vec<String> {
    let mut notes = Vec::new();
    for arm in arms {
        if arm.seeds.is_empty() {
            notes.push(format!("{} has not started.", arm.name));
        }
        if let Some(Origin { arm: parent, step, changes }) = &arm.fork {
            let changes = if changes.is_empty() { "nothing".into() } else { changes.join(", ") };
            notes.push(format!(
                "{} began as a copy of {parent} after step {step}; changed: {changes}.",
                arm.name
            ));
        }
        notes.extend(arm.seeds.iter().filter_map(|seed| changed(run, &arm.name, seed.seed)));
        notes.extend(arm.seeds.iter().flat_map(|seed| alarms(run, &arm.name, seed.seed)));
        for seed in &arm.seeds {
            let of = seed.total_steps.map_or_else(String::new, |total| format!(" of {total}"));
            let why = seed.reason.as_ref().map_or_else(String::new, |reason| format!(": {reason}"));
            let what = match seed.status.as_str() {
                "done" => continue,
                "failed" => "failed",
                "stopped" => "was stopped",
                "running" => "was still running, or killed,",
                "paused" => "is paused, or was killed while paused,",
                _ => "has no readable status.json; it was",
            };
            notes.push(format!("{} (seed {}) {what} at step {}{of}{why}.", arm.name, seed.seed, seed.step));
        }
        // A failed arm's reason is above.
        for seed in arm.seeds.iter().filter(|seed| seed.died != seed.reason) {
            if let Some(died) = &seed.died {
                notes.push(format!("{} (seed {}): {died}.", arm.name, seed.seed));
            }
        }
        for seed in arm.seeds.iter().filter(|seed| seed.skipped_steps > 0) {
            notes.push(format!(
                "{} (seed {}): {} optimizer steps were skipped, because the gradient was not finite.",
                arm.name, seed.seed, seed.skipped_steps
            ));
        }
        for (suite, eval) in &arm.evals {
            let evaluated = eval.steps.len();
            let steps: BTreeSet<u64> = eval.steps.values().copied().collect();
            if let Some(asked) = &eval.asked {
                let causes: Vec<String> =
                    eval.unusable.iter().map(|(cause, count)| format!("{count} {cause}")).collect();
                notes.push(format!(
                    "{} on {suite}: {asked}; the others are left out ({}){}.",
                    arm.name,
                    causes.join(", "),
                    if eval.unusable.keys().any(|cause| cause != RowCause::BeyondLimit.name()) {
                        ", and data-problems.jsonl lists those that can't be used"
                    } else {
                        ""
                    }
                ));
            }
            if steps.len() > 1 {
                let steps: Vec<String> = steps.iter().map(u64::to_string).collect();
                let steps = steps.join(", ");
                notes.push(format!(
                    "{} on {suite} pools evaluations from different steps: {steps}.",
                    arm.name
                ));
            }
            if evaluated < arm.seeds.len() {
                let of = arm.seeds.len();
                notes.push(format!(
                    "{} on {suite}: {evaluated} of {of} seeds have been evaluated so far.",
                    arm.name
                ));
            }
        }
        if !arm.seeds.is_empty() && arm.evals.is_empty() {
            notes.push(format!("{} has not been evaluated yet.", arm.name));
        }
        let recorded = run.arms.iter().find(|recorded| recorded.name == arm.name);
        for seed in recorded.iter().flat_map(|recorded| &recorded.seeds) {
            // While an arm runs, only its newest row knows how many.
            let rows = seed.metrics.values().next_back().map_or(0, |row| row.health().unusable_rows);
            if rows > 0 {
                notes.push(format!(
                    "{} (seed {}): {rows} rows of the training data can't be used; data-problems.jsonl lists them.",
                    arm.name, seed.seed
                ));
            }
        }
        for (component, causes) in &arm.missing {
            let counts: Vec<String> =
                causes.iter().map(|(cause, count)| format!("{count} {cause}")).collect();
            let (total, counts) = (causes.values().sum::<u64>(), counts.join(", "));
            notes.push(format!("{}: {total} scores of `{component}` are missing ({counts}).", arm.name));
        }
        if let Some(groups) = arm.groups.as_ref().filter(|groups| !groups.adds_up()) {
            notes.push(format!(
                "{}: {} groups were dispatched, but {} were trained on and {} excluded.",
                arm.name,
                groups.dispatched,
                groups.trained,
                groups.excluded.values().sum::<u64>()
            ));
        }
    }
    if !run.hypotheses.is_empty() && !run.hypotheses_from_before {
        notes.push(
            "The hypotheses were written or changed after the run began, so their answers are exploratory."
                .to_owned(),
        );
    }
    let unreadable: u64 = run.arms.iter().flat_map(|arm| &arm.seeds).map(|seed| seed.unreadable).sum();
    if unreadable > 0 {
        notes.push(format!("{unreadable} recorded lines could not be read and are left out."));
    }
    notes
}
