//! Checking a change against the conditions in force, and making the next version of them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use records::{Change, ChangeSummary, ConditionsRecord};
use rewards::{Formula, did_you_mean};
use scenarios::{ArmConfig, WeightConfig};
use serde_json::Value;

use super::conditions::{Conditions, Rewards};
use crate::error::RecordingError;

/// What a change takes for granted. It is checked in the instant in which the change gets its version, so that no other
/// change can come in between.
#[derive(Clone, Debug, Default)]
pub struct Requires {
    /// The newest version that the caller knows. If another one is the newest, the change is refused as stale.
    pub version: Option<u64>,
    /// Rewards that the change adds, so that there must be none of that name.
    pub added: BTreeSet<String>,
    /// Rewards that the change replaces, so that there must be one of that name.
    pub swapped: BTreeSet<String>,
}

impl Requires {
    /// `since` returns the changes after a version.
    pub(super) fn check(
        &self,
        latest: &ConditionsRecord,
        since: impl FnOnce(u64) -> Vec<ChangeSummary>,
    ) -> Result<(), ChangeError> {
        if let Some(known) = self.version.filter(|known| *known != latest.version) {
            return Err(ChangeError::Stale { known, newest: latest.version, changes: since(known) });
        }
        if let Some(name) = self.added.iter().find(|name| latest.rewards.contains_key(*name)) {
            return Err(ChangeError::Exists { name: name.clone() });
        }
        if let Some(name) = self.swapped.iter().find(|name| !latest.rewards.contains_key(*name)) {
            let hint = did_you_mean(name, latest.rewards.keys().map(String::as_str));
            return Err(ChangeError::invalid(format!("there is no reward `{name}` to swap{hint}")));
        }
        Ok(())
    }
}

/// The longest name of a reward or weight, in characters.
const LONGEST_NAME: usize = 100;

/// Why nothing of a change was made. Each is one line.
#[derive(Debug, thiserror::Error)]
pub enum ChangeError {
    /// It does not fit the conditions in force.
    #[error("{message}")]
    Invalid {
        /// What is wrong and what to write instead.
        message: String,
        /// Position in the formula, in characters from 0.
        place: Option<usize>,
    },
    /// A reward was to be added under a name that another one has.
    #[error("there is a reward `{name}` already; swap it, or add the new one under another name")]
    Exists {
        /// The name that is taken.
        name: String,
    },
    /// The caller did not know the newest version of the conditions.
    #[error(
        "the conditions are at version {newest}, and the change was made from version {known}; meanwhile: {}",
        told(changes)
    )]
    Stale {
        /// The version that the caller knew.
        known: u64,
        /// The newest version, which may still wait for its step boundary.
        newest: u64,
        /// What was changed after the version that the caller knew, oldest first.
        changes: Vec<ChangeSummary>,
    },
    /// A new reward failed its trial batch.
    #[error("`{reward}` failed its trial, and nothing was changed: {message}")]
    Trial {
        /// The name of the reward on trial.
        reward: String,
        /// What the reward answered, or why it did not.
        message: String,
    },
    /// The arm has ended, or ended before the change could take effect.
    #[error("arm `{arm}` (seed {seed}) has ended; the change was not made")]
    Ended {
        /// The name of the arm in the scenario.
        arm: String,
        /// The seed under which the arm trains.
        seed: u64,
    },
    /// An arm that is not trained by rewards.
    #[error("arm `{arm}` is not trained by rewards; there is nothing to change")]
    NoRewards {
        /// The name of the arm in the scenario.
        arm: String,
    },
    /// It could not be written to the journal.
    #[error("{0}")]
    Unrecorded(String),
    /// The task that made the change panicked.
    #[error("the change failed: {0}; run.log has the details")]
    Panicked(String),
    /// A checkpoint was asked for that the arm can't write now.
    #[error("{0}")]
    NoCheckpoint(String),
}

impl ChangeError {
    pub(super) fn invalid(message: String) -> Self {
        ChangeError::Invalid { message, place: None }
    }
}

/// The changes in one line.
fn told(changes: &[ChangeSummary]) -> String {
    let told: Vec<String> = changes.iter().map(ToString::to_string).collect();
    if told.is_empty() { "no change that this run knows of".into() } else { told.join("; ") }
}

impl From<RecordingError> for ChangeError {
    fn from(error: RecordingError) -> Self {
        ChangeError::Unrecorded(error.to_string())
    }
}

/// A change of an earlier run can't be made again.
#[derive(Debug, thiserror::Error)]
#[error("the change that made version {version} at step {step} can't be made again: {source}")]
pub(crate) struct RepeatError {
    pub(super) version: u64,
    pub(super) step: u64,
    pub(super) source: ChangeError,
}

