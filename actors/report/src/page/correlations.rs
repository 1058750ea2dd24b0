//! The table of how reward components go together.

use std::collections::BTreeSet;

use serde::Serialize;

use crate::plots::style;
use crate::summary::Summary;

/// One row per arm, one column per pair of components.
#[derive(Serialize)]
pub(super) struct CorrelationTable {
    pairs: Vec<[String; 2]>,
    rows: Vec<Row>,
}

#[derive(Serialize)]
struct Row {
    arm: String,
    style: String,
    /// The coefficient of each pair; `None` if a component is the same everywhere, or was not scored.
    cells: Vec<Option<f64>>,
}

impl CorrelationTable {
    /// `None` if no arm scores two components.
    pub(super) fn of(summary: &Summary) -> Option<Self> {
        let found = summary.arms.iter().flat_map(|arm| &arm.correlations);
        let pairs: BTreeSet<&[String; 2]> = found.map(|correlation| &correlation.components).collect();
        let pairs: Vec<[String; 2]> = pairs.into_iter().cloned().collect();
        let rows: Vec<Row> = summary
            .arms
            .iter()
            .enumerate()
            .filter(|(_, arm)| !arm.correlations.is_empty())
            .map(|(at, arm)| {
                let of = |pair: &[String; 2]| {
                    let found = arm.correlations.iter().find(|correlation| correlation.components == *pair);
                    found.map(|correlation| correlation.r)
                };
                Row { arm: arm.name.clone(), style: style(at), cells: pairs.iter().map(of).collect() }
            })
            .collect();
        (!pairs.is_empty()).then_some(Self { pairs, rows })
    }
}
