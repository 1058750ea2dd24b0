//! The actors of an arm, as the API and the event stream show them.

use schemars::JsonSchema;
use serde::Serialize;

use run::{ActorView, ArmHandle, RunHandle};

/// The actors of an arm, each with those it supervises.
#[derive(Serialize, JsonSchema)]
pub(super) struct ActorTree {
    /// The arm's direct children, and the recorder, which all arms share. Empty unless the arm is running or paused.
    pub actors: Vec<ActorView>,
}

impl ActorTree {
    pub fn of(run: &RunHandle, arm: &ArmHandle) -> Self {
        let mut actors = arm.actors().children;
        if !actors.is_empty() {
            actors.push(run.recorder());
        }
        ActorTree { actors }
    }
}
