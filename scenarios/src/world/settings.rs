//! What the settings of all worlds have in common: the parts of a world, audio formats, and the checks of ranges.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::ScenarioError;

/// A part of a world. Data files have one part only, which is used for both.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Split {
    /// The questions to train on.
    Train,
    /// Questions about clips that are not used in training.
    Heldout,
}

impl Split {
    /// Name of the part in file names.
    pub fn name(self) -> &'static str {
        match self {
            Split::Train => "train",
            Split::Heldout => "heldout",
        }
    }
}

/// The file format of a clip.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AudioFormat {
    /// WAV with 16-bit samples.
    Wav,
    /// WAV with 24-bit samples.
    Wav24,
    /// WAV with 32-bit floating-point samples.
    WavFloat,
    /// FLAC with 16-bit samples.
    Flac,
}

/// A value out of its range. `section` is the table's name below `[data]`.
pub(crate) fn out_of_range(
    section: &'static str,
    key: &'static str,
    problem: impl Into<String>,
    instead: &'static str,
) -> ScenarioError {
    ScenarioError::World { section, key, problem: problem.into(), instead }
}

/// Checks that all counts are at least 1.
pub(crate) fn counts(section: &'static str, counts: &[(&'static str, usize)]) -> Result<(), ScenarioError> {
    match counts.iter().find(|(_, count)| *count == 0) {
        Some((key, _)) => Err(out_of_range(section, key, "is 0", "write at least 1")),
        None => Ok(()),
    }
}

/// Checks that the weights are 0 or more, and one of them above 0.
pub(crate) fn weights<K>(
    section: &'static str,
    key: &'static str,
    weights: &BTreeMap<K, f64>,
) -> Result<(), ScenarioError> {
    if let Some(weight) = weights.values().find(|weight| !weight.is_finite() || **weight < 0.0) {
        return Err(out_of_range(section, key, format!("has the weight {weight}"), "write 0 or more"));
    }
    if !weights.values().any(|weight| *weight > 0.0) {
        return Err(out_of_range(section, key, "has no weight above 0", "give at least one"));
    }
    Ok(())
}

/// Checks that all values are probabilities.
pub(crate) fn probabilities(
    section: &'static str,
    rates: impl IntoIterator<Item = (&'static str, f64)>,
) -> Result<(), ScenarioError> {
    match rates.into_iter().find(|(_, rate)| !(0.0..=1.0).contains(rate)) {
        Some((key, rate)) => {
            Err(out_of_range(section, key, format!("has {rate}"), "write a probability, from 0 to 1"))
        }
        None => Ok(()),
    }
}

/// Checks a range of numbers, written as a list of its two ends, which must be within `low` and `high`.
pub(crate) fn range(
    section: &'static str,
    key: &'static str,
    [from, to]: [f64; 2],
    (low, high): (f64, f64),
    instead: &'static str,
) -> Result<(), ScenarioError> {
    if low <= from && from <= to && to <= high {
        return Ok(());
    }
    Err(out_of_range(section, key, format!("is [{from}, {to}]"), instead))
}

/// Checks a list of clip lengths, which must be within `low` and `high`.
pub(crate) fn lengths(
    section: &'static str,
    key: &'static str,
    lengths: &[usize],
    (low, high): (usize, usize),
    instead: &'static str,
) -> Result<(), ScenarioError> {
    if lengths.is_empty() {
        return Err(out_of_range(section, key, "is an empty list", instead));
    }
    match lengths.iter().find(|length| !(low..=high).contains(length)) {
        Some(length) => Err(out_of_range(section, key, format!("has {length}"), instead)),
        None => Ok(()),
    }
}
