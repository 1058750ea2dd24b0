//! The weights of the shaping formula.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The weights of the formula, as of one version.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Weights {
    /// Counts up with every change; 0 as the scenario has them.
    pub version: u64,
    /// The weight of each name; `w_NAME` in the formula.
    pub values: BTreeMap<String, f64>,
}
