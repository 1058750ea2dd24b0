//! The state of the run, its arms and their actors.

use std::path::PathBuf;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use super::arm_path::ArmPath;
use super::versions::{tag, tag_of_run};
use crate::actor_tree::ActorTree;
use crate::error::ApiError;
use crate::openapi::Api;
use crate::protocol::PROTOCOL;
use crate::shared::Shared;
use records::ArmState;
use run::ArmView;

pub(super) fn routes(api: Api<Arc<Shared>>) -> Api<Arc<Shared>> {
    api.route("get", "/api/state", "The state of the run and of all its arms", state, |operation, schemas| {
        operation.answers::<RunState>(schemas);
    })
    .route("get", "/api/arms/{arm}/{seed}", "The state of an arm, and its formula, weights and rewards", arm, |operation, schemas| {
        operation.answers::<ArmView>(schemas);
    })
    .route("get", "/api/arms/{arm}/{seed}/actors", "The actors of an arm, as a tree", actors, |operation, schemas| {
        operation.answers::<ActorTree>(schemas);
    })
    .route(
        "get",
        "/api/events",
        "The events from now on, as server-sent events: state, step, eval, change, bookmark, actors, warning, end; lagged where some were lost",
        events,
        |operation, _| {
            operation.answers_with("text/event-stream");
        },
    )
    .route("get", "/api/openapi.json", "This document", openapi, |_, _| {})
}

/// The state of the run.
#[derive(Serialize, JsonSchema)]
pub(crate) struct RunState {
    /// Version of this interface.
    protocol: u32,
    run: RunView,
    /// Every arm under every seed, also those that wait or have ended.
    arms: Vec<ArmView>,
    totals: Totals,
}

#[derive(Serialize, JsonSchema)]
struct RunView {
    name: String,
    dir: PathBuf,
    /// The time it started, RFC 3339.
    started: String,
    status: RunStatus,
    /// The most arms that run at the same time.
    parallel_arms: usize,
}

#[derive(Clone, Copy, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum RunStatus {
    /// At least one arm is running, or is about to start.
    Running,
    /// Every arm that has started and not ended is paused.
    Paused,
    /// Every arm has ended.
    Ended,
}

#[derive(Serialize, JsonSchema)]
struct Totals {
    /// Steps taken, over all arms and seeds.
    steps_done: u64,
    /// Steps to take, over all arms and seeds.
    steps_total: u64,
}

impl RunState {
    fn of(shared: &Shared) -> Self {
        let run = &shared.run;
        let arms: Vec<ArmView> = run.arms().iter().map(|arm| arm.view()).collect();
        let any = |wanted: fn(&ArmState) -> bool| arms.iter().any(|arm| wanted(&arm.state));
        let running = any(|state| matches!(state, ArmState::Running));
        let paused = any(|state| matches!(state, ArmState::Paused { .. }));
        let planned = any(|state| matches!(state, ArmState::Planned));
        let status = match (running, paused, planned) {
            // Arms are planned only while another one runs or is paused, or is about to start.
            (true, ..) | (false, false, true) => RunStatus::Running,
            (false, true, _) => RunStatus::Paused,
            (false, false, false) => RunStatus::Ended,
        };
        RunState {
            protocol: PROTOCOL,
            run: RunView {
                name: run.name().to_owned(),
                dir: run.run_dir().path().to_owned(),
                started: run.started().to_owned(),
                status,
                parallel_arms: run.parallel_arms(),
            },
            totals: Totals {
                steps_done: arms.iter().map(|arm| arm.step).sum(),
                steps_total: arms.iter().map(|arm| arm.total_steps).sum(),
            },
            arms,
        }
    }
}

async fn state(State(shared): State<Arc<Shared>>) -> impl IntoResponse {
    let state = RunState::of(&shared);
    (tag_of_run(&state.arms), Json(state))
}

async fn arm(ArmPath(arm): ArmPath) -> impl IntoResponse {
    let view = arm.view();
    (view.conditions.as_ref().map(|conditions| tag(conditions.version)), Json(view))
}

async fn actors(State(shared): State<Arc<Shared>>, ArmPath(arm): ArmPath) -> Json<ActorTree> {
    Json(ActorTree::of(&shared.run, &arm))
}

async fn events(State(shared): State<Arc<Shared>>) -> Result<impl IntoResponse, ApiError> {
    shared.hub.stream().ok_or_else(|| {
        let error = "64 clients follow this run already; close one of them";
        ApiError::new(StatusCode::SERVICE_UNAVAILABLE, error)
    })
}

async fn openapi(State(shared): State<Arc<Shared>>) -> Json<Value> {
    Json(shared.openapi.clone())
}
