//! A clip as a server gets it: the part that its limit allows, as a WAV file in the user turn.

use std::path::Path;

use audio::{Hearing, SAMPLE_RATE};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rewards::Question;
use scenarios::{Control, RowCause};
use serde_json::{Value, json};

use crate::sound::fill_with_noise;

/// A clip as it is sent.
#[derive(Clone, Debug)]
pub struct SentClip {
    /// The bytes of a WAV file: 16-bit, 16 kHz, mono.
    pub wav: Vec<u8>,
    /// Where in its file it begins, in seconds.
    pub start: f64,
    /// Whether the clip is longer than what is sent.
    pub was_cut: bool,
}

/// Why a clip can't be sent.
#[derive(Clone, Debug)]
pub struct ClipUnusable {
    /// The cause under which its row is counted.
    pub cause: RowCause,
    /// The file and what is wrong with it.
    pub message: String,
}

/// What to hear of a question's clip if at most `seconds` of it are sent: one sample more, which shows that it is longer.
pub fn hearing(question: &Question, seconds: f64) -> Hearing {
    let most = ((seconds * f64::from(SAMPLE_RATE)) as usize).max(1);
    Hearing {
        start: question.start.unwrap_or(0.0),
        end: question.end,
        samples: Some(most + 1),
        ..Hearing::default()
    }
}

/// Decodes a clip, and puts in its place what the control wants. Blocks.
///
/// Errors: [`ClipUnusable`]: it can't be decoded, or it is silent although no control wants that.
pub fn sent_clip(path: &Path, hearing: &Hearing, control: Option<Control>) -> Result<SentClip, ClipUnusable> {
    let most = hearing.samples.map_or(usize::MAX, |samples| samples - 1);
    let clip = audio::load(path, hearing)
        .map_err(|error| ClipUnusable { cause: RowCause::AudioUnreadable, message: error.to_string() })?;
    let mut samples = clip.samples;
    let was_cut = samples.len() > most;
    samples.truncate(most);
    match control {
        Some(Control::Silence) => samples.fill(0.0),
        Some(Control::Noise) => fill_with_noise(&mut samples, path, 0),
        _ if samples.iter().all(|&sample| sample == 0.0) => {
            let message =
                format!("{}: every sample of the clip is 0; drop it from the data set", path.display());
            return Err(ClipUnusable { cause: RowCause::AudioSilent, message });
        }
        _ => {}
    }
    Ok(SentClip { wav: audio::wav_16_bit(&samples), start: clip.start, was_cut })
}

/// The content of a user turn: the clip in front of its text, or the text alone.
pub fn user_content(text: &str, wav: Option<&[u8]>) -> Value {
    match wav {
        Some(wav) => json!([
            { "type": "input_audio", "input_audio": { "data": STANDARD.encode(wav), "format": "wav" } },
            { "type": "text", "text": text },
        ]),
        None => json!(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clip(samples: &[f32], seconds: f64, control: Option<Control>) -> Result<SentClip, ClipUnusable> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.wav");
        std::fs::write(&path, audio::wav_16_bit(samples)).unwrap();
        sent_clip(&path, &hearing(&Question::default(), seconds), control)
    }

    #[test]
    fn a_clip_is_cut_at_the_limit_and_not_before() {
        let two_seconds = vec![0.5; 32_000];
        // 44 bytes of header, and 2 bytes per sample.
        for (seconds, bytes, was_cut) in [(1.0, 32_044, true), (2.0, 64_044, false), (3.0, 64_044, false)] {
            let sent = clip(&two_seconds, seconds, None).unwrap();
            assert_eq!((sent.wav.len(), sent.was_cut), (bytes, was_cut), "{seconds} s");
        }
    }

    #[test]
    fn a_silent_clip_is_unusable_unless_a_control_wants_silence() {
        let silent = vec![0.0; 1_000];
        assert_eq!(clip(&silent, 1.0, None).unwrap_err().cause, RowCause::AudioSilent);
        assert_eq!(clip(&silent, 1.0, Some(Control::OtherClip)).unwrap_err().cause, RowCause::AudioSilent);
        let sound = vec![0.5; 1_000];
        let heard = clip(&sound, 1.0, Some(Control::Silence)).unwrap().wav;
        assert!(heard[44..].iter().all(|&byte| byte == 0) && heard.len() == 2_044);
        let noise = clip(&sound, 1.0, Some(Control::Noise)).unwrap().wav;
        assert!(noise.len() == 2_044 && noise[44..].iter().any(|&byte| byte != 0));
    }
}
