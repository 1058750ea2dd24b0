//! Completions: those of an arm, filtered and sorted, and what every arm said to one question.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::arm_path::ArmPath;
use crate::breakdown::Breakdowns;
use crate::clips::Clip;
use crate::error::ApiError;
use crate::extract::QueryParams;
use crate::openapi::Api;
use crate::rollouts::{RolloutLine, RolloutsPage, RolloutsQuery};
use crate::shared::Shared;
use ::records::{ArmId, Phase};
use run::ArmHandle;

/// Completions of an arm in an answer about one question, without `limit`.
const ANSWERS: usize = 8;

pub(super) fn routes(api: Api<Arc<Shared>>) -> Api<Arc<Shared>> {
    api.route(
        "get",
        "/api/arms/{arm}/{seed}/rollouts",
        "Completions, filtered and sorted, each with the terms of its reward",
        rollouts,
        |operation, schemas| {
            operation.query::<RolloutsQuery>(schemas).answers::<RolloutsPage>(schemas);
        },
    )
    .route(
        "get",
        "/api/answers",
        "What every arm said to one question the last time that it was asked",
        answers,
        |operation, schemas| {
            operation.query::<AnswersQuery>(schemas).answers::<Answers>(schemas);
        },
    )
}

async fn rollouts(
    State(shared): State<Arc<Shared>>,
    ArmPath(arm): ArmPath,
    QueryParams(query): QueryParams<RolloutsQuery>,
) -> Result<Json<RolloutsPage>, ApiError> {
    let files = shared.files(&arm);
    let reader = shared.clone();
    let page = move || {
        files.rollouts(|follower| {
            follower.lines().page(follower, &query, completing(&reader, &arm)).map_err(ApiError::from)
        })
    };
    shared.read(page).await.map(Json)
}

/// Adds to a line what the file does not have: its clip, and its reward term by term.
fn completing(shared: &Shared, arm: &ArmHandle) -> impl FnMut(Map<String, Value>) -> RolloutLine {
    let mut breakdowns = Breakdowns::new(&shared.run, arm);
    move |line| RolloutLine {
        audio: Clip::of(&line, arm.ears()).map(|clip| shared.clips.id(clip)),
        breakdown: breakdowns.as_mut().and_then(|breakdowns| breakdowns.of(&line)),
        line,
    }
}

/// Which question, and when it was asked.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct AnswersQuery {
    /// The id of the question.
    id: String,
    /// In training or in evaluations. Default: whichever was last.
    #[serde(default)]
    phase: Option<Phase>,
    /// Not after this step. Default: the last time that it was asked.
    #[serde(default)]
    step: Option<u64>,
    /// The most completions of each arm. Default 8, at most 500.
    #[serde(default)]
    limit: Option<usize>,
}

/// What the arms said to one question.
#[derive(Serialize, JsonSchema)]
struct Answers {
    /// The id of the question.
    id: String,
    /// Every arm under every seed, in the order of the run.
    arms: Vec<ArmAnswers>,
}

#[derive(Serialize, JsonSchema)]
struct ArmAnswers {
    #[serde(flatten)]
    arm: ArmId,
    /// The completions of its newest group; empty if the arm was not asked.
    completions: Vec<RolloutLine>,
}

async fn answers(
    State(shared): State<Arc<Shared>>,
    QueryParams(query): QueryParams<AnswersQuery>,
) -> Result<Json<Answers>, ApiError> {
    let reader = shared.clone();
    shared.read(move || read_answers(&reader, query)).await.map(Json)
}

fn read_answers(shared: &Shared, query: AnswersQuery) -> Result<Answers, ApiError> {
    let AnswersQuery { id, phase, step, limit } = query;
    let limit = Some(limit.unwrap_or(ANSWERS));
    let query = RolloutsQuery { id: Some(id.clone()), phase, step, limit, ..RolloutsQuery::default() };
    let mut arms = Vec::new();
    for arm in shared.run.arms() {
        let newest = shared.files(&arm).rollouts(|follower| {
            follower.lines().newest(follower, &query, completing(shared, &arm)).map_err(ApiError::from)
        })?;
        arms.push(ArmAnswers { arm: arm.id().clone(), completions: newest.unwrap_or_default() });
    }
    if arms.iter().all(|arm| arm.completions.is_empty()) {
        return Err(ApiError::not_found(format!(
            "no arm was asked the question `{id}` by then; the `id` of a rollout names one that was"
        )));
    }
    Ok(Answers { id, arms })
}