/// Why a change did not take effect at its boundary.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InForceError {
    /// It does not fit, and the arm goes on without it.
    #[error(transparent)]
    Refused(#[from] ChangeError),
    #[error(transparent)]
    Unrecorded(#[from] RecordingError),
    #[error(transparent)]
    Earlier(#[from] RepeatError),
}

/// A change that fits the conditions it was drafted on.
pub(super) struct Draft {
    formula: Arc<Formula>,
    weights: BTreeMap<String, WeightConfig>,
    settings: BTreeMap<String, Value>,
    config: Arc<ArmConfig>,
}

impl Draft {
    /// Checks a change of the arm `config` against the conditions `now`.
    ///
    /// Errors: [`ChangeError::Invalid`].
    pub(super) fn new(
        change: &Change,
        now: &ConditionsRecord,
        config: &ArmConfig,
    ) -> Result<Self, ChangeError> {
        if *change == Change::default() {
            return Err(ChangeError::invalid(
                "the change is empty; give weights, a formula, rewards or settings".into(),
            ));
        }
        let mut settings = now.settings.clone();
        settings.extend(change.settings.iter().map(|(name, value)| (name.clone(), value.clone())));
        let config = config.with_live_settings(&settings);
        let config = Arc::new(config.map_err(|error| ChangeError::invalid(error.to_string()))?);
        let components = components(change, now)?;
        let mut weights = now.weights.clone();
        for (name, value) in &change.weights {
            if !value.is_finite() {
                return Err(ChangeError::invalid(format!(
                    "the weight `{name}` is {value}; give a number such as 0.5"
                )));
            }
            weights.insert(name.clone(), WeightConfig::Constant(*value));
        }
        let formula = parse_formula(change, now, &components, &weights)?;
        // A weight that exists may be unused for a while; a new weight that is unused is a misspelt one.
        let unused = |name: &&String| {
            !now.weights.contains_key(*name) && !formula.weight_names().any(|used| used == name.as_str())
        };
        if let Some(name) = change.weights.keys().find(unused) {
            let hint = did_you_mean(name, now.weights.keys().map(String::as_str));
            return Err(ChangeError::invalid(format!("no formula uses the weight `{name}`{hint}")));
        }
        Ok(Draft { formula, weights, settings, config })
    }

    /// The next conditions, with the rewards that were built for the change.
    pub(super) fn conditions(
        self,
        version: u64,
        now: &Conditions,
        change: &Change,
        built: &Rewards,
    ) -> Conditions {
        let mut rewards = now.rewards.clone();
        rewards.retain(|name, _| change.rewards.get(name) != Some(&None));
        rewards.extend(built.iter().map(|(name, reward)| (name.clone(), reward.clone())));
        let Draft { formula, weights, settings, config } = self;
        let live_settings = config.live_settings();
        Conditions { version, formula, weights, rewards, settings, config, live_settings }
    }
}

/// The names of the components after the change.
fn components(change: &Change, now: &ConditionsRecord) -> Result<BTreeSet<String>, ChangeError> {
    let mut components: BTreeSet<String> = now.rewards.keys().cloned().collect();
    for (name, spec) in &change.rewards {
        if spec.is_some() {
            check_name(name)?;
            components.insert(name.clone());
        } else if !components.remove(name) {
            let hint = did_you_mean(name, now.rewards.keys().map(String::as_str));
            return Err(ChangeError::invalid(format!("there is no reward `{name}` to remove{hint}")));
        }
    }
    Ok(components)
}

fn parse_formula(
    change: &Change,
    now: &ConditionsRecord,
    components: &BTreeSet<String>,
    weights: &BTreeMap<String, WeightConfig>,
) -> Result<Arc<Formula>, ChangeError> {
    let invalid = |error: rewards::FormulaError| ChangeError::Invalid {
        message: error.to_string(),
        place: change.formula.as_ref().and(error.column()).map(|column| column - 1),
    };
    if change.formula.is_none() {
        let formula =
            Formula::parse(&now.formula, now.rewards.keys(), now.weights.keys()).map_err(invalid)?;
        if let Some(used) = formula.component_names().find(|name| !components.contains(*name)) {
            return Err(ChangeError::invalid(format!(
                "`{used}` can't be removed, because the formula `{}` uses it; give a formula without it in the same \
                 change",
                now.formula
            )));
        }
    }
    let text = change.formula.as_deref().unwrap_or(&now.formula);
    Formula::parse(text, components, weights.keys()).map(Arc::new).map_err(invalid)
}

fn check_name(name: &str) -> Result<(), ChangeError> {
    let good = |c: char| c.is_alphanumeric() || "_-. ".contains(c);
    let is_dots = name.chars().all(|c| c == '.');
    if name.trim() == name
        && !is_dots
        && (1..=LONGEST_NAME).contains(&name.chars().count())
        && name.chars().all(good)
    {
        return Ok(());
    }
    let shown: String = name.chars().take(40).map(|c| if c.is_control() { ' ' } else { c }).collect();
    Err(ChangeError::invalid(format!(
        "`{shown}` can't be the name of a reward; use letters, digits, - and _, at most {LONGEST_NAME}"
    )))
}
