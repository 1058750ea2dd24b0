//! Between two steps: what was asked for from outside is carried out here, and a paused arm waits here.

use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::{Drive, Halt, Pause};
use crate::arm::context::ArmMsg;
use crate::arm::status::{Standing, write_status};
use crate::event::RunEvent;
use crate::live::{Action, Order};

/// Who pauses an arm that can't go on by itself, in the journal.
const ENGINE: &str = "engine";

impl Drive {
    /// Carries out what has been asked for since the last boundary; a paused arm stays here until it is resumed.
    /// `next` is the first step, from 1, that is not sent out yet.
    pub(super) async fn at_boundary(&mut self, next: u64) -> Result<(), Halt> {
        let arm = self.arm.clone();
        let mut busy_since = Instant::now();
        arm.live.repeat_changes(next).await?;
        let mut shown = None;
        loop {
            // What comes in meanwhile waits for the next boundary, so that no stream of orders holds up a step.
            for _ in 0..arm.live.orders_waiting() {
                let Some(order) = arm.live.next_order() else { break };
                self.carry_out(order, next).await?;
            }
            let Some(pause) = self.paused.clone() else { break };
            if shown.as_ref() != Some(&pause) {
                self.begin_to_wait(&pause.reason).await?;
                shown = Some(pause.clone());
            }
            self.at_boundaries += busy_since.elapsed();
            self.wait_for_orders(&pause).await?;
            busy_since = Instant::now();
        }
        if shown.is_some() {
            self.go_on().await?;
        }
        self.at_boundaries += busy_since.elapsed();
        Ok(())
    }

    /// Waits until something is asked for; not for ever, where the arm needs help.
    async fn wait_for_orders(&mut self, pause: &Pause) -> Result<(), Halt> {
        let arm = self.arm.clone();
        let orders = arm.live.orders();
        if !pause.needs_help {
            return self.stops.unless_stopped(orders).await;
        }
        let seconds = arm.config.supervision.help_timeout_seconds;
        let limit = Duration::from_secs_f64(seconds);
        self.stops.unless_stopped(tokio::time::timeout(limit, orders)).await?.map_err(|_| {
            Halt::Failed(format!(
                "{}; nobody helped it within {seconds} s (supervision.help_timeout_seconds)",
                pause.reason
            ))
        })
    }

    async fn carry_out(&mut self, order: Order, next: u64) -> Result<(), Halt> {
        let live = &self.arm.live;
        match order {
            // All steps are sent out: whoever waits for the change hears that the arm ended first.
            Order::Change(_) if next > live.last_step() => {}
            Order::Change(planned) => live.put_in_force(*planned, next).await?,
            Order::Pause { by, reason } => {
                live.journal(Action::Pause, by, Some(reason.clone())).await?;
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
                let written = self.write_checkpoint().await;
                self.arm.live.journal(Action::Checkpoint, by, None).await?;
                let folder = self.checkpoint.clone();
                // Whoever asked may have gone.
                let _ = done.send(
                    written.and_then(|()| folder.ok_or_else(|| "an arm that does not train has none".into())),
                );
            }
        }
        Ok(())
    }

    /// Counts the steps that were asked for one by one.
    pub(super) fn count_down(&mut self) {
        let Some(left) = &mut self.allowance else { return };
        *left -= 1;
        if *left == 0 {
            self.allowance = None;
            let reason = "the steps that were asked for are taken".into();
            self.paused = Some(Pause { reason, needs_help: false });
        }
    }

    async fn begin_to_wait(&mut self, reason: &str) -> Result<(), Halt> {
        if let Err(unwritten) = self.write_checkpoint().await {
            self.arm.warn(&format!("no checkpoint at the pause: {unwritten}"));
        }
        self.arm.live.paused(reason);
        self.write_standing(Standing::Paused(reason)).await?;
        self.tell(RunEvent::Paused {
            arm: self.arm.name.clone(),
            seed: self.arm.seed,
            step: self.progress.step,
            reason: reason.to_owned(),
        });
        Ok(())
    }

    async fn go_on(&mut self) -> Result<(), Halt> {
        let (revive, revived) = oneshot::channel();
        if self.supervisor.cast(ArmMsg::Revive { done: revive }).is_ok() {
            // A supervisor that has gone takes the arm with it.
            let _ = self.stops.unless_stopped(revived).await?;
        }
        self.arm.live.running();
        self.write_standing(Standing::Running).await?;
        let (arm, seed) = (self.arm.name.clone(), self.arm.seed);
        self.tell(RunEvent::Resumed { arm, seed, step: self.progress.step });
        Ok(())
    }

    async fn write_standing(&self, standing: Standing<'_>) -> Result<(), String> {
        write_status(&self.arm, standing, &self.progress, self.checkpoint.clone()).await
    }

    fn can_be_helped(&self) -> bool {
        self.arm.live.controlled && self.arm.config.supervision.help_timeout_seconds > 0.0
    }

    /// An arm that is stuck waits for somebody to help it, if somebody can; else it ends.
    pub(super) async fn unless_stuck(&mut self, taken: Result<(), Halt>) -> Result<(), Halt> {
        match taken {
            Err(Halt::Stuck(reason)) if self.can_be_helped() => {
                // What is ahead was sent out under conditions that do not work.
                self.ahead.give_up();
                self.arm.live.journal(Action::Pause, ENGINE.into(), Some(reason.clone())).await?;
                (self.paused, self.allowance) = (Some(Pause { reason, needs_help: true }), None);
                Ok(())
            }
            taken => taken,
        }
    }
}
