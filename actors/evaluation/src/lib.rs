//! Evaluation, apart from what answers: in how many ways the questions of a suite are asked, how the answers are counted,
//! and how an evaluation goes on after it was interrupted.
//!
//! A *suite* is a list of questions. It is asked once as it is, and once for each *control*, such as silence in place of its
//! clips ([`pass`]). The answers of a batch are counted into a [`Tallies`] ([`tallies`]). What is counted so far is kept in a
//! [`Draft`], so that a long evaluation need not begin again ([`draft`]).
//!
//! The crate `run` puts the questions to a policy; [`evaluate_server`] puts them to a server with OpenAI's API.

pub mod clip;
pub mod draft;
mod fetch;
pub mod pass;
mod server;
pub mod sound;
mod source;
pub mod tallies;

pub use draft::Draft;
pub use fetch::{FetchLimits, Fetched, fetch_clips};
pub use pass::{Ask, Pass, passes, presented};
pub use server::{ServerError, ServerEvent, ServerOutcome, evaluate_server};
pub use source::{Source, open_suites};
pub use tallies::{Answered, Tallies};
