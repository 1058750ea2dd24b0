//! From words and clips to token ids, and back.
//!
//! Stands before everything else: the loader's threads turn a question and its clips into a [`Prompt`] here, and what
//! the model writes is decoded here.
//!
//! - PROMPT-1 each clip stands in the prompt as one `<|AUDIO|>` per row of its features, in the order of the clips.

mod generation;
mod template;

use std::path::Path;
use std::sync::Arc;

use tokenizers::Tokenizer;

use crate::audio::{FeatureExtractor, LogMel};
use crate::config::{Architecture, ModelConfig};
use crate::error::ModelError;
use crate::sampling::SamplingParams;
use crate::tower::token_counts;
use generation::Generation;
use template::ChatTemplate;

/// Ids and clips of one prompt, ready for the model.
#[derive(Debug, Clone)]
pub struct Prompt {
    /// Token ids, the audio placeholders already expanded.
    pub ids: Vec<i64>,
    /// The clips, in the order of their placeholders.
    pub clips: Vec<Arc<LogMel>>,
}

/// Tokenizer, chat template and feature extractor of a model. Clones share them; use it from any thread.
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

/// What a model that hears has besides.
struct AudioPart {
    features: FeatureExtractor,
    token_id: i64,
}

impl Processor {
    /// Reads `tokenizer.json`, the chat template, the end-of-sequence ids and, for a model that hears,
    /// `preprocessor_config.json` of a Hugging Face directory.
    ///
    /// # Errors
    /// A file is missing or not what it should be; the message names it.
    pub fn open(dir: &Path) -> Result<Processor, ModelError> {
        Processor::with_config(dir, &ModelConfig::open(dir)?)
    }

