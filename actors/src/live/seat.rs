//! The actors of rewards: built, tried out, started, started again.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ractor::{Actor, ActorCell, ActorId};
use rewards::RewardBatch;
use scenarios::RewardSpec;

use super::arm::{LiveArm, lock};
use super::change::{Change, ChangeError};
use super::conditions::{RewardInForce, Rewards};
use crate::reward::{RewardActor, Scorer, sample_batch};
use crate::supervision::RestartBudget;

/// What became of an actor that failed.
pub(crate) enum Failed {
    /// It was none of a reward that is still in use.
    NotOurs,
    /// Another serves in its place; the restarts so far.
    StartedAgain(String, u64),
    /// Its slot is closed.
    Closed,
}

impl LiveArm {
    /// Makes the rewards a change asks for and tries them out; in an arm that has begun, starts them. No one calls them
    /// yet, and dropped they end.
    pub(super) async fn make(&self, change: &Change) -> Result<Rewards, ChangeError> {
        let supervisor = self.supervisor();
        let mut made = BTreeMap::new();
        for (name, spec) in &change.rewards {
            let Some(spec) = spec else { continue };
            let reward = Arc::new(self.unseated(name, spec)?);
            let refused = |message| ChangeError::Probe { reward: name.clone(), message };
            let scorer = reward.source.open().map_err(refused)?;
            let limit = Duration::from_secs_f64(self.config.supervision.probe_timeout_seconds);
            let batch = self.last_batch().unwrap_or_else(sample_batch);
            let mut scorer = probe(scorer, batch, limit).await.map_err(refused)?;
            match &supervisor {
                Some(supervisor) => self.start(&reward, scorer, supervisor).await.map_err(refused)?,
                // It is opened again when the arm begins.
                None => scorer.close().await,
            }
            made.insert(name.clone(), reward);
        }
        Ok(made)
    }

    /// A reward without an actor.
    pub(super) fn unseated(&self, name: &str, spec: &RewardSpec) -> Result<RewardInForce, ChangeError> {
        RewardInForce::new(name, spec.clone(), &self.config, &self.registry).map_err(ChangeError::invalid)
    }

    /// Starts the next actor of a reward.
    ///
    /// # Errors
    /// One line: it can't be built or did not start.
    pub(crate) async fn seat(
        &self,
        reward: &Arc<RewardInForce>,
        supervisor: &ActorCell,
    ) -> Result<(), String> {
        let scorer = reward.source.open()?;
        self.start(reward, scorer, supervisor).await
    }

    async fn start(
        &self,
        reward: &Arc<RewardInForce>,
        scorer: Scorer,
        supervisor: &ActorCell,
    ) -> Result<(), String> {
        let generation = {
            let mut generations = lock(&self.generations);
            let last = generations.entry(reward.source.name().to_owned()).or_default();
            *last += 1;
            *last
        };
        let name =
            format!("{}/seed-{}/reward/{}#{generation}", self.config.name, self.seed, reward.source.name());
        let (actor, _) = Actor::spawn_linked(Some(name), RewardActor, scorer, supervisor.clone())
            .await
            .map_err(|error| error.to_string())?;
        lock(&self.seats).insert(actor.get_id(), Arc::downgrade(reward));
        *lock(&reward.actor) = Some(actor.clone());
        reward.slot.install_as(actor, generation);
        Ok(())
    }

    /// An actor of the arm has failed: if it served a reward, the next one takes its place, or the slot is closed.
    pub(crate) async fn reward_failed(&self, actor: ActorId, error: &str, supervisor: &ActorCell) -> Failed {
        let Some(reward) = lock(&self.seats).remove(&actor).and_then(|reward| reward.upgrade()) else {
            return Failed::NotOurs;
        };
        reward.slot.bereave(error);
        let supervision = &self.config.supervision;
        let name = reward.slot.name().to_owned();
        let (again, total) = {
            let mut budget = lock(&reward.budget);
            (budget.spend(Instant::now()), budget.total())
        };
        if !again {
            reward.slot.close(&format!(
                "`{name}` failed more than {} times within {} s, the last time with: {error}",
                supervision.restarts, supervision.window_seconds
            ));
            return Failed::Closed;
        }
        match self.seat(&reward, supervisor).await {
            Ok(()) => Failed::StartedAgain(name, total),
            Err(error) => {
                reward.slot.close(&format!("`{name}` could not be started again: {error}"));
                Failed::Closed
            }
        }
    }

    /// Starts those rewards again that are out of service, as if they had never failed.
    pub(crate) async fn revive(&self, supervisor: &ActorCell) {
        let Some(conditions) = self.in_force() else { return };
        for reward in conditions.rewards.values().filter(|reward| reward.slot.is_closed()) {
            *lock(&reward.budget) = RestartBudget::of(&self.config.supervision);
            if let Err(error) = self.seat(reward, supervisor).await {
                reward.slot.close(&format!("`{}` could not be started again: {error}", reward.slot.name()));
            }
        }
    }

    /// Ends the slots of all rewards.
    pub(crate) fn close(&self, reason: &str) {
        let Some(conditions) = self.in_force() else { return };
        conditions.rewards.values().for_each(|reward| reward.slot.close(reason));
    }

    /// Forgets an actor that has ended.
    pub(crate) fn reward_ended(&self, actor: ActorId) {
        lock(&self.seats).remove(&actor);
    }
}

/// Lets a reward score a batch, within a time limit and without risk to anything else.
async fn probe(mut scorer: Scorer, batch: Arc<RewardBatch>, limit: Duration) -> Result<Scorer, String> {
    // A task of its own, for it may panic.
    let trial = tokio::spawn(async move {
        let tried = scorer.probe(batch).await;
        tried.map(|_| scorer)
    });
    let abort = trial.abort_handle();
    match tokio::time::timeout(limit, trial).await {
        Ok(Ok(tried)) => tried,
        Ok(Err(error)) => Err(format!("it panicked over a trial batch: {}", said(error))),
        Err(_) => {
            abort.abort();
            Err(format!("it gave no answer to a trial batch within {} s", limit.as_secs_f64()))
        }
    }
}

/// What a task said when it panicked.
fn said(error: tokio::task::JoinError) -> String {
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
