//! The records of a run: metrics, evaluations, clips of rollouts, and the journal.

use std::io::{BufRead, BufReader};
use std::path::Path as FilePath;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, Request, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;
use tower::ServiceExt;
use tower_http::services::ServeFile;

use super::arm_path::ArmPath;
use crate::clips::Clip;
use crate::error::ApiError;
use crate::extract::QueryParams;
use crate::heard::HeardClip;
use crate::metrics::{MetricsQuery, MetricsTable};
use crate::openapi::Api;
use crate::shared::Shared;
use ::records::JournalEntry;

const WAV: &str = "audio/wav";
const PNG: &str = "image/png";

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
        "/api/audio/{id}",
        "A clip that a rollout names; `Range` requests work",
        audio,
        |operation, _| {
            operation.answers_with("audio/*");
        },
    )
    .route(
        "get",
        "/api/clips/{id}/heard.wav",
        "What the model hears of a clip: its window at 16 kHz, mono, 32-bit float",
        heard_wav,
        |operation, _| {
            operation.answers_with(WAV);
        },
    )
    .route(
        "get",
        "/api/clips/{id}/mel.png",
        "The log-mel spectrogram of what the model hears of a clip",
        mel_png,
        |operation, _| {
            operation.answers_with(PNG);
        },
    )
    .route(
        "get",
        "/api/journal",
        "All changes and commands so far, oldest first",
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
    ArmPath(arm): ArmPath,
    QueryParams(query): QueryParams<MetricsQuery>,
) -> Result<Json<MetricsTable>, ApiError> {
    let files = shared.files(&arm);
    let table = move || files.metrics(|columns| columns.table(&query).map_err(ApiError::from));
    shared.read(table).await.map(Json)
}

async fn evals(State(shared): State<Arc<Shared>>, ArmPath(arm): ArmPath) -> Result<Json<Evals>, ApiError> {
    let path = shared.arm_dir(&arm).evaluations();
    let evals = shared.read(move || lines_of(&path)).await?;
    Ok(Json(Evals { evals }))
}

/// The complete lines of a file, parsed; none if it does not exist.
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

async fn audio(
    State(shared): State<Arc<Shared>>,
    Path(id): Path<String>,
    request: Request,
) -> Result<Response, ApiError> {
    let path = named_clip(&shared, &id)?.path;
    if !path.is_file() {
        return Err(ApiError::not_found(format!("{}: the clip no longer exists", path.display())));
    }
    match ServeFile::new(&path).oneshot(request).await {
        Ok(response) => Ok(response.into_response()),
        Err(never) => match never {},
    }
}

async fn heard_wav(
    State(shared): State<Arc<Shared>>,
    Path(id): Path<String>,
) -> Result<impl IntoResponse, ApiError> {
    let heard = heard(&shared, id).await?;
    Ok(([(header::CONTENT_TYPE, WAV)], heard.wav.clone()))
}

async fn mel_png(
    State(shared): State<Arc<Shared>>,
    Path(id): Path<String>,
) -> Result<impl IntoResponse, ApiError> {
    let heard = heard(&shared, id).await?;
    Ok(([(header::CONTENT_TYPE, PNG)], heard.png.clone()))
}

async fn heard(shared: &Arc<Shared>, id: String) -> Result<Arc<HeardClip>, ApiError> {
    let clip = named_clip(shared, &id)?;
    let reader = shared.clone();
    shared.read(move || reader.heard.of(&id, &clip)).await
}

fn named_clip(shared: &Shared, id: &str) -> Result<Clip, ApiError> {
    shared.clips.get(id).ok_or_else(|| {
        ApiError::not_found(
            "no clip has this id; fetch the rollouts first, which name their clips in `audio`",
        )
    })
}

async fn journal(State(shared): State<Arc<Shared>>) -> Json<Journal> {
    Json(Journal { entries: shared.run.journal() })
}
