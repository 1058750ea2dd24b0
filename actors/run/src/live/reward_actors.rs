//! The actors of an arm's rewards: built, tried on a batch, started, and restarted when they fail.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};

use plugins::{PluginError, RewardActor, Scorer, sample_batch};
use ractor::{Actor, ActorCell, ActorId};
use records::Change;
use rewards::{RewardBatch, RewardRegistry};
use runtime::RestartBudget;
use scenarios::{ArmConfig, RewardSpec};

use super::change::ChangeError;
use super::conditions::{Conditions, RewardInForce, Rewards};
use super::lock::lock;

/// What followed the failure of an actor.
pub(crate) enum RewardFailure {
    /// The actor did not serve a reward that is still in use.
    NotAReward,
    /// The next generation serves.
    Restarted {
        /// The slot's name, such as `reward/think`.
        actor: String,
        /// Restarts of this reward so far.
        restarts: u64,
    },
    /// The reward's slot was closed.
    Closed,
}

/// The reward actors of one arm.
pub(super) struct RewardActors {
    registry: Arc<RewardRegistry>,
    /// Which reward an actor serves, of those that have not ended.
    serving: Mutex<HashMap<ActorId, Weak<RewardInForce>>>,
    /// Actors started so far, by the name of their reward.
    generations: Mutex<HashMap<String, u64>>,
}

impl RewardActors {
    pub(super) fn new(registry: Arc<RewardRegistry>) -> Self {
        RewardActors { registry, serving: Mutex::default(), generations: Mutex::default() }
    }

    /// Builds the rewards of a change and tries each on `batch`; if the arm has a supervisor, starts their actors.
    /// Nothing calls them yet; when they are dropped, they end.
    pub(super) async fn build(
        &self,
        change: &Change,
        config: &ArmConfig,
        supervisor: Option<&ActorCell>,
        batch: Option<Arc<RewardBatch>>,
    ) -> Result<Rewards, ChangeError> {
        let mut built = Rewards::new();
        for (name, spec) in &change.rewards {
            let Some(spec) = spec else { continue };
            let reward = Arc::new(self.without_actor(name, spec, config)?);
            let refused =
                |error: PluginError| ChangeError::Trial { reward: name.clone(), message: error.to_string() };
            let scorer = reward.source.open().map_err(refused)?;
            let limit = Duration::from_secs_f64(config.supervision.probe_timeout_seconds);
            let batch = batch.clone().unwrap_or_else(sample_batch);
            let (mut scorer, warnings) = try_on(scorer, batch, limit).await.map_err(refused)?;
            for warning in warnings {
                tracing::warn!("reward `{name}`: {warning}");
            }
            match supervisor {
                Some(supervisor) => self.start(&reward, scorer, supervisor).await.map_err(refused)?,
                // The arm has not started; it opens the reward again when it does.
                None => scorer.close().await,
            }
            built.insert(name.clone(), reward);
        }
        Ok(built)
    }

    /// A reward whose actor is not started yet.
    pub(super) fn without_actor(
        &self,
        name: &str,
        spec: &RewardSpec,
        config: &ArmConfig,
    ) -> Result<RewardInForce, ChangeError> {
        RewardInForce::new(name, spec.clone(), config, &self.registry)
            .map_err(|error| ChangeError::invalid(error.to_string()))
    }

    /// Opens a reward and starts the next generation of its actor.
    pub(super) async fn spawn(
        &self,
        reward: &Arc<RewardInForce>,
        supervisor: &ActorCell,
    ) -> Result<(), PluginError> {
        let scorer = reward.source.open()?;
        self.start(reward, scorer, supervisor).await
    }

