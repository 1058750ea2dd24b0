//! The clip of a completion, for judges that hear it (`judge.hears_clip`).

use std::sync::Arc;

use audio::{SAMPLE_RATE, wav_16_bit};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rewards::judge::guard::content_hash;
use rewards::{FailureCause, JudgeFailure};
use scenarios::OpenaiJudgeConfig;
use serde_json::{Value, json};

/// What the policy heard of a clip: samples @ 16 kHz, f32, mono.
#[derive(Clone, Debug, PartialEq)]
pub struct JudgeClip(pub Vec<f32>);

/// The clips of several completions, one for each; `None` where there is none.
pub type JudgeClips = [Option<Arc<JudgeClip>>];

/// The clip of one of several completions.
pub fn clip_at(clips: &JudgeClips, place: usize) -> Option<&Arc<JudgeClip>> {
    clips.get(place).and_then(Option::as_ref)
}

/// A clip as it is sent to a server: the beginning that its limit allows, as a WAV file.
#[derive(Clone, Debug, PartialEq)]
pub struct SentClip(Vec<u8>);

impl SentClip {
    /// The clip for a server with these settings; `None` for a server that hears none.
    pub fn of(clip: Option<&Arc<JudgeClip>>, settings: &OpenaiJudgeConfig) -> Option<Self> {
        let clip = clip.filter(|_| settings.hears_clip)?;
        let most = (settings.clip_seconds * f64::from(SAMPLE_RATE)) as usize;
        Some(Self(wav_16_bit(&clip.0[..clip.0.len().min(most)])))
    }

    /// A hash of its content, as part of a cache key.
    pub fn hash(&self) -> String {
        // The bytes of a WAV file are no text, so they are hashed as their base64 form.
        let hash = content_hash(&[&self.base64()]);
        hash.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn base64(&self) -> String {
        STANDARD.encode(&self.0)
    }
}

/// The failure of a request that lacks the clip that the judge is to hear.
pub fn no_clip() -> JudgeFailure {
    JudgeFailure::new(FailureCause::NoClip, "the clip that the judge is to hear could not be read")
}

/// The content of a user turn: the clip in front of its text, or the text alone.
pub fn user_content(text: &str, clip: Option<&SentClip>) -> Value {
    match clip {
        Some(clip) => json!([
            { "type": "input_audio", "input_audio": { "data": clip.base64(), "format": "wav" } },
            { "type": "text", "text": text },
        ]),
        None => json!(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clip_is_cut_at_the_limit_of_its_server_and_sent_to_those_that_hear() {
        let clip = Some(Arc::new(JudgeClip(vec![0.5; 32_000])));
        let settings = |hears_clip, clip_seconds| OpenaiJudgeConfig {
            hears_clip,
            clip_seconds,
            ..OpenaiJudgeConfig::default()
        };
        // 44 bytes of header, and 2 bytes per sample.
        for (seconds, bytes) in [(1.0, 32_044), (2.0, 64_044), (30.0, 64_044)] {
            assert_eq!(SentClip::of(clip.as_ref(), &settings(true, seconds)).unwrap().0.len(), bytes);
        }
        assert_eq!(SentClip::of(clip.as_ref(), &settings(false, 1.0)), None);
        assert_eq!(SentClip::of(None, &settings(true, 1.0)), None);
        let one = SentClip::of(clip.as_ref(), &settings(true, 1.0)).unwrap();
        let other = Some(Arc::new(JudgeClip(vec![0.25; 32_000])));
        let other = SentClip::of(other.as_ref(), &settings(true, 1.0)).unwrap();
        assert_ne!(one.hash(), other.hash());
        let content = user_content("hm", Some(&one));
        assert_eq!(STANDARD.decode(content[0]["input_audio"]["data"].as_str().unwrap()).unwrap(), one.0);
        assert_eq!(content[1]["text"], "hm");
    }
}
