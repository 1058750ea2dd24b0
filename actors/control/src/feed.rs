//! Passes what happens in the run on to those who listen.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde_json::{Value, json};
use tokio::sync::broadcast::error::RecvError;
use tokio::time::{MissedTickBehavior, interval};

use super::api::ActorTree;
use super::shared::Shared;
use records::ArmId;
use run::ActorView;
use runtime::RunEvent;

/// How often the actors' load is looked at, while anybody listens.
const GLANCE: Duration = Duration::from_millis(500);

/// Passes events on until the run has no more.
pub(super) async fn feed(shared: Arc<Shared>) {
    let mut events = shared.run.subscribe();
    let mut glances = interval(GLANCE);
    glances.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut seen, mut changed) = (HashMap::new(), BTreeSet::new());
    loop {
        tokio::select! {
            event = events.recv() => match event {
                Ok(event) => changed.extend(pass_on(&shared, &event)),
                Err(RecvError::Lagged(missed)) => shared.hub.tell("lagged", &json!({ "missed": missed })),
                Err(RecvError::Closed) => return,
            },
            _ = glances.tick() => {
                // What a change made of the arm can be seen a moment after it was told.
                for key in std::mem::take(&mut changed) {
                    tell_state(&shared, &key);
                }
                glance(&shared, &mut seen);
            }
        }
    }
}

/// Tells of an event; gives the arm that it changed more of than its steps.
fn pass_on(shared: &Shared, event: &RunEvent) -> Option<ArmId> {
    let hub = &shared.hub;
    match event {
        RunEvent::StepDone { id, line, .. } => {
            hub.tell("step", &OfArm { id, about: json!({ "metrics": line }) });
            None
        }
        RunEvent::EvalDone { id, line, .. } => {
            hub.tell("eval", &OfArm { id, about: json!({ "evaluation": line }) });
            None
        }
        RunEvent::Warning { id, message } => {
            hub.tell("warning", &OfArm { id, about: json!({ "message": message }) });
            None
        }
        RunEvent::Journaled { entry } => {
            hub.tell("change", entry);
            Some(entry.id.clone())
        }
        RunEvent::ArmStarted { id, .. }
        | RunEvent::Paused { id, .. }
        | RunEvent::Resumed { id, .. }
        | RunEvent::ActorRestarted { id, .. } => Some(tell_state(shared, id)),
        RunEvent::ArmEnded { id, .. } => {
            let key = tell_state(shared, id);
            hub.tell("end", &OfArm { id, about: json!({}) });
            Some(key)
        }
    }
}

/// What an event says, and of which arm.
#[derive(Serialize)]
struct OfArm<'a> {
    #[serde(flatten)]
    id: &'a ArmId,
    #[serde(flatten)]
    about: Value,
}

fn tell_state(shared: &Shared, id: &ArmId) -> ArmId {
    if shared.hub.is_heard()
        && let Some(arm) = shared.run.arm(id)
    {
        shared.hub.tell("state", &arm.view());
    }
    id.clone()
}

/// Tells of actors that are not as they were at the last glance.
fn glance(shared: &Shared, seen: &mut HashMap<ArmId, Vec<ActorView>>) {
    if !shared.hub.is_heard() {
        seen.clear();
        return;
    }
    for arm in shared.run.arms() {
        let actors = ActorTree::of(&shared.run, &arm).actors;
        let key = arm.id().clone();
        if seen.get(&key) != Some(&actors) {
            let about = json!({ "actors": actors });
            shared.hub.tell("actors", &OfArm { id: arm.id(), about });
            seen.insert(key, actors);
        }
    }
}
