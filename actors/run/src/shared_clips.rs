//! The clips that the arms of a run hold in memory, so that arms on the same data hold them once.
//!
//! Each arm has a loader with a cache of its own. Before a loader decodes a file, it looks here whether another arm has
//! the same clip, heard in the same way. The features are then the same allocation, and so policies that share a frozen
//! tower encode the clip once. Nothing is kept alive here.

use std::path::PathBuf;
use std::sync::{Arc, Weak};
use std::time::SystemTime;

use audio::{LogMel, Warning};
use dashmap::DashMap;
use workers::{Clip, ClipRequest, HeardClip, Sound};

use crate::feature_cache::Recipe;

/// Entries up to which those that no arm holds any more are left where they are.
const PURGED_FROM: usize = 1024;

/// The file with its size in bytes and the time of its last change, how it is heard, and what a control replaces it by.
type Key = (PathBuf, u64, Option<SystemTime>, String, Sound);

/// The clips that some arm holds.
#[derive(Default)]
pub(crate) struct SharedClips {
    held: DashMap<Key, Held>,
}

/// A clip for as long as somebody else holds its features.
struct Held {
    windows: Vec<Weak<LogMel>>,
    goes_on: bool,
    start: f64,
    warnings: Arc<[Warning]>,
}

impl Held {
    fn of(clip: &HeardClip) -> Self {
        Held {
            windows: clip.windows.iter().map(Arc::downgrade).collect(),
            goes_on: clip.goes_on,
            start: clip.start,
            warnings: clip.warnings.clone(),
        }
    }

    /// The clip; `None` if nobody holds all of it.
    fn clip(&self) -> Option<HeardClip> {
        let windows = self.windows.iter().map(Weak::upgrade).collect::<Option<Vec<_>>>()?;
        let warnings = self.warnings.clone();
        Some(HeardClip { windows, goes_on: self.goes_on, start: self.start, warnings })
    }
}

impl SharedClips {
    /// The clip that another arm holds, or what `hear` makes of the file.
    pub(crate) fn get(&self, request: &ClipRequest, recipe: &Recipe, hear: impl FnOnce() -> Clip) -> Clip {
        let Ok(file) = std::fs::metadata(&request.path) else { return hear() };
        let key = (request.path.clone(), file.len(), file.modified().ok(), recipe.0.clone(), request.sound);
        if let Some(clip) = self.held.get(&key).and_then(|held| held.clip()) {
            return Ok(clip);
        }
        let clip = hear()?;
        // Each time the number of entries has doubled, so that an insertion costs little on average.
        if self.held.len() >= PURGED_FROM && self.held.len().is_power_of_two() {
            self.held.retain(|_, held| held.clip().is_some());
        }
        self.held.insert(key, Held::of(&clip));
        Ok(clip)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    fn clip(value: f32) -> HeardClip {
        LogMel { values: vec![value], n_mels: 1, frames: 1, valid_frames: 1, truncated: false, samples: None }
            .into()
    }

    /// Asks for the clip of `request`; counts in `heard` how often it was decoded.
    fn get(clips: &SharedClips, request: &ClipRequest, recipe: &str, heard: &Cell<u32>) -> HeardClip {
        let hear = || {
            heard.set(heard.get() + 1);
            Ok(clip(heard.get() as f32))
        };
        clips.get(request, &Recipe(recipe.into()), hear).unwrap()
    }

    #[test]
    fn a_clip_that_another_arm_holds_is_not_decoded_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.wav");
        std::fs::write(&path, "a").unwrap();
        let (clips, heard) = (SharedClips::default(), Cell::new(0));
        let request = ClipRequest { path: path.clone(), ..ClipRequest::default() };

        let first = get(&clips, &request, "mono", &heard);
        let second = get(&clips, &request, "mono", &heard);
        assert!(Arc::ptr_eq(&first.windows[0], &second.windows[0]));
        assert_eq!(heard.get(), 1);

        // Heard otherwise, as a control, or from another file of that name, it is another clip.
        let _other = get(&clips, &request, "left", &heard);
        let silence = ClipRequest { sound: Sound::Silence, ..request.clone() };
        let _silence = get(&clips, &silence, "mono", &heard);
        std::fs::write(&path, "longer").unwrap();
        let _changed = get(&clips, &request, "mono", &heard);
        assert_eq!(heard.get(), 4);

        std::fs::write(&path, "b").unwrap();
        drop(get(&clips, &request, "mono", &heard));
        drop(get(&clips, &request, "mono", &heard));
        assert_eq!(heard.get(), 6, "nothing is kept alive");
    }
}
