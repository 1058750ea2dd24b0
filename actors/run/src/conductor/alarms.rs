//! Alarms in the loop over the steps: when their conditions are evaluated, and how what they do is ordered.
//!
//! After a step and its evaluation the conditions are evaluated, before a checkpoint is written: so a checkpoint has what an
//! alarm has yet to do. At the step boundary it is done: the journal gets the evidence, then come a checkpoint, a fork, the
//! changes, and last a stop or a pause. What the journal has already of a run that was killed in between is not done again
//! (ALARM-5).

use records::{Action, AlarmFiring, Change, ConditionsRecord};
use scenarios::{AlarmAction, ArmConfig, ForkConfig};
use serde_json::{Value, json};

use super::StepLoop;
use super::halt::Halt;
use crate::alarms::{Watched, take_evaluations, take_row, views};
use crate::fork::ForkRequest;
use crate::live::Order;

impl StepLoop {
    /// Takes in the row of the newest step.
    pub(super) fn take_row(&mut self, row: Option<&Value>) {
        let progress = &mut self.position.progress;
        if let Some(row) = row.filter(|_| !self.arm.live.is_replay()) {
            take_row(&self.arm.alarms, &mut progress.alarms, progress.step, row);
        }
    }

    /// Evaluates the conditions after the newest step, once its evaluation is recorded too.
    pub(super) async fn settle_alarms(&mut self) -> Result<(), Halt> {
        let (arm, progress) = (self.arm.clone(), &mut self.position.progress);
        if arm.alarms.is_empty() {
            return Ok(());
        }
        let (step, memory) = (progress.step, &mut progress.alarms);
        let recorded = arm.live.recorded_alarms(step);
        if arm.live.is_replay() {
            memory.due = recorded;
            return Ok(());
        }
        if arm.alarms.use_evaluations() && progress.evaluated == Some(step) && memory.evaluated != Some(step)
        {
            let dir = arm.dir.clone();
            let read = tokio::task::spawn_blocking(move || dir.read_evaluations()).await;
            let rows = read.unwrap_or_else(|panicked| std::panic::resume_unwind(panicked.into_panic()));
            let mut rows = rows.map_err(|error| Halt::Failed(error.to_string()))?;
            rows.retain(|row| row.step == step);
            take_evaluations(&arm.alarms, memory, step, &rows);
        }
        if memory.unsettled == Some(step) {
            arm.alarms.settle(memory, step, &recorded);
        }
        arm.live.show_alarms(views(&arm.alarms, memory));
        Ok(())
    }

    /// Orders what is due of the alarms that went off. The boundary carries the orders out; until then they stay due.
    pub(super) async fn raise_alarms(&mut self) -> Result<(), Halt> {
        // After an evaluation that was interrupted, the conditions of the newest step are still to be evaluated.
        self.settle_alarms().await?;
        for firing in self.position.progress.alarms.due.clone() {
            match self.arm.live.is_replay() {
                true => self.repeat(&firing).await?,
                false => self.raise(&firing).await?,
            }
        }
        Ok(())
    }

    /// Writes an alarm of the recorded run into the journal of its replay.
    async fn repeat(&self, firing: &AlarmFiring) -> Result<(), Halt> {
        let live = &self.arm.live;
        if !live.journaled_of_alarm(firing).contains(&Action::Alarm) {
            live.journal_alarm(Action::Alarm, "replay".into(), Some(firing.evidence()), firing).await?;
        }
        Ok(())
    }

    async fn raise(&mut self, firing: &AlarmFiring) -> Result<(), Halt> {
        let arm = self.arm.clone();
        let (live, by) = (&arm.live, firing.by());
        let earlier = live.journaled_of_alarm(firing);
        let is_new = |action: Action| !earlier.contains(&action);
        let Some(watched) = arm.alarms.named(&firing.name) else { return Ok(()) };
        if is_new(Action::Alarm) {
            let note = format!(
                "{}, for {} step{}",
                firing.evidence(),
                firing.streak,
                if firing.streak == 1 { "" } else { "s" }
            );
            live.journal_alarm(Action::Alarm, by.clone(), Some(note.clone()), firing).await?;
            arm.warn(&told(firing, &note));
            self.post(watched, firing);
        }
        if self.position.progress.step >= live.last_step() {
            // No step is left that anything could apply to, and the arm writes its last checkpoint anyway.
            return Ok(());
        }
        let does = |wanted: &AlarmAction| watched.actions.contains(wanted);
        if does(&AlarmAction::Checkpoint) || does(&AlarmAction::Fork) {
            self.write_checkpoint().await?;
        }
        if does(&AlarmAction::Checkpoint) && is_new(Action::Checkpoint) {
            live.journal_alarm(Action::Checkpoint, by.clone(), None, firing).await?;
        }
        if does(&AlarmAction::Fork) {
            self.fork(watched, firing).await;
        }
        if is_new(Action::Change) {
            self.order_change(watched, firing);
        }
        // Without a control channel nobody could resume it.
        let stops = does(&AlarmAction::Stop) || does(&AlarmAction::Pause) && !live.controlled;
        if stops && is_new(Action::Stop) {
            live.journal_alarm(Action::Stop, by.clone(), None, firing).await?;
            live.stop();
        } else if !stops && does(&AlarmAction::Pause) && is_new(Action::Pause) {
            let reason = format!("the alarm \"{}\" went off: {}", firing.name, firing.evidence());
            // It fails only for an arm that has ended.
            let _ = live.order(Order::Pause { by, reason, alarm: Some(Box::new(firing.clone())) });
        }
        Ok(())
    }

