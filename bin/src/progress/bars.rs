//! Progress in a terminal: a bar for each arm and seed in progress, and one for the whole run. The bar of an arm that
//! ends is replaced by a line above the bars, so that a run with many arms fits the screen.

use std::{collections::HashMap, time::Duration};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use records::{ArmId, visible};
use runtime::RunEvent;
use scenarios::Method;

use super::{
    arm_progress::{ArmProgress, duration},
    plain::{changed, ended, evaluated, paused},
};

/// The progress bars of a run.
pub struct Bars {
    screen: MultiProgress,
    whole: ProgressBar,
    /// Arms that have started.
    started: u64,
    running: HashMap<ArmId, Running>,
}

struct Running {
    bar: ProgressBar,
    progress: ArmProgress,
    /// The latest evaluation as a line of text.
    evaluated: Option<String>,
}

impl Bars {
    /// `runs` is the number of arms times the number of seeds.
    pub fn new(screen: MultiProgress, runs: usize) -> Self {
        let whole = screen.add(ProgressBar::new(runs as u64));
        whole.set_style(style("{prefix:<24} {bar:24.green/black.bright} {pos:>5}/{len:<5} {elapsed} so far"));
        whole.set_prefix("arms × seeds");
        whole.enable_steady_tick(Duration::from_secs(1));
        Self { screen, whole, started: 0, running: HashMap::new() }
    }

    pub fn show(&mut self, event: &RunEvent) {
        match event {
            RunEvent::ArmStarted { id, total_steps, method } => {
                // An arm that is only evaluated takes no steps.
                let steps = if *method == Method::None { 0 } else { *total_steps };
                self.start(id, steps);
            }
            RunEvent::StepDone { id, step, figures, .. } => {
                let Some(running) = self.running.get_mut(id) else { return };
                running.progress.step(*step, figures);
                running.bar.set_position(*step);
                let left = running
                    .progress
                    .time_left()
                    .map_or_else(String::new, |left| format!("  {} left", duration(left)));
                running.bar.set_message(running.progress.text() + &left);
            }
            RunEvent::EvalDone { id, step, .. } => {
                let Some(running) = self.running.get_mut(id) else { return };
                let Some(line) = evaluated(&format!("step {step}"), event) else { return };
                if running.progress.step == 0 {
                    running.bar.set_message(visible(&line).into_owned());
                }
                running.evaluated = Some(line);
            }
            RunEvent::Paused { id, step, reason } => {
                if let Some(running) = self.running.get_mut(id) {
                    running.bar.set_message(visible(&format!("paused: {reason}")).replace('\n', " "));
                }
                self.line(&paused(id, *step, reason));
            }
            RunEvent::Resumed { id, .. } => {
                if let Some(running) = self.running.get_mut(id) {
                    running.bar.set_message("resumed");
                }
            }
            RunEvent::Journaled { entry } => {
                if let Some(line) = changed(entry) {
                    self.line(&line);
                }
            }
            // Warnings and restarts are logged, and logging shows them above the bars.
            RunEvent::Warning { .. } | RunEvent::ActorRestarted { .. } | RunEvent::Bookmarked { .. } => {}
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
        // A terminal that cannot be written to must not stop the run.
        let _ = self.screen.println(visible(line));
    }

    fn start(&mut self, id: &ArmId, total_steps: u64) {
        self.started += 1;
        // Forks are added while the run goes on.
        self.whole.set_length(self.whole.length().unwrap_or_default().max(self.started));
        let bar = self.screen.insert_before(&self.whole, ProgressBar::new(total_steps));
        bar.set_style(style("{prefix:<24.bold} {bar:24.cyan/black.bright} {pos:>5}/{len:<5} {msg}"));
        bar.set_prefix(visible(&format!("{} ({})", id.arm, id.seed)).into_owned());
        bar.set_message("evaluating");
        bar.tick();
        let running = Running { bar, progress: ArmProgress::new(total_steps), evaluated: None };
        self.running.insert(id.clone(), running);
    }

    /// Removes the bars from the screen.
    pub fn finish(&mut self) {
        for (_, running) in self.running.drain() {
            running.bar.finish_and_clear();
        }
        self.whole.finish_and_clear();
    }
}

fn style(template: &str) -> ProgressStyle {
    // Both templates are constants, so parsing them cannot fail.
    ProgressStyle::with_template(template)
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .progress_chars("━╸─")
}

#[cfg(test)]
mod tests {
    use records::ArmState;

    use super::*;

    #[test]
    fn the_bar_of_an_ended_arm_is_removed() {
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
