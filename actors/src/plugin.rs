//! Rewards outside this process: child processes that speak JSON lines, and servers that answer a POST.
//!
//! Both say and are told the same ([`protocol`], version 1; `docs/plugins.md` is its definition). Whatever they do,
//! nothing of it reaches the run but a score or none:
//!
//! - `PLUGIN-1` every batch is answered within the plug-in's own time limits, if only with the reason why not.
//! - `PLUGIN-2` an answer counts for the batch it names and no other.
//! - `PLUGIN-3` when a reward is dropped, its child and all that the child forked are killed and reaped.

mod child;
mod http;
mod process;
mod protocol;

pub use http::HttpReward;
pub use process::ProcessReward;
