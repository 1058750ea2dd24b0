//! An arm as the control API shows it: plain values that serialize to JSON.

use std::collections::BTreeMap;

use records::{ArmId, ArmState, ChangeSummary};
use rewards::Formula;
use rewards::formula::WEIGHT_PREFIX;
use runtime::{Slot, SlotStatus};
use scenarios::{Method, RewardSpec, WeightConfig, WeightSchedule};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use super::conditions::{Conditions, RewardInForce};

/// An arm under one seed.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct ArmView {
    /// The arm's name and seed.
    #[serde(flatten)]
    pub id: ArmId,
    /// How it is trained.
    pub method: Method,
    /// The parts of the model that are trained, such as `projector + lora`; null in an arm that is not trained.
    pub trains: Option<String>,
    /// As `status`, with the reason of a pause or failure beside it.
    #[serde(flatten)]
    pub state: ArmState,
    /// Training steps taken so far.
    pub step: u64,
    /// Steps it will take.
    pub total_steps: u64,
    /// What rewards its completions; null in arms that are not trained by rewards.
    pub conditions: Option<ConditionsView>,
    /// Changes that are not in force yet, oldest first: those that wait for the next step boundary, and after a resume
    /// those of the run before, which wait for their steps.
    pub waiting: Vec<ChangeSummary>,
}

/// The conditions in force.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct ConditionsView {
    /// 0 as the scenario has them; one more with every change.
    pub version: u64,
    /// The shaping formula as written.
    pub formula: String,
    /// The weights of the next step.
    pub weights: BTreeMap<String, f64>,
    /// The schedules that weights still follow.
    pub schedules: BTreeMap<String, WeightSchedule>,
    /// By the name that the formula uses.
    pub rewards: BTreeMap<String, RewardView>,
    /// The settings that may be changed while the arm is trained, by their dotted names; null for one that is not set.
    pub settings: BTreeMap<String, Value>,
    /// The names that a formula may use, spelt as in a formula: those of the rewards, then those of the weights.
    pub formula_names: Vec<String>,
}

/// A reward in force.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct RewardView {
    /// `kind` and the reward's own options.
    #[serde(flatten)]
    pub spec: RewardSpec,
    /// Number of its actor among all actors of this name, from 1.
    pub generation: u64,
    /// `rust`, `process`, `http` or `python`.
    pub form: &'static str,
    /// `kind` and the options as TOML.
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
                    WeightConfig::Scheduled(schedule) => Some((name.clone(), schedule.clone())),
                })
                .collect(),
            rewards: conditions
                .rewards
                .iter()
                .map(|(name, found)| (name.clone(), reward(name, found)))
                .collect(),
            settings: conditions.live_settings.clone(),
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

/// Whether an actor answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the names say it")]
pub enum ActorState {
    Serving,
    Restarting,
    Closed,
}

/// An actor and the actors that it supervises.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct ActorView {
    /// Its stable name, such as `reward/think`.
    pub name: String,
    /// Number among the actors of this name, from 1.
    pub generation: u64,
    /// Whether the actor serves, restarts, or is out of service.
    pub status: ActorState,
    /// Number of requests it has not answered yet.
    pub in_flight: usize,
    /// Most requests that may be in flight.
    pub capacity: usize,
    /// Times it failed and was started again.
    pub restarts: u64,
    /// The message of the last failure.
    pub last_failure: Option<String>,
    /// Calls that have returned.
    pub calls: u64,
    /// Calls that returned no answer.
    pub failures: u64,
    /// Moving average of the time of a call.
    pub latency_ms: Option<f64>,
    /// The actors that it supervises.
    pub children: Vec<ActorView>,
}

impl ActorView {
    /// An actor behind a slot.
    pub(crate) fn of<M: ractor::Message>(slot: &Slot<M>) -> Self {
        let (in_flight, capacity) = slot.load();
        let SlotStatus {
            serving,
            closed,
            generation,
            restarts,
            last_failure,
            calls,
            failures,
            latency_ms,
            causes: _,
        } = slot.status();
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

    /// An actor without a slot: nothing calls it.
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
