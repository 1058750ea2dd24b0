//! The experiment that [`load()`](super::load()) makes of a scenario.

use std::path::PathBuf;
use std::sync::Arc;

use super::tree::Node;
use super::{
    ArmConfig, ControlConfig, Design, Hypothesis, MemoryConfig, RunConfig, StorageConfig, TracesConfig,
    TrackingConfig,
};

/// A scenario in which every setting of every arm has a value.
#[derive(Clone, Debug)]
pub struct Experiment {
    /// Path of the scenario file as the user gave it.
    pub path: PathBuf,
    /// The settings of `[run]`, which apply to all arms.
    pub run: RunConfig,
    /// The settings of `[memory]`, which apply to all arms.
    pub memory: MemoryConfig,
    /// The settings of `[control]`, which apply to all arms.
    pub control: ControlConfig,
    /// The settings of `[tracking]`, which apply to all arms.
    pub tracking: TrackingConfig,
    /// The settings of `[storage]`, which apply to all arms.
    pub storage: StorageConfig,
    /// The settings of `[traces]`, which apply to all arms.
    pub traces: TracesConfig,
    /// The arms to run, in the order of the file.
    pub arms: Vec<ArmConfig>,
    /// What the run is to find out, as far as the arms to run are concerned.
    pub hypotheses: Vec<Hypothesis>,
    /// The factors of the arms and their levels, if `[ablation]` or `[design]` says them.
    pub design: Option<Design>,
    /// For each arm the tree it was read from, which has the places of its settings.
    pub(super) places: Arc<Vec<Node>>,
}
