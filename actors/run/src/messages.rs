//! The messages between the run, its arms and the actors that orchestrate an arm. Those of the workers
//! are in their crate.

use std::path::PathBuf;
use std::sync::Arc;

use records::{ArmId, ArmState, Progress};
use runtime::Request;
use scenarios::{ArmConfig, Experiment};
use tokio::sync::{Mutex, MutexGuard, oneshot};

use crate::error::EvaluationError;

/// Messages to the run.
pub(crate) enum RunMsg {
    /// Start planned arms until as many train side by side as the scenario allows.
    StartArms,
    /// An arm has ended.
    ArmEnded { outcome: ArmOutcome },
    /// An arm was copied; begin its fork.
    Forked(Box<MadeFork>),
}

/// After which step an arm is copied into which fork.
#[derive(Clone, Debug)]
pub(crate) struct ForkPoint {
    /// Steps that the arm has taken then.
    pub(crate) step: u64,
    /// The name of the fork.
    pub(crate) name: String,
    /// Who asked for it, for the journal.
    pub(crate) by: String,
}

impl ForkPoint {
    /// The points that the scenario sets for the forks of an arm.
    pub(crate) fn all(experiment: &Experiment, parent: &ArmId) -> Vec<Self> {
        let point = |config: &ArmConfig| {
            let step = config.fork.as_ref()?.step;
            Some(ForkPoint { step, name: config.name.clone(), by: "scenario".into() })
        };
        experiment.forks_of(&parent.arm, parent.seed).filter_map(point).collect()
    }
}

/// A fork whose folder is complete.
pub(crate) struct MadeFork {
    pub(crate) id: ArmId,
    pub(crate) config: ArmConfig,
    /// Where it is itself to be copied.
    pub(crate) forks: Vec<ForkPoint>,
    /// The name of the arm that was copied.
    pub(crate) parent: String,
    /// Steps that it had taken.
    pub(crate) step: u64,
    /// Who asked for it.
    pub(crate) by: String,
    /// Why it could not be copied.
    pub(crate) failure: Option<String>,
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

#[derive(Clone)]
pub(crate) struct EvaluateQuery {
    /// Steps taken so far.
    pub(crate) step: u64,
    pub(crate) recording: Recording,
}

/// Whether the results of one evaluation are recorded. An evaluation can be given up while it goes on, and be made again
/// by the next generation of a failed evaluator; its rows must be in the files once, and before the checkpoint that
/// counts them.
#[derive(Clone, Default)]
pub(crate) struct Recording(Arc<Mutex<RecordingState>>);

#[derive(Default)]
pub(crate) enum RecordingState {
    #[default]
    Open,
    Recorded,
    GivenUp,
}

impl Recording {
    /// The state, which nobody else changes while it is held.
    pub(crate) async fn hold(&self) -> MutexGuard<'_, RecordingState> {
        self.0.lock().await
    }

    /// Allows no recording from now on. Returns whether it has happened already.
    pub(crate) async fn give_up(&self) -> bool {
        let mut state = self.hold().await;
        let recorded = matches!(*state, RecordingState::Recorded);
        if !recorded {
            *state = RecordingState::GivenUp;
        }
        recorded
    }
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
