//! Sums over the GPUs of all ranks by NCCL, which is opened while the program runs.
//!
//! The program is linked neither with NCCL nor with CUDA. Once libtorch's CUDA part is loaded, CUDA's runtime is among the
//! symbols of the process; [`find`] opens `libnccl.so.2` beside it. Each rank then says what it found (an [`Offer`]), rank 0
//! decides whether all fit together, and a [`Communicator`] connects them.
//!
//! - `NCCL-1` all ranks add up by NCCL, or none.
//! - `NCCL-2` no call of NCCL or CUDA waits for another rank: the communicator does not block, and whoever waits looks at the
//!   store meanwhile. What is not done in time is aborted.

mod communicator;
mod cuda;
mod found;
mod library;
mod offer;

pub(crate) use communicator::{Broken, Communicator, Look};
pub(crate) use found::{Found, STAND_IN, find, offer_of};
#[cfg(test)]
pub(crate) use library::Library;
pub(crate) use library::UniqueId;
pub(crate) use offer::{ALL_ON_CPUS, Offer, misfit};
