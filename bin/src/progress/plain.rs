//! Progress for files and pipes: a line when an arm begins and ends, at every tenth of the way and at each
//! evaluation.

use records::{ArmId, ArmState, JournalEntry};
use runtime::RunEvent;
use scenarios::Method;

use super::pulse::{Pulse, Pulses, duration};

/// Remembers how far the arms are.
#[derive(Debug, Default)]
pub struct Plain {
    pulses: Pulses,
}

impl Plain {
    /// The line an event is worth, if any.
    pub fn line(&mut self, event: &RunEvent) -> Option<String> {
        match event {
            RunEvent::ArmStarted { id, total_steps, method } => {
                self.pulses.insert(id.clone(), Pulse::new(*total_steps));
                let what = match method {
                    Method::Grpo | Method::Sft => format!("{total_steps} steps"),
                    Method::None => "evaluation only".to_owned(),
                };
                Some(format!("{}: starts, {what}", label(id)))
            }
            RunEvent::StepDone { id, step, figures, .. } => {
                let pulse = self.pulses.get_mut(id)?;
                pulse.step(*step, figures);
                if !is_tenth(*step, pulse.total_steps) {
                    return None;
                }
                let left = pulse.left().map_or_else(String::new, |left| format!("  {} left", duration(left)));
                Some(format!("{}: step {step}/{}  {}{left}", label(id), pulse.total_steps, pulse.text()))
            }
            RunEvent::EvalDone { id, step, suite, accuracy, think_rate, .. } => {
                Some(evaluated(&format!("{}: step {step}", label(id)), suite, *accuracy, *think_rate))
            }
            RunEvent::Paused { id, step, reason } => Some(paused(id, *step, reason)),
            RunEvent::Resumed { id, step } => {
                Some(format!("{}: resumed at step {step}", label(id)))
            }
            RunEvent::Journaled { entry } => changed(entry),
            // Every warning is logged, and the log shows it; a restart is one.
            RunEvent::Warning { .. } | RunEvent::ActorRestarted { .. } => None,
            RunEvent::ArmEnded { id, state, step, .. } => {
                self.pulses.remove(id);
                Some(ended(id, state, *step))
            }
        }
    }
}

/// `…: builtin:soundscapes: accuracy 81.2 %, think 45 %`.
pub fn evaluated(whose: &str, suite: &str, accuracy: f64, think_rate: f64) -> String {
    let (accuracy, think) = (accuracy * 100.0, think_rate * 100.0);
    format!("{whose}: {suite}: accuracy {accuracy:.1} %, think {think:.0} %")
}

fn label(id: &ArmId) -> String {
    format!("{} (seed {})", id.arm, id.seed)
}

/// Why an arm is paused, in one line.
pub fn paused(id: &ArmId, step: u64, reason: &str) -> String {
    format!("{}: paused at step {step}: {reason}", label(id))
}

/// A change in one line. Other journal entries have events of their own.
pub fn changed(entry: &JournalEntry) -> Option<String> {
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
        "{}: version {version} from step {step} on, by {by}: {}",
        label(id),
        what.concat().join(", ")
    ))
}

/// How an arm ended, in one line.
pub fn ended(id: &ArmId, state: &ArmState, step: u64) -> String {
    match state.reason() {
        Some(reason) => format!("{}: {} at step {step}: {reason}", label(id), state.name()),
        None if *state == ArmState::Done => format!("{}: done", label(id)),
        None => format!("{}: {} at step {step}", label(id), state.name()),
    }
}

/// Whether a tenth of the way was completed by this step.
fn is_tenth(step: u64, total: u64) -> bool {
    let tenth = |step: u64| (step * 10).checked_div(total);
    step > 0 && tenth(step) != tenth(step - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_lines_whatever_the_length() {
        for total in [10, 23, 300, 1001] {
            assert_eq!((1..=total).filter(|step| is_tenth(*step, total)).count(), 10, "of {total}");
        }
        assert_eq!((1..=4).filter(|step| is_tenth(*step, 4)).count(), 4);
    }
}
