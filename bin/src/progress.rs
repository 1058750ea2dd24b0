//! Progress on standard error while arms run: one bar per arm in a terminal, occasional lines in a file or pipe, and
//! nothing if the option `--quiet` is given.

mod arm_progress;
mod bars;
mod count;
mod plain;

use std::io::IsTerminal as _;

use indicatif::MultiProgress;
use records::visible;
use runtime::RunEvent;

use bars::Bars;
pub use count::Count;
use plain::Plain;

use crate::streams::{errln, is_json, write_json};

/// Where messages to the user are printed; in a terminal, above the progress bars.
#[derive(Clone, Debug)]
pub enum Screen {
    /// A terminal with progress bars.
    Bars(MultiProgress),
    /// A file or a pipe.
    Plain,
    /// Messages are discarded, for `--quiet`.
    Quiet,
}

impl Screen {
    /// Bars if standard error is a terminal and not JSON, plain lines otherwise.
    pub fn new(quiet: bool) -> Self {
        if quiet {
            Self::Quiet
        } else if std::io::stderr().is_terminal() && !is_json() {
            Self::Bars(MultiProgress::new())
        } else {
            Self::Plain
        }
    }

    /// Prints a line that is JSON already.
    pub fn json_line(&self, line: &str) {
        match self {
            Self::Quiet => {}
            Self::Bars(_) | Self::Plain => write_json(line),
        }
    }

    /// Prints a line, above the bars if there are any.
    pub fn line(&self, text: &str) {
        match self {
            // A terminal that cannot be written to must not stop the run.
            Self::Bars(bars) => drop(bars.println(visible(text))),
            Self::Plain => errln!("{text}"),
            Self::Quiet => {}
        }
    }
}

/// Shows the events of a run.
pub enum Progress {
    /// A bar for each arm and seed in progress.
    Bars(Bars),
    /// A line at every tenth of the steps and at each evaluation.
    Plain(Plain),
    /// Shows nothing, for `--quiet`.
    Quiet,
}

impl Progress {
    /// `runs` is the number of arms times the number of seeds.
    pub fn new(screen: Screen, runs: usize) -> Self {
        match screen {
            Screen::Bars(bars) => Self::Bars(Bars::new(bars, runs)),
            Screen::Plain => Self::Plain(Plain::default()),
            Screen::Quiet => Self::Quiet,
        }
    }

    pub fn show(&mut self, event: &RunEvent) {
        match self {
            Self::Bars(bars) => bars.show(event),
            Self::Plain(plain) => {
                if let Some(line) = plain.line(event) {
                    errln!("{line}");
                }
            }
            Self::Quiet => {}
        }
    }

    /// Removes the bars from the screen.
    pub fn finish(&mut self) {
        if let Self::Bars(bars) = self {
            bars.finish();
        }
    }
}