    pub(crate) fn with_config(dir: &Path, config: &ModelConfig) -> Result<Processor, ModelError> {
        let path = dir.join("tokenizer.json");
        let bytes = std::fs::read(&path).map_err(|source| match source.kind() {
            std::io::ErrorKind::NotFound => {
                ModelError::processor(&path, "is not there; copy it from the model's hub page")
            }
            _ => ModelError::io(&path, source),
        })?;
        let tokenizer =
            Tokenizer::from_bytes(bytes).map_err(|error| ModelError::processor(&path, error.to_string()))?;
        let size = tokenizer.get_vocab_size(true) as i64;
        if size > config.text.vocab_size {
            let message = format!("has {size} tokens; the model has room for {}", config.text.vocab_size);
            return Err(ModelError::processor(&path, message));
        }
        let audio = match &config.audio {
            Some(audio) => {
                check_audio_token(&tokenizer, audio.token_id)
                    .map_err(|message| ModelError::processor(&path, message))?;
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

    /// A user's turn with these clips before its text, up to where the assistant begins to write.
    ///
    /// # Errors
    /// The template fails, the text itself contains the audio placeholder, or there are clips and the model hears nothing.
    pub fn prompt(&self, user_text: &str, clips: &[Arc<LogMel>]) -> Result<Prompt, ModelError> {
        if !clips.is_empty() {
            self.audio_part()?;
        }
        let rendered = self.shared.template.render(user_text, clips.len())?;
        let audio = self.audio_token_id();
        let mut ids = Vec::new();
        let mut next = clips.iter();
        for id in self.encode(&rendered) {
            if Some(id) != audio {
                ids.push(id);
                continue;
            }
            let Some(clip) = next.next() else {
                return Err(ModelError::input(format!(
                    "the prompt has more `<|AUDIO|>` placeholders than its {} clip(s); take the placeholder out of the text",
                    clips.len()
                )));
            };
            let (_, tokens) = token_counts(clip.valid_frames);
            ids.extend(std::iter::repeat_n(id, tokens as usize));
        }
        if next.next().is_some() {
            let message =
                format!("the chat template places fewer audio placeholders than the {} clip(s)", clips.len());
            return Err(ModelError::input(message));
        }
        Ok(Prompt { ids, clips: clips.to_vec() })
    }

    /// A system's and a user's turn without clips, up to where the assistant begins to write. A template that can turn the
    /// model's thinking off has done so.
    ///
    /// # Errors
    /// The template fails.
    pub fn chat(&self, system: &str, user: &str) -> Result<Prompt, ModelError> {
        let rendered = self.shared.template.render_chat(system, user)?;
        Ok(Prompt { ids: self.encode(&rendered), clips: Vec::new() })
    }

    /// Token ids of a text; special tokens written out in it are recognised.
    ///
    /// # Panics
    /// The tokenizer cannot split some text into tokens. A byte-level one, as all Qwen models have, always can.
    pub fn encode(&self, text: &str) -> Vec<i64> {
        let encoding = self.shared.tokenizer.encode_fast(text, false).expect("a byte-level tokenizer");
        encoding.get_ids().iter().map(|&id| i64::from(id)).collect()
    }

    /// The text of token ids, without special tokens and without ids that stand for no token.
    ///
    /// # Panics
    /// The tokenizer's decoder fails. A byte-level one does not.
    pub fn decode(&self, ids: &[i64]) -> String {
        let ids: Vec<u32> = ids.iter().filter_map(|&id| u32::try_from(id).ok()).collect();
        self.shared.tokenizer.decode(&ids, true).expect("a byte-level decoder")
    }

    /// The id of the token that writes exactly this; none if there is none, or if the text is not printable ASCII.
    pub(crate) fn written_id(&self, text: &str) -> Option<i64> {
        // Byte-level vocabularies spell printable ASCII as it is, and the space with a letter of its own.
        let printable = text.bytes().all(|byte| (b' '..=b'~').contains(&byte));
        let id = self.shared.tokenizer.token_to_id(&text.replace(' ', "Ġ")).filter(|_| printable)?;
        let added = self.shared.tokenizer.get_added_vocabulary().is_special_token(text);
        (!added).then_some(i64::from(id))
    }

    /// The special tokens, as they are written out.
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

    /// The ids that end a completion.
    pub fn eos_ids(&self) -> &[i64] {
        &self.shared.generation.eos_ids
    }

    /// How the model's makers would sample: `generation_config.json` with transformers' defaults, greedily unless it says
    /// `do_sample`. A repetition penalty is not applied.
    pub fn sampling_defaults(&self) -> SamplingParams {
        self.shared.generation.sampling
    }

    /// The id of the `<|AUDIO|>` placeholder, for a model that hears.
    pub fn audio_token_id(&self) -> Option<i64> {
        self.shared.audio.as_ref().map(|audio| audio.token_id)
    }

    /// The ids that are never drawn: special tokens that do not end a completion, one of which would break the
    /// completion's next reading, and rows of the vocabulary that stand for no token.
    pub fn suppressed_ids(&self) -> &[i64] {
        &self.shared.suppressed_ids
    }

    /// Features of a clip @ 16 kHz, as this model takes them. A clip beyond the window of `preprocessor_config.json` loses
    /// its end ([`LogMel::truncated`]).
    ///
    /// # Errors
    /// The model hears nothing.
    pub fn extract(&self, samples: &[f32]) -> Result<LogMel, ModelError> {
        let features = &self.audio_part()?.features;
        Ok(match self.shared.architecture {
            // Its tower reads no padding, and a window of 300 s of it would be 15 MB a clip.
            Architecture::Qwen25Omni => features.extract_valid(samples),
            _ => features.extract(samples),
        })
    }

    /// Length of a clip as the model hears it, in seconds, up to one hop; `None` for a model without ears.
    pub fn seconds(&self, clip: &LogMel) -> Option<f64> {
        self.shared.audio.as_ref().map(|audio| audio.features.seconds(clip))
    }

    /// Seconds of a clip that are heard; none for a model that hears nothing.
    pub fn window_seconds(&self) -> Option<usize> {
        self.shared.audio.as_ref().map(|audio| audio.features.config().chunk_length_seconds)
    }

    fn audio_part(&self) -> Result<&AudioPart, ModelError> {
        let name = self.shared.architecture.name();
        self.shared.audio.as_ref().ok_or_else(|| ModelError::input(format!("{name} takes no audio")))
    }
}

/// The placeholder that templates write must be the token that `config.json` says it is.
fn check_audio_token(tokenizer: &Tokenizer, expected: i64) -> Result<(), String> {
    const PLACEHOLDER: &str = "<|AUDIO|>";
    let advice = "take tokenizer.json and config.json from the same model";
    match tokenizer.token_to_id(PLACEHOLDER).map(i64::from) {
        Some(found) if found == expected => Ok(()),
        Some(found) => Err(format!(
            "`{PLACEHOLDER}` is token {found}; config.json says audio_token_index {expected}: {advice}"
        )),
        None => {
            Err(format!("has no token `{PLACEHOLDER}`, which config.json says is token {expected}: {advice}"))
        }
    }
}

fn suppressed_ids(tokenizer: &Tokenizer, config: &ModelConfig, eos_ids: &[i64]) -> Vec<i64> {
    let added = tokenizer.get_added_tokens_decoder();
    let written = |id: i64| {
        let id = id as u32;
        tokenizer.id_to_token(id).is_some() && added.get(&id).is_none_or(|token| !token.special)
    };
    let audio = config.audio.iter().map(|audio| audio.token_id);
    let placeholders: Vec<i64> = audio.chain(config.other_placeholder_ids.iter().copied()).collect();
    let suppressed = |id: &i64| placeholders.contains(id) || !(written(*id) || eos_ids.contains(id));
    (0..config.text.vocab_size).filter(suppressed).collect()
}

fn read_if_present(path: &Path) -> Result<Option<String>, ModelError> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(ModelError::io(path, source)),
    }
}
