//! A run's records in the formats of other tools. Below `records` and beside the report: it reads the JSON lines of a run
//! directory and writes other files, which nothing in this project reads back. `docs/exports.md` lists the tags and columns.
//!
//! - [`Curves`]: the steps and evaluations of one arm under one seed as named numbers, while it trains, in a [`Sink`]: an
//!   [`EventFile`] for TensorBoard, a [`WandbFile`] for Weights & Biases, or the server of a tracker.
//! - [`export`]: the steps, evaluations and rollouts of a whole run as three tables, in Parquet, CSV or JSON lines.
//!
//! Invariants:
//!
//! - `EXPORT-1` a sink has each recorded step and evaluation exactly once, also after a resume.
//! - `EXPORT-2` a table has the same columns and the same values in all formats, in the order of the records.
//!
//! ```
//! use exports::{EventFile, Format, export};
//! use records::{ArmId, RunDir};
//!
//! let folder = tempfile::tempdir()?;
//! let run = RunDir::new(folder.path().join("runs/ablation"));
//! let arm = run.arm(&ArmId::new("grpo", 7));
//! std::fs::create_dir_all(arm.path())?;
//! std::fs::write(arm.metrics(), "{\"step\":1,\"loss\":0.5}\n")?;
//!
//! let mut events = EventFile::rewrite(&folder.path().join("events"), &arm)?;
//! events.append_step(&serde_json::json!({"step": 2, "loss": 0.25}))?;
//!
//! let files = export(&run, Format::Csv, &folder.path().join("tables"))?;
//! assert!(files[0].ends_with("tables/steps.csv"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![warn(missing_docs)]

mod appended;
mod curves;
mod error;
#[cfg(test)]
mod fabricate;
mod leaves;
mod protobuf;
pub mod tables;
pub mod tensorboard;
pub mod wandb;

pub use curves::{Curves, Sink};
pub use error::ExportError;
pub use leaves::each_leaf;
pub use tables::{Format, export};
pub use tensorboard::EventFile;
pub use wandb::{WandbFile, WandbRun};
