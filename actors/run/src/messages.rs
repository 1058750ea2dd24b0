//! The messages between the run, its arms and the actors that orchestrate an arm. Those of the workers
//! are in their crate.

use std::path::PathBuf;

use records::{ArmId, ArmState, Progress};
use runtime::Request;
use tokio::sync::oneshot;

use crate::error::EvaluationError;

/// Messages to the run.
pub(crate) enum RunMsg {
    /// Start planned arms until as many train side by side as the scenario allows.
    StartArms,
    /// An arm has ended.
    ArmEnded { outcome: ArmOutcome },
}

/// How one arm ended, for the exit code and the last lines on the screen.
#[derive(Clone, Debug)]
pub struct ArmOutcome {
    /// Which arm under which seed.
    pub id: ArmId,
    /// Done, failed or stopped.
    pub state: ArmState,
    /// Training steps taken in all.
    pub step: u64,
    /// The newest checkpoint, if one was written.
    pub checkpoint: Option<PathBuf>,
}

/// Messages to an arm.
pub(crate) enum ArmMsg {
    /// The conductor takes no further step.
    StepsEnded { ended: Box<StepsEnded> },
    /// Start the actors again whose restart budget is spent, with a new budget.
    Revive {
        /// Answered when they serve again, or can't.
        done: oneshot::Sender<()>,
    },
}

/// How an arm's steps ended.
#[derive(Clone, Debug)]
pub(crate) struct StepsEnded {
    /// Done, failed or stopped.
    pub(crate) state: ArmState,
    pub(crate) progress: Progress,
    pub(crate) checkpoint: Option<PathBuf>,
}

/// Messages to the conductor.
pub(crate) enum ConductorMsg {
    /// Take all steps. Pauses, changes and stops reach the conductor through the arm's
    /// [`LiveArm`](crate::live::LiveArm).
    TakeSteps,
}

#[derive(Clone, Copy)]
pub(crate) struct EvaluateQuery {
    /// Steps taken so far.
    pub(crate) step: u64,
}

/// What an evaluation showed of the policy's health.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Evaluated {
    pub(crate) completions: u64,
    /// Completions with a log-probability that is NaN.
    pub(crate) nan: u64,
}

/// Messages to the evaluator.
pub(crate) enum EvaluatorMsg {
    /// Evaluate all suites with the newest weights and record the results.
    Evaluate(Request<EvaluateQuery, Result<Evaluated, EvaluationError>>),
}
