//! Scenario files, datasets, the soundscape world, official scorers. Pure: no tensors, no async runtime.

pub mod builtin;
mod cache;
pub mod dataset;
mod formats;
#[path = "scenario/prompt.rs"]
mod prompt;
pub mod scorers;
pub mod soundscape;

pub use builtin::builtin_tiny_policy;
pub use cache::cache_dir;
pub use dataset::{DataError, DataFormat, DataSource, FileSource, RowFilter, Split, open_dataset, open_dataset_filtered};
pub use prompt::PromptStyle;
pub use soundscape::{TargetKind, WorldConfig, sft_target};
