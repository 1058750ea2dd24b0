//! The run directory: every file name in it, the type of every row, and how they are read and written.
//!
//! A [`RunDir`] holds the scenario, the journal and one [`ArmDir`] per [`ArmId`] (an arm under one seed). The recorder
//! writes these files while a run trains; the report, the control channel, `--resume` and `replay` read them. All of
//! them use the types of this crate, so a field or a file name is defined once. `docs/metrics.md` defines every field.
//!
//! - `RECORD-1` JSON-lines files are only appended to, one whole line at a time; other files are replaced whole. A
//!   process that is killed leaves at most one incomplete last line per file.
//! - `LOCK-1` one process at a time writes to a run directory ([`OwnedRunDir`]).
//! - `VERIFY-1` [`verify()`] finds every change of a byte that a checksum covers; `REPAIR-1` [`repair()`] deletes nothing.
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

mod alarms;
mod arm_file;
mod arm_id;
mod arm_state;
mod bookmark;
mod changes;
mod checkpoint;
mod checksum;
mod conditions;
mod damage;
mod data_problem;
mod environment;
mod error;
mod evaluation;
mod files;
mod fork;
mod format;
mod groups;
mod health;
mod journal;
mod jsonl;
mod lock;
mod manifest;
mod merge;
mod metrics;
mod owner;
mod record_sums;
mod repair;
mod rollout;
mod run_dir;
mod sealed;
pub mod statistics;
mod status;
mod stored;
mod sweep;
mod verify;
mod visible;

pub use alarms::{AlarmFiring, AlarmMemory, AlarmState, KeptVerdict, SeriesMemory};
pub use arm_file::ArmFile;
pub use arm_id::{ArmId, arm_ids};
pub use arm_state::{ArmState, InvalidTransition};
pub use bookmark::{Bookmark, BookmarkedCompletion, bookmarks_in_force};
pub use changes::{ChangeSummary, FieldChange, changes_in_order};
pub use checkpoint::{CheckpointState, Progress, WrittenCheckpoint};
pub use checksum::{FileSum, RunningSum};
pub use conditions::ConditionsRecord;
pub use damage::{Damage, Finding};
pub use data_problem::DataProblem;
pub use environment::Environment;
pub use error::RecordsError;
pub use evaluation::{Evaluation, Tally};
pub use files::{keep_lines, replace_file};
pub use format::{FORMAT_VERSION, FormatVersion};
pub use groups::GroupCounts;
pub use health::{Collapsed, Health, NonFinite, RunningMean, StepHealth};
pub use journal::{Action, Applied, Change, JournalEntry, now};
pub use jsonl::{append_line, for_each_line, json_lines, json_value};
pub use lock::{LockCheck, OwnedRunDir, host, is_owned};
pub use manifest::Manifest;
pub use merge::MergeError;
pub use metrics::{GrpoMetrics, MissingCause, SftMetrics, StepMetrics, TrainingMemory, is_timing};
pub use owner::Owner;
pub use record_sums::RecordSums;
pub use repair::{refuse_damage, repair};
pub use rollout::{GradedCompletion, Phase, Rollout};
pub use run_dir::{ArmDir, RunDir, SeedDirs};
pub use sealed::{is_whole, seal};
pub use status::Status;
pub use stored::{CheckpointPlace, OpenCheckpoint, Snapshot, StorageRecord};
pub use sweep::{SweepDir, Task};
pub use verify::{Verified, verify};
pub use visible::visible;
