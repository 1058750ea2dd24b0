//! `sandbox ctl`: its commands and their options.

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// `sandbox ctl`.
#[derive(Args, Clone, Debug)]
pub struct CtlOptions {
    /// The run directory, or a folder of runs of which the newest is meant [default: runs]
    #[arg(long, value_name = "DIR", global = true)]
    pub run: Option<PathBuf>,
    /// Only this arm [default: all that have not ended]
    #[arg(long, value_name = "ARM", global = true)]
    pub arm: Option<String>,
    /// Only this seed
    #[arg(long, value_name = "N", global = true)]
    pub seed: Option<u64>,
    /// Print what the run answers, as JSON
    #[arg(long, global = true)]
    pub json: bool,
    /// What to do
    #[command(subcommand)]
    pub command: CtlCommand,
}

/// What `sandbox ctl` does.
#[derive(Clone, Debug, Subcommand)]
pub enum CtlCommand {
    /// Show the run and its arms
    #[command(visible_alias = "arms")]
    State,
    /// Show the actors: who serves, how much is in hand, who failed and why
    Actors,
    /// Show the weights, or set some: weights think=0.3 format=1
    #[command(allow_negative_numbers = true)]
    Weights {
        /// New values
        #[arg(value_name = "NAME=VALUE")]
        weights: Vec<String>,
    },
    /// Show the formula, or set it
    Formula {
        /// The new one, such as "accuracy + w_think * think"
        formula: Option<String>,
        /// A weight from then on, one that the formula brings along too; may be repeated
        #[arg(long = "weight", value_name = "NAME=VALUE", requires = "formula")]
        weights: Vec<String>,
    },
    /// Show the rewards
    Rewards,
    /// Put another reward in the place of one: swap think brevity.py
    Swap(SwapOptions),
    /// Add a reward; with --weight alone, `+ w_NAME * NAME` joins the formula: add brevity brevity.py --weight brevity=0.3
    Add(SwapOptions),
    /// Take a reward out, with the formula that does without it
    Remove {
        /// Its name
        name: String,
        /// What else changes at the same step.
        #[command(flatten)]
        with: WithOptions,
    },
    /// Pause after the step in hand
    Pause {
        /// Why, for the journal
        #[arg(long)]
        reason: Option<String>,
    },
    /// Go on
    Resume,
    /// Take some steps, then pause
    Step {
        /// How many
        #[arg(default_value_t = 1)]
        n: u64,
    },
    /// Write a checkpoint after the step in hand
    Checkpoint,
    /// End after the step in hand, with a checkpoint
    Stop,
    /// Show the metrics of the last steps
    Metrics(MetricsOptions),
    /// Show completions
    Rollouts(RolloutsOptions),
    /// Show what was done to the run
    Journal,
    /// Follow the run until it ends
    Watch,
}

/// `sandbox ctl swap` and `add`.
#[derive(Args, Clone, Debug)]
pub struct SwapOptions {
    /// What the formula calls it
    pub name: String,
    /// A Python file with a function `reward`, or a TOML file with its kind and options, as in a scenario
    pub file: PathBuf,
    /// What else changes at the same step.
    #[command(flatten)]
    pub with: WithOptions,
}

/// What changes at the same step as a reward.
#[derive(Args, Clone, Debug)]
pub struct WithOptions {
    /// The formula from then on
    #[arg(long)]
    pub formula: Option<String>,
    /// A weight from then on; may be repeated
    #[arg(long = "weight", value_name = "NAME=VALUE")]
    pub weights: Vec<String>,
}

/// `sandbox ctl metrics`.
#[derive(Args, Clone, Debug)]
pub struct MetricsOptions {
    /// First step
    #[arg(long)]
    pub from: Option<u64>,
    /// Last step
    #[arg(long)]
    pub to: Option<u64>,
    /// Without --from and --to: how many steps
    #[arg(long, default_value_t = 10)]
    pub last: u64,
    /// Fields, separated by commas; components stands for all of them
    #[arg(long)]
    pub fields: Option<String>,
}

/// `sandbox ctl rollouts`.
#[derive(Args, Clone, Debug)]
pub struct RolloutsOptions {
    /// train or eval
    #[arg(long)]
    pub phase: Option<String>,
    /// Of this step
    #[arg(long)]
    pub step: Option<u64>,
    /// Of this question
    #[arg(long)]
    pub id: Option<String>,
    /// With this text
    #[arg(long, short = 'q', value_name = "TEXT")]
    pub search: Option<String>,
    /// By step, reward, advantage, tokens or components.NAME
    #[arg(long)]
    pub sort: Option<String>,
    /// Small ones first
    #[arg(long)]
    pub ascending: bool,
    /// How many to pass over
    #[arg(long, default_value_t = 0)]
    pub offset: usize,
    /// How many to show
    #[arg(long, default_value_t = 5)]
    pub limit: usize,
}
