//! Why a run, an arm or a step could not be made.

use std::path::PathBuf;

use judges::JudgeError;
use model::ModelError;
use plugins::PluginError;
use records::RecordsError;
use rewards::FormulaError;
use runtime::CallError;
use scenarios::ScenarioError;
use workers::WorkerError;

/// Why a run could not be made.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The scenario, its data or its models can't be used: exit code 2.
    #[error(transparent)]
    Input(#[from] InputError),
    /// Something failed while it ran: exit code 1.
    #[error("{0}")]
    Failed(String),
    /// A file of the run directory could not be written: exit code 1.
    #[error(transparent)]
    Records(RecordsError),
}

/// What the user gave that can't be used. Each is one line that says what to write instead.
#[derive(Debug, thiserror::Error)]
pub enum InputError {
    /// The training data or a suite.
    #[error(transparent)]
    Data(#[from] ScenarioError),
    /// The policy, or the device it is to run on.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// A checkpoint or a journal to resume from.
    #[error(transparent)]
    Records(#[from] RecordsError),
    /// The weights of a checkpoint could not be read.
    #[error(transparent)]
    Checkpoint(#[from] WorkerError),
    /// The judge of an arm.
    #[error("arm `{arm}`, [judge]: {source}")]
    Judge {
        /// The name of the arm in the scenario.
        arm: String,
        /// What is wrong with the judge.
        source: Box<JudgeError>,
    },
    /// The steps of `[align]` have nothing to fit the projector to.
    #[error(
        "{}: no row has the columns `transcript` and `spans` that [align] needs: the words, and where each begins and ends in \
         seconds; use data that has them, such as \"builtin:spoken\", or leave [align] out",
        path.display()
    )]
    NoWords {
        /// The training data.
        path: PathBuf,
    },
    /// The questions or the answers of `[sft.replay]`.
    #[error("[sft.replay] {}: {source}", path.display())]
    Replay {
        /// The file.
        path: PathBuf,
        /// Why it can't be used.
        source: std::io::Error,
    },
    /// The formula of an arm.
    #[error("arm `{arm}`, shaping.formula: {source}")]
    Formula {
        /// The name of the arm in the scenario.
        arm: String,
        /// What is wrong with the formula.
        source: FormulaError,
    },
    /// A reward of an arm.
    #[error("arm `{arm}`, {source}")]
    Reward {
        /// The name of the arm in the scenario.
        arm: String,
        /// What is wrong with the reward.
        source: Box<PluginError>,
    },
    /// `sft.curriculum.kinds` matches no training question.
    #[error(
        "arm `{arm}`: no training question is of the kinds {wanted:?} that sft.curriculum.kinds names; write some of {known:?}"
    )]
    CurriculumKinds {
        /// The name of the arm in the scenario.
        arm: String,
        /// The kinds that the scenario names.
        wanted: Vec<String>,
        /// The kinds of the training questions.
        known: Vec<String>,
    },
    /// The policy can't take audio.
    #[error(
        "policy.path: {architecture} is a text-only model; write the directory of a Qwen2-Audio or Qwen2.5-Omni"
    )]
    TextOnly {
        /// The architecture that `config.json` names.
        architecture: String,
    },
    /// No row of the training set or of a suite can be used.
    #[error("{}: none of the {rows} rows can be used; the first: {first}", path.display())]
    NoUsableRow {
        /// The data file.
        path: PathBuf,
        /// Number of rows.
        rows: usize,
        /// The row and what is wrong with it.
        first: String,
    },
    /// Too many rows of the training set can't be used.
    #[error(
        "{}: {unusable} of {rows} rows can't be used ({causes}), more than data.max_unusable_fraction = {most} allows; \
         data-problems.jsonl lists them. The first: {first}",
        path.display()
    )]
    TooManyUnusableRows {
        /// The data file.
        path: PathBuf,
        /// Rows that can't be used.
        unusable: usize,
        /// Number of rows.
        rows: usize,
        /// How many by cause.
        causes: String,
        /// The limit.
        most: f64,
        /// The row and what is wrong with it.
        first: String,
    },
    /// The answers of `data.filter` could not be kept.
    #[error("{}: cannot be written: {source}; set AUDIO_THINKER_CACHE to a folder that can", path.display())]
    Cache {
        /// The file.
        path: PathBuf,
        /// Why it can't be written.
        source: std::io::Error,
    },
    /// The folder of `loader.cache_dir`.
    #[error("{}: cannot be used for features: {source}; set loader.cache_dir to a folder that can be written", path.display())]
    FeatureCache {
        /// The folder.
        path: PathBuf,
        /// Why it can't be used.
        source: std::io::Error,
    },
    /// Rank 0 asked for an arm and sent none.
    #[error("rank 0 sent no settings of {arm}")]
    NoArm {
        /// The arm.
        arm: String,
    },
    /// The list of unusable rows could not be written.
    #[error("{0}")]
    Unrecorded(String),
    /// A run directory without a recorded step can't be repeated.
    #[error("{}: no step was recorded, so there is nothing to repeat", path.display())]
    NothingToReplay {
        /// The run directory that was to be replayed.
        path: std::path::PathBuf,
    },
}

/// Why an arm could not begin.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StartError {
    /// What the user gave for it can't be used.
    #[error(transparent)]
    Input(#[from] InputError),
    /// The preparation panicked; the log has the place.
    #[error("it could not be prepared: {0}; see run.log")]
    Panicked(String),
    /// An actor of the arm could not start.
    #[error("its actors could not start: {0}")]
    Actors(String),
}

/// Why a step could not be taken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StepError {
    /// An actor did not answer, or is out of service.
    #[error(transparent)]
    Call(#[from] CallError),
    /// An actor could not do its work.
    #[error(transparent)]
    Worker(#[from] WorkerError),
    /// A reward actor did not answer.
    #[error("reward `{name}`: {problem}")]
    Reward { name: String, problem: String },
    /// The judge's budget is spent.
    #[error("{reason}")]
    BudgetSpent { reason: String, can_go_on: bool },
    /// The steps ended before this one had its turn.
    #[error("the steps ended before step {step} was trained on")]
    NoTurn { step: u64 },
    /// The step was trained on, but could not be recorded.
    #[error("{source}")]
    Unrecorded { source: RecordingError },
    /// A checkpoint would hold the weights of a step without its rows.
    #[error(
        "step {step} was trained on but could not be recorded, so the arm goes on from the checkpoint before it"
    )]
    RowsLost { step: u64 },
}

/// Why rows could not be written to the run directory.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RecordingError {
    /// The recorder did not answer, or is out of service.
    #[error(transparent)]
    Call(#[from] CallError),
    /// The file could not be written.
    #[error(transparent)]
    Records(#[from] RecordsError),
}

/// Why an evaluation could not be made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EvaluationError {
    /// A completion could not be sampled or judged.
    #[error(transparent)]
    Step(#[from] StepError),
    /// The result could not be recorded.
    #[error(transparent)]
    Recording(#[from] RecordingError),
}