    async fn start(
        &self,
        reward: &Arc<RewardInForce>,
        scorer: Scorer,
        supervisor: &ActorCell,
    ) -> Result<(), PluginError> {
        let generation = {
            let mut generations = lock(&self.generations);
            let last = generations.entry(reward.source.name().to_owned()).or_default();
            *last += 1;
            *last
        };
        let name =
            supervisor.get_name().map(|arm| format!("{arm}/reward/{}#{generation}", reward.source.name()));
        let (actor, _) = Actor::spawn_linked(name, RewardActor, scorer, supervisor.clone())
            .await
            .map_err(|error| PluginError::Trial(error.to_string()))?;
        lock(&self.serving).insert(actor.get_id(), Arc::downgrade(reward));
        *lock(&reward.actor) = Some(actor.clone());
        reward.slot.install_as(actor, generation);
        Ok(())
    }

    /// An actor of the arm has failed. If it served a reward, the next generation is started, or, with the restart
    /// budget spent, the slot is closed.
    pub(super) async fn failed(
        &self,
        actor: ActorId,
        error: &str,
        config: &ArmConfig,
        supervisor: &ActorCell,
    ) -> RewardFailure {
        let Some(reward) = lock(&self.serving).remove(&actor).and_then(|reward| reward.upgrade()) else {
            return RewardFailure::NotAReward;
        };
        reward.slot.mark_failed(error);
        let supervision = &config.supervision;
        let name = reward.slot.name().to_owned();
        let (again, restarts) = {
            let mut budget = lock(&reward.budget);
            (budget.spend(Instant::now()), budget.total())
        };
        if !again {
            reward.slot.close(&format!(
                "`{name}` failed more than {} times within {} s, the last time with: {error}",
                supervision.restarts, supervision.window_seconds
            ));
            return RewardFailure::Closed;
        }
        match self.spawn(&reward, supervisor).await {
            Ok(()) => RewardFailure::Restarted { actor: name, restarts },
            Err(error) => {
                reward.slot.close(&format!("`{name}` could not be started again: {error}"));
                RewardFailure::Closed
            }
        }
    }

    /// Starts the rewards again whose slots are closed, with a new restart budget.
    pub(super) async fn revive(&self, conditions: &Conditions, config: &ArmConfig, supervisor: &ActorCell) {
        for reward in conditions.rewards.values().filter(|reward| reward.slot.is_closed()) {
            *lock(&reward.budget) = RestartBudget::of(&config.supervision);
            if let Err(error) = self.spawn(reward, supervisor).await {
                reward.slot.close(&format!("`{}` could not be started again: {error}", reward.slot.name()));
            }
        }
    }

    /// Forgets an actor that has ended.
    pub(super) fn ended(&self, actor: ActorId) {
        lock(&self.serving).remove(&actor);
    }
}

/// Lets a reward score a batch within a time limit. Returns it with what it warns of. A panic of the reward is returned as
/// an error.
async fn try_on(
    mut scorer: Scorer,
    batch: Arc<RewardBatch>,
    limit: Duration,
) -> Result<(Scorer, Vec<String>), PluginError> {
    // A task of its own, because the reward may panic.
    let trial = tokio::spawn(async move {
        let tried = scorer.probe(batch).await;
        tried.map(|scored| (scorer, scored.warnings))
    });
    let abort = trial.abort_handle();
    match tokio::time::timeout(limit, trial).await {
        Ok(Ok(tried)) => tried,
        Ok(Err(error)) => {
            Err(PluginError::Trial(format!("it panicked on a trial batch: {}", panic_message(error))))
        }
        Err(_) => {
            abort.abort();
            let seconds = limit.as_secs_f64();
            Err(PluginError::Trial(format!("it did not answer a trial batch within {seconds} s")))
        }
    }
}

fn panic_message(error: tokio::task::JoinError) -> String {
    match error.try_into_panic() {
        Ok(panic) => match panic.downcast::<String>() {
            Ok(text) => *text,
            Err(panic) => {
                panic.downcast::<&str>().map_or_else(|_| "no message".into(), |text| (*text).into())
            }
        },
        Err(error) => error.to_string(),
    }
}
