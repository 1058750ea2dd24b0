//! Publishes the run's events to the subscribers of the event hub.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde_json::{Value, json};
use tokio::sync::broadcast::error::RecvError;
use tokio::time::{MissedTickBehavior, interval};

use super::actor_tree::ActorTree;
use super::shared::Shared;
use records::ArmId;
use run::ActorView;
use runtime::RunEvent;

/// How often the actors are polled for changes of their load, while anybody subscribes.
const POLL: Duration = Duration::from_millis(500);

/// Publishes events until the run has no more.
pub(super) async fn feed(shared: Arc<Shared>) {
    let mut events = shared.run.subscribe();
    let mut polls = interval(POLL);
    polls.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut seen, mut changed) = (HashMap::new(), BTreeSet::new());
    loop {
        tokio::select! {
            event = events.recv() => match event {
                Ok(event) => changed.extend(publish(&shared, &event)),
                Err(RecvError::Lagged(missed)) => shared.hub.publish("lagged", &json!({ "missed": missed })),
                Err(RecvError::Closed) => return,
            },
            _ = polls.tick() => {
                // The arm's state shows a change a moment after the journal does.
                for key in std::mem::take(&mut changed) {
                    publish_state(&shared, &key);
                }
                poll_actors(&shared, &mut seen);
            }
        }
    }
}

/// Publishes an event; returns the arm whose state has to be published as well.
fn publish(shared: &Shared, event: &RunEvent) -> Option<ArmId> {
    let hub = &shared.hub;
    match event {
        RunEvent::StepDone { id, line, .. } => {
            hub.publish("step", &OfArm { id, about: json!({ "metrics": line }) });
            None
        }
        RunEvent::EvalDone { id, line, .. } => {
            hub.publish("eval", &OfArm { id, about: json!({ "evaluation": line }) });
            None
        }
        RunEvent::Warning { id, message } => {
            hub.publish("warning", &OfArm { id, about: json!({ "message": message }) });
            None
        }
        RunEvent::Journaled { entry } => {
            hub.publish("change", entry);
            Some(entry.id.clone())
        }
        RunEvent::Bookmarked { bookmark } => {
            hub.publish("bookmark", bookmark);
            None
        }
        RunEvent::ArmStarted { id, .. }
        | RunEvent::Paused { id, .. }
        | RunEvent::Resumed { id, .. }
        | RunEvent::ActorRestarted { id, .. } => Some(publish_state(shared, id)),
        RunEvent::ArmEnded { id, .. } => {
            let key = publish_state(shared, id);
            hub.publish("end", &OfArm { id, about: json!({}) });
            Some(key)
        }
    }
}

/// The data of an event about one arm.
#[derive(Serialize)]
struct OfArm<'a> {
    #[serde(flatten)]
    id: &'a ArmId,
    #[serde(flatten)]
    about: Value,
}

fn publish_state(shared: &Shared, id: &ArmId) -> ArmId {
    if shared.hub.has_subscribers()
        && let Some(arm) = shared.run.arm(id)
    {
        shared.hub.publish("state", &arm.view());
    }
    id.clone()
}

/// Publishes the actors of every arm where they differ from the last poll.
fn poll_actors(shared: &Shared, seen: &mut HashMap<ArmId, Vec<ActorView>>) {
    if !shared.hub.has_subscribers() {
        seen.clear();
        return;
    }
    for arm in shared.run.arms() {
        let actors = ActorTree::of(&shared.run, &arm).actors;
        let key = arm.id().clone();
        if seen.get(&key) != Some(&actors) {
            let about = json!({ "actors": actors });
            shared.hub.publish("actors", &OfArm { id: arm.id(), about });
            seen.insert(key, actors);
        }
    }
}
