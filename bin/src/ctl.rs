//! `sandbox ctl`: watches and steers a running run through its control channel.
//!
//! Every command sends a request or two and prints the answer, as text for people or, with `--json`, as it came.

mod alarms;
mod bookmarks;
mod client;
mod conditions;
mod context;
mod error;
mod fork;
mod lifecycle;
mod records;
mod watch;

use crate::cli::{CtlCommand, CtlOptions};
use crate::failure::Failure;
use client::Client;
use context::Ctl;
use error::CtlError;

/// Carries out a command.
pub fn ctl(options: &CtlOptions) -> Result<(), Failure> {
    run(options).map_err(Failure::from)
}

fn run(options: &CtlOptions) -> Result<(), CtlError> {
    let client = Client::find(options.run.as_deref())?;
    let ctl = Ctl { client, options };
    match &options.command {
        CtlCommand::State => records::state(&ctl),
        CtlCommand::Actors => records::actors(&ctl),
        CtlCommand::Metrics(options) => records::metrics(&ctl, options),
        CtlCommand::Rollouts(options) => records::rollouts(&ctl, options),
        CtlCommand::Alarms => alarms::alarms(&ctl),
        CtlCommand::Journal => records::journal(&ctl),
        CtlCommand::Weights { weights } => conditions::weights(&ctl, weights),
        CtlCommand::Formula { formula, weights } => conditions::formula(&ctl, formula.as_deref(), weights),
        CtlCommand::Set { settings } => conditions::settings(&ctl, settings),
        CtlCommand::Rewards => conditions::rewards(&ctl),
        CtlCommand::Swap(options) => conditions::swap(&ctl, options),
        CtlCommand::Add(options) => conditions::add(&ctl, options),
        CtlCommand::Remove { name, with } => conditions::remove(&ctl, name, with),
        CtlCommand::Pause { reason } => lifecycle::pause(&ctl, reason.as_deref()),
        CtlCommand::Resume => lifecycle::resume(&ctl),
        CtlCommand::Step { n } => lifecycle::step(&ctl, *n),
        CtlCommand::Checkpoint => lifecycle::checkpoint(&ctl),
        CtlCommand::Stop => lifecycle::stop(&ctl),
        CtlCommand::Fork(options) => fork::fork(&ctl, options),
        CtlCommand::Bookmarks => bookmarks::list(&ctl),
        CtlCommand::Bookmark(options) => bookmarks::bookmark(&ctl, options),
        CtlCommand::Watch => watch::watch(&ctl),
    }
}
