//! What a model hears of a clip, made on request: the samples as a WAV file, and their spectrogram as a picture.
//!
//! The page asks for both soon after one another, so what was made is kept for a while.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use audio::{AudioError, LONGEST_WINDOW, listen, png, samples_in, write_wav};
use axum::body::Bytes;
use axum::http::StatusCode;

use super::clips::Clip;
use super::error::ApiError;

/// Clips that are kept at most, and their size in bytes.
const KEPT: usize = 16;
const KEPT_BYTES: usize = 128 << 20;

/// The longest part of a clip that is served, in seconds: 38 MB. The longest window of a model is an hour.
const LONGEST_SECONDS: usize = 600;

/// What a model hears of a clip.
#[derive(Debug)]
pub(super) struct HeardClip {
    /// 16 kHz, mono, 32-bit float.
    pub wav: Bytes,
    /// Its log-mel features.
    pub png: Bytes,
}

/// The clips that were asked for last.
#[derive(Default)]
pub(super) struct HeardClips {
    /// By id, the latest last.
    kept: Mutex<VecDeque<(String, Arc<HeardClip>)>>,
}

impl HeardClips {
    /// What the model hears of the clip with this id. Decodes its file unless it was among the last. Blocks.
    pub fn of(&self, id: &str, clip: &Clip) -> Result<Arc<HeardClip>, ApiError> {
        if let Some(heard) = self.find(id) {
            return Ok(heard);
        }
        let heard = Arc::new(hear(clip)?);
        self.keep(id, heard.clone());
        Ok(heard)
    }

    fn find(&self, id: &str) -> Option<Arc<HeardClip>> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let place = kept.iter().position(|(of, _)| of == id)?;
        let found = kept.remove(place)?;
        let heard = found.1.clone();
        kept.push_back(found);
        Some(heard)
    }

    fn keep(&self, id: &str, heard: Arc<HeardClip>) {
        let size = |(_, heard): &(String, Arc<HeardClip>)| heard.wav.len() + heard.png.len();
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.push_back((id.to_owned(), heard));
        while kept.len() > KEPT || kept.iter().map(size).sum::<usize>() > KEPT_BYTES {
            kept.pop_front();
        }
    }
}

fn hear(clip: &Clip) -> Result<HeardClip, ApiError> {
    let (Some(ears), Some(mut hearing)) = (&clip.ears, clip.hearing()) else {
        let error =
            "this arm has not opened its policy yet, so what it hears is not known; ask again when it runs";
        return Err(ApiError::conflict(error));
    };
    let most = samples_in(LONGEST_SECONDS as f64);
    let is_longer = hearing.samples.is_none_or(|samples| samples > most);
    hearing.samples = hearing.samples.map(|samples| samples.min(most)).or(Some(most));
    let heard = listen(&clip.path, &hearing).map_err(unheard)?;
    if is_longer && heard.cut_at.is_some() {
        let error = format!(
            "{}: the model hears more of it than the {LONGEST_SECONDS} s that are served; `sandbox listen --wav OUT` writes up to \
             {LONGEST_WINDOW} s",
            clip.path.display()
        );
        return Err(ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, error));
    }
    let features = heard.features(&ears.features).map_err(|error| ApiError::failed(error.to_string()))?;
    let mut wav = Vec::new();
    write_wav(&mut wav, &heard.samples).map_err(|error| ApiError::failed(error.to_string()))?;
    Ok(HeardClip { wav: wav.into(), png: png(&features).into() })
}

/// The refusal for a clip that has no samples.
fn unheard(error: AudioError) -> ApiError {
    let status = match error.problem.kind() {
        "missing" => StatusCode::NOT_FOUND,
        _ => StatusCode::UNPROCESSABLE_ENTITY,
    };
    ApiError::new(status, error.to_string())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use audio::{Ears, FeatureConfig, Hearing};
    use serde_json::json;

    use super::*;

    /// A file of a number of samples @ 16 kHz, and the clip of a model with a window of `window` seconds.
    fn clip(folder: &Path, samples: usize, window: usize) -> Clip {
        let path = folder.join("a.wav");
        let mut wav = Vec::new();
        write_wav(&mut wav, &vec![0.25; samples]).unwrap();
        std::fs::write(&path, wav).unwrap();
        let features = FeatureConfig { chunk_length_seconds: window, ..FeatureConfig::default() };
        let ears = Ears { features, ..Ears::default() };
        Clip::of(json!({"audio_path": path}).as_object().unwrap(), Some(&ears)).unwrap()
    }

    #[test]
    fn the_window_of_the_model_is_served_and_nothing_after_it() {
        let folder = tempfile::tempdir().unwrap();
        let heard = HeardClips::default().of("clip-0", &clip(folder.path(), 40_000, 2)).unwrap();
        let served = audio::load_bytes(Path::new("a.wav"), heard.wav.to_vec(), &Hearing::default()).unwrap();
        assert_eq!(served.samples, [0.25; 32_000]);
        // 200 frames, 2 columns each; 128 bands, 2 rows each.
        assert_eq!(heard.png[16..24], [[0, 0, 1, 0x90], [0, 0, 1, 0]].concat());
    }

    #[test]
    fn the_last_clips_are_kept_and_older_ones_are_not() {
        let folder = tempfile::tempdir().unwrap();
        let clips = HeardClips::default();
        let clip = clip(folder.path(), 1600, 2);
        let first = clips.of("clip-0", &clip).unwrap();
        assert!(Arc::ptr_eq(&first, &clips.of("clip-0", &clip).unwrap()));
        for other in 1..KEPT {
            clips.of(&format!("clip-{other}"), &clip).unwrap();
        }
        // It is asked for again, so that the next clip takes the place of clip-1.
        assert!(Arc::ptr_eq(&first, &clips.of("clip-0", &clip).unwrap()));
        clips.of("clip-99", &clip).unwrap();
        assert_eq!((clips.find("clip-0").is_some(), clips.find("clip-1").is_some()), (true, false));
        let large = |n: u8| Arc::new(HeardClip { wav: vec![n; KEPT_BYTES / 2].into(), png: Bytes::new() });
        clips.keep("large-1", large(1));
        clips.keep("large-2", large(2));
        assert_eq!(clips.kept.lock().unwrap().len(), 2);
    }

    #[test]
    fn what_cannot_be_heard_is_refused_with_the_reason() {
        let folder = tempfile::tempdir().unwrap();
        let refusal = |clip: &Clip| HeardClips::default().of("x", clip).unwrap_err().into_refusal().error;
        let mut gone = clip(folder.path(), 1600, 2);
        gone.path = folder.path().join("none.wav");
        assert!(refusal(&gone).ends_with("none.wav: no such audio file; correct the path or fetch the clip"));
        let mut early = clip(folder.path(), 1600, 2);
        early.ears = None;
        assert!(refusal(&early).contains("has not opened its policy yet"));
        let long = clip(folder.path(), 16_000 * LONGEST_SECONDS + 1, 3600);
        assert!(refusal(&long).contains("the model hears more of it than the 600 s"), "{}", refusal(&long));
    }
}
