//! Pausing, going on, single steps, checkpoints, stopping.

use serde_json::{Value, json};

use super::{Ctl, table::short};
use crate::failure::Failure;

pub fn pause(ctl: &Ctl<'_>, reason: Option<&str>) -> Result<(), Failure> {
    act(ctl, "pause", json!({ "reason": reason }), |_| "pauses after the step in hand".to_owned())
}

pub fn resume(ctl: &Ctl<'_>) -> Result<(), Failure> {
    act(ctl, "resume", json!({}), |_| "goes on".to_owned())
}

pub fn step(ctl: &Ctl<'_>, n: u64) -> Result<(), Failure> {
    let steps = if n == 1 { "one step".to_owned() } else { format!("{n} steps") };
    act(ctl, "step", json!({ "n": n }), |_| format!("takes {steps}, then pauses"))
}

pub fn checkpoint(ctl: &Ctl<'_>) -> Result<(), Failure> {
    act(ctl, "checkpoint", json!({}), |result| format!("checkpoint {}", short(&result["folder"])))
}

pub fn stop(ctl: &Ctl<'_>) -> Result<(), Failure> {
    act(ctl, "stop", json!({}), |_| "ends after the step in hand, with a checkpoint".to_owned())
}

fn act(ctl: &Ctl<'_>, what: &str, mut body: Value, done: impl Fn(&Value) -> String) -> Result<(), Failure> {
    body["arms"] = ctl.steered(false)?;
    let answer = ctl.client.post(&["api", what], &body)?;
    ctl.outcomes(&answer, done)
}
