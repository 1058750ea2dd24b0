//! Forking an arm while the run goes on: the arm is copied at a step boundary, and the copy goes on as an arm of its own
//! under other conditions.
//!
//! - `FORK-3` the parent takes the same steps as without the fork. A fork without changes takes the same steps as its parent,
//!   bit for bit on a CPU with `grpo.max_staleness = 0`.
//! - `FORK-4` a fork that was acknowledged is in the stored scenario. So a resumed run has it, and a replay makes it again at
//!   the same step.

use std::sync::Arc;

use records::{CheckpointState, ConditionsRecord, RecordsError};
use scenarios::{Experiment, ForkConfig, NewFork, ScenarioError, ShapingConfig, check_names};

use crate::error::InputError;
use crate::handle::RunHandle;
use crate::live::{Conditions, LiveArm};
use crate::messages::ForkPoint;

/// Which arm to copy, and what is other in the copy.
#[derive(Clone, Debug)]
pub struct ForkRequest {
    /// The arm that is copied.
    pub arm: String,
    /// The name of the new arm.
    pub name: String,
    /// The step after which the arm is copied; `None` for its next step boundary. An earlier step must have a checkpoint.
    pub step: Option<u64>,
    /// The seeds under which it is copied; all of the arm's if empty.
    pub seeds: Vec<u64>,
    /// What is other in the fork, as for `--set`, such as `shaping.weights.think=0.3` or `grpo.lr=1e-4`; on top of the formula,
    /// the weights and the rewards that the arm has in force.
    pub settings: Vec<String>,
}

/// A fork that was planned or made.
#[derive(Clone, Debug)]
pub struct Forked {
    /// The name of the new arm.
    pub name: String,
    /// The steps that its parent has taken where it begins.
    pub step: u64,
    /// The seeds under which it begins, now or when its parent comes to this step.
    pub seeds: Vec<u64>,
    /// The seeds under which it can't.
    pub left_out: Vec<LeftOut>,
}

/// A seed under which an arm can't be copied.
#[derive(Clone, Debug)]
pub struct LeftOut {
    /// One of the seeds that the request selects.
    pub seed: u64,
    /// Why, in one line.
    pub reason: String,
}

