//! The optimizer and its learning-rate schedule.
//!
//! Stands after `backward()`: [`AdamW`] reads the gradients of the policy's trainable tensors and changes these in
//! place. What it remembers can be [taken out](AdamW::state) and [put back](AdamW::load_state) bit for bit.

mod adamw;
mod schedule;

pub use adamw::{AdamW, AdamWConfig, OptimError, Step};
pub use schedule::{LrSchedule, LrShape};
