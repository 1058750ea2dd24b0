//! The run directory: every file name in it, the type of every row, and how they are read and written.
//!
//! A [`RunDir`] holds the scenario, the journal and one [`ArmDir`] per [`ArmId`] (an arm under one seed). The recorder
//! writes these files while a run trains; the report, the control channel, `--resume` and `replay` read them. All of
//! them use the types of this crate, so a field or a file name is defined once. `docs/metrics.md` defines every field.
//!
//! - `RECORD-1` JSON-lines files are only appended to, one whole line at a time; other files are replaced whole. A
//!   process that is killed leaves at most one incomplete last line per file.
//! - `FORMAT-1` every row carries `format_version`. Rows without it (version 0) are read; a newer version than
//!   [`FORMAT_VERSION`] is refused with the file's name.
//!
//! ```
//! use records::{ArmId, RunDir};
//!
//! let run = RunDir::new("runs/ablation-20260131-120000");
//! let arm = run.arm(&ArmId::new("grpo+atar", 7));
//! assert!(arm.metrics().ends_with("grpo+atar/seed-7/metrics.jsonl"));
//! assert!(arm.checkpoint(300).ends_with("checkpoints/step-000300"));
//! ```

#![warn(missing_docs)]

mod arm_id;
mod arm_state;
mod checkpoint;
mod conditions;
mod data_problem;
mod environment;
mod error;
mod evaluation;
mod files;
mod format;
mod groups;
mod health;
mod journal;
mod jsonl;
mod metrics;
mod rollout;
mod run_dir;
pub mod statistics;
mod status;

pub use arm_id::ArmId;
pub use arm_state::{ArmState, InvalidTransition};
pub use checkpoint::{CheckpointState, Progress};
pub use conditions::ConditionsRecord;
pub use data_problem::DataProblem;
pub use environment::Environment;
pub use error::RecordsError;
pub use evaluation::{Evaluation, Tally};
pub use files::{keep_lines, replace_file};
pub use format::{FORMAT_VERSION, FormatVersion};
pub use groups::GroupCounts;
pub use health::{Collapsed, Health, NonFinite, RunningMean, StepHealth};
pub use journal::{Action, Applied, Change, JournalEntry, now};
pub use jsonl::{for_each_line, json_lines, json_value};
pub use metrics::{GrpoMetrics, MissingCause, SftMetrics, StepMetrics, is_timing};
pub use rollout::{Phase, Rollout};
pub use run_dir::{ArmDir, ArmFile, RunDir, SeedDirs};
pub use status::Status;
