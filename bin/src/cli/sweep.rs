//! The options of sweeps: `plan`, `merge-runs` and `simulate`.

use std::path::PathBuf;

use clap::{Args, ValueEnum, ValueHint};

use super::seeds::Seeds;

#[derive(Args, Clone, Debug)]
pub struct PlanOptions {
    /// The scenario to plan, a TOML file
    #[arg(value_hint = ValueHint::FilePath)]
    pub scenario: PathBuf,
    /// Override a key of the scenario, such as grpo.lr=3e-4; may be repeated
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// Plan only the arms that match; may be repeated
    #[arg(long = "arm", value_name = "ARM")]
    pub arms: Vec<String>,
    /// The seeds [default: the scenario's]
    #[arg(long, value_name = "SEEDS", allow_negative_numbers = true)]
    pub seeds: Vec<Seeds>,
    /// Folder of the sweep, which all of its machines can write to; it is created, and the plan is kept there
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub sweep: Option<PathBuf>,
    /// Print a script that trains every task of the sweep, instead of the table
    #[arg(long, value_enum, requires = "sweep")]
    pub array: Option<Array>,
    /// Do not take steps to measure time and memory; list the tasks only
    #[arg(long)]
    pub no_measure: bool,
    /// Print the plan as JSON
    #[arg(long, conflicts_with = "array")]
    pub json: bool,
}

impl PlanOptions {
    /// The seeds of all `--seeds`; `None` without one.
    pub fn seeds(&self) -> Option<Vec<u64>> {
        let seeds: Vec<u64> = self.seeds.iter().flat_map(|seeds| seeds.0.iter().copied()).collect();
        (!seeds.is_empty()).then_some(seeds)
    }
}

/// What starts the tasks of a sweep.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Array {
    /// xargs on this machine
    Shell,
    /// A job array
    Slurm,
    /// A Kubernetes JobSet
    K8s,
}

#[derive(Args, Clone, Debug)]
pub struct MergeRunsOptions {
    /// The folder of the sweep
    #[arg(value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub dir: PathBuf,
    /// The run directory to make [default: merged in the sweep's folder]
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Merge what there is, also if some tasks are not done
    #[arg(long)]
    pub partial: bool,
    /// Print the summary as JSON, the content of summary.json, instead of the table
    #[arg(long)]
    pub json: bool,
}

#[derive(Args, Clone, Debug)]
pub struct SimulateOptions {
    /// The inputs, a TOML file (docs/scale.md)
    #[arg(required_unless_present = "from_run", value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub inputs: Option<PathBuf>,
    /// Fit service times and lengths to this run; what FILE says counts more
    #[arg(long, value_name = "RUN", value_hint = ValueHint::DirPath)]
    pub from_run: Option<PathBuf>,
    /// The arm of the run that they are fitted to [default: the first that is trained by GRPO]
    #[arg(long, value_name = "ARM", requires = "from_run")]
    pub arm: Option<String>,
    /// Override a key of the inputs, such as run.max_staleness=2; may be repeated
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// Print the inputs with every key, and exit
    #[arg(long)]
    pub dry_run: bool,
    /// Simulate the run as it is only, and not what could be added
    #[arg(long)]
    pub no_advice: bool,
    /// Print inputs, outcome and additions as JSON
    #[arg(long, conflicts_with = "dry_run")]
    pub json: bool,
}
