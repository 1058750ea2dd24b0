//! Constants that the server and its clients agree on.

/// Version of the interface under `/api`.
pub const PROTOCOL: u32 = 1;

/// The product name `sandbox ctl` sends as its `User-Agent`, by which the journal tells its changes from others.
pub const CTL_AGENT: &str = "sandbox-ctl";
