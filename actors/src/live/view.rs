//! What can be seen of an arm from outside: plain values, to be written as JSON.

use std::collections::BTreeMap;

use rewards::Formula;
use rewards::formula::WEIGHT_PREFIX;
use scenarios::{Method, RewardSpec, WeightConfig, WeightSchedule};
use schemars::JsonSchema;
use serde::Serialize;

use super::conditions::{Conditions, RewardInForce};
use crate::event::ArmStatus;
use crate::slot::{Face, Slot};

/// How an arm is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "they are the words of the API")]
pub enum ArmState {
    Waiting,
    Running,
    Paused,
    Done,
    Failed,
    Stopped,
}

impl ArmState {
    /// How an arm that ended so is doing.
    pub fn of(status: &ArmStatus) -> Self {
        match status {
            ArmStatus::Done => ArmState::Done,
            ArmStatus::Failed { .. } => ArmState::Failed,
            ArmStatus::Stopped => ArmState::Stopped,
        }
    }

    /// Whether it has ended.
    pub fn has_ended(self) -> bool {
        matches!(self, ArmState::Done | ArmState::Failed | ArmState::Stopped)
    }
}

/// An arm under one seed.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct ArmView {
    /// Its name.
    pub arm: String,
    /// Its seed.
    pub seed: u64,
    /// How it trains.
    pub method: Method,
    /// How it is doing.
    pub status: ArmState,
    /// Why it is paused or has failed.
    pub reason: Option<String>,
    /// Steps taken.
    pub step: u64,
    /// Steps it will take.
    pub total_steps: u64,
    /// What rewards its completions; arms that are not trained by rewards have none.
    pub conditions: Option<ConditionsView>,
}

/// What rewards completions at the moment.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct ConditionsView {
    /// Counts up with every change.
    pub version: u64,
    /// The formula.
    pub formula: String,
    /// The weights of the next step.
    pub weights: BTreeMap<String, f64>,
    /// The courses that weights still follow.
    pub schedules: BTreeMap<String, WeightSchedule>,
    /// The rewards.
    pub rewards: BTreeMap<String, RewardView>,
    /// The names that a formula may use, spelt as in a formula: those of the rewards, then those of the weights.
    pub formula_names: Vec<String>,
}

/// A reward in force.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct RewardView {
    /// `kind` and the reward's own options.
    #[serde(flatten)]
    pub spec: RewardSpec,
    /// The number of its actor among those of this name.
    pub generation: u64,
    /// What it is written in or reached by: `rust`, `process`, `http`, `python`.
    pub form: &'static str,
    /// `kind` and the options as they stand in a scenario.
    pub toml: String,
    /// Whether the formula uses it; a reward that it does not use is scored and logged only.
    pub in_formula: bool,
}

impl ConditionsView {
    pub(super) fn of(conditions: &Conditions, step: u64) -> Self {
        let reward = |name: &str, reward: &RewardInForce| RewardView {
            in_formula: conditions.formula.uses(name),
            spec: reward.spec().clone(),
            generation: reward.generation(),
            form: form(reward.spec()),
            toml: reward.spec().to_toml(),
        };
        ConditionsView {
            version: conditions.version,
            formula: conditions.formula.text().to_owned(),
            weights: conditions.weights_at(step).values,
            schedules: conditions
                .weights
                .iter()
                .filter_map(|(name, weight)| match weight {
                    WeightConfig::Constant(_) => None,
                    WeightConfig::Scheduled(course) => Some((name.clone(), course.clone())),
                })
                .collect(),
            rewards: conditions
                .rewards
                .iter()
                .map(|(name, found)| (name.clone(), reward(name, found)))
                .collect(),
            formula_names: conditions
                .rewards
                .keys()
                .map(|name| Formula::name(name))
                .chain(conditions.weights.keys().map(|name| Formula::name(&format!("{WEIGHT_PREFIX}{name}"))))
                .collect(),
        }
    }
}

fn form(spec: &RewardSpec) -> &'static str {
    match spec.kind.as_str() {
        "process" => "process",
        "http" => "http",
        "python" => "python",
        _ => "rust",
    }
}

/// How an actor is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "they are the words of the API")]
pub enum ActorState {
    Serving,
    Restarting,
    Closed,
}

/// An actor and those below it.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct ActorView {
    /// Its stable name, such as `reward/think`.
    pub name: String,
    /// Its number among the actors of this name, from 1.
    pub generation: u64,
    /// How it is doing.
    pub status: ActorState,
    /// Requests in flight.
    pub in_flight: usize,
    /// The most there may be.
    pub capacity: usize,
    /// Times it failed and was started again.
    pub restarts: u64,
    /// What the last failure said.
    pub last_failure: Option<String>,
    /// Calls that ended.
    pub calls: u64,
    /// Calls without an answer.
    pub failures: u64,
    /// Mean time of the last calls.
    pub latency_ms: Option<f64>,
    /// Those it supervises.
    pub children: Vec<ActorView>,
}

impl ActorView {
    /// An actor that others reach through a slot.
    pub(crate) fn of<M: ractor::Message>(slot: &Slot<M>) -> Self {
        let (in_flight, capacity) = slot.load();
        let Face {
            serving,
            closed,
            generation,
            restarts,
            last_failure,
            calls,
            failures,
            latency_ms,
            causes: _,
        } = slot.face();
        let status = match (serving, &closed) {
            (true, _) => ActorState::Serving,
            (false, None) => ActorState::Restarting,
            (false, Some(_)) => ActorState::Closed,
        };
        ActorView {
            name: slot.name().to_owned(),
            generation,
            status,
            in_flight,
            capacity,
            restarts,
            last_failure: last_failure.or(closed),
            calls,
            failures,
            latency_ms,
            children: Vec::new(),
        }
    }

    /// An actor that nobody calls.
    pub(crate) fn without_slot(name: String, status: ActorState, children: Vec<ActorView>) -> Self {
        ActorView {
            name,
            generation: 1,
            status,
            in_flight: 0,
            capacity: 0,
            restarts: 0,
            last_failure: None,
            calls: 0,
            failures: 0,
            latency_ms: None,
            children,
        }
    }
}
