//! Bookmarks: places of the run that somebody wants to find again, each with a note.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::arm_path::no_arm;
use super::caller::Caller;
use crate::error::ApiError;
use crate::extract::JsonBody;
use crate::openapi::Api;
use crate::shared::Shared;
use ::records::{ArmId, Bookmark, BookmarkedCompletion};
use run::{BookmarkError, NewBookmark};

/// The longest note and the longest view, in characters.
const LONGEST: usize = 4_000;

/// The most bookmarks of a run.
const MOST: usize = 10_000;

pub(super) fn routes(api: Api<Arc<Shared>>) -> Api<Arc<Shared>> {
    api.route("get", "/api/bookmarks", "The bookmarks, by their numbers", list, |operation, schemas| {
        operation.answers::<Listed>(schemas);
    })
    .route(
        "post",
        "/api/bookmarks",
        "Marks a step of an arm, or one of its completions",
        add,
        |operation, schemas| {
            operation.body::<Mark>(schemas).answers::<Bookmark>(schemas);
        },
    )
    .route("put", "/api/bookmarks/{number}", "Replaces the note of a bookmark", note, |operation, schemas| {
        operation.body::<Note>(schemas).answers::<Bookmark>(schemas);
    })
    .route(
        "delete",
        "/api/bookmarks/{number}",
        "Takes a bookmark away",
        remove,
        |operation, schemas| {
            operation.answers::<Bookmark>(schemas);
        },
    )
}

#[derive(Serialize, JsonSchema)]
struct Listed {
    bookmarks: Vec<Arc<Bookmark>>,
}

/// The body of a new bookmark: a step of an arm, or a completion of that step.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Mark {
    /// The arm's name in the scenario.
    arm: String,
    /// The seed that it trains under, one of `run.seeds`.
    seed: u64,
    /// The number of steps that it had taken. Default: those that it has taken by now.
    #[serde(default)]
    step: Option<u64>,
    /// The completion, if it is not the step as a whole.
    #[serde(default)]
    completion: Option<BookmarkedCompletion>,
    /// What there is to say about it; at most 4000 characters. Default: nothing.
    #[serde(default)]
    note: String,
    /// What the page shows, as its links write it.
    #[serde(default)]
    view: String,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Note {
    /// The new note; at most 4000 characters.
    note: String,
}

async fn list(State(shared): State<Arc<Shared>>) -> Json<Listed> {
    Json(Listed { bookmarks: shared.run.bookmarks().list() })
}

async fn add(
    State(shared): State<Arc<Shared>>,
    Caller(by): Caller,
    JsonBody(mark): JsonBody<Mark>,
) -> Result<Json<Arc<Bookmark>>, ApiError> {
    let Mark { arm, seed, step, completion, note, view } = mark;
    let run = &shared.run;
    let id = ArmId::new(arm.clone(), seed);
    let taken = run.arm(&id).ok_or_else(|| no_arm(run, &arm, &seed.to_string()))?.view().step;
    let step = step.unwrap_or(taken);
    if step > taken {
        return Err(ApiError::bad(format!(
            "arm `{arm}` has taken {taken} steps; mark one of them, not {step}"
        )));
    }
    within(&note, "note")?;
    within(&view, "view")?;
    if run.bookmarks().list().len() >= MOST {
        return Err(ApiError::conflict(format!("the run has {MOST} bookmarks; take some away first")));
    }
    let new = NewBookmark { id, step, completion, note: note.trim().to_owned(), view };
    run.bookmarks().add(new, by).await.map(Json).map_err(|error| refused(&error))
}

async fn note(
    State(shared): State<Arc<Shared>>,
    Caller(by): Caller,
    Path(number): Path<String>,
    JsonBody(body): JsonBody<Note>,
) -> Result<Json<Arc<Bookmark>>, ApiError> {
    within(&body.note, "note")?;
    let note = body.note.trim().to_owned();
    let noted = shared.run.bookmarks().note(numbered(&number)?, note, by).await;
    noted.map(Json).map_err(|error| refused(&error))
}

async fn remove(
    State(shared): State<Arc<Shared>>,
    Caller(by): Caller,
    Path(number): Path<String>,
) -> Result<Json<Arc<Bookmark>>, ApiError> {
    let removed = shared.run.bookmarks().remove(numbered(&number)?, by).await;
    removed.map(Json).map_err(|error| refused(&error))
}

fn numbered(number: &str) -> Result<u64, ApiError> {
    let unknown = |_| ApiError::not_found(format!("`{number}` is not the number of a bookmark"));
    number.parse().map_err(unknown)
}

fn within(text: &str, what: &str) -> Result<(), ApiError> {
    if text.chars().count() <= LONGEST {
        return Ok(());
    }
    Err(ApiError::bad(format!("the {what} has more than {LONGEST} characters; shorten it")))
}

fn refused(error: &BookmarkError) -> ApiError {
    match error {
        BookmarkError::Unknown { .. } => ApiError::not_found(error.to_string()),
        BookmarkError::Unrecorded { .. } => ApiError::failed(error.to_string()),
    }
}
