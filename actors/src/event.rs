//! What is told of a run: to whoever watches it, and by its arms to the run itself.

use std::path::PathBuf;
use std::sync::Arc;

use scenarios::Method;
use serde_json::Value;

use crate::live::entry::Entry;

/// How an arm ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ArmStatus {
    /// All steps were taken.
    Done,
    /// It could not go on.
    Failed {
        /// One line: what, and what to do.
        reason: String,
    },
    /// It was asked to stop.
    Stopped,
}

/// What a watcher of the run is told as it happens.
#[derive(Clone, Debug)]
pub enum RunEvent {
    /// An arm begins.
    ArmStarted {
        /// Its name.
        arm: String,
        /// Its seed.
        seed: u64,
        /// Steps it will take.
        total_steps: u64,
        /// How it trains.
        method: Method,
    },
    /// A training step was taken.
    StepDone {
        /// The arm.
        arm: String,
        /// Its seed.
        seed: u64,
        /// Steps taken so far.
        step: u64,
        /// How it went.
        figures: StepFigures,
        /// The line of `metrics.jsonl`.
        line: Value,
    },
    /// An evaluation was made.
    EvalDone {
        /// The arm.
        arm: String,
        /// Its seed.
        seed: u64,
        /// Steps taken when it was made.
        step: u64,
        /// The suite.
        suite: String,
        /// Share of right answers.
        accuracy: f64,
        /// Share of completions that think.
        think_rate: f64,
        /// The line of `eval.jsonl`.
        line: Value,
    },
    /// Something was changed, or an arm told to pause, resume, save or stop.
    Journaled {
        /// The line of `control.jsonl`.
        entry: Arc<Entry>,
    },
    /// An arm waits to be resumed.
    Paused {
        /// The arm.
        arm: String,
        /// Its seed.
        seed: u64,
        /// Steps taken.
        step: u64,
        /// Why.
        reason: String,
    },
    /// An arm that waited goes on.
    Resumed {
        /// The arm.
        arm: String,
        /// Its seed.
        seed: u64,
        /// Steps taken.
        step: u64,
    },
    /// An actor failed and another took its place.
    ActorRestarted {
        /// The arm.
        arm: String,
        /// Its seed.
        seed: u64,
        /// The actor.
        actor: String,
        /// How often by now.
        restarts: u64,
        /// What it failed with.
        error: String,
    },
    /// Something a person should know, that does not end the arm.
    Warning {
        /// The arm.
        arm: String,
        /// Its seed.
        seed: u64,
        /// One line.
        message: String,
    },
    /// An arm ended.
    ArmEnded {
        /// The arm.
        arm: String,
        /// Its seed.
        seed: u64,
        /// How.
        status: ArmStatus,
        /// Steps taken.
        step: u64,
        /// The last checkpoint.
        checkpoint: Option<PathBuf>,
    },
}

/// The figures of a training step that are shown while a run goes on.
#[derive(Clone, Copy, Debug, Default)]
pub struct StepFigures {
    /// Mean shaped reward, GRPO only.
    pub reward: Option<f64>,
    /// Share of right answers, GRPO only.
    pub accuracy: Option<f64>,
    /// Share of completions that think, GRPO only.
    pub think_rate: Option<f64>,
    /// The loss.
    pub loss: Option<f64>,
    /// Completion or target tokens a second, over the whole step.
    pub tokens_per_second: f64,
}

/// How one arm ended, for the exit code and the last lines on the screen.
#[derive(Clone, Debug)]
pub struct ArmOutcome {
    /// The arm.
    pub arm: String,
    /// Its seed.
    pub seed: u64,
    /// How it ended.
    pub status: ArmStatus,
    /// Steps taken.
    pub step: u64,
    /// The last checkpoint.
    pub checkpoint: Option<PathBuf>,
}

/// Messages to the run.
pub enum RunMsg {
    /// Start arms until as many run side by side as may.
    StartArms,
    /// An arm has ended.
    ArmEnded {
        /// How.
        outcome: ArmOutcome,
    },
}
