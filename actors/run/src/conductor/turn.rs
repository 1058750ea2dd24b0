//! The turns in which steps are trained on.
//!
//! With `grpo.max_staleness = k`, up to `k` later steps are loaded, generated, judged, scored and shaped while one is
//! trained on. Each step runs in a task of its own; before it trains it waits for its [`Turn`], which the conductor
//! grants in the order of the steps.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use records::{Health, KeptVerdict};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::error::StepError;
use crate::live::Conditions;

/// When a step had its turn.
pub(super) struct StepStart {
    /// The end of the step boundary before it.
    pub(super) started: Instant,
    /// Time spent at step boundaries since the step before it.
    pub(super) boundary: Duration,
    /// The health of the policy after the step before it.
    pub(super) health: Health,
    /// The first verdicts that are kept, if an alarm compares the judge with them.
    pub(super) verdicts: Option<Vec<KeptVerdict>>,
}

/// A step's claim to be trained on after the steps before it.
pub(super) struct Turn {
    step: u64,
    collected: oneshot::Sender<()>,
    granted: oneshot::Receiver<StepStart>,
}

impl Turn {
    /// Reports that the step is ready, and waits until the steps before it are trained on and recorded.
    pub(super) async fn wait(self) -> Result<StepStart, StepError> {
        // If the conductor has ended, the turn is never granted, which the next line returns as an error.
        let _ = self.collected.send(());
        self.granted.await.map_err(|_| StepError::NoTurn { step: self.step })
    }
}

/// A step in its task, which returns `T`.
pub(super) struct PendingStep<T> {
    pub(super) conditions: Option<Arc<Conditions>>,
    collected: oneshot::Receiver<()>,
    grant: Option<oneshot::Sender<StepStart>>,
    task: JoinHandle<Result<T, StepError>>,
}

impl<T: Send + 'static> PendingStep<T> {
    /// Starts the task of `step`, counted from 0.
    pub(super) fn spawn<F>(
        step: u64,
        conditions: Option<Arc<Conditions>>,
        take: impl FnOnce(Turn) -> F,
    ) -> Self
    where
        F: Future<Output = Result<T, StepError>> + Send + 'static,
    {
        let (ready, collected) = oneshot::channel();
        let (grant, granted) = oneshot::channel();
        let turn = Turn { step, collected: ready, granted };
        PendingStep { conditions, collected, grant: Some(grant), task: tokio::spawn(take(turn)) }
    }

    /// Completes when the step waits for its turn, or has failed before.
    pub(super) async fn collected(&mut self) {
        // An error means that the task ended early; `finish` returns why.
        let _ = (&mut self.collected).await;
    }

    /// Grants the turn and waits until the step is trained on and recorded.
    ///
    /// Panics: If the step's task does: nobody knows then whether the step was trained on.
    pub(super) async fn finish(&mut self, start: StepStart) -> Result<T, StepError> {
        if let Some(grant) = self.grant.take() {
            // A task that ended early does not need its turn.
            let _ = grant.send(start);
        }
        match (&mut self.task).await {
            Ok(taken) => taken,
            Err(ended) => match ended.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(cancelled) => unreachable!("only the owner of a step aborts its task: {cancelled}"),
            },
        }
    }
}

/// The steps in their tasks, oldest first. Dropping it aborts them.
pub(super) struct PendingSteps<T>(pub(super) VecDeque<PendingStep<T>>);

impl<T> Default for PendingSteps<T> {
    fn default() -> Self {
        PendingSteps(VecDeque::new())
    }
}

impl<T> PendingSteps<T> {
    /// Aborts all of them; they leave no trace and can be taken again.
    pub(super) fn abort(&mut self) {
        self.0.drain(..).for_each(|step| step.task.abort());
    }
}

impl<T> Drop for PendingSteps<T> {
    fn drop(&mut self) {
        self.abort();
    }
}