    /// Copies the arm, unless the scenario has the fork already.
    async fn fork(&self, watched: &Watched, firing: &AlarmFiring) {
        let arm = &self.arm;
        let experiment = arm.live.lineage.hold().await;
        let name = watched.config.fork_of(&arm.id.arm, arm.id.seed, experiment.run.seeds.len());
        let is_made = experiment.arms.iter().any(|other| {
            let of_this = |fork: &ForkConfig| fork.arm == arm.id.arm && fork.step == firing.step;
            other.name == name && other.fork.as_ref().is_some_and(of_this)
        });
        drop(experiment);
        if is_made {
            return;
        }
        let request = ForkRequest {
            arm: arm.id.arm.clone(),
            name,
            step: Some(firing.step),
            seeds: vec![arm.id.seed],
            settings: watched.config.set.clone(),
        };
        if let Err(error) = arm.run.fork(request, &firing.by()).await {
            arm.warn(&format!("the alarm \"{}\" could not fork the arm: {error}", firing.name));
        }
    }

    /// Orders the changes of weights, settings and formula, all at one step boundary.
    fn order_change(&self, watched: &Watched, firing: &AlarmFiring) {
        let live = &self.arm.live;
        let ordered = live
            .latest()
            .map(|now| change_of(watched, &now, &live.config, firing.step + 1))
            .and_then(|change| match change {
                None => Ok(()),
                Some(change) => live.order_change(change, firing),
            });
        if let Err(error) = ordered {
            let has_changes = watched.actions.iter().any(is_change);
            if has_changes {
                self.arm.warn(&format!("the alarm \"{}\" could not make its change: {error}", firing.name));
            }
        }
    }

    /// Sends the evidence to the address of the alarm, beside the training.
    fn post(&mut self, watched: &Watched, firing: &AlarmFiring) {
        if !watched.actions.contains(&AlarmAction::Webhook) {
            return;
        }
        let from_variable = || std::env::var(watched.config.url_env.as_deref()?).ok();
        let Some(url) = watched.config.url.clone().or_else(from_variable) else {
            let name = watched.config.url_env.as_deref().unwrap_or_default();
            self.arm.warn(&format!(
                "the webhook of the alarm \"{}\" was not sent: the environment variable {name} is not set",
                firing.name
            ));
            return;
        };
        let id = &self.arm.id;
        let text = told(firing, &firing.evidence());
        let document =
            json!({ "text": format!("{id}: {text}"), "arm": id.arm, "seed": id.seed, "alarm": firing });
        let arm = self.arm.clone();
        let name = firing.name.clone();
        self.webhooks.spawn(async move {
            if let Err(error) = plugins::post_webhook(&url, &document).await {
                arm.warn(&format!("the webhook of the alarm \"{name}\" was not delivered: {error}"));
            }
        });
    }

    /// What is left to do for alarms when the arm ends.
    pub(super) async fn end_alarms(&mut self) {
        // Each gives up by itself after some seconds.
        while self.webhooks.join_next().await.is_some() {}
        let undecided = self.arm.alarms.undecided(&self.position.progress.alarms);
        let progress = &self.position.progress;
        if !undecided.is_empty() && progress.step >= self.arm.config.steps && !self.arm.live.is_replay() {
            let alarms = undecided.join(", ");
            self.arm.warn(&format!("no step decided the conditions of these alarms: {alarms}"));
        }
    }
}

/// An alarm in one line.
fn told(firing: &AlarmFiring, evidence: &str) -> String {
    let message = if firing.message.is_empty() { String::new() } else { format!("; {}", firing.message) };
    format!("alarm \"{}\" went off at step {}: {evidence}{message}", firing.name, firing.step)
}

fn is_change(action: &AlarmAction) -> bool {
    matches!(action, AlarmAction::Weight { .. } | AlarmAction::Setting { .. } | AlarmAction::Formula(_))
}

/// The change of an alarm, relative to the conditions `now`, for the step `next` (from 1); `None` if it has none.
fn change_of(watched: &Watched, now: &ConditionsRecord, config: &ArmConfig, next: u64) -> Option<Change> {
    let mut change = Change::default();
    for action in &watched.actions {
        match action {
            AlarmAction::Weight { name, edit } => {
                let old = now.weights.get(name).map(|weight| weight.at(next));
                if let Some(new) = edit.of(old).and_then(|value| value.as_f64()) {
                    change.weights.insert(name.clone(), new);
                }
            }
            AlarmAction::Setting { name, edit } => {
                let old =
                    now.settings.get(name).cloned().or_else(|| config.live_settings().get(name).cloned());
                if let Some(new) = edit.of(old.and_then(|value| value.as_f64())) {
                    change.settings.insert(name.clone(), new);
                }
            }
            AlarmAction::Formula(formula) => change.formula = Some(formula.clone()),
            AlarmAction::Pause
            | AlarmAction::Checkpoint
            | AlarmAction::Stop
            | AlarmAction::Fork
            | AlarmAction::Webhook => {}
        }
    }
    (change != Change::default()).then_some(change)
}
