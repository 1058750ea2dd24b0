//! The rows of `data-problems.jsonl`: one per row of a data file that could not be used.

use std::path::PathBuf;

use scenarios::RowCause;
use serde::{Deserialize, Serialize};

use crate::format::FormatVersion;
use crate::rollout::Phase;

/// A row of the training data or of a suite that could not be used. Each row is listed once, when it is first met.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "docs/metrics.md defines the fields")]
pub struct DataProblem {
    #[serde(default = "FormatVersion::unnamed")]
    pub format_version: FormatVersion,
    pub phase: Phase,
    pub step: u64,
    pub suite: Option<String>,
    pub file: PathBuf,
    pub row: u64,
    pub id: Option<String>,
    pub cause: RowCause,
    pub message: String,
}
