//! The optimizer and its learning-rate schedule.
//!
//! After the backward pass, the learner calls [`AdamW::step`], which updates the policy's trainable tensors in place
//! from their gradients. Its state can be [saved](AdamW::state) and [restored](AdamW::load_state) bit for bit.

mod adamw;
mod error;
mod schedule;

pub use adamw::{AdamW, AdamWConfig, Step};
pub use error::OptimError;
pub use schedule::{LrSchedule, LrShape};
