//! The soundscape world, the built-in dataset: short clips of a few synthetic sounds, and questions about them that
//! benefit from thinking to different degrees. It is the default of a scenario.
//!
//! [`prepare`] generates the world of a [`WorldConfig`] once per machine, in the cache folder: audio files and two
//! files of questions in the AVQA format, which the AVQA reader reads. [`sft_target`] makes the completions on which a
//! base model is fine-tuned, which may be flawed on purpose.
//!
//! - WORLD-1 the same settings give the same bytes, with any number of threads.
//! - WORLD-2 no held-out clip with three or more events has the event sequence of a training clip.
//! - WORLD-3 the events of a clip are complete and do not overlap; seven always fit.
//! - WORLD-4 the world's folder is complete or absent.

mod clip;
mod config;
mod encode;
mod generate;
mod question;
mod rng;
mod target;

pub use clip::{CLIP_SECONDS, SAMPLE_RATE, Sound};
pub use config::{AudioFormat, Kind, Split, WorldConfig};
pub use generate::{prepare, prepare_in};
pub use target::{TargetKind, sft_target};
