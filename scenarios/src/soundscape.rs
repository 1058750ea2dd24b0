//! The soundscape world: short clips of a few synthetic sounds, and questions about them that differ in how much
//! thinking helps. It is what the sandbox trains on when nothing else is given.
//!
//! A [`WorldConfig`] is turned, once per machine, into a cache folder of real audio files and two files of rows in the
//! AVQA layout ([`prepare`]), which the reader of AVQA files reads back. [`sft_target`] writes what a base model is
//! taught to answer, flaws included.
//!
//! - WORLD-1 the same settings give the same bytes, whatever the number of threads.
//! - WORLD-2 no clip of three or more events that is held out has an event sequence that training has.
//! - WORLD-3 the events of a clip are whole and do not overlap: seven always fit.
//! - WORLD-4 the cache folder is complete or absent.

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
