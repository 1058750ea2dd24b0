//! The errors of [`write_report`](crate::write_report), [`overview`](crate::overview()) and
//! [`compare_runs`](crate::compare_runs).

use std::path::PathBuf;

use records::RecordsError;
use rewards::FormulaError;
use scenarios::ScenarioError;

/// Why a report could not be written, or a run not be described.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// The run directory or a file in it cannot be read, or was written in a newer format.
    #[error(transparent)]
    Read(#[from] RecordsError),
    /// The directory contains neither a scenario with arms nor folders of arms and seeds.
    #[error(
        "{}: not a run directory (no scenario.toml with arms, no ARM/seed-N/ folders); name one such as runs/ablation-20250131-120000",
        path.display()
    )]
    NotARun {
        /// The directory that was given.
        path: PathBuf,
    },
    /// Two runs can't be compared.
    #[error("{}: {problem}; {instead}", path.display())]
    NotComparable {
        /// The run that differs from the first.
        path: PathBuf,
        /// What differs.
        problem: String,
        /// What to compare instead.
        instead: String,
    },
    /// The run's scenario cannot be read.
    #[error(transparent)]
    Scenario(#[from] ScenarioError),
    /// The status of an arm is there, but is none.
    #[error("{}: damaged: not the status of an arm", path.display())]
    Status {
        /// The file.
        path: PathBuf,
    },
    /// A file of the report could not be written.
    #[error(transparent)]
    Write(RecordsError),
    /// The template of `report.html` could not be rendered.
    #[error("report.html could not be rendered: {0}")]
    Page(#[from] minijinja::Error),
}

/// Why a run could not be reshaped.
#[derive(Debug, thiserror::Error)]
pub enum ReshapeError {
    /// A file of the run cannot be read.
    #[error(transparent)]
    Read(#[from] RecordsError),
    /// The scenario cannot be read, or an override does not fit it.
    #[error(transparent)]
    Scenario(#[from] ScenarioError),
    /// No arm has completions.
    #[error("{}: no GRPO arm with recorded completions; name a run that has trained, or another --arm", path.display())]
    NothingToReshape {
        /// The run directory.
        path: PathBuf,
    },
    /// The penalties that were subtracted from the rewards are not recorded.
    #[error(
        "arm `{arm}`: its advantages can't be computed again, because grpo.kl_in_reward subtracted a divergence that is \
         not recorded by completion; leave the arm out with --arm"
    )]
    KlInReward {
        /// The arm.
        arm: String,
    },
    /// The formula does not fit the recorded scores.
    #[error("arm `{arm}`, step {step}: {source}; a formula can use what was scored then: {recorded}")]
    Formula {
        /// The arm.
        arm: String,
        /// The step.
        step: u64,
        /// What is wrong with it.
        source: Box<FormulaError>,
        /// The recorded components.
        recorded: String,
    },
}
