//! The summary of a run: the content of `summary.json`, from which the tables and the page are made.

use records::FormatVersion;
use serde::Serialize;

use crate::ablation::Ablation;
use crate::arm_summary::ArmSummary;
use crate::comparison::{self, Comparison};
use crate::conclusions::{Conclusion, conclusions};
use crate::hearing::{Hearing, hearing};
use crate::hypotheses::{Answer, answers};
use crate::notes::notes;
use crate::recorded::RecordedRun;

/// The summary of a run: the content of `summary.json`.
#[derive(Clone, Debug, Serialize)]
pub struct Summary {
    /// Version of the format, see `docs/metrics.md`.
    pub format_version: FormatVersion,
    /// Name of the run directory.
    pub run: String,
    /// Whether every seed of every arm is done.
    pub complete: bool,
    /// What the run shows, in at most eight sentences.
    pub conclusions: Vec<Conclusion>,
    /// The answers to the scenario's hypotheses, in its order.
    pub hypotheses: Vec<Answer>,
    /// Evaluation suites, in the order of their first evaluation.
    pub suites: Vec<String>,
    /// One entry per arm, in the scenario's order.
    pub arms: Vec<ArmSummary>,
    /// The comparison of each arm with the arm that it extends, on the first suite.
    pub contributions: Vec<Comparison>,
    /// What the factors of the design contributed; missing if the scenario has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ablation: Option<Ablation>,
    /// What survives without hearing, for suites that were evaluated with controls.
    pub hearing: Vec<Hearing>,
    /// What is missing, has failed or was changed during the run, one sentence each.
    pub notes: Vec<String>,
    /// What somebody marked while the run was in progress, one sentence each.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub bookmarks: Vec<String>,
}

impl Summary {
    pub(super) fn of(run: &RecordedRun) -> Self {
        let arms: Vec<ArmSummary> = run.arms.iter().map(ArmSummary::of).collect();
        let contributions =
            run.suites.first().map_or_else(Vec::new, |suite| comparison::compare(&arms, suite));
        let complete = arms
            .iter()
            .all(|arm| !arm.seeds.is_empty() && arm.seeds.iter().all(|seed| seed.status == "done"));
        let notes = notes(run, &arms);
        let ablation = Ablation::of(run);
        let hypotheses = answers(&run.hypotheses, &arms, &run.suites);
        Self {
            format_version: FormatVersion::CURRENT,
            run: run.name.clone(),
            complete,
            conclusions: conclusions(run, &arms, &contributions, ablation.as_ref(), &hypotheses),
            hypotheses,
            suites: run.suites.clone(),
            contributions,
            ablation,
            hearing: hearing(&arms, &run.suites),
            arms,
            notes,
            bookmarks: run.bookmarks.clone(),
        }
    }
}
