//! `config.json` of a model, as Hugging Face writes it.
//!
//! Read by [`crate::Policy::open`] before any tensor. Both the 4.x form (`rope_theta`, `rope_scaling`) and the 5.x form
//! (`rope_parameters`) are read, and what a file leaves out takes the defaults of its Hugging Face class: the published
//! Qwen2-Audio-7B omits its hidden size, layers and heads.

mod section;
mod text;

use std::path::Path;

use serde_json::Value;

use crate::error::ModelError;
use section::Section;

pub use text::TextConfig;

/// The models this crate runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Architecture {
    /// Qwen2-Audio: Whisper's encoder over a window of 30 s, and a Qwen2 decoder.
    Qwen2Audio,
    /// The thinker of Qwen2.5-Omni, audio and text: an encoder over chunks of 2 s, and a Qwen2 decoder with rotary
    /// positions in three sections.
    Qwen25Omni,
    /// Qwen3: text alone.
    Qwen3,
}

/// Dimensions of a model.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelConfig {
    /// What it is.
    pub architecture: Architecture,
    /// The audio tower; none in a model of text.
    pub audio: Option<AudioConfig>,
    /// The language model.
    pub text: TextConfig,
    /// Placeholders of what this crate does not feed the model: images and videos.
    pub other_placeholder_ids: Vec<i64>,
    /// The directory is that of a larger model, in which this one's tensors begin with `thinker.`.
    pub nested: bool,
}

/// Dimensions of the audio tower (a Whisper encoder with a pooling layer).
#[derive(Debug, Clone, PartialEq)]
pub struct AudioConfig {
    /// Id of the `<|AUDIO|>` placeholder.
    pub token_id: i64,
    /// Width.
    pub d_model: i64,
    /// Transformer layers.
    pub encoder_layers: i64,
    /// Attention heads.
    pub encoder_attention_heads: i64,
    /// Width of the feed-forward layers.
    pub encoder_ffn_dim: i64,
    /// Mel bins.
    pub num_mel_bins: i64,
    /// Qwen2-Audio: positions after the convolutions, half the mel frames of a full window.
    pub max_source_positions: i64,
    /// Qwen2.5-Omni: half the mel frames of a chunk.
    pub n_window: i64,
}

impl Architecture {
    /// Its name in messages.
    pub fn name(self) -> &'static str {
        match self {
            Architecture::Qwen2Audio => "Qwen2-Audio",
            Architecture::Qwen25Omni => "Qwen2.5-Omni",
            Architecture::Qwen3 => "Qwen3",
        }
    }
}

impl ModelConfig {
    /// Reads `config.json` of a Hugging Face directory.
    ///
    /// # Errors
    /// The file cannot be read, is not JSON, or describes a model this crate does not run.
    pub fn open(dir: &Path) -> Result<ModelConfig, ModelError> {
        let path = dir.join("config.json");
        let text = std::fs::read_to_string(&path).map_err(|source| match source.kind() {
            std::io::ErrorKind::NotFound => ModelError::config(
                &path,
                "is not there; a model's directory holds config.json, its weights and its tokenizer.json",
            ),
            _ => ModelError::io(&path, source),
        })?;
        ModelConfig::parse(&text).map_err(|message| ModelError::config(&path, message))
    }

    fn parse(json: &str) -> Result<ModelConfig, String> {
        let json: Value = serde_json::from_str(json)
            .map_err(|error| format!("is not JSON ({error}); take it from the model's hub page"))?;
        let top = Section::top(json)?;
        let model_type = top.word("model_type")?.unwrap_or_default();
        let (architecture, nested) = match model_type {
            "qwen2_audio" => (Architecture::Qwen2Audio, false),
            "qwen2_5_omni" => (Architecture::Qwen25Omni, true),
            "qwen2_5_omni_thinker" => (Architecture::Qwen25Omni, false),
            "qwen3" => (Architecture::Qwen3, false),
            other => {
                return Err(format!(
                    "model_type is `{other}`; what can be run is `qwen2_audio`, `qwen2_5_omni`, \
                     `qwen2_5_omni_thinker` and `qwen3`"
                ));
            }
        };
        let model = if nested { top.below("thinker_config")? } else { top };
        let text = TextConfig::read(architecture, &model)?;
        let audio = match architecture {
            Architecture::Qwen3 => None,
            _ => Some(AudioConfig::read(&model, text.vocab_size)?),
        };
        let mut other_placeholder_ids = Vec::new();
        if architecture == Architecture::Qwen25Omni {
            for (kind, published) in [("image", 151_655), ("video", 151_656)] {
                other_placeholder_ids.push(token_id(&model, kind, published)?);
            }
        }
        Ok(ModelConfig { architecture, audio, text, other_placeholder_ids, nested })
    }

    /// What the names of this model's tensors begin with in its directory.
    pub(crate) fn prefix(&self) -> &'static str {
        if self.nested { "thinker." } else { "" }
    }
}

impl AudioConfig {
    fn read(model: &Section, vocab_size: i64) -> Result<AudioConfig, String> {
        let audio = model.below("audio_config")?;
        audio.only("activation_function", "gelu")?;
        let config = AudioConfig {
            token_id: token_id(model, "audio", 151_646)?,
            d_model: audio.size("d_model", 1280)?,
            encoder_layers: audio.size("encoder_layers", 32)?,
            encoder_attention_heads: audio.size("encoder_attention_heads", 20)?,
            encoder_ffn_dim: audio.size("encoder_ffn_dim", 5120)?,
            num_mel_bins: audio.size("num_mel_bins", 128)?,
            max_source_positions: audio.size("max_source_positions", 1500)?,
            n_window: audio.size("n_window", 100)?,
        };
        divides(
            audio.name(),
            ("encoder_attention_heads", config.encoder_attention_heads),
            ("d_model", config.d_model),
        )?;
        if !(0..vocab_size).contains(&config.token_id) {
            return Err(format!(
                "audio_token_index {} is outside the vocabulary of {vocab_size}",
                config.token_id
            ));
        }
        Ok(config)
    }
}

/// The id of a placeholder, under the name of either form.
fn token_id(model: &Section, kind: &str, published: i64) -> Result<i64, String> {
    let stated = match model.integer(&format!("{kind}_token_index"))? {
        None => model.integer(&format!("{kind}_token_id"))?,
        stated => stated,
    };
    Ok(stated.unwrap_or(published))
}

fn divides(section: &str, small: (&str, i64), large: (&str, i64)) -> Result<(), String> {
    if large.1 % small.1 == 0 {
        return Ok(());
    }
    let place = if section.is_empty() { String::new() } else { format!("{section}.") };
    Err(format!("{place}{} {} does not divide {} {}", small.0, small.1, large.0, large.1))
}

#[cfg(test)]
mod tests;
