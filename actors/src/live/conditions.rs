//! What rewards an arm's completions, from one step on.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ractor::ActorRef;
use rewards::{Formula, RewardRegistry, Weights};
use scenarios::{ArmConfig, RewardSpec, WeightConfig};
use serde::{Deserialize, Serialize};

use crate::reward::{RewardMsg, RewardSource};
use crate::slot::Slot;
use crate::supervision::RestartBudget;

/// Rewards by the name the formula calls them.
pub type Rewards = BTreeMap<String, Arc<RewardInForce>>;

/// The formula, its weights and the rewards. Immutable: a change makes the next version.
///
/// A step takes hold of them when it is sent out and is scored and shaped under them to its end, whatever is changed
/// meanwhile (SWAP-1, LIVE-1).
pub struct Conditions {
    /// Counts up with every change; 0 as the scenario has them.
    pub version: u64,
    /// How components become one reward.
    pub formula: Arc<Formula>,
    /// What the formula calls `w_NAME`; a course is followed until the weight is changed by hand.
    pub weights: BTreeMap<String, WeightConfig>,
    /// The components.
    pub rewards: Rewards,
}

impl Conditions {
    /// The conditions that were written down, with rewards that have no actor yet.
    ///
    /// # Errors
    /// One line: a formula or a reward that can't be used.
    pub fn open(
        record: &ConditionsRecord,
        config: &ArmConfig,
        registry: &Arc<RewardRegistry>,
    ) -> Result<Self, String> {
        let formula = Formula::parse(&record.formula, record.rewards.keys(), record.weights.keys())
            .map_err(|error| format!("arm `{}`, shaping.formula: {error}", config.name))?;
        let mut rewards = Rewards::new();
        for (name, spec) in &record.rewards {
            let reward = RewardInForce::new(name, spec.clone(), config, registry)
                .map_err(|error| format!("arm `{}`, {error}", config.name))?;
            rewards.insert(name.clone(), Arc::new(reward));
        }
        let weights = record.weights.clone();
        Ok(Conditions { version: record.version, formula: Arc::new(formula), weights, rewards })
    }

    /// The weights of a step, counted from 1; they carry the conditions' version. Where a weight has a course, the
    /// version and the step together say what it was.
    pub fn weights_at(&self, step: u64) -> Weights {
        let values = self.weights.iter().map(|(name, weight)| (name.clone(), weight.at(step))).collect();
        Weights { version: self.version, values }
    }

    /// Whether a reward wants the judge to be asked before it scores.
    pub fn need_verdicts(&self) -> bool {
        self.rewards.values().any(|reward| reward.needs_verdict)
    }

    /// What a later run needs to have the same conditions.
    pub fn record(&self) -> ConditionsRecord {
        ConditionsRecord {
            version: self.version,
            formula: self.formula.text().to_owned(),
            weights: self.weights.clone(),
            rewards: self
                .rewards
                .iter()
                .map(|(name, reward)| (name.clone(), reward.spec().clone()))
                .collect(),
        }
    }
}

/// Conditions as they are kept in checkpoints.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ConditionsRecord {
    /// Their version.
    pub version: u64,
    /// The formula's text.
    pub formula: String,
    /// The weights.
    pub weights: BTreeMap<String, WeightConfig>,
    /// The rewards.
    pub rewards: BTreeMap<String, RewardSpec>,
}

impl ConditionsRecord {
    /// What the scenario says, version 0.
    pub fn of(config: &ArmConfig) -> Self {
        ConditionsRecord {
            version: 0,
            formula: config.shaping.formula.clone(),
            weights: config.shaping.weights.clone(),
            rewards: config.rewards.clone(),
        }
    }
}

/// A reward and the place its actor serves. Dropped with the last conditions and the last step that hold it, it
/// drains its actor: whatever was asked of it has been answered by then.
pub struct RewardInForce {
    pub(crate) source: RewardSource,
    pub(crate) needs_verdict: bool,
    pub(crate) slot: Slot<RewardMsg>,
    pub(super) budget: Mutex<RestartBudget>,
    pub(super) actor: Mutex<Option<ActorRef<RewardMsg>>>,
}

impl RewardInForce {
    /// A reward without an actor.
    ///
    /// # Errors
    /// One line: its kind is not known, or an option can't be used.
    pub(super) fn new(
        name: &str,
        spec: RewardSpec,
        config: &ArmConfig,
        registry: &Arc<RewardRegistry>,
    ) -> Result<Self, String> {
        let source = RewardSource::new(name, spec, registry.clone());
        let capacity = config.grpo.max_staleness as usize + 2;
        // A reward with time limits of its own answers within them, one batch after the other.
        let own = source.longest()?.unwrap_or_default().saturating_mul(capacity as u32);
        let timeout = Duration::from_secs_f64(config.supervision.call_timeout_seconds).max(own);
        Ok(RewardInForce {
            needs_verdict: source.needs_verdict()?,
            slot: Slot::new(&format!("reward/{name}"), capacity, timeout),
            budget: Mutex::new(RestartBudget::of(&config.supervision)),
            actor: Mutex::new(None),
            source,
        })
    }

    /// What it is made of.
    pub fn spec(&self) -> &RewardSpec {
        self.source.spec()
    }

    /// How many actors of this name there have been, its own included.
    pub fn generation(&self) -> u64 {
        self.slot.face().generation
    }
}

impl Drop for RewardInForce {
    fn drop(&mut self) {
        let actor = self.actor.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Some(actor) = actor.take() {
            // One that has ended needs no draining.
            let _ = actor.drain();
        }
    }
}
