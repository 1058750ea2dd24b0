//! Changes of an arm: checked, built, numbered, written to the journal and put in force, in this order (ORDER-1).

use std::sync::Arc;

use records::{
    Action, AlarmFiring, Applied, ArmState, Change, ConditionsRecord, JournalEntry, changes_in_order, now,
};
use tokio::sync::oneshot;

use super::super::change::{ChangeError, Draft, InForceError, RepeatError, Requires};
use super::super::conditions::Rewards;
use super::super::order::{Order, PlannedChange};
use super::super::sequence::Waiting;
use super::{LiveArm, State};
use crate::error::RecordingError;

impl LiveArm {
    /// Makes a change; returns when it is in force, which in an active arm is at the next step boundary.
    pub(crate) async fn change(
        &self,
        change: Change,
        by: String,
        requires: Requires,
    ) -> Result<Applied, ChangeError> {
        let change = change.anchored(&self.folder);
        loop {
            self.fits(&change, &requires, &self.lock())?;
            let started = self.has_started();
            let built = self.build(&change).await?;
            // The arm may have started while the rewards were built; then they are built again, with actors.
            let Some(applied) = self.plan(&change, &by, &requires, built, started)? else { continue };
            if !started {
                let _before_start = self.before_start.lock().await;
                self.make_planned_changes().await;
            }
            return applied.await.unwrap_or_else(|_| Err(self.ended_error()));
        }
    }

    async fn build(&self, change: &Change) -> Result<Rewards, ChangeError> {
        let supervisor = self.lock().actors.as_ref().map(|actors| actors.supervisor.clone());
        self.reward_actors.build(change, &self.config, supervisor.as_ref(), self.last_batch()).await
    }

    /// Checks a change and what it requires against the conditions after all changes that wait.
    pub(super) fn fits(
        &self,
        change: &Change,
        requires: &Requires,
        state: &State,
    ) -> Result<(), ChangeError> {
        let latest = self.latest_of(state)?;
        requires.check(&latest, |version| {
            state.sequence.since(version, &changes_in_order(&self.journal.entries_of(&self.id), &self.id))
        })?;
        Draft::new(change, &latest, &self.config).map(drop)
    }

    /// Assigns a version to a change and queues it. `started` says whether its rewards have actors; `None` if they
    /// lack them and the arm has started meanwhile.
    fn plan(
        &self,
        change: &Change,
        by: &str,
        requires: &Requires,
        built: Rewards,
        started: bool,
    ) -> Result<Option<oneshot::Receiver<Result<Applied, ChangeError>>>, ChangeError> {
        let mut state = self.lock();
        self.fits(change, requires, &state)?;
        if state.arm.is_active() && !started {
            return Ok(None);
        }
        let version = state.sequence.number(change, by);
        let (done, applied) = oneshot::channel();
        let (change, by) = (change.clone(), by.to_owned());
        let planned = PlannedChange { change, by, built, version, done, alarm: None };
        state.orders.push_back(Order::Change(Box::new(planned)));
        drop(state);
        self.orders_arrived.notify_one();
        Ok(Some(applied))
    }

    /// Puts the changes in force that were ordered in a planned arm. The caller holds `before_start`.
    pub(super) async fn make_planned_changes(&self) {
        loop {
            let planned = {
                let mut state = self.lock();
                let Some(place) = state.planned_change() else { return };
                if state.arm != ArmState::Planned {
                    return;
                }
                state.orders.remove(place)
            };
            if let Some(Order::Change(planned)) = planned {
                // Whoever asked for it learns the error; the arm can still start without it.
                if let Err(error) = self.put_in_force(*planned, self.step() + 1).await {
                    tracing::warn!(arm = %self.id, "a change was not made: {error}");
                }
            }
        }
    }

    /// Checks a change without making it.
    pub(crate) fn check(&self, change: &Change, requires: &Requires) -> Result<(), ChangeError> {
        self.fits(change, requires, &self.lock())?;
        for (name, spec) in &change.clone().anchored(&self.folder).rewards {
            if let Some(spec) = spec {
                self.reward_actors.without_actor(name, spec, &self.config)?;
            }
        }
        Ok(())
    }

    /// The conditions after all changes that wait.
    pub(crate) fn latest(&self) -> Result<ConditionsRecord, ChangeError> {
        self.latest_of(&self.lock())
    }

    fn latest_of(&self, state: &State) -> Result<ConditionsRecord, ChangeError> {
        if state.arm.has_ended() {
            return Err(self.ended_error());
        }
        state.sequence.latest().ok_or_else(|| self.no_rewards_error())
    }

