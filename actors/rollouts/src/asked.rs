//! A prompt in the form in which a server takes it: one audio token per clip, and the clips as WAV files.

use std::sync::{Arc, OnceLock};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use model::Prompt;
use sha2::{Digest, Sha256};

use crate::problem::Problem;

/// Samples per second of all clips.
const RATE: u32 = 16_000;

/// A clip of a prompt.
pub(crate) struct AskedClip {
    /// The same for the same samples; the server keeps the clip under it.
    pub(crate) uuid: String,
    samples: Arc<[f32]>,
    url: OnceLock<String>,
}

impl AskedClip {
    fn new(samples: Arc<[f32]>) -> Self {
        let mut hash = Sha256::new();
        samples.iter().for_each(|sample| hash.update(sample.to_le_bytes()));
        let uuid = hash.finalize()[..12].iter().map(|byte| format!("{byte:02x}")).collect();
        Self { uuid, samples, url: OnceLock::new() }
    }

    /// The clip as a `data:` address.
    pub(crate) fn url(&self) -> &str {
        self.url.get_or_init(|| format!("data:audio/wav;base64,{}", STANDARD.encode(wav(&self.samples))))
    }
}

/// A WAV file of 32-bit floats, so that the server computes its features of the very samples.
fn wav(samples: &[f32]) -> Vec<u8> {
    let bytes = 4 * samples.len() as u32;
    let mut file = Vec::with_capacity(58 + bytes as usize);
    file.extend_from_slice(b"RIFF");
    file.extend_from_slice(&(50 + bytes).to_le_bytes());
    file.extend_from_slice(b"WAVEfmt ");
    file.extend_from_slice(&18_u32.to_le_bytes());
    // IEEE floats, one channel; then bytes per second, per sample, bits per sample, and no extension.
    for part in [3_u16, 1] {
        file.extend_from_slice(&part.to_le_bytes());
    }
    file.extend_from_slice(&RATE.to_le_bytes());
    file.extend_from_slice(&(4 * RATE).to_le_bytes());
    for part in [4_u16, 32, 0] {
        file.extend_from_slice(&part.to_le_bytes());
    }
    // Files of floats say how many samples they have.
    file.extend_from_slice(b"fact");
    file.extend_from_slice(&4_u32.to_le_bytes());
    file.extend_from_slice(&(samples.len() as u32).to_le_bytes());
    file.extend_from_slice(b"data");
    file.extend_from_slice(&bytes.to_le_bytes());
    samples.iter().for_each(|sample| file.extend_from_slice(&sample.to_le_bytes()));
    file
}

/// The place of a clip's tokens in the expanded prompt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Placeholder {
    pub(crate) offset: usize,
    pub(crate) length: usize,
}

/// A prompt as it is asked, and as the server must expand it.
pub(crate) struct AskedPrompt {
    /// With one audio token per clip.
    pub(crate) ids: Vec<i64>,
    /// With an audio token for each row of a clip's features.
    pub(crate) expanded: Vec<i64>,
    pub(crate) placeholders: Vec<Placeholder>,
    pub(crate) clips: Vec<AskedClip>,
    /// Selects the server: the same for the same prompt.
    pub(crate) route: u64,
}

impl AskedPrompt {
    /// Errors: One line: a clip has no samples, or the clips do not fit the placeholders.
    pub(crate) fn of(prompt: &Prompt, audio_token: Option<i64>) -> Result<Self, Problem> {
        let (mut ids, mut placeholders) = (Vec::new(), Vec::<Placeholder>::new());
        for (place, &id) in prompt.ids.iter().enumerate() {
            let continues = placeholders.last().is_some_and(|last| last.offset + last.length == place);
            match (Some(id) == audio_token, continues, placeholders.last_mut()) {
                (true, true, Some(last)) => last.length += 1,
                (true, ..) => {
                    placeholders.push(Placeholder { offset: place, length: 1 });
                    ids.push(id);
                }
                _ => ids.push(id),
            }
        }
        let samples = |clip: &Arc<audio::LogMel>| clip.samples.clone();
        let clips: Option<Vec<_>> = prompt.clips.iter().map(samples).collect();
        let clips =
            clips.ok_or("a clip of a prompt was loaded without its samples, which the servers need")?;
        if clips.len() != placeholders.len() {
            return Err(format!(
                "a prompt has {} clips and {} places for clips; the chat template must write something between two clips",
                clips.len(),
                placeholders.len()
            )
            .into());
        }
        let mut hash = Sha256::new();
        prompt.ids.iter().for_each(|id| hash.update(id.to_le_bytes()));
        let clips: Vec<AskedClip> = clips.into_iter().map(AskedClip::new).collect();
        clips.iter().for_each(|clip| hash.update(&clip.uuid));
        let digest = hash.finalize();
        let route = u64::from_le_bytes(std::array::from_fn(|place| digest[place]));
        Ok(Self { ids, expanded: prompt.ids.clone(), placeholders, clips, route })
    }

    /// The number of tokens up to and including the last of a clip.
    pub(crate) fn after_clips(&self) -> usize {
        self.placeholders.last().map_or(0, |last| last.offset + last.length)
    }
}
