//! The world of recordings: clips made of the sounds in a folder with a subfolder per class, and questions about which class
//! is heard, and in which order.
//!
//! - RECORDED-1 no recording is heard both in training and in evaluation.

mod config;
mod folder;
mod generate;

pub use config::{RecordedConfig, RecordedKind};
pub(crate) use generate::{NAME, prepare_in};
