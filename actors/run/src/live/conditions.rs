//! What rewards an arm's completions from one step on: the formula, its weights and the rewards.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use plugins::{PluginError, RewardMsg, RewardSource};
use ractor::ActorRef;
use records::ConditionsRecord;
use rewards::{Formula, JudgeTask, RewardError, RewardRegistry, Weights};
use runtime::{RestartBudget, Slot};
use scenarios::{ArmConfig, RewardSpec, ScenarioError, WeightConfig, task_servers};
use serde_json::Value;

use crate::error::InputError;

/// Rewards by the name that the formula uses.
pub type Rewards = BTreeMap<String, Arc<RewardInForce>>;

/// One version of the formula, its weights and the rewards. Immutable: a change makes the next version.
///
/// A step holds the conditions it was dispatched with, and is scored and shaped under them whatever is
/// changed meanwhile (SWAP-1, LIVE-1).
pub struct Conditions {
    /// 0 as the scenario has them; one more with every change.
    pub version: u64,
    /// How the components of a completion become its reward.
    pub formula: Arc<Formula>,
    /// By name without the prefix `w_`. A weight follows its schedule until it is changed by hand.
    pub weights: BTreeMap<String, WeightConfig>,
    /// By the name that the formula uses.
    pub rewards: Rewards,
    /// Settings with other values than the scenario's, by their dotted names.
    pub settings: BTreeMap<String, Value>,
    /// The arm with these settings. A step takes all that may be changed while the arm is trained from here.
    pub config: Arc<ArmConfig>,
    /// The values of all settings that may be changed while the arm is trained.
    pub live_settings: BTreeMap<String, Value>,
}

impl Conditions {
    /// The conditions of a record, with rewards that have no actor yet.
    ///
    /// Errors: [`InputError`]: the formula or a reward can't be used.
    pub fn open(
        record: &ConditionsRecord,
        config: &ArmConfig,
        registry: &Arc<RewardRegistry>,
    ) -> Result<Self, InputError> {
        let formula = Formula::parse(&record.formula, record.rewards.keys(), record.weights.keys())
            .map_err(|source| InputError::Formula { arm: config.name.clone(), source })?;
        let mut rewards = Rewards::new();
        for (name, spec) in &record.rewards {
            let reward = RewardInForce::new(name, spec.clone(), config, registry).map_err(|source| {
                InputError::Reward { arm: config.name.clone(), source: Box::new(source) }
            })?;
            rewards.insert(name.clone(), Arc::new(reward));
        }
        let changed = config.with_live_settings(&record.settings)?;
        Ok(Conditions {
            version: record.version,
            formula: Arc::new(formula),
            weights: record.weights.clone(),
            rewards,
            settings: record.settings.clone(),
            live_settings: changed.live_settings(),
            config: Arc::new(changed),
        })
    }

    /// The weights of a step, counted from 1, with the conditions' version. A scheduled weight is determined by the
    /// version and the step together.
    pub fn weights_at(&self, step: u64) -> Weights {
        let values = self.weights.iter().map(|(name, weight)| (name.clone(), weight.at(step))).collect();
        Weights { version: self.version, values }
    }

    /// Whether a reward needs the judge's verdicts.
    pub(crate) fn need_verdicts(&self) -> bool {
        self.rewards.values().any(|reward| reward.needs_verdict)
    }

    /// What else the rewards have the judge asked for, by their names.
    pub(crate) fn judge_tasks(&self) -> BTreeMap<String, Arc<JudgeTask>> {
        let task =
            |(name, reward): (&String, &Arc<RewardInForce>)| Some((name.clone(), reward.judge_task.clone()?));
        self.rewards.iter().filter_map(task).collect()
    }

    /// What a checkpoint keeps of these conditions.
    pub(crate) fn record(&self) -> ConditionsRecord {
        ConditionsRecord {
            version: self.version,
            formula: self.formula.text().to_owned(),
            weights: self.weights.clone(),
            rewards: self
                .rewards
                .iter()
                .map(|(name, reward)| (name.clone(), reward.spec().clone()))
                .collect(),
            settings: self.settings.clone(),
        }
    }
}

/// A reward and the slot of its actor.
///
/// When the last conditions and the last step that hold it are dropped, all of its requests have been answered, and the
/// actor is told to finish.
pub struct RewardInForce {
    pub(crate) source: RewardSource,
    pub(crate) needs_verdict: bool,
    pub(crate) judge_task: Option<Arc<JudgeTask>>,
    pub(crate) slot: Slot<RewardMsg>,
    pub(super) budget: Mutex<RestartBudget>,
    pub(super) actor: Mutex<Option<ActorRef<RewardMsg>>>,
}

impl RewardInForce {
    /// A reward without an actor.
    ///
    /// Errors: [`PluginError`]: its kind is unknown, or an option can't be used.
    pub(super) fn new(
        name: &str,
        spec: RewardSpec,
        config: &ArmConfig,
        registry: &Arc<RewardRegistry>,
    ) -> Result<Self, PluginError> {
        let source = RewardSource::new(name, spec, registry.clone());
        let capacity = config.grpo.max_staleness as usize + 2;
        // A reward with its own time limits answers within them, one batch after the other.
        let own = source.max_batch_time()?.unwrap_or_default().saturating_mul(capacity as u32);
        let timeout = Duration::from_secs_f64(config.supervision.call_timeout_seconds).max(own);
        let judge_task = source.judge_task()?.map(Arc::new);
        if let Some(task) = &judge_task {
            let unusable = |error: ScenarioError| RewardError::Failed(error.to_string());
            task_servers(&config.judge, task)
                .map_err(|error| PluginError::Reward { name: name.to_owned(), source: unusable(error) })?;
        }
        Ok(RewardInForce {
            needs_verdict: source.needs_verdict()?,
            judge_task,
            slot: Slot::new(&format!("reward/{name}"), capacity, timeout),
            budget: Mutex::new(RestartBudget::of(&config.supervision)),
            actor: Mutex::new(None),
            source,
        })
    }

    /// Its kind and options.
    pub fn spec(&self) -> &RewardSpec {
        self.source.spec()
    }

    /// Number of its actor among all actors of this name in the arm, from 1.
    pub fn generation(&self) -> u64 {
        self.slot.status().generation
    }
}

impl Drop for RewardInForce {
    fn drop(&mut self) {
        let actor = self.actor.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Some(actor) = actor.take() {
            // It fails only for an actor that has ended already.
            let _ = actor.drain();
        }
    }
}
