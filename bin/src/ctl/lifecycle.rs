//! Pause, resume, step, checkpoint and stop.

use serde_json::{Value, json};

use super::context::Ctl;
use super::error::CtlError;
use crate::table::short;

pub fn pause(ctl: &Ctl<'_>, reason: Option<&str>) -> Result<(), CtlError> {
    send(ctl, "pause", json!({ "reason": reason }), |_| "pauses after the current step".to_owned())
}

pub fn resume(ctl: &Ctl<'_>) -> Result<(), CtlError> {
    send(ctl, "resume", json!({}), |_| "resumed".to_owned())
}

pub fn step(ctl: &Ctl<'_>, n: u64) -> Result<(), CtlError> {
    let steps = if n == 1 { "one step".to_owned() } else { format!("{n} steps") };
    send(ctl, "step", json!({ "n": n }), |_| format!("takes {steps}, then pauses"))
}

pub fn checkpoint(ctl: &Ctl<'_>) -> Result<(), CtlError> {
    send(ctl, "checkpoint", json!({}), |result| format!("checkpoint {}", short(&result["folder"])))
}

pub fn stop(ctl: &Ctl<'_>) -> Result<(), CtlError> {
    send(ctl, "stop", json!({}), |_| "stops after the current step, with a checkpoint".to_owned())
}

fn send(
    ctl: &Ctl<'_>,
    command: &str,
    mut body: Value,
    done: impl Fn(&Value) -> String,
) -> Result<(), CtlError> {
    body["arms"] = ctl.live_arms(false)?;
    let answer = ctl.client.post(&["api", command], &body)?;
    ctl.results(&answer, done)
}
