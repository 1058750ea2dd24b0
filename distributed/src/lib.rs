//! Several processes that train one policy: how each learns its place, how they find each other, and how they notice that one
//! of them is gone.
//!
//! A process is a *rank* of a *group*; rank 0 leads. [`Launch`] is what the launcher says about this process: torchrun,
//! Kubernetes, Slurm or the sandbox itself. A [`Rendezvous`] is its way to the store that all ranks share, and
//! [`Rendezvous::meet`] makes a [`Group`] of them, which adds up tensors over all ranks. The collectives are libtorch's own
//! (gloo, over TCP), so they travel through the CPU; [`Group::try_nccl`] has those of GPUs travel by NCCL.
//!
//! - `RANKS-1` every wait ends: with what was waited for, with the reason that another rank gave, when a rank it depends on is
//!   silent for longer than the time-out, or when it took longer than [`Group::PATIENCE`] times that.
//! - `RANKS-2` a rank waits by asking the store, never inside a collective: all enter a collective within a moment of each
//!   other, when each has said that it is ready.
//!
//! NCCL's own guarantees are in `nccl.rs`.
//!
//! ```no_run
//! use std::time::Duration;
//! use distributed::{Launch, Rendezvous};
//! use tch::{Kind, Tensor};
//!
//! # fn main() -> Result<(), distributed::RankError> {
//! let Some(launch) = Launch::from_env()? else { return Ok(()) };
//! let rendezvous = Rendezvous::open(&launch, Duration::from_secs(30))?;
//! let mut group = rendezvous.meet(&[("version", "1".to_owned())], &mut || Ok(()))?;
//! let gradient = Tensor::ones([4], (Kind::Float, tch::Device::Cpu));
//! group.sum(&gradient)?;
//! # Ok(())
//! # }
//! ```

#![warn(missing_docs)]

mod beats;
mod c10d;
mod collectives;
mod error;
mod group;
mod launch;
mod nccl;
mod node_list;
mod rendezvous;
#[cfg(test)]
mod tests;

pub use beats::{Ender, Watch};
pub use collectives::{Adding, Collectives};
pub use error::RankError;
pub use group::Group;
pub use launch::Launch;
pub use rendezvous::Rendezvous;
