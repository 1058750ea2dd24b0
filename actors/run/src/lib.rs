//! A run: every arm of a scenario under every seed, from the first actor to the report's records.
//!
//! [`start`] supervises one arm per [`ArmId`](records::ArmId); an arm supervises its workers, its judge, its rewards and
//! its conductor. The conductor takes the steps: each is one function, `training_step`, which loads, generates, judges,
//! scores, shapes, trains and records (`conductor.rs`). While a run goes on, [`RunHandle`] and [`ArmHandle`] show it
//! and change it; [`replay`] repeats it from its scenario and its journal.

#![warn(missing_docs)]

mod actor_tree;
mod alarms;
mod arm;
mod conductor;
mod context;
mod data;
mod error;
mod evaluator;
mod feature_cache;
mod fork;
mod grpo_settings;
mod handle;
mod lineage;
mod live;
mod messages;
mod needs_audio;
mod notices;
mod opening;
mod optimizer_args;
mod pass_rates;
mod plan;
mod policy;
mod prepare;
mod prompt;
mod ranks;
pub mod replay;
mod replay_texts;
mod rows;
mod run;
mod shared_clips;
mod slots;
mod sound;
mod spoken;
mod status;
#[cfg(test)]
mod tests;
mod utilisation;

pub use alarms::AlarmView;
pub use error::{InputError, RunError};
pub use fork::{ForkError, ForkRequest, Forked, LeftOut};
pub use handle::{ArmHandle, RunHandle};
pub use live::{
    ActorState, ActorView, ArmView, BookmarkError, Bookmarks, ChangeError, Conditions, ConditionsView,
    NewBookmark, Requires, RewardInForce, RewardView,
};
pub use messages::ArmOutcome;
pub use plan::side_by_side;
pub use policy::open_policy;
pub use ranks::follow;
pub use run::{RunArgs, RunOutcome, Running, run, settle_dtypes, start};
