//! A run on several processes: what rank 0 tells the others of its arms, and how these open their replicas.

use std::path::Path;
use std::sync::Arc;

use distributed::{Group, RankError};
use model::Bases;
use records::ArmId;
use scenarios::{ArmConfig, Device, Experiment};
use workers::{ArmRanks, ComputeSlots, Opening, OptimizerArgs, Published, Ranks, WeightStore};

use crate::error::InputError;
use crate::optimizer_args::optimizer_args;
use crate::policy::open_policy;

/// The ranks of a run, with the settings that all its arms share. Clones refer to the same.
#[derive(Clone)]
pub(crate) struct RunRanks {
    ranks: Ranks,
    experiment: Arc<Experiment>,
}

impl RunRanks {
    pub(crate) fn new(ranks: Ranks, experiment: &Experiment) -> Self {
        RunRanks { ranks, experiment: Arc::new(experiment.clone()) }
    }

    /// The ranks that train an arm.
    pub(crate) fn of_arm(&self, id: &ArmId, config: &ArmConfig, threads: usize) -> ArmRanks {
        let opening = Opening {
            arm: id.to_string(),
            seed: id.seed,
            scenario: alone(&self.experiment, config).to_toml(),
            threads,
            policy_version: 0,
            moments: None,
            nccl: false,
        };
        ArmRanks { ranks: self.ranks.clone(), opening }
    }
}

/// A scenario with this arm alone, without what refers to other arms.
fn alone(experiment: &Experiment, config: &ArmConfig) -> Experiment {
    let mut experiment = experiment.clone();
    experiment.hypotheses.clear();
    experiment.design = None;
    experiment.arms = vec![ArmConfig { fork: None, alarm: Vec::new(), ..config.clone() }];
    experiment
}

/// Trains as a rank other than 0 until the run has ended. `local_rank` is the number of this process on its machine, which
/// chooses its GPU.
///
/// Errors: The first failure of any rank.
pub fn follow(group: Group, local_rank: usize) -> Result<(), RankError> {
    let bases = Bases::default();
    workers::follow(group, |opening| Ok(replica(&bases, opening, local_rank)?))
}

/// What the optimizer of an arm is made of, as on rank 0, from the scenario that rank 0 sent.
fn replica(bases: &Bases, opening: &Opening, local_rank: usize) -> Result<OptimizerArgs, InputError> {
    let from = Path::new("the scenario of rank 0");
    let experiment = scenarios::scenario::parse(&opening.scenario, from, &[], &[], None)?;
    let config = experiment.arms.first().ok_or_else(|| InputError::NoArm { arm: opening.arm.clone() })?;
    let device = device_of(&experiment.run.device, local_rank)?;
    let policy = open_policy(bases, &config.policy, device, opening.seed)?;
    let weights = WeightStore::new(policy, Published::before_training());
    Ok(optimizer_args(config, opening.seed, weights, opening.threads, ComputeSlots::new(None)))
}

/// The device of a process that shares its machine with others: the GPU of its number, unless the scenario names one.
fn device_of(device: &Device, local_rank: usize) -> Result<tch::Device, InputError> {
    let named = device.to_string();
    let resolved = model::device::resolve(&named)?.device;
    match (resolved, named.as_str()) {
        (tch::Device::Cuda(_), "auto" | "cuda") => {
            Ok(model::device::resolve(&format!("cuda:{local_rank}"))?.device)
        }
        _ => Ok(resolved),
    }
}
