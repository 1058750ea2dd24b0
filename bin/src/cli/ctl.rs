//! `sandbox ctl`: its commands and their options.

use std::path::PathBuf;
use std::str::FromStr;

use clap::{Args, Subcommand, ValueHint};

mod examples;

/// The options of `sandbox ctl`.
#[derive(Args, Clone, Debug)]
pub struct CtlOptions {
    /// A run directory, or a folder of runs of which the newest running one is taken [default: runs]
    #[arg(long, value_name = "DIR", global = true, value_hint = ValueHint::DirPath)]
    pub run: Option<PathBuf>,
    /// Only the arms that match: a name, or a pattern such as 'grpo*'; '!NAME' leaves arms out; may be repeated
    /// [default: all that have not ended]
    #[arg(long = "arm", value_name = "ARM", global = true)]
    pub arms: Vec<String>,
    /// Only this seed [default: all]
    #[arg(long, value_name = "N", global = true)]
    pub seed: Option<u64>,
    /// Make a change only if the conditions of the selected arms are at this version; `ctl state` shows it
    #[arg(long, value_name = "N", global = true)]
    pub if_version: Option<u64>,
    /// Print the answers as JSON
    #[arg(long, global = true)]
    pub json: bool,
    /// The command to carry out
    #[command(subcommand)]
    pub command: CtlCommand,
}

/// The commands of `sandbox ctl`.
#[derive(Clone, Debug, Subcommand)]
pub enum CtlCommand {
    /// Show the run and its arms
    #[command(visible_alias = "arms")]
    #[command(after_help = examples::STATE)]
    State,
    /// Show the actors with their load, restarts and failures
    #[command(after_help = examples::ACTORS)]
    Actors,
    /// Show the weights, or set some
    #[command(allow_negative_numbers = true)]
    #[command(after_help = examples::WEIGHTS)]
    Weights {
        /// New values, or with +=, -= and *= changes of the present ones; without any, the weights are shown
        #[arg(value_name = "NAME=VALUE")]
        weights: Vec<String>,
    },
    /// Show the formula, or set it
    #[command(after_help = examples::FORMULA)]
    Formula {
        /// The new formula, such as "accuracy + w_think * think"
        formula: Option<String>,
        /// A weight to set with the formula, also a new one; may be repeated
        #[arg(long = "weight", value_name = "NAME=VALUE", requires = "formula")]
        weights: Vec<String>,
    },
    /// Show the settings that may be changed while an arm is trained, or set some
    #[command(after_help = examples::SET)]
    Set {
        /// New values, such as grpo.lr=3e-5 or sampling.temperature=0.8; without any, the values are shown
        #[arg(value_name = "NAME=VALUE")]
        settings: Vec<String>,
    },
    /// Show the rewards with their kind and options
    #[command(after_help = examples::REWARDS)]
    Rewards,
    /// Replace a reward in the arms that have it
    #[command(after_help = examples::SWAP)]
    Swap(SwapOptions),
    /// Add a reward under a name that is free; with its --weight and no --formula, the formula gains `+ w_NAME * NAME`
    #[command(after_help = examples::ADD)]
    Add(SwapOptions),
    /// Remove a reward; if the formula uses it, give one that does not
    #[command(after_help = examples::REMOVE)]
    Remove {
        /// The name of the reward
        name: String,
        /// Further changes at the same step.
        #[command(flatten)]
        with: WithOptions,
    },
    /// Pause after the current step
    #[command(after_help = examples::PAUSE)]
    Pause {
        /// The reason, for the journal
        #[arg(long)]
        reason: Option<String>,
    },
    /// Resume after a pause
    #[command(after_help = examples::RESUME)]
    Resume,
    /// Take a number of steps, then pause
    #[command(after_help = examples::STEP)]
    Step {
        /// The number of steps
        #[arg(default_value_t = 1)]
        n: u64,
    },
    /// Write a checkpoint after the current step
    #[command(after_help = examples::CHECKPOINT)]
    Checkpoint,
    /// Stop after the current step, with a checkpoint
    #[command(after_help = examples::STOP)]
    Stop,
    /// Copy an arm at the next step boundary into a new one, which goes on under other conditions
    #[command(visible_aliases = ["clone", "rewind"])]
    #[command(after_help = examples::FORK)]
    Fork(ForkOptions),
    /// Show the metrics of the last steps
    #[command(after_help = examples::METRICS)]
    Metrics(MetricsOptions),
    /// Show completions with their rewards and components
    #[command(after_help = examples::ROLLOUTS)]
    Rollouts(RolloutsOptions),
    /// Show the alarms: how they stand, and when and why they went off
    #[command(after_help = examples::ALARMS)]
    Alarms,
    /// Show all changes and commands so far
    #[command(after_help = examples::JOURNAL)]
    Journal,
    /// Show the bookmarks: places of the run that somebody marked, with their notes
    #[command(after_help = examples::BOOKMARKS)]
    Bookmarks,
    /// Mark a step of an arm, change the note of a bookmark, or take one away
    #[command(after_help = examples::BOOKMARK)]
    Bookmark(BookmarkOptions),
    /// Follow the run until it ends
    #[command(after_help = examples::WATCH)]
    Watch,
}

