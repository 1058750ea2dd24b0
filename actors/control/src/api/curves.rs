//! The curves of all arms in one answer.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

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

/// The time for reading files before an answer has to be made of those that are read. Tens of megabytes take longer at first,
/// and somebody waits to see the first curves.
const PATIENCE: Duration = Duration::from_millis(300);

/// Reads what is new in the files of all arms, and makes the lines.
fn read(arms: &[(ArmHandle, Arc<ArmFiles>)], query: &CurvesQuery) -> Result<Curves, ApiError> {
    let (mut end, mut fields) = (0.0, Fields::default());
    let began = Instant::now();
    let mut left_out = BTreeSet::new();
    for (place, (_, files)) in arms.iter().enumerate() {
        if began.elapsed() > PATIENCE {
            left_out.insert(place);
            continue;
        }
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
        // An arm is not shown by some of its seeds.
        if group.iter().any(|place| left_out.contains(place)) {
            continue;
        }
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
    let (whole, pending) = (known.is_none(), left_out.len());
    Ok(Curves { width, to: end, whole, pending, fields: fields.finish(), lines })
}
