//! What the terminal shows while arms run: a bar each where there is a terminal, now and then a plain line where
//! there is none, nothing when asked to be quiet. All of it goes to standard error.

mod bars;
mod plain;
mod pulse;

use std::io::IsTerminal as _;

use indicatif::MultiProgress;
use runtime::RunEvent;

use bars::Bars;
use plain::Plain;

/// Where lines for people go: above the bars, if there are any.
#[derive(Clone, Debug)]
pub enum Screen {
    /// A terminal with bars.
    Bars(MultiProgress),
    /// A file or a pipe.
    Plain,
    /// Nowhere.
    Quiet,
}

impl Screen {
    /// The screen there is.
    pub fn new(quiet: bool) -> Self {
        if quiet {
            Self::Quiet
        } else if std::io::stderr().is_terminal() {
            Self::Bars(MultiProgress::new())
        } else {
            Self::Plain
        }
    }

    /// Shows a line.
    pub fn line(&self, text: &str) {
        match self {
            // A terminal that cannot be written to is no reason to stop a run.
            Self::Bars(bars) => drop(bars.println(text)),
            Self::Plain => eprintln!("{text}"),
            Self::Quiet => {}
        }
    }
}

/// Turns the run's events into what is shown.
pub enum Progress {
    /// A bar per running arm and seed.
    Bars(Bars),
    /// A line at every tenth of the way and at each evaluation.
    Plain(Plain),
    /// Nothing.
    Quiet,
}

impl Progress {
    /// For a run of that many arms times seeds.
    pub fn new(screen: Screen, runs: usize) -> Self {
        match screen {
            Screen::Bars(bars) => Self::Bars(Bars::new(bars, runs)),
            Screen::Plain => Self::Plain(Plain::default()),
            Screen::Quiet => Self::Quiet,
        }
    }

    /// Shows an event.
    pub fn show(&mut self, event: &RunEvent) {
        match self {
            Self::Bars(bars) => bars.show(event),
            Self::Plain(plain) => {
                if let Some(line) = plain.line(event) {
                    eprintln!("{line}");
                }
            }
            Self::Quiet => {}
        }
    }

    /// Clears the bars away.
    pub fn finish(&mut self) {
        if let Self::Bars(bars) = self {
            bars.finish();
        }
    }
}
