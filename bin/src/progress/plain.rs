//! Progress for files and pipes: a line when an arm begins and ends, at every tenth of the way and at each
//! evaluation.

use actors::{ArmStatus, Entry, RunEvent};
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
            RunEvent::ArmStarted { arm, seed, total_steps, method } => {
                self.pulses.insert((arm.clone(), *seed), Pulse::new(*total_steps));
                let what = match method {
                    Method::Grpo | Method::Sft => format!("{total_steps} steps"),
                    Method::None => "evaluation only".to_owned(),
                };
                Some(format!("{arm} (seed {seed}): begins, {what}"))
            }
            RunEvent::StepDone { arm, seed, step, figures, .. } => {
                let pulse = self.pulses.get_mut(&(arm.clone(), *seed))?;
                pulse.step(*step, figures);
                if !is_tenth(*step, pulse.total_steps) {
                    return None;
                }
                let left = pulse.left().map_or_else(String::new, |left| format!("  {} left", duration(left)));
                Some(format!(
                    "{arm} (seed {seed}): step {step}/{}  {}{left}",
                    pulse.total_steps,
                    pulse.text()
                ))
            }
            RunEvent::EvalDone { arm, seed, step, suite, accuracy, think_rate, .. } => {
                Some(evaluated(&format!("{arm} (seed {seed}): step {step}"), suite, *accuracy, *think_rate))
            }
            RunEvent::Paused { arm, seed, step, reason } => Some(paused(arm, *seed, *step, reason)),
            RunEvent::Resumed { arm, seed, step } => {
                Some(format!("{arm} (seed {seed}): goes on from step {step}"))
            }
            RunEvent::Journaled { entry } => changed(entry),
            // Every warning is logged, and the log shows it; a restart is one.
            RunEvent::Warning { .. } | RunEvent::ActorRestarted { .. } => None,
            RunEvent::ArmEnded { arm, seed, status, step, .. } => {
                self.pulses.remove(&(arm.clone(), *seed));
                Some(ended(arm, *seed, status, *step))
            }
        }
    }
}

/// `…: builtin:soundscapes: accuracy 81.2 %, think 45 %`.
pub fn evaluated(whose: &str, suite: &str, accuracy: f64, think_rate: f64) -> String {
    let (accuracy, think) = (accuracy * 100.0, think_rate * 100.0);
    format!("{whose}: {suite}: accuracy {accuracy:.1} %, think {think:.0} %")
}

/// Why an arm waits, in a line.
pub fn paused(arm: &str, seed: u64, step: u64, reason: &str) -> String {
    format!("{arm} (seed {seed}): paused at step {step}: {reason}")
}

/// A change, in a line; what else the journal has is seen by its effect.
pub fn changed(entry: &Entry) -> Option<String> {
    let change = entry.change.as_ref()?;
    let Entry { arm, seed, by, version, step, .. } = entry;
    let what = [
        change.weights.iter().map(|(name, value)| format!("w_{name} = {value}")).collect::<Vec<_>>(),
        change.formula.iter().map(|formula| format!("formula {formula}")).collect(),
        change
            .rewards
            .iter()
            .map(|(name, spec)| match spec {
                Some(spec) => format!("{name} is now {}", spec.kind),
                None => format!("{name} taken out"),
            })
            .collect(),
    ];
    Some(format!(
        "{arm} (seed {seed}): version {version} from step {step} on, by {by}: {}",
        what.concat().join(", ")
    ))
}

/// How an arm ended, in a line.
pub fn ended(arm: &str, seed: u64, status: &ArmStatus, step: u64) -> String {
    match status {
        ArmStatus::Done => format!("{arm} (seed {seed}): done"),
        ArmStatus::Failed { reason } => format!("{arm} (seed {seed}): failed at step {step}: {reason}"),
        ArmStatus::Stopped => format!("{arm} (seed {seed}): stopped at step {step}"),
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
