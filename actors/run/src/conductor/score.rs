//! Scoring: all rewards score the completions at the same time.

use std::collections::BTreeMap;
use std::sync::Arc;

use plugins::{Notes, RewardMsg, Scored};
use records::MissingCause;
use rewards::RewardBatch;
use runtime::CallError;
use tokio::task::JoinHandle;
use tracing::Instrument as _;
use workers::Components;

use crate::context::ArmContext;
use crate::error::StepError;
use crate::live::Conditions;

/// The missing scores of one component in one step.
#[derive(Clone, Default)]
pub(super) struct MissingScores {
    pub(super) causes: BTreeMap<MissingCause, u64>,
    /// The reward's own message, if it gave one.
    pub(super) failure: Option<String>,
}

/// The scores of a step.
pub(super) struct Scores {
    pub(super) components: Arc<Components>,
    /// By component; components without a missing score are left out.
    pub(super) missing: BTreeMap<String, MissingScores>,
    /// What the rewards report beside their scores; those that report nothing are left out.
    pub(super) notes: BTreeMap<String, Notes>,
    /// The time of the slowest reward.
    pub(super) seconds: f64,
}

impl Scores {
    /// Adds the scores of further completions by the same rewards.
    pub(super) fn add(&mut self, further: Scores) {
        let components = Arc::make_mut(&mut self.components);
        for (name, scores) in further.components.iter() {
            components.entry(name.clone()).or_default().extend(scores);
        }
        for (name, missing) in further.missing {
            let all = self.missing.entry(name).or_default();
            for (cause, count) in missing.causes {
                *all.causes.entry(cause).or_default() += count;
            }
            all.failure = all.failure.take().or(missing.failure);
        }
        self.seconds += further.seconds;
    }
}

/// Scores a batch with every reward of `conditions`, also with those that the formula does not use: they are recorded.
pub(super) async fn score(
    arm: &ArmContext,
    conditions: &Conditions,
    batch: &Arc<RewardBatch>,
) -> Result<Scores, StepError> {
    let mut pending = Vec::new();
    for (name, reward) in &conditions.rewards {
        let (slot, batch) = (reward.slot.clone(), batch.clone());
        let scoring = async move { slot.call(batch, RewardMsg::Score).await };
        let scoring = tokio::spawn(scoring.in_current_span());
        pending.push((name, reward, Scoring(scoring)));
    }
    let (mut components, mut missing, mut notes) = (Components::new(), BTreeMap::new(), BTreeMap::new());
    let mut slowest: f64 = 0.0;
    for (name, reward, mut scoring) in pending {
        let unanswered = |problem: String| StepError::Reward { name: name.clone(), problem };
        let scored = (&mut scoring.0)
            .await
            .map_err(|error| unanswered(error.to_string()))?
            .map_err(|error| unanswered(error.to_string()))?;
        if let Some(failure) = &scored.failure {
            // Causes are in order of gravity; a null score on its own comes without a message.
            let cause = scored.missing.keys().next_back().map_or_else(String::new, ToString::to_string);
            let times = reward.slot.count_failure(&cause, failure);
            arm.warn_repeated(times, &format!("reward `{name}` at step {}: {failure}", batch.step));
        }
        for warning in &scored.warnings {
            arm.warn(&format!("reward `{name}`: {warning}"));
        }
        slowest = slowest.max(scored.seconds);
        if scored.notes != Notes::default() {
            notes.insert(name.clone(), scored.notes);
        }
        if !scored.missing.is_empty() {
            missing.insert(name.clone(), MissingScores { causes: scored.missing, failure: scored.failure });
        }
        components.insert(name.clone(), scored.scores);
    }
    Ok(Scores { components: Arc::new(components), missing, notes, seconds: slowest })
}

/// A reward that scores; when this is dropped, the reward learns that its scores are no longer needed.
struct Scoring(JoinHandle<Result<Scored, CallError>>);

impl Drop for Scoring {
    fn drop(&mut self) {
        self.0.abort();
    }
}
