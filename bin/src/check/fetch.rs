//! `sandbox check --fetch`: downloads the clips that rows name by URL.

use evaluation::{FetchLimits, fetch_clips};
use scenarios::{Dataset, Experiment, Split, open_dataset_filtered};
use survey::{Finding, Role};
use tokio::sync::watch;

use crate::failure::Failure;

/// The kind of finding about a clip that is not there.
pub const NOT_FETCHED: &str = "not fetched";

/// Fetches the clips of all sources whose arms have `data.fetch`, and returns a finding for each row without its clip.
/// Sources that can't be read are left to the survey.
pub fn fetch(experiment: &Experiment) -> Result<Vec<Finding>, Failure> {
    let runtime = tokio::runtime::Runtime::new()
        .map_err(|error| Failure::Running(format!("the async runtime could not be started: {error}")))?;
    let (_stop, stopped) = watch::channel(false);
    let mut findings = Vec::new();
    for source in survey::sources(experiment).into_iter().filter(|source| source.filter.fetch) {
        let split = match source.role {
            Role::Train => Split::Train,
            Role::Heldout => Split::Heldout,
        };
        let opened = open_dataset_filtered(&source.data, &source.worlds, split, &source.filter);
        let Ok(rows) = opened else { continue };
        let before = rows.problems.len();
        let mut opened = evaluation::Source { suite: None, rows };
        let (fallback, limits) = (source.fallback.as_deref(), FetchLimits::default());
        runtime.block_on(fetch_clips(&mut [&mut opened], fallback, limits, &stopped));
        if opened.rows.problems.len() > before {
            findings.extend(failed(&source.name, &opened.rows));
        }
    }
    Ok(findings)
}

fn failed<'a>(source: &'a str, rows: &'a Dataset) -> impl Iterator<Item = Finding> + 'a {
    let unfetched =
        rows.problems.iter().filter(|problem| problem.cause == scenarios::RowCause::AudioUnreadable);
    unfetched.map(move |problem| Finding {
        source: source.to_owned(),
        kind: NOT_FETCHED.into(),
        stops: false,
        message: problem.message.clone(),
    })
}
