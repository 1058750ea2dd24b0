//! The control channel: HTTP, JSON and server-sent events by which a run is watched and steered while it goes on.
//!
//! `listen` holds the address and the token, `guard` decides who may come in, `api` answers, `hub` tells what happens
//! as it happens, `page` hands out the page. What a run has written is read from its files (`lines`, `metrics`,
//! `rollouts`); what it does now is asked of the [`RunHandle`](run::RunHandle).
//!
//! - `CONTROL-1` no request and no failure in here ends or changes the training, but for what the journal shows: the
//!   server is an actor that is started again, what a request may cost is bounded, and files are read beside the
//!   runtime.
//! - `CONTROL-2` what is refused is refused in one line of JSON that says what to do instead.

#![warn(missing_docs)]

mod api;
mod clips;
mod error;
mod feed;
mod guard;
mod hub;
mod input;
mod lines;
mod linger;
mod listen;
mod metrics;
mod openapi;
mod page;
mod rollouts;
mod serve;
mod server;
mod shared;

pub use listen::{Bound, ControlError, ControlFile, Token};
pub use serve::{Serving, serve};

/// Version of the interface under `/api`.
pub const PROTOCOL: u32 = 1;

/// What `sandbox ctl` calls itself, so that the journal can tell who asked.
pub const CTL_AGENT: &str = "sandbox-ctl";
