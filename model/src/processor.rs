//! From text and clips to token ids, and from token ids to text.
//!
//! Loader threads turn a question and its clips into a [`Prompt`] before the model runs. The completions that the model
//! generates are decoded here too.
//!
//! - `PROMPT-1` Each clip has one `<|AUDIO|>` placeholder in the prompt for each row of its features, in the
//!   order of the clips.

mod files;
mod generation;
mod shared_clips;
mod special;
mod template;
mod turn;

use std::path::Path;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tokenizers::Tokenizer;

use crate::config::{Architecture, ModelConfig};
use crate::error::{InputError, ModelError, ProcessorError};
use crate::sampling::SamplingParams;
use crate::tower::token_counts;
use audio::{FeatureConfig, FeatureExtractor, LogMel};
use generation::Generation;
use special::{check_audio_token, suppressed_ids};
use template::ChatTemplate;

pub use turn::Turn;

/// The token ids and clips of one prompt, ready for the model.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Prompt {
    /// Token ids, with one audio placeholder for each row of a clip's features.
    pub ids: Vec<i64>,
    /// The log-mel features of the clips, in the order of their placeholders.
    #[serde(with = "shared_clips")]
    pub clips: Vec<Arc<LogMel>>,
}

/// The tokenizer, chat template and feature extractor of a model. Clones share them and can be used from any thread.
#[derive(Clone)]
pub struct Processor {
    shared: Arc<Shared>,
}

struct Shared {
    tokenizer: Tokenizer,
    template: ChatTemplate,
    architecture: Architecture,
    audio: Option<AudioPart>,
    generation: Generation,
    suppressed_ids: Vec<i64>,
}

/// The part of a processor that text-only models do not have.
struct AudioPart {
    features: FeatureExtractor,
    token_id: i64,
}

impl Processor {
    /// Opens the processor of a Hugging Face directory: `tokenizer.json`, the chat template, the end-of-sequence ids
    /// and, for a model with an audio tower, `preprocessor_config.json`.
    ///
    /// Errors: A file is missing, cannot be parsed, or contradicts `config.json`; the message names it.
    pub fn open(dir: &Path) -> Result<Processor, ModelError> {
        Processor::with_config(dir, &ModelConfig::open(dir)?)
    }

    pub(crate) fn with_config(dir: &Path, config: &ModelConfig) -> Result<Processor, ModelError> {
        let path = dir.join("tokenizer.json");
        let bytes = std::fs::read(&path).map_err(|source| match source.kind() {
            std::io::ErrorKind::NotFound => ModelError::processor(&path, ProcessorError::Missing),
            _ => ModelError::io(&path, source),
        })?;
        let tokenizer = Tokenizer::from_bytes(bytes).map_err(|error| {
            ModelError::processor(&path, ProcessorError::Tokenizer { error: error.to_string() })
        })?;
        let (tokens, vocab_size) = (tokenizer.get_vocab_size(true) as i64, config.text.vocab_size);
        if tokens > vocab_size {
            return Err(ModelError::processor(&path, ProcessorError::TooManyTokens { tokens, vocab_size }));
        }
        let audio = match &config.audio {
            Some(audio) => {
                check_audio_token(&tokenizer, audio.token_id)
                    .map_err(|problem| ModelError::processor(&path, problem))?;
                Some(AudioPart { features: FeatureExtractor::open(dir)?, token_id: audio.token_id })
            }
            None => None,
        };
        let generation = Generation::open(dir, config, &tokenizer)?;
        let shared = Shared {
            suppressed_ids: suppressed_ids(&tokenizer, config, &generation.eos_ids),
            template: ChatTemplate::open(dir, config.architecture)?,
            architecture: config.architecture,
            tokenizer,
            audio,
            generation,
        };
        Ok(Processor { shared: Arc::new(shared) })
    }

    /// The prompt of one user turn, which consists of the clips and then the text, and of the beginning
    /// of the assistant's turn.
    ///
    /// Errors: The template fails, the text contains the audio placeholder, or there are clips and the model
    /// is a text-only model.
    pub fn prompt(&self, user_text: &str, clips: &[Arc<LogMel>]) -> Result<Prompt, ModelError> {
        self.with_clips(&self.shared.template.render(user_text, clips.len())?, clips)
    }

    /// The prompt of a conversation, up to the beginning of the assistant's next turn.
    ///
    /// Errors: As for [`Self::prompt`].
    pub fn conversation(&self, turns: &[Turn]) -> Result<Prompt, ModelError> {
        let clips: Vec<Arc<LogMel>> = turns.iter().flat_map(|turn| &turn.clips).cloned().collect();
        self.with_clips(&self.shared.template.render_turns(turns)?, &clips)
    }