/// The options of `sandbox ctl swap` and `add`.
#[derive(Args, Clone, Debug)]
pub struct SwapOptions {
    /// The name by which the formula refers to it
    pub name: String,
    /// A Python file with a function `reward`, or a TOML file with its kind and options as in a scenario
    pub file: PathBuf,
    /// Further changes at the same step.
    #[command(flatten)]
    pub with: WithOptions,
}

/// The options of `sandbox ctl fork`.
#[derive(Args, Clone, Debug)]
pub struct ForkOptions {
    /// The arm that is copied, with its weights, optimizer state, position in the data and records
    #[arg(value_name = "FROM")]
    pub arm: String,
    /// The name of the new arm
    #[arg(long = "as", value_name = "NAME")]
    pub name: String,
    /// The step after which it is copied; an earlier one must have a checkpoint [default: the next step boundary]
    #[arg(long, visible_alias = "to", value_name = "STEP")]
    pub at: Option<u64>,
    /// What is other in the new arm, such as shaping.weights.think=0.3, rewards.think=false or grpo.lr=1e-4; may be repeated
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// Copy it once for each value of a weight; the names get the weight and its value
    #[arg(long, value_name = "WEIGHT=VALUE,…")]
    pub sweep: Option<Sweep>,
}

/// A weight and the values that the forks of a sweep give it.
#[derive(Clone, Debug)]
pub struct Sweep {
    /// The name of the weight, without `w_`.
    pub weight: String,
    /// One fork for each.
    pub values: Vec<f64>,
}

impl FromStr for Sweep {
    type Err = SweepError;

    fn from_str(text: &str) -> Result<Self, SweepError> {
        let (weight, values) = text.split_once('=').ok_or(SweepError)?;
        let read = |value: &str| value.trim().parse::<f64>().ok().filter(|value| value.is_finite());
        let values: Vec<f64> = values.split(',').map(read).collect::<Option<_>>().ok_or(SweepError)?;
        let weight = weight.trim().trim_start_matches("w_").to_owned();
        if weight.is_empty() { Err(SweepError) } else { Ok(Sweep { weight, values }) }
    }
}

/// A `--sweep` that is no weight with numbers.
#[derive(Debug, thiserror::Error)]
#[error("write a weight and its values, such as think=0.1,0.3,1")]
pub struct SweepError;

/// Changes at the same step as that of a reward.
#[derive(Args, Clone, Debug)]
pub struct WithOptions {
    /// A new formula, which replaces that of every arm
    #[arg(long)]
    pub formula: Option<String>,
    /// A weight to set; may be repeated
    #[arg(long = "weight", value_name = "NAME=VALUE")]
    pub weights: Vec<String>,
}

/// The options of `sandbox ctl metrics`.
#[derive(Args, Clone, Debug)]
pub struct MetricsOptions {
    /// The first step to show
    #[arg(long)]
    pub from: Option<u64>,
    /// The last step to show
    #[arg(long)]
    pub to: Option<u64>,
    /// The number of steps without --from and --to
    #[arg(long, default_value_t = 10)]
    pub last: u64,
    /// Fields, separated by commas; `components` selects all components
    #[arg(long)]
    pub fields: Option<String>,
}

/// The options of `sandbox ctl rollouts`.
#[derive(Args, Clone, Debug)]
pub struct RolloutsOptions {
    /// Only those of one phase: train or eval
    #[arg(long)]
    pub phase: Option<String>,
    /// Only those of this step
    #[arg(long)]
    pub step: Option<u64>,
    /// Only those of the question with this id
    #[arg(long)]
    pub id: Option<String>,
    /// Only those that pass a filter: wrong-and-confident, thinks-needlessly or judge-disagrees
    #[arg(long)]
    pub filter: Option<String>,
    /// Only those with this text in the question, a choice, the answer or the completion
    #[arg(long, short = 's', value_name = "TEXT")]
    pub search: Option<String>,
    /// Sort by step, reward, advantage, tokens or components.NAME
    #[arg(long)]
    pub sort: Option<String>,
    /// Sort the smallest values first
    #[arg(long)]
    pub ascending: bool,
    /// How many to skip
    #[arg(long, default_value_t = 0)]
    pub offset: usize,
    /// How many to show
    #[arg(long, default_value_t = 5)]
    pub limit: usize,
}

/// The options of `sandbox ctl bookmark`.
#[derive(Args, Clone, Debug)]
pub struct BookmarkOptions {
    /// What there is to say about the place
    #[arg(required_unless_present = "remove")]
    pub note: Option<String>,
    /// The step that is marked [default: the last one]
    #[arg(long, value_name = "STEP", conflicts_with_all = ["number", "remove"])]
    pub at: Option<u64>,
    /// Change the note of the bookmark with this number
    #[arg(long, value_name = "N", conflicts_with = "remove")]
    pub number: Option<u64>,
    /// Take the bookmark with this number away
    #[arg(long, value_name = "N", conflicts_with = "note")]
    pub remove: Option<u64>,
}
