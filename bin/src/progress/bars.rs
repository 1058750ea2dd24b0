//! Progress for terminals: a bar per running arm and seed, and one for the whole. An arm that ends leaves a line
//! behind, so that a run of any size fits the screen.

use std::{collections::HashMap, time::Duration};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use records::ArmId;
use runtime::RunEvent;
use scenarios::Method;

use super::{
    plain::{changed, ended, evaluated, paused},
    pulse::{Pulse, duration},
};

/// The bars and what they show.
pub struct Bars {
    screen: MultiProgress,
    whole: ProgressBar,
    running: HashMap<ArmId, Running>,
}

struct Running {
    bar: ProgressBar,
    pulse: Pulse,
    /// The last evaluation, in words.
    evaluated: Option<String>,
}

impl Bars {
    /// For a run of that many arms times seeds.
    pub fn new(screen: MultiProgress, runs: usize) -> Self {
        let whole = screen.add(ProgressBar::new(runs as u64));
        whole.set_style(style("{prefix:<24} {bar:24.green/black.bright} {pos:>5}/{len:<5} {elapsed} so far"));
        whole.set_prefix("arms × seeds");
        whole.enable_steady_tick(Duration::from_secs(1));
        Self { screen, whole, running: HashMap::new() }
    }

    /// Shows an event.
    pub fn show(&mut self, event: &RunEvent) {
        match event {
            RunEvent::ArmStarted { id, total_steps, method } => {
                // An arm that is only evaluated takes no steps.
                let steps = if *method == Method::None { 0 } else { *total_steps };
                self.start(id, steps);
            }
            RunEvent::StepDone { id, step, figures, .. } => {
                let Some(running) = self.running.get_mut(id) else { return };
                running.pulse.step(*step, figures);
                running.bar.set_position(*step);
                let left = running
                    .pulse
                    .left()
                    .map_or_else(String::new, |left| format!("  {} left", duration(left)));
                running.bar.set_message(running.pulse.text() + &left);
            }
            RunEvent::EvalDone { id, step, suite, accuracy, think_rate, .. } => {
                let Some(running) = self.running.get_mut(id) else { return };
                let line = evaluated(&format!("step {step}"), suite, *accuracy, *think_rate);
                if running.pulse.step == 0 {
                    running.bar.set_message(line.clone());
                }
                running.evaluated = Some(line);
            }
            RunEvent::Paused { id, step, reason } => {
                if let Some(running) = self.running.get_mut(id) {
                    running.bar.set_message(format!("paused: {reason}"));
                }
                self.line(&paused(id, *step, reason));
            }
            RunEvent::Resumed { id, .. } => {
                if let Some(running) = self.running.get_mut(id) {
                    running.bar.set_message("goes on");
                }
            }
            RunEvent::Journaled { entry } => {
                if let Some(line) = changed(entry) {
                    self.line(&line);
                }
            }
            // Every warning is logged, and the log shows it above the bars; a restart is one.
            RunEvent::Warning { .. } | RunEvent::ActorRestarted { .. } => {}
            RunEvent::ArmEnded { id, state, step, .. } => {
                let mut line = ended(id, state, *step);
                if let Some(running) = self.running.remove(id) {
                    running.bar.finish_and_clear();
                    self.screen.remove(&running.bar);
                    if let Some(evaluated) = running.evaluated {
                        line = format!("{line}; {evaluated}");
                    }
                }
                self.line(&line);
                self.whole.inc(1);
            }
        }
    }

    fn line(&self, line: &str) {
        // A terminal that cannot be written to is no reason to stop a run.
        let _ = self.screen.println(line);
    }

    fn start(&mut self, id: &ArmId, total_steps: u64) {
        let bar = self.screen.insert_before(&self.whole, ProgressBar::new(total_steps));
        bar.set_style(style("{prefix:<24.bold} {bar:24.cyan/black.bright} {pos:>5}/{len:<5} {msg}"));
        bar.set_prefix(format!("{} ({})", id.arm, id.seed));
        bar.set_message("evaluating");
        bar.tick();
        let running = Running { bar, pulse: Pulse::new(total_steps), evaluated: None };
        self.running.insert(id.clone(), running);
    }

    /// Clears the bars away.
    pub fn finish(&mut self) {
        for (_, running) in self.running.drain() {
            running.bar.finish_and_clear();
        }
        self.whole.finish_and_clear();
    }
}

fn style(template: &str) -> ProgressStyle {
    // Both templates are constants that the tests parse.
    ProgressStyle::with_template(template)
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .progress_chars("━╸─")
}

#[cfg(test)]
mod tests {
    use records::ArmState;

    use super::*;

    #[test]
    fn an_arm_that_ends_leaves_no_bar_behind() {
        let screen = MultiProgress::with_draw_target(indicatif::ProgressDrawTarget::hidden());
        let mut bars = Bars::new(screen, 2);
        let method = Method::Grpo;
        bars.show(&RunEvent::ArmStarted { id: ArmId::new("a", 1), total_steps: 5, method });
        assert_eq!(bars.running.len(), 1);
        let state = ArmState::Done;
        bars.show(&RunEvent::ArmEnded { id: ArmId::new("a", 1), state, step: 5, checkpoint: None });
        assert_eq!((bars.running.len(), bars.whole.position()), (0, 1));
    }
}
