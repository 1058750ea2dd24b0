//! The boundary between two steps: orders take effect here, and a paused arm waits here.
//!
//! Without a pending order, crossing it costs one look at an empty queue.

use std::time::{Duration, Instant};

use ractor::ActorRef;
use records::{Action, ConditionsRecord};
use runtime::RunEvent;
use tokio::sync::oneshot;

use super::halt::{Halt, Stops};
use super::position::Position;
use crate::context::ArmContext;
use crate::live::{ChangeError, Order};
use crate::messages::ArmMsg;

/// The name in the journal for pauses that the arm itself makes.
const ENGINE: &str = "engine";

/// Why an arm takes no further step for now.
#[derive(Clone, Debug, PartialEq)]
struct Pause {
    reason: String,
    /// The arm can't go on by itself; it waits for help no longer than `supervision.help_timeout_seconds`.
    needs_help: bool,
}

/// The state of an arm between its steps.
#[derive(Default)]
pub(super) struct Boundary {
    paused: Option<Pause>,
    /// Steps left until the next pause, after an order to take some steps.
    allowance: Option<u64>,
    /// Time spent here since the last step.
    spent: Duration,
}

impl Boundary {
    /// Carries out the orders since the last boundary; returns when the arm is not paused. `next` is the
    /// first step, counted from 1, that is not dispatched yet, and `conditions` are those of the step that
    /// a checkpoint continues with.
    pub(super) async fn cross(
        &mut self,
        arm: &ArmContext,
        supervisor: &ActorRef<ArmMsg>,
        position: &mut Position,
        stops: &mut Stops,
        next: u64,
        conditions: impl Fn() -> Option<ConditionsRecord>,
    ) -> Result<(), Halt> {
        let mut busy_since = Instant::now();
        arm.live.repeat_changes(next).await?;
        let mut announced = None;
        loop {
            // Orders that arrive meanwhile wait for the next boundary, so that a stream of orders can't hold up a step.
            for _ in 0..arm.live.orders_waiting() {
                let Some(order) = arm.live.next_order() else { break };
                self.carry_out(arm, position, order, next, &conditions).await?;
            }
            let Some(pause) = self.paused.clone() else { break };
            if announced.as_ref() != Some(&pause) {
                announce(arm, position, &pause.reason, conditions()).await?;
                announced = Some(pause.clone());
            }
            self.spent += busy_since.elapsed();
            wait_for_order(arm, stops, &pause).await?;
            busy_since = Instant::now();
        }
        if announced.is_some() {
            resume(arm, supervisor, position, stops).await?;
        }
        self.spent += busy_since.elapsed();
        Ok(())
    }

    async fn carry_out(
        &mut self,
        arm: &ArmContext,
        position: &mut Position,
        order: Order,
        next: u64,
        conditions: &impl Fn() -> Option<ConditionsRecord>,
    ) -> Result<(), Halt> {
        let live = &arm.live;
        match order {
            // All steps are dispatched: the caller learns that the arm ended first.
            Order::Change(planned) if next > live.last_step() => live.refuse_late(*planned),
            Order::Change(planned) => live.put_in_force(*planned, next).await?,
            Order::Pause { by, reason, alarm } => {
                match alarm {
                    None => live.journal(Action::Pause, by, Some(reason.clone())).await?,
                    Some(alarm) => {
                        live.journal_alarm(Action::Pause, by, Some(reason.clone()), &alarm).await?
                    }
                }
                (self.paused, self.allowance) = (Some(Pause { reason, needs_help: false }), None);
            }
            Order::Resume { by } => {
                live.journal(Action::Resume, by, None).await?;
                (self.paused, self.allowance) = (None, None);
            }
            Order::Step { steps, by } => {
                live.journal(Action::Step, by, Some(steps.to_string())).await?;
                (self.paused, self.allowance) = (None, Some(steps));
            }
            Order::Checkpoint { by, done } => {
                let written = position.write_checkpoint(conditions()).await;
                live.journal(Action::Checkpoint, by, None).await?;
                let refused = |message: String| ChangeError::NoCheckpoint(message);
                let folder = written.map_err(|error| refused(error.to_string())).and_then(|()| {
                    let none = || refused("an arm that does not train has no checkpoint".into());
                    position.checkpoint.clone().ok_or_else(none)
                });
                // The caller may no longer wait.
                let _ = done.send(folder);
            }
        }
        Ok(())
    }

    /// Counts a step towards the number of steps that was ordered.
    pub(super) fn step_taken(&mut self) {
        let Some(left) = &mut self.allowance else { return };
        *left -= 1;
        if *left == 0 {
            self.allowance = None;
            let reason = "the ordered steps have been taken".into();
            self.paused = Some(Pause { reason, needs_help: false });
        }
    }

    /// Pauses the arm because it can't go on by itself.
    pub(super) async fn pause_for_help(&mut self, arm: &ArmContext, reason: String) -> Result<(), Halt> {
        arm.live.journal(Action::Pause, ENGINE.into(), Some(reason.clone())).await?;
        (self.paused, self.allowance) = (Some(Pause { reason, needs_help: true }), None);
        Ok(())
    }

    /// The time spent at boundaries since this was last called.
    pub(super) fn take_spent(&mut self) -> Duration {
        std::mem::take(&mut self.spent)
    }
}

/// Whether somebody can resume the arm when it can't go on by itself.
pub(super) fn can_be_helped(arm: &ArmContext) -> bool {
    arm.live.controlled && arm.config.supervision.help_timeout_seconds > 0.0
}

/// Waits for the next order; for a limited time if the arm needs help.
async fn wait_for_order(arm: &ArmContext, stops: &mut Stops, pause: &Pause) -> Result<(), Halt> {
    let order = arm.live.wait_for_order();
    if !pause.needs_help {
        return stops.unless_stopped(order).await;
    }
    let seconds = arm.config.supervision.help_timeout_seconds;
    let limit = Duration::from_secs_f64(seconds);
    stops.unless_stopped(tokio::time::timeout(limit, order)).await?.map_err(|_| {
        Halt::Failed(format!(
            "{}; nobody resumed it within {seconds} s (supervision.help_timeout_seconds)",
            pause.reason
        ))
    })
}

/// Writes a checkpoint and reports the pause.
async fn announce(
    arm: &ArmContext,
    position: &mut Position,
    reason: &str,
    conditions: Option<ConditionsRecord>,
) -> Result<(), Halt> {
    if let Err(unwritten) = position.write_checkpoint(conditions).await {
        arm.warn(&format!("no checkpoint at the pause: {unwritten}"));
    }
    let state = arm.live.paused(reason);
    position.write_status(state).await?;
    let (id, step) = (arm.id.clone(), position.progress.step);
    arm.emit(RunEvent::Paused { id, step, reason: reason.to_owned() });
    Ok(())
}

/// Gives the actors that are out of service another chance, and reports that the arm trains again.
async fn resume(
    arm: &ArmContext,
    supervisor: &ActorRef<ArmMsg>,
    position: &Position,
    stops: &mut Stops,
) -> Result<(), Halt> {
    let (done, revived) = oneshot::channel();
    if supervisor.cast(ArmMsg::Revive { done }).is_ok() {
        // An error means that the supervisor ended, which ends the conductor too.
        let _ = stops.unless_stopped(revived).await?;
    }
    let state = arm.live.resumed();
    position.write_status(state).await?;
    arm.emit(RunEvent::Resumed { id: arm.id.clone(), step: position.progress.step });
    Ok(())
}
