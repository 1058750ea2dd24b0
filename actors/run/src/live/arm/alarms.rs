//! The alarms of an arm: what the journal has of them, what they order, and how they are shown.

use records::{Action, AlarmFiring, Change, JournalEntry};
use runtime::RunEvent;
use tokio::sync::oneshot;

use super::super::change::{ChangeError, Requires};
use super::super::conditions::Rewards;
use super::super::lock::lock;
use super::super::order::{Order, PlannedChange};
use super::LiveArm;
use crate::alarms::AlarmView;
use crate::error::RecordingError;

impl LiveArm {
    /// The alarms that an earlier run journaled of a step: the run that is resumed, or the recorded one in a replay.
    pub(crate) fn recorded_alarms(&self, step: u64) -> Vec<AlarmFiring> {
        self.recorded_alarms.iter().filter(|firing| firing.step == step).cloned().collect()
    }

    /// What the journal has of an alarm that went off, in this run and the one that is resumed.
    pub(crate) fn journaled_of_alarm(&self, firing: &AlarmFiring) -> Vec<Action> {
        let is_of_it = |entry: &JournalEntry| {
            entry.alarm.as_ref().is_some_and(|alarm| alarm.name == firing.name && alarm.step == firing.step)
        };
        let entries = self.journal.entries_of(&self.id);
        entries.into_iter().filter(is_of_it).map(|entry| entry.action).collect()
    }

    /// Writes to the journal that an alarm went off, or what it did.
    pub(crate) async fn journal_alarm(
        &self,
        action: Action,
        by: String,
        note: Option<String>,
        firing: &AlarmFiring,
    ) -> Result<(), RecordingError> {
        let entry = JournalEntry { note, alarm: Some(firing.clone()), ..self.entry(action, by) };
        self.journal.append(entry).await
    }

    /// Queues the change of an alarm for the step boundary.
    ///
    /// Errors: It does not fit the conditions after all changes that wait.
    pub(crate) fn order_change(&self, change: Change, firing: &AlarmFiring) -> Result<(), ChangeError> {
        let mut state = self.lock();
        self.fits(&change, &Requires::default(), &state)?;
        let by = firing.by();
        let version = state.sequence.number(&change, &by);
        let (done, applied) = oneshot::channel();
        let alarm = Some(Box::new(firing.clone()));
        let planned = PlannedChange { change, by, built: Rewards::default(), version, done, alarm };
        state.orders.push_back(Order::Change(Box::new(planned)));
        drop(state);
        let (watchers, id, name) = (self.watchers.clone(), self.id.clone(), firing.name.clone());
        tokio::spawn(async move {
            if let Ok(Err(error)) = applied.await {
                let message = format!("the change of the alarm \"{name}\" was not made: {error}");
                watchers.tell(RunEvent::Warning { id, message });
            }
        });
        Ok(())
    }

    /// Replaces what [`Self::alarms`] shows.
    pub(crate) fn show_alarms(&self, views: Vec<AlarmView>) {
        *lock(&self.alarms) = views;
    }

    /// The alarms with what the journal has of them.
    pub(crate) fn alarms(&self) -> Vec<AlarmView> {
        let mut views = lock(&self.alarms).clone();
        if views.is_empty() {
            return views;
        }
        let entries = self.journal.entries_of(&self.id).into_iter();
        for firing in entries.filter(|entry| entry.action == Action::Alarm).filter_map(|entry| entry.alarm) {
            if let Some(view) = views.iter_mut().find(|view| view.name == firing.name) {
                view.firings.push(firing);
            }
        }
        views
    }
}
