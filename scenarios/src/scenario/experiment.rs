//! A scenario as it is run: what [`load`](super::load) returns.

use std::path::PathBuf;
use std::sync::Arc;

use super::tree::Node;
use super::{ArmConfig, ControlConfig, RunConfig};

/// A scenario, resolved: every arm with all its settings.
#[derive(Clone, Debug)]
pub struct Experiment {
    /// The scenario file, as it was given.
    pub path: PathBuf,
    /// `[run]`.
    pub run: RunConfig,
    /// `[control]`.
    pub control: ControlConfig,
    /// The arms to run, in the order of the file.
    pub arms: Vec<ArmConfig>,
    /// Where each setting of each arm was written, by the arm's position.
    pub(super) places: Arc<Vec<Node>>,
}
