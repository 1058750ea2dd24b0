//! From words and clips to token ids, and back.
//!
//! Stands before everything else: the loader's threads turn a question and its clips into a [`Prompt`] here, and what
//! the model writes is decoded here.
//!
//! - PROMPT-1 each clip stands in the prompt as one `<|AUDIO|>` per row of its features, in the order of the clips.

mod template;

use std::path::Path;
use std::sync::Arc;

use tokenizers::Tokenizer;

use crate::audio::{FeatureExtractor, LogMel};
use crate::config::{ModelConfig, TokenIds};
use crate::error::ModelError;
use crate::tower::token_counts;
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
    features: FeatureExtractor,
    audio_token_id: i64,
    eos_ids: Vec<i64>,
    suppressed_ids: Vec<i64>,
}

impl Processor {
    /// Reads `tokenizer.json`, the chat template, `preprocessor_config.json` and the end-of-sequence ids of a Hugging Face
    /// directory.
    ///
    /// # Errors
    /// A file is missing or not what it should be; the message names it.
    pub fn open(dir: &Path) -> Result<Processor, ModelError> {
        Processor::with_config(dir, &ModelConfig::open(dir)?)
    }

    pub(crate) fn with_config(dir: &Path, config: &ModelConfig) -> Result<Processor, ModelError> {
        let path = dir.join("tokenizer.json");
        let bytes = std::fs::read(&path).map_err(|source| ModelError::io(&path, source))?;
        let tokenizer =
            Tokenizer::from_bytes(bytes).map_err(|error| ModelError::processor(&path, error.to_string()))?;
        let size = tokenizer.get_vocab_size(true) as i64;
        if size > config.text.vocab_size {
            let message = format!("has {size} tokens; the model has room for {}", config.text.vocab_size);
            return Err(ModelError::processor(&path, message));
        }
        let eos_ids = eos_ids(dir, config, &tokenizer)?;
        let suppressed_ids = suppressed_ids(&tokenizer, config, &eos_ids);
        let shared = Shared {
            template: ChatTemplate::open(dir)?,
            features: FeatureExtractor::open(dir)?,
            audio_token_id: config.audio_token_id,
            tokenizer,
            eos_ids,
            suppressed_ids,
        };
        Ok(Processor { shared: Arc::new(shared) })
    }

    /// A user's turn with these clips before its text, up to where the assistant begins to write.
    ///
    /// # Errors
    /// The template fails, or the text itself contains the audio placeholder.
    pub fn prompt(&self, user_text: &str, clips: &[Arc<LogMel>]) -> Result<Prompt, ModelError> {
        let rendered = self.shared.template.render(user_text, clips.len())?;
        let audio = self.shared.audio_token_id;
        let mut ids = Vec::new();
        let mut next = clips.iter();
        for id in self.encode(&rendered) {
            if id != audio {
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
            ids.extend(std::iter::repeat_n(audio, tokens as usize));
        }
        if next.next().is_some() {
            let message =
                format!("the chat template places fewer audio placeholders than the {} clip(s)", clips.len());
            return Err(ModelError::input(message));
        }
        Ok(Prompt { ids, clips: clips.to_vec() })
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

    /// The ids that end a completion.
    pub fn eos_ids(&self) -> &[i64] {
        &self.shared.eos_ids
    }

    /// The id of the `<|AUDIO|>` placeholder.
    pub fn audio_token_id(&self) -> i64 {
        self.shared.audio_token_id
    }

    /// The ids that are never drawn: special tokens that do not end a completion, one of which would break the
    /// completion's next reading, and rows of the vocabulary that stand for no token.
    pub fn suppressed_ids(&self) -> &[i64] {
        &self.shared.suppressed_ids
    }

    /// What turns samples into the features this model takes.
    pub fn features(&self) -> &FeatureExtractor {
        &self.shared.features
    }
}

/// From `generation_config.json`, else `config.json`, else the tokenizer's configuration.
fn eos_ids(dir: &Path, config: &ModelConfig, tokenizer: &Tokenizer) -> Result<Vec<i64>, ModelError> {
    #[derive(serde::Deserialize)]
    struct Generation {
        eos_token_id: Option<TokenIds>,
    }
    let path = dir.join("generation_config.json");
    if let Some(text) = read_if_present(&path)? {
        let generation: Generation =
            serde_json::from_str(&text).map_err(|error| ModelError::processor(&path, error.to_string()))?;
        if let Some(ids) = generation.eos_token_id {
            return Ok(ids.into_vec());
        }
    }
    if let Some(ids) = &config.text.eos_token_ids {
        return Ok(ids.clone());
    }
    let id = tokenizer.token_to_id("<|im_end|>").ok_or_else(|| {
        ModelError::processor(
            dir.join("tokenizer.json"),
            "has no `<|im_end|>`, and no file names an eos_token_id",
        )
    })?;
    Ok(vec![i64::from(id)])
}

fn suppressed_ids(tokenizer: &Tokenizer, config: &ModelConfig, eos_ids: &[i64]) -> Vec<i64> {
    let added = tokenizer.get_added_tokens_decoder();
    let written = |id: i64| {
        let id = id as u32;
        tokenizer.id_to_token(id).is_some() && added.get(&id).is_none_or(|token| !token.special)
    };
    let suppressed = |id: &i64| *id == config.audio_token_id || !(written(*id) || eos_ids.contains(id));
    (0..config.text.vocab_size).filter(suppressed).collect()
}

fn read_if_present(path: &Path) -> Result<Option<String>, ModelError> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(ModelError::io(path, source)),
    }
}
