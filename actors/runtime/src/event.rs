//! The events of a run, for progress bars, the control channel and tests.

use std::path::PathBuf;
use std::sync::Arc;

use records::{ArmId, ArmState, Bookmark, JournalEntry};
use scenarios::Method;
use serde_json::Value;

/// Something that happened in a run.
#[derive(Clone, Debug)]
pub enum RunEvent {
    /// An arm's actors are about to start.
    ArmStarted {
        /// Which arm under which seed.
        id: ArmId,
        /// Steps it will take.
        total_steps: u64,
        /// How it is trained.
        method: Method,
    },
    /// A training step was taken and recorded.
    StepDone {
        /// Which arm under which seed.
        id: ArmId,
        /// Steps taken so far.
        step: u64,
        /// The figures shown while a run goes on.
        figures: StepFigures,
        /// The row of `metrics.jsonl`.
        line: Value,
    },
    /// A suite was evaluated and recorded.
    EvalDone {
        /// Which arm under which seed.
        id: ArmId,
        /// Steps taken when it was made.
        step: u64,
        /// The name of the evaluation suite.
        suite: String,
        /// Questions that were asked.
        asked: u64,
        /// Questions of the suite, those that could not be asked included.
        questions: u64,
        /// Fraction of right answers, by exact choice match.
        accuracy: f64,
        /// Fraction of completions that think.
        think_rate: f64,
        /// The row of `eval.jsonl`.
        line: Value,
    },
    /// A change or a command took effect and was written to the journal.
    Journaled {
        /// The row of `control.jsonl`.
        entry: Arc<JournalEntry>,
    },
    /// A place of the run was marked, its note was changed, or the mark was taken away.
    Bookmarked {
        /// The row of `bookmarks.jsonl`.
        bookmark: Arc<Bookmark>,
    },
    /// An arm takes no further step until it is resumed.
    Paused {
        /// Which arm under which seed.
        id: ArmId,
        /// Training steps taken so far.
        step: u64,
        /// Who paused it and why, or what it failed with.
        reason: String,
    },
    /// A paused arm trains again.
    Resumed {
        /// Which arm under which seed.
        id: ArmId,
        /// Training steps taken so far.
        step: u64,
    },
    /// An actor failed and was replaced.
    ActorRestarted {
        /// Which arm under which seed.
        id: ArmId,
        /// The actor's stable name, such as `reward/think`.
        actor: String,
        /// Restarts of this actor so far.
        restarts: u64,
        /// What it failed with.
        error: String,
    },
    /// Something went wrong that does not end the arm.
    Warning {
        /// Which arm under which seed.
        id: ArmId,
        /// What went wrong, in one line.
        message: String,
    },
    /// An arm takes no further step.
    ArmEnded {
        /// Which arm under which seed.
        id: ArmId,
        /// Done, failed or stopped.
        state: ArmState,
        /// Training steps taken so far.
        step: u64,
        /// The newest checkpoint, if one was written.
        checkpoint: Option<PathBuf>,
    },
}

/// The figures of a training step that are shown while a run goes on.
#[derive(Clone, Copy, Debug, Default)]
pub struct StepFigures {
    /// Mean shaped reward, GRPO only.
    pub reward: Option<f64>,
    /// Fraction of right answers, GRPO only.
    pub accuracy: Option<f64>,
    /// Fraction of completions that think, GRPO only.
    pub think_rate: Option<f64>,
    /// The loss as minimised.
    pub loss: Option<f64>,
    /// Completion or target tokens per second of the whole step.
    pub tokens_per_second: f64,
}
