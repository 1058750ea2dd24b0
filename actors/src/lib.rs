//! The supervised actors of a run.
//!
//! [`run`] takes a resolved scenario and starts one [`arm::Arm`] per arm and seed. An arm supervises its loader pool,
//! sampler, judge pool, rewards, shaper, optimizer, evaluator and conductor; the recorder is shared by all arms.
//! Actors reach each other through [`slot::Slot`]s, so that any of them may fail and be replaced.
//!
//! One step: conductor → loader (clips) → sampler (completions) → judge (verdicts) → rewards (scores, side by side)
//! → shaper (reward, advantages) → optimizer (a new version of the weights, on the [`shelf::Shelf`]) → recorder.

pub mod arm;
pub mod checkpoint;
pub mod conductor;
pub mod control;
mod environment;
pub mod evaluator;
mod event;
pub mod judge;
pub mod live;
pub mod loader;
pub mod optimizer;
mod plugin;
mod progress;
pub mod recorder;
pub mod records;
pub mod replay;
pub mod report;
pub mod reward;
mod run;
pub mod sampler;
pub mod seed;
pub mod shaper;
pub mod shelf;
pub mod slot;
mod statistics;
pub mod supervision;

pub use arm::open_policy;
pub use event::{ArmOutcome, ArmStatus, RunEvent, RunMsg, StepFigures};
pub use live::{
    ActorView, Applied, ArmHandle, ArmView, Change, ChangeError, Conditions, Entry, RewardInForce, RunHandle,
};
pub use run::{RunArgs, RunError, RunOutcome, Running, run, start};
