//! Progress in a file or pipe: a line when an arm starts, at every tenth of its steps, at each evaluation,
//! and when it ends.

use std::collections::HashMap;

use records::{Action, ArmId, ArmState, JournalEntry};
use runtime::RunEvent;
use scenarios::Method;

use super::arm_progress::{ArmProgress, duration};

/// Turns the events of a run into lines.
#[derive(Debug, Default)]
pub struct Plain {
    running: HashMap<ArmId, ArmProgress>,
}

impl Plain {
    /// The line to print for an event, if any.
    pub fn line(&mut self, event: &RunEvent) -> Option<String> {
        match event {
            RunEvent::ArmStarted { id, total_steps, method } => {
                self.running.insert(id.clone(), ArmProgress::new(*total_steps));
                let what = match method {
                    Method::Grpo | Method::Sft => format!("{total_steps} steps"),
                    Method::None => "evaluation only".to_owned(),
                };
                Some(format!("{}: started, {what}", label(id)))
            }
            RunEvent::StepDone { id, step, figures, .. } => {
                let arm = self.running.get_mut(id)?;
                arm.step(*step, figures);
                if !is_tenth(*step, arm.total_steps) {
                    return None;
                }
                let left =
                    arm.time_left().map_or_else(String::new, |left| format!("  {} left", duration(left)));
                Some(format!("{}: step {step}/{}  {}{left}", label(id), arm.total_steps, arm.text()))
            }
            RunEvent::EvalDone { id, step, .. } => evaluated(&format!("{}: step {step}", label(id)), event),
            RunEvent::Paused { id, step, reason } => Some(paused(id, *step, reason)),
            RunEvent::Resumed { id, step } => Some(format!("{}: resumed at step {step}", label(id))),
            RunEvent::Journaled { entry } => changed(entry),
            // Warnings and restarts are logged, and logging shows them.
            RunEvent::Warning { .. } | RunEvent::ActorRestarted { .. } | RunEvent::Bookmarked { .. } => None,
            RunEvent::ArmEnded { id, state, step, .. } => {
                self.running.remove(id);
                Some(ended(id, state, *step))
            }
        }
    }
}

/// An evaluation as a line such as `step 30: mmau: accuracy 81.2 % (997 of 1000 asked), think 45 %`; `None` for other events.
pub fn evaluated(prefix: &str, event: &RunEvent) -> Option<String> {
    let RunEvent::EvalDone { suite, asked, questions, accuracy, think_rate, .. } = event else { return None };
    let (accuracy, think) = (accuracy * 100.0, think_rate * 100.0);
    let of_all = if asked < questions { format!(" ({asked} of {questions} asked)") } else { String::new() };
    Some(format!("{prefix}: {suite}: accuracy {accuracy:.1} %{of_all}, think {think:.0} %"))
}

fn label(id: &ArmId) -> String {
    format!("{} (seed {})", id.arm, id.seed)
}

/// A pause and its reason as a line.
pub fn paused(id: &ArmId, step: u64, reason: &str) -> String {
    format!("{}: paused at step {step}: {reason}", label(id))
}

/// A change of the conditions as a line; `None` for other journal entries, which have events of their own.
pub fn changed(entry: &JournalEntry) -> Option<String> {
    if entry.action == Action::Fork {
        let what = entry.note.as_deref().unwrap_or("a fork");
        return Some(format!("{}: {what} by {}", label(&entry.id), entry.by));
    }
    let change = entry.change.as_ref()?;
    let JournalEntry { id, by, version, step, .. } = entry;
    let what = [
        change.weights.iter().map(|(name, value)| format!("w_{name} = {value}")).collect::<Vec<_>>(),
        change.formula.iter().map(|formula| format!("formula {formula}")).collect(),
        change
            .rewards
            .iter()
            .map(|(name, spec)| match spec {
                Some(spec) => format!("{name} is now {}", spec.kind),
                None => format!("{name} removed"),
            })
            .collect(),
    ];
    Some(format!(
        "{}: changed by {by}, version {version} from step {step} on: {}",
        label(id),
        what.concat().join(", ")
    ))
}

/// The end of an arm as a line, with the reason if it failed.
pub fn ended(id: &ArmId, state: &ArmState, step: u64) -> String {
    match state.reason() {
        Some(reason) => format!("{}: {} at step {step}: {reason}", label(id), state.name()),
        None if *state == ArmState::Done => format!("{}: done", label(id)),
        None => format!("{}: {} at step {step}", label(id), state.name()),
    }
}

/// Whether this step completes another tenth of the steps.
fn is_tenth(step: u64, total: u64) -> bool {
    let tenth = |step: u64| (step * 10).checked_div(total);
    step > 0 && tenth(step) != tenth(step - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_arm_of_at_least_ten_steps_prints_ten_lines() {
        for total in [10, 23, 300, 1001] {
            assert_eq!((1..=total).filter(|step| is_tenth(*step, total)).count(), 10, "of {total}");
        }
        assert_eq!((1..=4).filter(|step| is_tenth(*step, 4)).count(), 4);
    }
}
