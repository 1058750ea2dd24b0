//! The world of spoken words: clips of one to nine words, spoken by espeak-ng, and questions about their order.
//!
//! A clip has one voice. Each word of each voice is synthesized once per machine, into a word bank in the cache folder, and
//! clips are joined from it. Some words, voices, lengths and wordings are held out from training; the rows say which, so that
//! an evaluation can tell them apart.
//!
//! - SPOKEN-1 no word, voice, length or wording that counts as held out occurs in training.
//! - SPOKEN-2 no sequence of two words or more occurs in training and in evaluation, whatever the settings.

mod bank;
mod config;
mod generate;
mod plan;
mod question;
mod words;

pub use config::{Known, SpokenConfig, SpokenKind};
pub(crate) use generate::{NAME, prepare_in};
