//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

/// Train audio-language models by GRPO under the rewards of a scenario, and read what each reward was worth.
#[derive(Debug, Parser)]
#[command(
    version,
    args_conflicts_with_subcommands = true,
    arg_required_else_help = true,
    override_usage = "sandbox SCENARIO [OPTIONS]\n       sandbox --resume DIR [OPTIONS]\n       sandbox check SCENARIO...\n       sandbox report DIR",
    after_help = "A scenario whose path is also the name of a subcommand is written with its folder: ./check\n\
                  Exit codes: 0 done, 1 failed while running, 2 unusable input, 130 interrupted after a checkpoint.\n\
                  RUST_LOG chooses what goes to run.log (default: info)."
)]
pub struct Cli {
    /// Something else than a run.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// A run.
    #[command(flatten)]
    pub run: Option<RunOptions>,
}

/// What `sandbox` does besides running scenarios.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Say whether scenarios can be run: keys, rewards, formulas, files
    Check(CheckOptions),
    /// Write summary.json, summary.md and report.html of a run directory anew, finished or not
    Report(ReportOptions),
}

/// `sandbox SCENARIO`.
#[derive(Args, Clone, Debug)]
pub struct RunOptions {
    /// The scenario, a TOML file
    #[arg(required_unless_present = "resume")]
    pub scenario: Option<PathBuf>,
    /// Set a key of the scenario, such as grpo.lr=3e-4; may be repeated
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// Run only this arm; may be repeated
    #[arg(long = "arm", value_name = "ARM")]
    pub arms: Vec<String>,
    /// Run every arm with each of these seeds
    #[arg(long, value_name = "N,N,...", value_delimiter = ',')]
    pub seeds: Option<Vec<u64>>,
    /// Folder that receives the run directory [default: the scenario's run.out, or runs]
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Go on with the run in this directory from its last checkpoints; without SCENARIO, by its own scenario.toml
    #[arg(long, value_name = "DIR", conflicts_with = "out")]
    pub resume: Option<PathBuf>,
    /// Print the resolved scenario and stop
    #[arg(long)]
    pub dry_run: bool,
    /// Print nothing but the end
    #[arg(long, short)]
    pub quiet: bool,
}

/// `sandbox check`.
#[derive(Args, Clone, Debug)]
pub struct CheckOptions {
    /// The scenarios
    #[arg(required = true, value_name = "SCENARIO")]
    pub scenarios: Vec<PathBuf>,
}

/// `sandbox report`.
#[derive(Args, Clone, Debug)]
pub struct ReportOptions {
    /// The run directory
    pub dir: PathBuf,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_scenario_and_a_subcommand_are_told_apart() {
        let cli =
            Cli::parse_from(["sandbox", "a.toml", "--set", "run.steps=3", "--seeds", "1,2", "--arm", "x"]);
        let run = cli.run.unwrap();
        assert_eq!((run.seeds, run.arms), (Some(vec![1, 2]), vec!["x".to_owned()]));
        let cli = Cli::parse_from(["sandbox", "check", "a.toml", "b.toml"]);
        assert!(matches!(cli.command, Some(Command::Check(options)) if options.scenarios.len() == 2));
        let cli = Cli::parse_from(["sandbox", "./check"]);
        assert_eq!(cli.run.unwrap().scenario, Some("./check".into()));
    }

    #[test]
    fn resuming_needs_no_scenario_and_running_does() {
        let cli = Cli::parse_from(["sandbox", "--resume", "runs/a"]);
        assert_eq!(cli.run.unwrap().scenario, None);
        assert!(Cli::try_parse_from(["sandbox", "--quiet"]).is_err());
    }
}
