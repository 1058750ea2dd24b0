//! The run and the options that all commands share.

use scenarios::choose_arms;
use serde_json::Value;

use super::client::{Arm, Client};
use super::error::CtlError;
use crate::cli::CtlOptions;
use crate::streams::{errln, print_line};

/// A run, and the options of the command.
pub struct Ctl<'a> {
    pub client: Client,
    pub options: &'a CtlOptions,
}

impl Ctl<'_> {
    /// Prints the answer as JSON with `--json`, else as the text that `show` makes of it.
    pub fn print(&self, answer: &Value, show: impl FnOnce(&Value) -> String) {
        if self.options.json {
            print_line(&format!("{answer:#}"));
        } else {
            print_line(show(answer).trim_end());
        }
    }

    /// The arms that match `--arm` and `--seed`, at least one.
    pub fn arms(&self) -> Result<Vec<Arm>, CtlError> {
        let all = self.client.arms()?;
        self.select(&all)
    }

    /// Those of the run's arms that match `--arm` and `--seed`, at least one.
    pub fn select(&self, all: &[Arm]) -> Result<Vec<Arm>, CtlError> {
        // Each arm is listed once per seed.
        let mut names: Vec<String> = Vec::new();
        for arm in all {
            if !names.iter().any(|name| name == arm.name()) {
                names.push(arm.name().to_owned());
            }
        }
        let chosen = choose_arms(&self.options.arms, &names)?;
        let seed = self.options.seed;
        let is_selected =
            |arm: &&Arm| chosen.contains(arm.name()) && seed.is_none_or(|seed| arm.seed() == seed);
        let arms: Vec<Arm> = all.iter().filter(is_selected).cloned().collect();
        if arms.is_empty() {
            let known: Vec<String> = all.iter().map(Arm::label).collect();
            return Err(CtlError::NoArm { known: known.join(", ") });
        }
        Ok(arms)
    }

    /// The matching arms that have not ended, in the form of `arms` in the API. With `only_rewarded`, SFT arms and
    /// those without training are left out.
    pub fn live_arms(&self, only_rewarded: bool) -> Result<Value, CtlError> {
        let live: Vec<Value> = self
            .arms()?
            .iter()
            .filter(|arm| !arm.has_ended() && (!only_rewarded || arm.conditions().is_some()))
            .map(Arm::selector)
            .collect();
        match (live.is_empty(), only_rewarded) {
            (false, _) => Ok(Value::Array(live)),
            (true, true) => Err(CtlError::AllRewardedEnded),
            (true, false) => Err(CtlError::AllEnded),
        }
    }

    /// The arm whose records are shown: of those that match, the first that is running or paused, else the last that
    /// has ended, else the first.
    pub fn arm(&self) -> Result<Arm, CtlError> {
        let arms = self.arms()?;
        let live = arms.iter().find(|arm| matches!(arm.status(), "running" | "paused"));
        let ended = arms.iter().rev().find(|arm| arm.has_ended());
        let shown = live.or(ended).or(arms.first()).cloned();
        shown.ok_or_else(|| CtlError::NoArm { known: String::new() })
    }

    /// Prints the result of a request in each arm; an error if it was refused in any.
    pub fn results(&self, answer: &Value, done: impl Fn(&Value) -> String) -> Result<(), CtlError> {
        if self.options.json {
            print_line(&format!("{answer:#}"));
        }
        let mut refused = Vec::new();
        for result in answer["results"].as_array().into_iter().flatten() {
            let label = Arm::label_of(result);
            match result["error"].as_str() {
                Some(error) => refused.push((label, error.to_owned())),
                None if self.options.json => {}
                None => print_line(&format!("{label}: {}", done(result))),
            }
        }
        let Some((arm, message)) = refused.pop() else { return Ok(()) };
        for (arm, message) in refused {
            errln!("error: {arm}: {message}");
        }
        // An arm refuses what another may accept, so this is not a mistake in the input.
        let error = CtlError::Refused { status: reqwest::StatusCode::CONFLICT, message };
        Err(CtlError::OfArm { arm, error: Box::new(error) })
    }
}
