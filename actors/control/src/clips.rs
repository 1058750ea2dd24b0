//! Audio clips by id. A client can fetch only clips that a rollout of this run names, and never by path.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use audio::{Ears, Hearing, samples_in};
use serde_json::{Map, Value};

/// A clip of a rollout, and how the model of its arm hears it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Clip {
    pub path: PathBuf,
    /// `None` while the arm has not opened its policy.
    pub ears: Option<Ears>,
    /// The bits of the start and the end of the row's window in seconds, where it has one.
    window: [Option<u64>; 2],
}

impl Clip {
    /// The clip that a line of `rollouts.jsonl` names. `audio_start` and `audio_end` of the line are the seconds of the clip
    /// between which the model hears it.
    pub fn of(line: &Map<String, Value>, ears: Option<&Ears>) -> Option<Self> {
        let path = line.get("audio_path")?.as_str()?;
        let seconds = |field: &str| line.get(field).and_then(Value::as_f64).map(f64::to_bits);
        Some(Clip {
            path: path.into(),
            ears: ears.cloned(),
            window: ["audio_start", "audio_end"].map(seconds),
        })
    }

    /// What the model hears of it; `None` while that is not known.
    pub fn hearing(&self) -> Option<Hearing> {
        let [start, end] = self.window.map(|bits| bits.map(f64::from_bits));
        let start = start.unwrap_or(0.0);
        let mut hearing = self.ears.as_ref()?.hearing(start);
        if let Some(end) = end {
            let lasts = samples_in((end - start).max(0.0));
            hearing.samples = hearing.samples.map(|most| most.min(lasts));
        }
        Some(hearing)
    }
}

/// The clips named so far.
#[derive(Default)]
pub(super) struct Clips {
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    clips: Vec<Clip>,
    ids: HashMap<Clip, usize>,
}

impl Clips {
    /// The id of a clip. The same file has another id where it is heard in another way.
    pub fn id(&self, clip: Clip) -> String {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let next = known.clips.len();
        let id = *known.ids.entry(clip.clone()).or_insert(next);
        if id == next {
            known.clips.push(clip);
        }
        format!("clip-{id}")
    }

    pub fn get(&self, id: &str) -> Option<Clip> {
        let number = id.strip_prefix("clip-")?.parse::<usize>().ok()?;
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.clips.get(number).cloned()
    }
}

#[cfg(test)]
mod tests {
    use audio::Downmix;
    use serde_json::json;

    use super::*;

    fn clip(line: &Value, ears: Option<&Ears>) -> Clip {
        Clip::of(line.as_object().unwrap(), ears).unwrap()
    }

    #[test]
    fn only_named_clips_have_an_id() {
        let clips = Clips::default();
        assert_eq!(clips.get("clip-0"), None);
        let named = |path: &str| clips.id(clip(&json!({"audio_path": path}), None));
        assert_eq!([named("/a.wav"), named("/b.wav"), named("/a.wav")], ["clip-0", "clip-1", "clip-0"]);
        assert_eq!(clips.get("clip-1").unwrap().path, PathBuf::from("/b.wav"));
        for id in ["clip-2", "clip--1", "../b.wav", "/b.wav", "clip-1/../..", "", "clip-99999999999999999999"]
        {
            assert_eq!(clips.get(id), None, "{id}");
        }
        assert_eq!(Clip::of(json!({"audio_path": null}).as_object().unwrap(), None), None);
    }

    #[test]
    fn a_file_that_is_heard_in_two_ways_is_two_clips() {
        let clips = Clips::default();
        let (first, mean) = (Ears { downmix: Downmix::First, ..Ears::default() }, Ears::default());
        let whole = json!({"audio_path": "/a.wav"});
        let part = json!({"audio_path": "/a.wav", "audio_start": 2.5});
        let ids = [(&whole, &first), (&whole, &mean), (&part, &mean), (&whole, &first)]
            .map(|(line, ears)| clips.id(clip(line, Some(ears))));
        assert_eq!(ids, ["clip-0", "clip-1", "clip-2", "clip-0"]);
    }

    #[test]
    fn the_window_of_a_row_is_within_that_of_the_model() {
        let ears = Ears::default();
        let heard = |line: Value| clip(&line, Some(&ears)).hearing().unwrap();
        // 30 s @ 16 kHz, and the 2 s between 1.5 and 3.5.
        let whole = heard(json!({"audio_path": "/a.wav"}));
        assert_eq!((whole.start, whole.samples), (0.0, Some(480_000)));
        let part = heard(json!({"audio_path": "/a.wav", "audio_start": 1.5, "audio_end": 3.5}));
        assert_eq!((part.start, part.samples), (1.5, Some(32_000)));
        let long = heard(json!({"audio_path": "/a.wav", "audio_start": 1.5, "audio_end": 3600.0}));
        assert_eq!((long.start, long.samples), (1.5, Some(480_000)));
        assert_eq!(clip(&json!({"audio_path": "/a.wav"}), None).hearing(), None);
    }
}