    /// The prompt of a rendered text, in which each placeholder is repeated for every row of its clip's features.
    fn with_clips(&self, rendered: &str, clips: &[Arc<LogMel>]) -> Result<Prompt, ModelError> {
        if !clips.is_empty() {
            self.audio_part()?;
        }
        let audio = self.audio_token_id();
        let mut ids = Vec::new();
        let mut next = clips.iter();
        for id in self.encode(rendered) {
            if Some(id) != audio {
                ids.push(id);
                continue;
            }
            let Some(clip) = next.next() else {
                return Err(InputError::PlaceholderInText { clips: clips.len() }.into());
            };
            let (_, tokens) = token_counts(clip.valid_frames);
            ids.extend(std::iter::repeat_n(id, tokens as usize));
        }
        if next.next().is_some() {
            return Err(InputError::PlaceholdersMissing { clips: clips.len() }.into());
        }
        Ok(Prompt { ids, clips: clips.to_vec() })
    }

    /// Number of tokens of the prompt of one user turn with so many clips, without the clips' own tokens.
    ///
    /// Errors: The template fails, or the text contains the audio placeholder.
    pub fn text_tokens(&self, user_text: &str, clips: usize) -> Result<usize, ModelError> {
        let ids = self.encode(&self.shared.template.render(user_text, clips)?);
        let placeholders = ids.iter().filter(|&&id| Some(id) == self.audio_token_id()).count();
        if placeholders > clips {
            return Err(InputError::PlaceholderInText { clips }.into());
        }
        Ok(ids.len() - placeholders)
    }

    /// Number of tokens of a clip that fills the model's window; 0 for a text-only model.
    pub fn max_clip_tokens(&self) -> usize {
        self.window_seconds().map_or(0, |window| self.clip_tokens(window as f64))
    }

    /// Number of tokens of a clip of so many seconds, of which the model hears its window; 0 for a text-only model.
    pub fn clip_tokens(&self, seconds: f64) -> usize {
        let Some(audio) = &self.shared.audio else { return 0 };
        let config = audio.features.config();
        let samples = (seconds.max(0.0) * config.sampling_rate as f64).ceil() as usize;
        let window = config.chunk_length_seconds * config.sampling_rate / config.hop;
        token_counts(samples.div_ceil(config.hop).min(window)).1 as usize
    }

    /// The prompt of a system turn and a user turn without clips, and of the beginning of the assistant's turn. If the
    /// template has a switch for the model's thinking, it is off.
    ///
    /// Errors: The template cannot be rendered; the message names its file.
    pub fn chat(&self, system: &str, user: &str) -> Result<Prompt, ModelError> {
        let rendered = self.shared.template.render_chat(system, user)?;
        Ok(Prompt { ids: self.encode(&rendered), clips: Vec::new() })
    }

    /// The token ids of a text. Special tokens that are spelled out in the text become their ids.
    ///
    /// Panics: The tokenizer cannot encode the text. Byte-level tokenizers, as those of Qwen and SmolLM2, can encode any text.
    pub fn encode(&self, text: &str) -> Vec<i64> {
        let encoding = self.shared.tokenizer.encode_fast(text, false).expect("a byte-level tokenizer");
        encoding.get_ids().iter().map(|&id| i64::from(id)).collect()
    }

    /// The token ids of a text that begins a sequence, such as a document that a base model continues: with the tokens
    /// that its tokenizer puts before every text, such as Llama's beginning of a text, and none after it.
    ///
    /// Panics: As [`Self::encode`].
    pub fn encode_beginning(&self, text: &str) -> Vec<i64> {
        let own = self.encode(text);
        let encoding = self.shared.tokenizer.encode_fast(text, true).expect("a byte-level tokenizer");
        let mut ids: Vec<i64> = encoding.get_ids().iter().map(|&id| i64::from(id)).collect();
        let begins = (0..=ids.len() - own.len().min(ids.len())).find(|&at| ids[at..].starts_with(&own));
        match begins {
            Some(at) => {
                ids.truncate(at + own.len());
                ids
            }
            None => own,
        }
    }

    /// Whether the model was made for turns of a conversation: its directory has a chat template, or `<|im_end|>`, which ends
    /// the turns of the default template, ends its completions. A base model does neither.
    pub fn takes_turns(&self) -> bool {
        let end = self.shared.tokenizer.token_to_id("<|im_end|>").map(i64::from);
        self.shared.template.is_own() || end.is_some_and(|end| self.eos_ids().contains(&end))
    }

