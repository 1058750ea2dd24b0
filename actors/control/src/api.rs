//! Every route under `/api`.

use std::sync::Arc;

use axum::Router;
use serde_json::Value;

use super::openapi::Api;
use super::shared::Shared;

mod alarms;
mod arm_path;
mod bookmarks;
mod caller;
mod conditions;
mod curves;
mod fork;
mod lifecycle;
mod preview;
mod records;
mod request;
mod reshape;
mod rollouts;
mod selection;
mod state;
mod versions;

/// The routes, and the OpenAPI document that describes them.
pub(super) fn routes() -> (Router<Arc<Shared>>, Value) {
    let api = lifecycle::routes(conditions::routes(state::routes(Api::new())));
    let api = rollouts::routes(records::routes(fork::routes(api)));
    let api = bookmarks::routes(reshape::routes(curves::routes(api)));
    alarms::routes(api).finish()
}

/// Reads a body as a change of an arm and of several, and as a reward by itself, as the routes do; for fuzzing.
#[cfg(feature = "fuzzing")]
pub(super) fn read_change(body: &[u8]) {
    if let Ok(change) = serde_json::from_slice::<request::ChangeRequest>(body) {
        let _ = change.read();
    }
    if let Ok(reward) = serde_json::from_slice::<request::RewardRequest>(body) {
        let _ = reward.read("name");
    }
}
