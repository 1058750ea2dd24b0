//! The curves of all arms in one answer.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;

use crate::curves::{CurveLine, Curves, CurvesQuery, Fields, News, SeedCurve, groups};
use crate::error::ApiError;
use crate::extract::QueryParams;
use crate::openapi::Api;
use crate::shared::{ArmFiles, Shared};
use run::ArmHandle;

pub(super) fn routes(api: Api<Arc<Shared>>) -> Api<Arc<Shared>> {
    api.route(
        "get",
        "/api/curves",
        "The metrics of all arms as curves, aligned by step, tokens or time, and thinned to what a plot can show",
        curves,
        |operation, schemas| {
            operation.query::<CurvesQuery>(schemas).answers::<Curves>(schemas);
        },
    )
}

async fn curves(
    State(shared): State<Arc<Shared>>,
    QueryParams(query): QueryParams<CurvesQuery>,
) -> Result<Json<Curves>, ApiError> {
    let arms = shared.run.arms();
    let arms: Vec<(ArmHandle, Arc<ArmFiles>)> =
        arms.into_iter().map(|arm| (arm.clone(), shared.files(&arm))).collect();
    shared.read(move || read(&arms, &query)).await.map(Json)
}

/// Reads what is new in the files of all arms, and makes the lines.
fn read(arms: &[(ArmHandle, Arc<ArmFiles>)], query: &CurvesQuery) -> Result<Curves, ApiError> {
    let (mut end, mut fields) = (0.0, Fields::default());
    for (_, files) in arms {
        files.curves(|columns, _| {
            fields.add(columns);
            end = f64::max(end, query.end(columns));
            Ok(())
        })?;
    }
    let width = query.width(end);
    let known = query.known(width);
    let known_of = |place: usize| known.as_ref().and_then(|known| known.get(place).copied().flatten());
    let mut lines = Vec::new();
    for group in groups(arms.iter().map(|(arm, _)| arm.id()), query) {
        let mut news: Option<News> = None;
        for &place in &group {
            let new = arms[place]
                .1
                .curves(|columns, held_out| Ok(News::of(columns, held_out, query, width, known_of(place))))?;
            news = match (news, new) {
                (Some(news), Some(new)) => Some(news.and(new)),
                (news, new) => news.or(new),
            };
        }
        let Some(news) = news else { continue };
        let mut seeds = Vec::new();
        for &place in &group {
            let (arm, files) = &arms[place];
            seeds.push(files.curves(|columns, held_out| {
                Ok(SeedCurve::of(arm.id(), columns, held_out, query, width, news))
            })?);
        }
        lines.push(CurveLine::of(&seeds, query));
    }
    Ok(Curves { width, to: end, whole: known.is_none(), fields: fields.finish(), lines })
}