    /// The text of some token ids. Special tokens, and ids without a token, are left out.
    ///
    /// Panics: The tokenizer's decoder fails, which a byte-level decoder never does.
    pub fn decode(&self, ids: &[i64]) -> String {
        let ids: Vec<u32> = ids.iter().filter_map(|&id| u32::try_from(id).ok()).collect();
        self.shared.tokenizer.decode(&ids, true).expect("a byte-level decoder")
    }

    /// The id of the token whose text is exactly this. `None` if there is no such token, or if the text
    /// is not printable ASCII.
    pub(crate) fn token_id(&self, text: &str) -> Option<i64> {
        // Byte-level vocabularies contain printable ASCII unchanged, except for the space, which is written `Ġ`.
        let printable = text.bytes().all(|byte| (b' '..=b'~').contains(&byte));
        let id = self.shared.tokenizer.token_to_id(&text.replace(' ', "Ġ")).filter(|_| printable)?;
        let added = self.shared.tokenizer.get_added_vocabulary().is_special_token(text);
        (!added).then_some(i64::from(id))
    }

    /// The texts of all special tokens, in the order of their ids.
    pub fn special_tokens(&self) -> Vec<String> {
        let added = self.shared.tokenizer.get_added_tokens_decoder();
        let mut tokens: Vec<(u32, String)> = added
            .into_iter()
            .filter(|(_, token)| token.special)
            .map(|(id, token)| (id, token.content))
            .collect();
        tokens.sort();
        tokens.into_iter().map(|(_, text)| text).collect()
    }

    /// The end-of-sequence ids, each of which ends a completion.
    pub fn eos_ids(&self) -> &[i64] {
        &self.shared.generation.eos_ids
    }

    /// The sampling parameters of `generation_config.json`, with transformers' defaults: greedy decoding unless it sets
    /// `do_sample`. A repetition penalty is ignored.
    pub fn sampling_defaults(&self) -> SamplingParams {
        self.shared.generation.sampling
    }

    /// The id of the `<|AUDIO|>` placeholder; `None` for a text-only model.
    pub fn audio_token_id(&self) -> Option<i64> {
        self.shared.audio.as_ref().map(|audio| audio.token_id)
    }

    /// The ids that are never drawn: rows of the vocabulary without a token, and special tokens that do
    /// not end a completion. A placeholder in a completion, for example, would have no features when
    /// its log-probabilities are computed.
    pub fn suppressed_ids(&self) -> &[i64] {
        &self.shared.suppressed_ids
    }

    /// The features of a clip, as this model's tower takes them. A clip longer than the window of
    /// `preprocessor_config.json` is cut off there and marked as [`LogMel::truncated`].
    ///
    /// Shapes: `samples`: any number @ 16 kHz, f32, mono → log-mel `[bins, frames]`, f32
    ///
    /// Errors: The model is a text-only model and has no feature extractor.
    pub fn extract(&self, samples: &[f32]) -> Result<LogMel, ModelError> {
        let features = &self.audio_part()?.features;
        Ok(if self.pads_clips() { features.extract(samples) } else { features.extract_valid(samples) })
    }

    /// Whether the features of a clip are padded to the window.
    pub fn pads_clips(&self) -> bool {
        // Qwen2.5-Omni's tower does not use the padding, which would fill a window of 300 s: 15 MB for each clip.
        self.shared.architecture != Architecture::Qwen25Omni
    }

    /// Number of tokens of a clip of so many seconds that is heard in up to `most` windows.
    pub fn window_tokens(&self, seconds: f64, most: usize) -> usize {
        let Some(window) = self.window_seconds().filter(|_| most > 1) else {
            return self.clip_tokens(seconds);
        };
        let full = ((seconds / window as f64) as usize).min(most);
        let rest = if full < most { seconds - (full * window) as f64 } else { 0.0 };
        full * self.max_clip_tokens() + self.clip_tokens(rest)
    }

    /// Length of the part of a clip that the model processes, in seconds, rounded up to a hop; `None`
    /// for a text-only model.
    pub fn seconds(&self, clip: &LogMel) -> Option<f64> {
        self.shared.audio.as_ref().map(|audio| audio.features.seconds(clip))
    }

    /// Longest clip that the model processes, in seconds; `None` for a text-only model.
    pub fn window_seconds(&self) -> Option<usize> {
        self.shared.audio.as_ref().map(|audio| audio.features.config().chunk_length_seconds)
    }

    /// The dimensions of the features of its clips; `None` for a text-only model.
    pub fn feature_config(&self) -> Option<&FeatureConfig> {
        self.shared.audio.as_ref().map(|audio| audio.features.config())
    }

    fn audio_part(&self) -> Result<&AudioPart, ModelError> {
        let architecture = self.shared.architecture.name();
        Ok(self.shared.audio.as_ref().ok_or(InputError::TextOnly { architecture })?)
    }
}
