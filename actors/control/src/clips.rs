//! Audio clips by id. A client can fetch only clips that a rollout of this run names, and never by path.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// The clips named so far.
#[derive(Default)]
pub(super) struct Clips {
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    paths: Vec<PathBuf>,
    ids: HashMap<String, usize>,
}

impl Clips {
    /// The id of a clip; the same path always has the same id.
    pub fn id(&self, path: &str) -> String {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let next = known.paths.len();
        let id = *known.ids.entry(path.to_owned()).or_insert(next);
        if id == next {
            known.paths.push(Path::new(path).to_owned());
        }
        format!("clip-{id}")
    }

    pub fn path(&self, id: &str) -> Option<PathBuf> {
        let number = id.strip_prefix("clip-")?.parse::<usize>().ok()?;
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.paths.get(number).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_named_clips_have_an_id() {
        let clips = Clips::default();
        assert_eq!(clips.path("clip-0"), None);
        assert_eq!(
            [clips.id("/a.wav"), clips.id("/b.wav"), clips.id("/a.wav")],
            ["clip-0", "clip-1", "clip-0"]
        );
        assert_eq!(clips.path("clip-1"), Some("/b.wav".into()));
        for id in ["clip-2", "clip--1", "../b.wav", "/b.wav", "clip-1/../..", "", "clip-99999999999999999999"]
        {
            assert_eq!(clips.path(id), None, "{id}");
        }
    }
}
