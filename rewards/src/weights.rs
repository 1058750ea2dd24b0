//! The weights of the shaping formula.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The values of the formula's weights at one version. A change during the run makes a new version (LIVE-1), and every
/// recorded reward names the version it was shaped with.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Weights {
    /// 0 for the scenario's weights, then one more with each change.
    pub version: u64,
    /// The weights by name; `w_NAME` in the formula.
    pub values: BTreeMap<String, f64>,
}
