//! The control channel: an HTTP server through which a person or a script watches and steers a running run.
//!
//! `listen` binds the address and makes the token, `guard` checks every request for both, and `api` answers what is
//! below `/api`. `feed` turns the run's events into server-sent events, which `event_hub` sends to every subscriber.
//! `page` serves the live page. What the run has written is read from its files (`lines`, `metrics`, `rollouts`); its
//! present state comes from the [`RunHandle`](run::RunHandle).
//!
//! - `CONTROL-1` no request and no failure in here stops or changes the training, except for changes recorded in the
//!   journal: the server is an actor that is restarted when it fails, the cost of a request is bounded, and files are
//!   read on threads outside the runtime.
//! - `CONTROL-2` every refusal is one line of JSON that says what to do instead.

#![warn(missing_docs)]

mod actor_tree;
mod api;
mod breakdown;
mod clips;
mod columns;
mod contribution;
mod curves;
mod error;
mod event_hub;
mod extract;
mod feed;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod graceful_close;
mod guard;
mod guesses;
mod heard;
mod held_out;
mod history;
mod host;
mod lines;
mod listen;
mod metrics;
mod openapi;
mod page;
mod places;
mod prometheus;
mod protocol;
#[cfg(test)]
mod python_client;
mod query_error;
mod reshaped;
mod rollouts;
mod serve;
mod server;
mod shared;
mod strict_json;

pub use listen::{Bound, ControlError, ControlFile, Token};
pub use protocol::{CTL_AGENT, PROTOCOL};
pub use serve::{Serving, serve};
