//! The clips of a source, each once, and what their headers say.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::Instant;

use audio::{AudioError, ClipInfo, Problem};
use scenarios::Questions;

use crate::parallel::spread;
use crate::report::ClipCounts;

/// A clip that some rows name.
pub(crate) struct Clip {
    pub path: PathBuf,
    /// Index of the first question that names it.
    pub first: usize,
    /// Number of questions that name it.
    pub rows: usize,
    /// What its header says; `None` before it is looked at.
    pub header: Option<Result<ClipInfo, AudioError>>,
}

impl Clip {
    /// What its header says, if it can be read.
    pub fn info(&self) -> Option<&ClipInfo> {
        self.header.as_ref()?.as_ref().ok()
    }

    /// Why its header cannot be read.
    pub fn error(&self) -> Option<&AudioError> {
        self.header.as_ref()?.as_ref().err()
    }

    /// Its length in seconds, if the header tells.
    pub fn seconds(&self) -> Option<f64> {
        self.info()?.seconds()
    }
}

/// The clips of some questions, in the order of the questions.
pub(crate) fn distinct(questions: &Questions) -> Vec<Clip> {
    let mut clips: Vec<Clip> = Vec::new();
    let mut places: HashMap<PathBuf, usize> = HashMap::new();
    for (index, question) in questions.iter().enumerate() {
        match places.get(&question.audio_path) {
            Some(&place) => clips[place].rows += 1,
            None => {
                places.insert(question.audio_path.clone(), clips.len());
                clips.push(Clip { path: question.audio_path.clone(), first: index, rows: 1, header: None });
            }
        }
    }
    clips
}

/// Reads the headers of the clips, until the deadline.
pub(crate) fn read_headers(
    clips: &mut [Clip],
    fallback: Option<&Path>,
    deadline: Option<Instant>,
    done: &(dyn Fn(usize) + Sync),
) {
    let headers = spread(clips, deadline, done, |clip| audio::inspect(&clip.path, fallback));
    for (clip, header) in clips.iter_mut().zip(headers) {
        clip.header = header;
    }
}

/// Counts the clips that have been looked at.
pub(crate) fn count(clips: &[Clip]) -> ClipCounts {
    let mut counts = ClipCounts { distinct: clips.len(), ..ClipCounts::default() };
    for clip in clips {
        match &clip.header {
            None => continue,
            Some(Err(error)) if matches!(error.problem, Problem::Missing) => counts.missing.add(&clip.path),
            Some(Err(error)) => counts.unreadable.entry(error.problem.kind()).or_default().add(&clip.path),
            Some(Ok(info)) => {
                counts.found += 1;
                *counts.formats.entry(info.format).or_default() += 1;
                *counts.codecs.entry(info.codec.clone()).or_default() += 1;
                *counts.rates.entry(info.rate).or_default() += 1;
                *counts.channels.entry(info.channels).or_default() += 1;
            }
        }
        counts.looked_at += 1;
    }
    counts
}

#[cfg(test)]
mod tests {
    use rewards::Question;

    use super::*;

    #[test]
    fn a_clip_of_several_rows_is_one_clip_however_its_path_is_written() {
        let question = |path: &str| Question { audio_path: path.into(), ..Question::default() };
        let clips = distinct(&["a/b.wav", "a/c.wav", "a/./b.wav"].map(question).into_iter().collect());
        let found: Vec<_> = clips.iter().map(|clip| (clip.first, clip.rows)).collect();
        assert_eq!(found, [(0, 2), (1, 1)]);
    }
}
