//! The short form, which a run prints before its first step.

use std::time::{Duration, Instant};

use crate::clips;
use crate::report::{Lengths, RowCounts, SourceReport};
use crate::sources::Source;

/// One line for each source, such as `train: 800 rows, 640 clips, 1.9 h, 3 missing`, from the headers of as many clips
/// as can be looked at within `limit` per source. Sources that cannot be read have no line: the run says why.
pub fn glance(sources: &[Source], limit: Duration) -> Vec<String> {
    sources.iter().filter_map(|source| Some(look(source, limit)?.one_line())).collect()
}

fn look(source: &Source, limit: Duration) -> Option<SourceReport> {
    let dataset = source.open().ok()?;
    let mut clips = clips::distinct(&dataset.questions);
    clips::read_headers(&mut clips, source.fallback.as_deref(), Some(Instant::now() + limit), &|_| {});
    let mut lengths = Lengths::default();
    for clip in clips.iter().filter(|clip| clip.info().is_some()) {
        lengths.add(clip.seconds());
    }
    let rows = RowCounts {
        total: dataset.rows(),
        usable: dataset.questions.len(),
        unusable: dataset.causes().into_iter().map(|(cause, count)| (cause.name(), count as usize)).collect(),
    };
    Some(SourceReport {
        name: source.name.clone(),
        role: source.role,
        arms: source.arms.clone(),
        file: dataset.path.clone(),
        rows,
        clips: clips::count(&clips),
        lengths,
        decoded: None,
        gold_positions: Vec::new(),
        prompt_tokens: None,
    })
}