    /// Puts a planned change in force from step `next` on, after all earlier versions (ORDER-1).
    ///
    /// Errors: It could not be written to the journal, or an earlier change can't be made again; then the arm can't go
    /// on.
    pub(crate) async fn put_in_force(&self, planned: PlannedChange, next: u64) -> Result<(), InForceError> {
        let PlannedChange { change, by, built, version, done, alarm } = planned;
        let made = match self.repeat_changes_before(next, Some(version)).await {
            Ok(()) => self.make(&change, by, &built, version, next, alarm).await,
            Err(error) => Err(error.into()),
        };
        let (answer, result) = match made {
            Ok(applied) => (Ok(applied), Ok(())),
            Err(InForceError::Refused(error)) => (Err(error), Ok(())),
            Err(error) => (Err(ChangeError::Unrecorded(error.to_string())), Err(error)),
        };
        if answer.is_err() {
            self.lock().sequence.forget(version);
        }
        // The caller may no longer wait.
        let _ = done.send(answer);
        result
    }

    /// Refuses an ordered change, because no step is left that it could apply to.
    pub(crate) fn refuse_late(&self, planned: PlannedChange) {
        self.lock().sequence.forget(planned.version);
        // The caller may no longer wait.
        let _ = planned.done.send(Err(self.ended_error()));
    }

    /// Writes a change to the journal, then puts it in force on top of the present conditions.
    async fn make(
        &self,
        change: &Change,
        by: String,
        built: &Rewards,
        version: u64,
        next: u64,
        alarm: Option<Box<AlarmFiring>>,
    ) -> Result<Applied, InForceError> {
        let Some(now) = self.in_force() else { return Err(self.no_rewards_error().into()) };
        let before = now.record();
        let draft = Draft::new(change, &before, &self.config)?;
        let applied = self.journal_change(change, by, &before, version, next, alarm).await?;
        self.lock().sequence.take(Arc::new(draft.conditions(version, &now, change, built)));
        Ok(applied)
    }

    /// Makes the changes of an earlier run again that took effect by step `next`.
    ///
    /// Errors: [`RepeatError`].
    pub(crate) async fn repeat_changes(&self, next: u64) -> Result<(), RepeatError> {
        self.repeat_changes_before(next, None).await
    }

    /// Makes the changes of an earlier run again that took effect by step `next`, and all of them that are older than
    /// the version `before`.
    async fn repeat_changes_before(&self, next: u64, before: Option<u64>) -> Result<(), RepeatError> {
        loop {
            let waiting = self.lock().sequence.next_of_earlier_run(next, before);
            let Some(Waiting { change, version, .. }) = waiting else { return Ok(()) };
            let refused = |source| RepeatError { version, step: next, source };
            let built = self.build(&change).await.map_err(refused)?;
            let Some(now) = self.in_force() else { return Ok(()) };
            let record = now.record();
            let draft = Draft::new(&change, &record, &self.config).map_err(refused)?;
            if self.is_replay() {
                let by = "replay".to_owned();
                let journaled = self.journal_change(&change, by, &record, version, next, None).await;
                journaled.map_err(|error| refused(error.into()))?;
            }
            self.lock().sequence.take(Arc::new(draft.conditions(version, &now, &change, &built)));
        }
    }

    /// Steps that were dispatched are taken again from step `next` on, and under the conditions in force. Where the
    /// journal has these from a later step on, it is told so.
    pub(crate) async fn retake_from(&self, next: u64) -> Result<(), RecordingError> {
        let version = self.in_force().map_or(0, |conditions| conditions.version);
        let changes = changes_in_order(&self.journal.entries_of(&self.id), &self.id);
        let newest = changes.into_iter().find(|entry| entry.version == version && entry.step > next);
        let Some(newest) = newest else { return Ok(()) };
        let note = Some(format!("brought forward from step {}, because steps are taken again", newest.step));
        self.journal.append(JournalEntry { time: now(), step: next, note, ..newest }).await
    }

    async fn journal_change(
        &self,
        change: &Change,
        by: String,
        before: &ConditionsRecord,
        version: u64,
        step: u64,
        alarm: Option<Box<AlarmFiring>>,
    ) -> Result<Applied, RecordingError> {
        let entry = JournalEntry {
            change: Some(change.clone()),
            from: Some(before.replaced_by(change, &self.config)),
            version,
            step,
            alarm: alarm.map(|alarm| *alarm),
            ..self.entry(Action::Change, by)
        };
        self.journal.append(entry).await?;
        Ok(Applied { version, step })
    }
}
