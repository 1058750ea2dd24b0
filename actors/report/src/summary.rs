//! The figures of a run: what `summary.json` holds and the table, the page and the comparisons are made from.

use records::FormatVersion;
use serde::Serialize;

use crate::arm_summary::ArmSummary;
use crate::comparison::{self, Comparison};
use crate::notes::notes;
use crate::recorded::RecordedRun;

/// The figures of a run: the content of `summary.json`.
#[derive(Clone, Debug, Serialize)]
pub struct Summary {
    /// The format of `summary.json`.
    pub format_version: FormatVersion,
    /// Name of the run directory.
    pub run: String,
    /// Whether every arm and seed ran to its end.
    pub complete: bool,
    /// Evaluation suites, in the order they were first evaluated.
    pub suites: Vec<String>,
    /// Arms, in the scenario's order.
    pub arms: Vec<ArmSummary>,
    /// What each arm gains over the arm that it extends, on the first suite.
    pub contributions: Vec<Comparison>,
    /// What a reader should know before trusting the figures.
    pub notes: Vec<String>,
}

impl Summary {
    /// Draws up the figures of a run directory.
    pub(super) fn of(run: &RecordedRun) -> Self {
        let arms: Vec<ArmSummary> = run.arms.iter().map(|arm| ArmSummary::of(arm, &run.suites)).collect();
        let contributions =
            run.suites.first().map_or_else(Vec::new, |suite| comparison::compare(&arms, suite));
        let complete = arms
            .iter()
            .all(|arm| !arm.seeds.is_empty() && arm.seeds.iter().all(|seed| seed.status == "done"));
        let notes = notes(run, &arms);
        Self {
            format_version: FormatVersion::CURRENT,
            run: run.name.clone(),
            complete,
            suites: run.suites.clone(),
            arms,
            contributions,
            notes,
        }
    }
}

