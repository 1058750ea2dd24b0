//! Progress of work that is counted, such as questions to a server: a bar in a terminal, and a line at every tenth in a file
//! or pipe.

use std::time::Instant;

use indicatif::{ProgressBar, ProgressStyle};
use records::visible;

use super::Screen;
use super::arm_progress::duration;

/// Shows how much of some work is done.
pub struct Count {
    screen: Screen,
    /// What is counted, such as `questions`.
    what: &'static str,
    bar: Option<ProgressBar>,
    began: Instant,
    /// What was done before this process, once it is known.
    before: Option<usize>,
    tenths: usize,
}

impl Count {
    pub fn new(screen: &Screen, what: &'static str) -> Self {
        Self { screen: screen.clone(), what, bar: None, began: Instant::now(), before: None, tenths: 0 }
    }

    /// Shows that `done` of `total` are done.
    pub fn show(&mut self, done: usize, total: usize) {
        let before = *self.before.get_or_insert(done);
        let left = self.left(done.saturating_sub(before), total.saturating_sub(done));
        match &self.screen {
            Screen::Bars(bars) => {
                let bar = self.bar.get_or_insert_with(|| {
                    let bar = bars.add(ProgressBar::new(total as u64));
                    // The template is a constant, so parsing it cannot fail.
                    let style =
                        ProgressStyle::with_template("{prefix:<24.bold} {bar:24} {pos:>5}/{len:<5} {msg}");
                    bar.set_style(
                        style.unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("━╸─"),
                    );
                    bar.set_prefix(self.what);
                    bar
                });
                bar.set_length(total as u64);
                bar.set_position(done as u64);
                bar.set_message(left);
            }
            Screen::Plain => {
                let tenths = (done * 10).checked_div(total).unwrap_or_default();
                if tenths > self.tenths {
                    self.tenths = tenths;
                    self.screen.line(&format!("{} {done}/{total}{left}", self.what));
                }
            }
            Screen::Quiet => {}
        }
    }

    /// Prints a line, above the bar if there is one.
    pub fn line(&self, text: &str) {
        self.screen.line(&visible(text));
    }

    /// Removes the bar from the screen.
    pub fn finish(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }

    /// The time left at the pace of this process, as `  3 s left`; empty before anything is done.
    fn left(&self, done: usize, open: usize) -> String {
        if done == 0 || open == 0 {
            return String::new();
        }
        let left = self.began.elapsed().mul_f64(open as f64 / done as f64);
        format!("  {} left", duration(left))
    }
}
