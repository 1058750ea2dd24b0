//! Whether values are within their ranges, each checked at the line it was written on.

mod arm;
mod judge;
mod range;
mod run;

pub(crate) use arm::check_arm;
pub(crate) use run::{check_control, check_run};
