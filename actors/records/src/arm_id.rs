//! Which arm, under which seed.

use std::fmt;
use std::path::PathBuf;

use scenarios::Experiment;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// An arm under one seed: the unit that is trained, checkpointed, resumed and controlled on its own.
///
/// Rows and API answers flatten it into the two fields `arm` and `seed`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub struct ArmId {
    /// The arm's name in the scenario.
    pub arm: String,
    /// The seed under which the arm trains: one of `run.seeds`.
    pub seed: u64,
}

impl ArmId {
    /// The arm called `arm` under `seed`.
    pub fn new(arm: impl Into<String>, seed: u64) -> Self {
        ArmId { arm: arm.into(), seed }
    }

    /// Its folder relative to the run directory: `grpo+atar/seed-7`.
    pub fn folder(&self) -> PathBuf {
        PathBuf::from(&self.arm).join(format!("{SEED_PREFIX}{}", self.seed))
    }

    /// The seed that a folder of this name belongs to; `None` if it is no seed's folder.
    pub(crate) fn seed_of_folder(name: &str) -> Option<u64> {
        name.strip_prefix(SEED_PREFIX)?.parse().ok()
    }
}

/// The arms of an experiment, each under its seeds, in the order in which they start.
pub fn arm_ids(experiment: &Experiment) -> Vec<ArmId> {
    let of_seed = |&seed: &u64| {
        let arms = experiment.arms.iter().filter(move |arm| arm.has_seed(seed));
        arms.map(move |arm| ArmId::new(arm.name.clone(), seed))
    };
    experiment.run.seeds.iter().flat_map(of_seed).collect()
}

const SEED_PREFIX: &str = "seed-";

impl fmt::Display for ArmId {
    /// As actors and log lines are named: `grpo+atar/seed-7`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{SEED_PREFIX}{}", self.arm, self.seed)
    }
}
