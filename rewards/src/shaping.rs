//! From components to one reward per completion: the formula, under the weights of the moment.
//!
//! Slots give one column of scores per component, the formula combines a row into the shaped reward, the advantages
//! are taken of it. Weights change while a run goes on (LIVE-1), so they carry a version, and whoever records a
//! shaped reward records that version beside it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::Formula;

/// The weights of the formula, as of one version.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Weights {
    /// Counts up with every change; 0 as the scenario has them.
    pub version: u64,
    /// The weight of each name; `w_NAME` in the formula.
    pub values: BTreeMap<String, f64>,
}

/// The shaped reward of every completion.
///
/// A row is `None` if any component the formula uses is missing there (REWARD-1), if a weight it uses is not in
/// `weights`, or if the result is not a finite number: one infinite reward would otherwise spoil its whole group. A
/// component the formula does not use may be missing.
pub fn shape(
    formula: &Formula,
    components: &BTreeMap<String, Vec<Option<f64>>>,
    weights: &Weights,
) -> Vec<Option<f64>> {
    let rows = components.values().map(Vec::len).max().unwrap_or(0);
    let Some(mut bound) = formula.bind(weights) else {
        return vec![None; rows];
    };
    let columns: Vec<&[Option<f64>]> = formula
        .component_names()
        .map(|name| components.get(name).map(Vec::as_slice).unwrap_or_default())
        .collect();
    (0..rows).map(|row| bound.eval_with(|column| columns[column].get(row).copied().flatten())).collect()
}
