//! What the run, its arms and their actors are doing.

use std::path::PathBuf;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use crate::PROTOCOL;
use crate::error::ApiError;
use crate::openapi::Api;
use crate::shared::{Shared, TheArm};
use records::ArmState;
use run::{ActorView, ArmHandle, ArmView, RunHandle};

pub(super) fn routes(api: Api<Arc<Shared>>) -> Api<Arc<Shared>> {
    api.route("get", "/api/state", "What the run and all its arms are doing", state, |operation, schemas| {
        operation.answers::<RunState>(schemas);
    })
    .route("get", "/api/arms/{arm}/{seed}", "What an arm is doing, and under which conditions", arm, |operation, schemas| {
        operation.answers::<ArmView>(schemas);
    })
    .route("get", "/api/arms/{arm}/{seed}/actors", "The tree of an arm's actors", actors, |operation, schemas| {
        operation.answers::<ActorTree>(schemas);
    })
    .route(
        "get",
        "/api/events",
        "Everything new, as server-sent events: state, step, eval, change, actors, warning, end; lagged where some were lost",
        events,
        |operation, _| {
            operation.answers_with("text/event-stream");
        },
    )
    .route("get", "/api/openapi.json", "This document", openapi, |_, _| {})
}

/// The whole run.
#[derive(Serialize, JsonSchema)]
pub(crate) struct RunState {
    /// Version of this interface.
    protocol: u32,
    run: RunView,
    /// All arms under all seeds, waiting and ended ones too.
    arms: Vec<ArmView>,
    totals: Totals,
}

#[derive(Serialize, JsonSchema)]
struct RunView {
    name: String,
    dir: PathBuf,
    /// When it began, RFC 3339.
    started: String,
    status: RunStatus,
    /// How many arms run side by side.
    parallel_arms: usize,
}

#[derive(Clone, Copy, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum RunStatus {
    /// An arm is being trained, or is about to be.
    Running,
    /// What has not ended is paused.
    Paused,
    /// All arms have ended.
    Ended,
}

#[derive(Serialize, JsonSchema)]
struct Totals {
    /// Over all arms and seeds.
    steps_done: u64,
    /// Over all arms and seeds.
    steps_total: u64,
}

impl RunState {
    pub fn of(shared: &Shared) -> Self {
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

/// The actors of an arm, by who supervises whom.
#[derive(Serialize, JsonSchema)]
pub(crate) struct ActorTree {
    /// Those right below the arm, and the recorder that all arms share; none in an arm that does not run.
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

async fn state(State(shared): State<Arc<Shared>>) -> Json<RunState> {
    Json(RunState::of(&shared))
}

async fn arm(TheArm(arm): TheArm) -> Json<ArmView> {
    Json(arm.view())
}

async fn actors(State(shared): State<Arc<Shared>>, TheArm(arm): TheArm) -> Json<ActorTree> {
    Json(ActorTree::of(&shared.run, &arm))
}

async fn events(State(shared): State<Arc<Shared>>) -> Result<impl IntoResponse, ApiError> {
    shared.hub.stream().ok_or_else(|| {
        let error = "64 listeners follow this run already; close one of them";
        ApiError::new(StatusCode::SERVICE_UNAVAILABLE, error)
    })
}

async fn openapi(State(shared): State<Arc<Shared>>) -> Json<Value> {
    Json(shared.openapi.clone())
}
