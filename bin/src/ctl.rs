//! `sandbox ctl`: watches and steers a run by its control channel.
//!
//! Thin: every command is a request or two, and prints what came back, for people or, with `--json`, as it came.

mod client;
mod conditions;
mod conduct;
mod records;
mod table;
mod watch;

use std::io::{self, Write as _};

use serde_json::Value;

use crate::cli::{CtlCommand, CtlOptions};
use crate::failure::Failure;
use client::{Arm, Client};

/// Carries a command out.
pub fn ctl(options: &CtlOptions) -> Result<(), Failure> {
    let client = Client::find(options.run.as_deref())?;
    let ctl = Ctl { client, options };
    match &options.command {
        CtlCommand::State => records::state(&ctl),
        CtlCommand::Actors => records::actors(&ctl),
        CtlCommand::Metrics(options) => records::metrics(&ctl, options),
        CtlCommand::Rollouts(options) => records::rollouts(&ctl, options),
        CtlCommand::Journal => records::journal(&ctl),
        CtlCommand::Weights { weights } => conditions::weights(&ctl, weights),
        CtlCommand::Formula { formula, weights } => conditions::formula(&ctl, formula.as_deref(), weights),
        CtlCommand::Rewards => conditions::rewards(&ctl),
        CtlCommand::Swap(options) => conditions::swap(&ctl, options),
        CtlCommand::Add(options) => conditions::add(&ctl, options),
        CtlCommand::Remove { name, with } => conditions::remove(&ctl, name, with),
        CtlCommand::Pause { reason } => conduct::pause(&ctl, reason.as_deref()),
        CtlCommand::Resume => conduct::resume(&ctl),
        CtlCommand::Step { n } => conduct::step(&ctl, *n),
        CtlCommand::Checkpoint => conduct::checkpoint(&ctl),
        CtlCommand::Stop => conduct::stop(&ctl),
        CtlCommand::Watch => watch::watch(&ctl),
    }
}

/// Prints a line. Where nobody reads any more, as with `ctl watch | head`, there is nothing left to do.
fn say(line: &str) {
    if writeln!(io::stdout(), "{line}").is_err() {
        std::process::exit(0);
    }
}

/// A run, and what is asked of it.
struct Ctl<'a> {
    client: Client,
    options: &'a CtlOptions,
}

impl Ctl<'_> {
    /// Prints the answer as it came if that is what is asked for, else as `show` has it.
    fn print(&self, answer: &Value, show: impl FnOnce(&Value) -> String) {
        if self.options.json {
            say(&format!("{answer:#}"));
        } else {
            say(show(answer).trim_end());
        }
    }

    /// The arms that `--arm` and `--seed` leave, at least one.
    fn arms(&self) -> Result<Vec<Arm>, Failure> {
        let all = self.client.arms()?;
        let (name, seed) = (self.options.arm.as_deref(), self.options.seed);
        let fits = |arm: &&Arm| {
            name.is_none_or(|name| arm.name() == name) && seed.is_none_or(|seed| arm.seed() == seed)
        };
        let arms: Vec<Arm> = all.iter().filter(fits).cloned().collect();
        if arms.is_empty() {
            let there: Vec<String> = all.iter().map(Arm::label).collect();
            return Err(Failure::Input(format!(
                "no arm fits --arm and --seed; the arms are {}",
                there.join(", ")
            )));
        }
        Ok(arms)
    }

    /// The arms that are steered: those that fit and have not ended, as the API has it in `arms`.
    fn steered(&self, only_rewarded: bool) -> Result<Value, Failure> {
        let arms = self.arms()?;
        let steered: Vec<Value> = arms
            .iter()
            .filter(|arm| !arm.has_ended() && (!only_rewarded || arm.conditions().is_some()))
            .map(|arm| serde_json::json!([arm.name(), arm.seed()]))
            .collect();
        if steered.is_empty() {
            let what = if only_rewarded {
                "no arm that is trained by rewards is going on"
            } else {
                "no arm is going on"
            };
            return Err(Failure::Running(format!("{what}; `sandbox ctl state` shows them all")));
        }
        Ok(Value::Array(steered))
    }

    /// The one arm that is meant: the only one that fits, or the first of them that is being trained.
    fn arm(&self) -> Result<Arm, Failure> {
        let arms = self.arms()?;
        let going = arms.iter().find(|arm| matches!(arm.status(), "running" | "paused"));
        let ended = arms.iter().rev().find(|arm| arm.has_ended());
        going.or(ended).or(arms.first()).cloned().ok_or_else(|| Failure::Running("the run has no arm".into()))
    }

    /// Prints what came of an act in each arm; an error if it was refused in any.
    fn outcomes(&self, answer: &Value, done: impl Fn(&Value) -> String) -> Result<(), Failure> {
        let results = answer["results"].as_array().map(Vec::as_slice).unwrap_or_default();
        if self.options.json {
            say(&format!("{answer:#}"));
        }
        let mut refused = Vec::new();
        for result in results {
            let label = Arm::label_of(result);
            match result["error"].as_str() {
                Some(error) => refused.push(format!("{label}: {error}")),
                None if self.options.json => {}
                None => say(&format!("{label}: {}", done(result))),
            }
        }
        let Some(last) = refused.pop() else { return Ok(()) };
        for error in refused {
            eprintln!("error: {error}");
        }
        Err(Failure::Running(last))
    }
}
