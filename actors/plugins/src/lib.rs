//! Reward actors: one reward component each, scoring a step's completions.
//!
//! A [`RewardSource`] is the configuration of a reward, from `[rewards.NAME]` of the scenario. It opens a [`Scorer`] (a
//! reward in Rust, a child process or an HTTP server), which a [`RewardActor`] owns. After a failure the same source
//! opens the next scorer. A batch comes from the conductor as a [`RewardMsg`] and is answered with [`Scored`]. Child
//! processes and servers use the same JSON messages (`protocol`, version 1), which `docs/plugins.md` defines.
//!
//! - `REWARD-1` a missing score stays `None` and is counted by its cause. A reward that fails, or returns the wrong
//!   number of scores, gives `None` for the whole batch, with the reason.
//! - `REWARD-4` scoring blocks no thread of the async runtime: a reward in Rust runs on a blocking thread.
//! - `PLUGIN-1` every batch is answered within the plug-in's own time limits, if only with the reason for a failure.
//! - `PLUGIN-2` an answer counts for the batch that it names and for no other.
//! - `PLUGIN-4` a batch that several child processes share is divided by whole groups, and each of its completions is scored
//!   by one of them.
//! - `PLUGIN-3` when a reward is dropped, its child process and all processes that the child started
//!   are killed and reaped.
//! - `SECRET-3` a child process inherits only an allow-list of environment variables and those that its `env` names.
//! - `SECRET-4` the headers of a reward server go to its own address only: no redirect is followed, and a proxy is used
//!   only if the reward's `proxy` names it.

#![warn(missing_docs)]

mod actor;
mod child;
mod environment;
mod error;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod http;
mod notes;
mod process;
mod processes;
mod protocol;
mod sample;
mod scored;
mod scorer;
mod source;
mod trial;
mod webhook;

pub use actor::{RewardActor, RewardMsg};
pub use environment::INHERITED;
pub use error::PluginError;
pub use notes::{Metric, Notes};
pub use processes::Processes;
pub use protocol::Call;
pub use sample::sample_batch;
pub use scored::{Failure, Scored};
pub use scorer::Scorer;
pub use source::RewardSource;
pub use trial::{TriedReward, try_plugins};
pub use webhook::post_webhook;
