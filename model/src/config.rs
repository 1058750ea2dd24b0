//! `config.json` of a model, as Hugging Face writes it.
//!
//! [`ModelConfig::open`] reads it before any tensor. Both the form of transformers 4 (`rope_theta`, `rope_scaling`) and
//! that of transformers 5 (`rope_parameters`) are read. A key that the file leaves out gets the default of its Hugging
//! Face class: the published Qwen2-Audio-7B omits its hidden size, layers and heads.

mod architecture;
mod audio;
mod section;
mod text;

use std::path::Path;

use serde_json::Value;

use crate::error::{ConfigError, ModelError};
use section::Section;

pub use architecture::Architecture;
pub use audio::AudioConfig;
pub use text::TextConfig;

/// Dimensions of a model.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelConfig {
    /// The model family, which decides how towers, names and templates are built.
    pub architecture: Architecture,
    /// Dimensions of the audio tower; `None` for a text-only model.
    pub audio: Option<AudioConfig>,
    /// Dimensions of the language model.
    pub text: TextConfig,
    /// Ids of the placeholders of images and videos, which this crate does not support.
    pub other_placeholder_ids: Vec<i64>,
    /// Whether the directory holds a larger model, in which the names of this model's tensors begin with `thinker.`.
    pub nested: bool,
}

impl ModelConfig {
    /// Reads `config.json` of a Hugging Face directory.
    ///
    /// Errors: The file cannot be read, is not JSON, or describes a model that this crate does not run.
    pub fn open(dir: &Path) -> Result<ModelConfig, ModelError> {
        let path = dir.join("config.json");
        let text = std::fs::read_to_string(&path).map_err(|source| match source.kind() {
            std::io::ErrorKind::NotFound => ModelError::config(&path, ConfigError::Missing),
            _ => ModelError::io(&path, source),
        })?;
        ModelConfig::parse(&text).map_err(|problem| ModelError::config(&path, problem))
    }

    pub(crate) fn parse(json: &str) -> Result<ModelConfig, ConfigError> {
        let json: Value =
            serde_json::from_str(json).map_err(|error| ConfigError::NotJson { error: error.to_string() })?;
        let top = Section::top(json)?;
        let model_type = top.string("model_type")?.unwrap_or_default();
        let (architecture, nested) = match model_type {
            "qwen2_audio" => (Architecture::Qwen2Audio, false),
            "qwen2_5_omni" => (Architecture::Qwen25Omni, true),
            "qwen2_5_omni_thinker" => (Architecture::Qwen25Omni, false),
            "qwen2" => (Architecture::Qwen2, false),
            "qwen3" => (Architecture::Qwen3, false),
            "llama" => (Architecture::Llama, false),
            other => return Err(ConfigError::ModelType { found: other.to_owned() }),
        };
        let model = if nested { top.section("thinker_config")? } else { top };
        let text = TextConfig::read(architecture, &model)?;
        let audio = match architecture.is_text_only() {
            true => None,
            false => Some(AudioConfig::read(&model, text.vocab_size)?),
        };
        let mut other_placeholder_ids = Vec::new();
        if architecture == Architecture::Qwen25Omni {
            for (kind, published) in [("image", 151_655), ("video", 151_656)] {
                other_placeholder_ids.push(model.token_id(kind, published)?);
            }
        }
        Ok(ModelConfig { architecture, audio, text, other_placeholder_ids, nested })
    }

    /// Prefix of the names of this model's tensors in its directory.
    pub(crate) fn prefix(&self) -> &'static str {
        if self.nested { "thinker." } else { "" }
    }
}

#[cfg(test)]
mod tests;
