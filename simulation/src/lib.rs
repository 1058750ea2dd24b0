//! A discrete-event simulation of a run: how long it takes on so many samplers, learners and judges, and what is idle meanwhile.
//! The crate is pure: it uses neither tensors nor an async runtime, and no clock.
//!
//! [`Inputs`] are the numbers that are simulated: a small TOML file ([`Inputs::read`]), the service times of a recorded run
//! ([`fit()`]), or both. [`simulate`] moves the arms through their steps as the conductor of the crate `run` does, and returns an
//! [`Outcome`]. [`advise`] repeats that with a sampler, a learner or a judge more, and ranks them by what they gain per GPU.
//!
//! - `SIM-1` the same inputs and seed give the same outcome.
//! - `SIM-2` a step is sampled from weights that are at most `max_staleness` versions older than those it is trained on (CONDUCT-2).
//!
//! ```
//! use simulation::{Inputs, simulate};
//!
//! // Two prompts × 8 completions of 100 tokens at 1,000 tokens/s take 1.6 s, and 0.4 s of training follow.
//! let inputs = Inputs::parse(
//!     r#"
//!     [run]
//!     steps = 10
//!     prompts_per_step = 2
//!     group_size = 8
//!     [completions]
//!     tokens = { kind = "fixed", value = 100 }
//!     [sampler]
//!     decode = [{ sequences = 16, tokens_per_second = 1000 }]
//!     [learner]
//!     step_seconds = 0.4
//!     "#,
//! )?;
//! let outcome = simulate(&inputs)?;
//! assert!((outcome.wall_seconds - 20.0).abs() < 1e-6);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! What is left out: the tokens of a prompt matter to the learner and through `prefill_seconds` only, arms share nothing but judges and
//! cores, and a sampler is as fast at the end of a completion as at its start. docs/scale.md has the equations.

mod advice;
mod arm;
mod draw;
mod error;
mod fit;
mod inputs;
mod judge;
mod outcome;
mod queue;
mod sampler;
mod slots;
mod world;

pub use advice::{Addition, advise};
pub use error::SimulationError;
pub use fit::fit;
pub use inputs::{
    Batching, CheckpointInputs, CompletionInputs, DecodePoint, Distribution, EvaluationInputs, FailureInputs,
    Inputs, JudgeInputs, LearnerInputs, RunInputs, SamplerInputs, json_schema,
};
pub use outcome::{Outcome, Phases};
pub use world::simulate;
