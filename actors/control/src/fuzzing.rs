//! The entry of `fuzz/` into this crate: what a request may contain, and the records that its answer is made of.

use axum::extract::Query;
use axum::http::Uri;
use serde::de::DeserializeOwned;

use crate::api::read_change;
use crate::columns::Columns;
use crate::curves::{CurveLine, CurvesQuery, News, SeedCurve};
use crate::held_out::HeldOut;
use crate::lines::Lines;
use crate::metrics::MetricsQuery;
use crate::rollouts::{Index, RolloutsQuery};
use records::ArmId;

/// Reads the first line of `input` as a request's target, the second as its JSON body, and the others as lines of
/// metrics and rollouts that a query is made on.
pub fn parse_request(input: &[u8]) {
    let mut parts = input.splitn(3, |&byte| byte == b'\n');
    let (target, body) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let records = parts.next().unwrap_or_default();
    read_change(body);
    let uri = Uri::try_from(target).ok();
    let (mut columns, mut index) = (Columns::default(), Index::default());
    for line in records.split(|&byte| byte == b'\n') {
        columns.take(0, line);
        index.take(0, line);
    }
    // No field selects a column twice, and a thinned range has at most one row more than asked for.
    if let Some(query) = query::<MetricsQuery>(uri.as_ref())
        && let Ok(table) = columns.table(&query)
    {
        assert!(table.rows.len() <= query.max_points.unwrap_or(usize::MAX).max(2).saturating_add(1));
        assert!(table.rows.iter().all(|row| row.len() == table.columns.len()));
    }
    query::<RolloutsQuery>(uri.as_ref());
    if let Some(query) = query::<CurvesQuery>(uri.as_ref()) {
        let width = query.width(query.end(&columns));
        assert!(width > 0.0 && width.is_finite());
        let (id, held_out) = (ArmId::new("a", 7), HeldOut::default());
        let known = query.known(width).and_then(|known| *known.first()?);
        if let Some(news) = News::of(&columns, &held_out, &query, width, known) {
            CurveLine::of(&[SeedCurve::of(&id, &columns, &held_out, &query, width, news)], &query);
        }
    }
    if let Some(batch) = index.last_batch() {
        let mut lengths = batch.components.values().map(Vec::len);
        let first = lengths.next();
        assert!(lengths.all(|length| Some(length) == first), "a score or none per rollout");
    }
}

fn query<T: DeserializeOwned>(uri: Option<&Uri>) -> Option<T> {
    Query::try_from_uri(uri?).ok().map(|Query(query)| query)
}
