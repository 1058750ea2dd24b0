//! Checks that values are within their ranges. An error has the place of the value.

mod arm;
mod grpo;
mod judge;
mod range;
mod run;
mod sampler;

pub(crate) use arm::check_arm;
pub(crate) use judge::check_task_server;
pub(crate) use run::{check_control, check_memory, check_run, check_storage, check_traces, check_tracking};
