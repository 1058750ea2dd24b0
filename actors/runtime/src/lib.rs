//! What all actors of a run are built on.
//!
//! A [`Slot`] is the stable address of an actor that may fail and be replaced; callers hold slots, never actors. A
//! [`RestartBudget`] bounds how often a supervisor replaces one. [`seed`] derives every random draw from the scenario's
//! seed and its place in the run. [`Watchers`] broadcast the [`RunEvent`]s.

#![warn(missing_docs)]

mod event;
pub mod seed;
mod slot;
mod supervision;
mod watchers;

pub use event::{RunEvent, StepFigures};
pub use slot::{CallError, Reply, Request, Slot, SlotStatus};
pub use supervision::RestartBudget;
pub use watchers::Watchers;
