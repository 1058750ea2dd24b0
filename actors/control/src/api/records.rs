//! What a run has written down so far: metrics, evaluations, rollouts and their clips, the journal.

use std::io::{BufRead, BufReader};
use std::path::Path as FilePath;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, Request, State};
use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;
use tower::ServiceExt;
use tower_http::services::ServeFile;

use crate::error::ApiError;
use crate::input::Asked;
use crate::metrics::{MetricsQuery, MetricsTable};
use crate::openapi::Api;
use crate::rollouts::{PageError, RolloutsPage, RolloutsQuery};
use crate::shared::{Shared, TheArm};
use ::records::JournalEntry;

pub(super) fn routes(api: Api<Arc<Shared>>) -> Api<Arc<Shared>> {
    api.route(
        "get",
        "/api/arms/{arm}/{seed}/metrics",
        "Metrics by step, as a table",
        metrics,
        |operation, schemas| {
            operation.query::<MetricsQuery>(schemas).answers::<MetricsTable>(schemas);
        },
    )
    .route("get", "/api/arms/{arm}/{seed}/evals", "The evaluations", evals, |operation, schemas| {
        operation.answers::<Evals>(schemas);
    })
    .route(
        "get",
        "/api/arms/{arm}/{seed}/rollouts",
        "Completions, chosen and sorted",
        rollouts,
        |operation, schemas| {
            operation.query::<RolloutsQuery>(schemas).answers::<RolloutsPage>(schemas);
        },
    )
    .route("get", "/api/audio/{id}", "A clip, in parts if a Range is asked for", audio, |operation, _| {
        operation.answers_with("audio/*");
    })
    .route(
        "get",
        "/api/journal",
        "Everything that was done to the run",
        journal,
        |operation, schemas| {
            operation.answers::<Journal>(schemas);
        },
    )
}

#[derive(Serialize, JsonSchema)]
struct Evals {
    /// The lines of `eval.jsonl`.
    evals: Vec<Value>,
}

#[derive(Serialize, JsonSchema)]
struct Journal {
    /// The lines of `control.jsonl`.
    entries: Vec<Arc<JournalEntry>>,
}

async fn metrics(
    State(shared): State<Arc<Shared>>,
    TheArm(arm): TheArm,
    Asked(query): Asked<MetricsQuery>,
) -> Result<Json<MetricsTable>, ApiError> {
    let files = shared.files(&arm);
    let table = move || files.metrics(|columns| columns.table(&query).map_err(ApiError::bad));
    shared.read(table).await.map(Json)
}

async fn evals(State(shared): State<Arc<Shared>>, TheArm(arm): TheArm) -> Result<Json<Evals>, ApiError> {
    let path = shared.arm_dir(&arm).evaluations();
    let evals = shared.read(move || lines_of(&path)).await?;
    Ok(Json(Evals { evals }))
}

/// The lines that are whole.
fn lines_of(path: &FilePath) -> Result<Vec<Value>, ApiError> {
    let unreadable = |error| ApiError::failed(format!("{}: cannot be read: {error}", path.display()));
    let file = match std::fs::File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(unreadable(error)),
    };
    let mut lines = Vec::new();
    for line in BufReader::new(file).lines() {
        lines.extend(serde_json::from_str(&line.map_err(unreadable)?));
    }
    Ok(lines)
}

async fn rollouts(
    State(shared): State<Arc<Shared>>,
    TheArm(arm): TheArm,
    Asked(query): Asked<RolloutsQuery>,
) -> Result<Json<RolloutsPage>, ApiError> {
    let files = shared.files(&arm);
    let asking = shared.clone();
    let page = move || {
        files.rollouts(|follower| {
            let file = follower.open().map_err(PageError::from);
            file.and_then(|file| follower.lines().page(file, &query, |path| asking.clips.id(path))).map_err(
                |error| match error {
                    PageError::Query(message) => ApiError::bad(message),
                    PageError::Read(_) => ApiError::failed(error.to_string()),
                },
            )
        })
    };
    shared.read(page).await.map(Json)
}

async fn audio(
    State(shared): State<Arc<Shared>>,
    Path(id): Path<String>,
    request: Request,
) -> Result<Response, ApiError> {
    let Some(path) = shared.clips.path(&id) else {
        return Err(ApiError::not_found(
            "no rollout that was asked for has this clip; ask for the rollouts first",
        ));
    };
    if !path.is_file() {
        return Err(ApiError::not_found(format!("{}: the clip is not there any more", path.display())));
    }
    match ServeFile::new(&path).oneshot(request).await {
        Ok(response) => Ok(response.into_response()),
        Err(never) => match never {},
    }
}

async fn journal(State(shared): State<Arc<Shared>>) -> Json<Journal> {
    Json(Journal { entries: shared.run.journal() })
}