/// Why nothing was forked. Each is one line.
#[derive(Debug, thiserror::Error)]
pub enum ForkError {
    /// There is no such arm, the name is taken, or a setting can't be used.
    #[error(transparent)]
    Scenario(#[from] ScenarioError),
    /// A reward of the fork can't be opened.
    #[error(transparent)]
    Input(#[from] InputError),
    /// The stored scenario or a checkpoint.
    #[error(transparent)]
    Records(#[from] RecordsError),
    /// The arm is not trained under this seed.
    #[error("arm `{arm}` is not trained under the seed {seed}")]
    NoSuchSeed {
        /// The arm that was to be copied.
        arm: String,
        /// The seed that the request names.
        seed: u64,
    },
    /// Under no seed can it be copied at that step.
    #[error("arm `{arm}` can't be copied: {}", reasons(left_out))]
    NotAtThatStep {
        /// The arm that was to be copied.
        arm: String,
        /// Why, by seed.
        left_out: Vec<LeftOut>,
    },
    /// All arms have ended, and so has the run.
    #[error("the run has ended; `sandbox --resume` goes on with it")]
    RunEnded,
    /// The task that made the fork panicked.
    #[error("the fork failed: {0}; run.log has the details")]
    Panicked(String),
}

fn reasons(left_out: &[LeftOut]) -> String {
    let reasons = left_out.iter().map(|left| format!("seed {} {}", left.seed, left.reason));
    reasons.collect::<Vec<_>>().join("; ")
}

impl RunHandle {
    /// Copies an arm into a new one at a step boundary, under every seed that it is trained under. Returns when the fork is in
    /// the stored scenario; an arm that is running is copied at the boundary, a little later.
    ///
    /// Errors: [`ForkError`]; then nothing was done. If a checkpoint can't be copied, the fork stays in the scenario and the run records
    /// it as failed.
    pub async fn fork(&self, request: ForkRequest, by: &str) -> Result<Forked, ForkError> {
        let (run, by) = (self.clone(), by.to_owned());
        // A task of its own, so that a caller that is cancelled does not leave the fork half made.
        let forking = tokio::spawn(async move { run.make_fork(request, by).await });
        forking.await.unwrap_or_else(|error| Err(ForkError::Panicked(error.to_string())))
    }

    async fn make_fork(&self, request: ForkRequest, by: String) -> Result<Forked, ForkError> {
        let lineage = &self.0.opening.lineage;
        let mut experiment = lineage.hold().await;
        if self.has_ended() {
            return Err(ForkError::RunEnded);
        }
        let parents = self.parents(&experiment, &request)?;
        let plan = loop {
            if let Some(plan) = self.plan(&experiment, &request, &parents, &by)? {
                break plan;
            }
        };
        if let Err(error) = lineage.store(&plan.experiment) {
            parents.iter().for_each(|arm| arm.cancel_fork(&request.name));
            return Err(error.into());
        }
        *experiment = plan.experiment;
        for arm in plan.at_once {
            let point = ForkPoint { step: plan.step, name: request.name.clone(), by: by.clone() };
            lineage.make(&experiment, &arm.id, point).await?;
        }
        drop(experiment);
        let left_out = plan.left_out;
        let seeds = parents.iter().map(|arm| arm.id.seed);
        let seeds = seeds.filter(|seed| left_out.iter().all(|left| left.seed != *seed)).collect();
        Ok(Forked { name: request.name, step: plan.step, seeds, left_out })
    }

    /// The arm that is to be copied, under the seeds of the request.
    fn parents(
        &self,
        experiment: &Experiment,
        request: &ForkRequest,
    ) -> Result<Vec<Arc<LiveArm>>, ForkError> {
        let arms = self.0.arms();
        let named = |arm: &&Arc<LiveArm>| arm.id.arm == request.arm;
        let known: Vec<&Arc<LiveArm>> = arms.iter().filter(named).collect();
        if let Some(&seed) = request.seeds.iter().find(|seed| known.iter().all(|arm| arm.id.seed != **seed))
            && !known.is_empty()
        {
            return Err(ForkError::NoSuchSeed { arm: request.arm.clone(), seed });
        }
        let chosen = |arm: &&&Arc<LiveArm>| request.seeds.is_empty() || request.seeds.contains(&arm.id.seed);
        let parents: Vec<Arc<LiveArm>> = known.iter().filter(chosen).map(|arm| Arc::clone(arm)).collect();
        if parents.is_empty() {
            // The scenario knows how to say that there is no such arm.
            experiment.with_fork(draft(request, 0, &ConditionsRecord::default()))?;
        }
        Ok(parents)
    }

    /// Plans the fork in all parents that have not gone past its step; `None` if one of them went past it meanwhile.
    fn plan(
        &self,
        experiment: &Experiment,
        request: &ForkRequest,
        parents: &[Arc<LiveArm>],
        by: &str,
    ) -> Result<Option<Plan>, ForkError> {
        let next = parents.iter().filter_map(|arm| arm.next_fork_step()).max();
        let Some(step) = request.step.or(next) else {
            let left_out = parents.iter().map(|arm| self.left_out(arm, None)).collect();
            return Err(ForkError::NotAtThatStep { arm: request.arm.clone(), left_out });
        };
        let record = self.conditions(parents, step)?;
        let with_fork = |seeds: Vec<u64>| {
            let mut new = draft(request, step, &record);
            new.fork.seeds = seeds;
            experiment.with_fork(new)
        };
        self.check(&with_fork(request.seeds.clone())?, &request.name)?;
        let (mut at_once, mut left_out) = (Vec::new(), Vec::new());
        for arm in parents {
            let point = ForkPoint { step, name: request.name.clone(), by: by.to_owned() };
            if self.0.run_dir.arm(&arm.id).checkpoint(step).is_dir() {
                at_once.push(arm.clone());
            } else if !arm.plan_fork(point) {
                if request.step.is_none() && arm.next_fork_step().is_some() {
                    parents.iter().for_each(|arm| arm.cancel_fork(&request.name));
                    return Ok(None);
                }
                left_out.push(self.left_out(arm, Some(step)));
            }
        }
        if left_out.len() == parents.len() {
            return Err(ForkError::NotAtThatStep { arm: request.arm.clone(), left_out });
        }
        let seeds = match left_out.is_empty() {
            true => request.seeds.clone(),
            false => {
                let out = |arm: &&Arc<LiveArm>| left_out.iter().all(|left| left.seed != arm.id.seed);
                parents.iter().filter(out).map(|arm| arm.id.seed).collect()
            }
        };
        let experiment = with_fork(seeds).inspect_err(|_| {
            parents.iter().for_each(|arm| arm.cancel_fork(&request.name));
        })?;
        Ok(Some(Plan { experiment, step, at_once, left_out }))
    }

    fn left_out(&self, arm: &LiveArm, step: Option<u64>) -> LeftOut {
        let steps = self.0.run_dir.arm(&arm.id).checkpoint_steps();
        let steps: Vec<String> = steps.iter().map(u64::to_string).collect();
        let has = if steps.is_empty() { "none".into() } else { format!("those of {}", steps.join(", ")) };
        let reason = match step {
            Some(step) => format!("has gone past step {step} and has no checkpoint of it (it has {has})"),
            None => format!("has ended; name a step of which it has a checkpoint (it has {has})"),
        };
        LeftOut { seed: arm.id.seed, reason }
    }

    /// The conditions of the fork before its own settings: those that the parent has, or had at an earlier step.
    fn conditions(&self, parents: &[Arc<LiveArm>], step: u64) -> Result<ConditionsRecord, ForkError> {
        let active = |arm: &&Arc<LiveArm>| !arm.has_ended();
        let Some(parent) = parents.iter().find(active).or(parents.first()) else {
            return Ok(ConditionsRecord::default());
        };
        let checkpoint = self.0.run_dir.arm(&parent.id).checkpoint(step);
        let then = match parent.step() > step && checkpoint.is_dir() {
            true => CheckpointState::read(&checkpoint)?.conditions,
            false => None,
        };
        Ok(then
            .or_else(|| parent.conditions_of_fork())
            .unwrap_or_else(|| ConditionsRecord::of(&parent.config)))
    }

    /// Checks the rewards and the formula of the fork.
    fn check(&self, experiment: &Experiment, name: &str) -> Result<(), ForkError> {
        let registry = &self.0.opening.registry;
        check_names(experiment, registry)?;
        let fork = experiment.arms.iter().find(|arm| arm.name == name);
        if let Some(config) = fork.filter(|arm| arm.method == scenarios::Method::Grpo) {
            Conditions::open(&ConditionsRecord::of(config), config, registry)?;
        }
        Ok(())
    }
}

/// Where and how a fork begins.
struct Plan {
    /// The scenario with it.
    experiment: Experiment,
    step: u64,
    /// The parents that have a checkpoint of this step.
    at_once: Vec<Arc<LiveArm>>,
    left_out: Vec<LeftOut>,
}

fn draft(request: &ForkRequest, step: u64, conditions: &ConditionsRecord) -> NewFork {
    let changed = conditions.settings.iter().map(|(name, value)| format!("{name}={value}"));
    NewFork {
        name: request.name.clone(),
        fork: ForkConfig { arm: request.arm.clone(), step, seeds: request.seeds.clone() },
        rewards: conditions.rewards.clone(),
        shaping: ShapingConfig { formula: conditions.formula.clone(), weights: conditions.weights.clone() },
        settings: changed.chain(request.settings.iter().cloned()).collect(),
    }
}
