//! `config.json` of a Qwen2-Audio, as Hugging Face writes it.
//!
//! Read by [`crate::Policy::open`] before any tensor. Both the 4.x form (`rope_theta`, `rope_scaling`) and the 5.x form
//! (`rope_parameters`) are read, and what the text part leaves out takes `Qwen2Config`'s defaults: the published
//! Qwen2-Audio-7B omits its hidden size, layers and heads.

use std::path::Path;

use serde::Deserialize;
use serde_json::Value;

use crate::error::ModelError;

/// Dimensions of a Qwen2-Audio model.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelConfig {
    /// The audio tower.
    pub audio: AudioConfig,
    /// The language model.
    pub text: TextConfig,
    /// Id of the `<|AUDIO|>` placeholder.
    pub audio_token_id: i64,
}

/// Dimensions of the audio tower (a Whisper encoder with a pooling layer).
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default)]
pub struct AudioConfig {
    /// Width.
    pub d_model: i64,
    /// Transformer layers.
    pub encoder_layers: i64,
    /// Attention heads.
    pub encoder_attention_heads: i64,
    /// Width of the feed-forward layers.
    pub encoder_ffn_dim: i64,
    /// Positions after the convolutions, half the mel frames of a full window.
    pub max_source_positions: i64,
    /// Mel bins.
    pub num_mel_bins: i64,
    activation_function: String,
}

impl Default for AudioConfig {
    fn default() -> Self {
        AudioConfig {
            d_model: 1280,
            encoder_layers: 32,
            encoder_attention_heads: 20,
            encoder_ffn_dim: 5120,
            max_source_positions: 1500,
            num_mel_bins: 128,
            activation_function: "gelu".to_owned(),
        }
    }
}

/// Dimensions of the language model's decoder.
#[derive(Debug, Clone, PartialEq)]
pub struct TextConfig {
    /// Rows of the embedding, which may exceed the tokenizer's.
    pub vocab_size: i64,
    /// Width.
    pub hidden_size: i64,
    /// Width of the feed-forward layers.
    pub intermediate_size: i64,
    /// Transformer layers.
    pub num_hidden_layers: i64,
    /// Query heads.
    pub num_attention_heads: i64,
    /// Key and value heads, a divisor of the query heads.
    pub num_key_value_heads: i64,
    /// Width of one head.
    pub head_dim: i64,
    /// Epsilon of the RMS norms.
    pub rms_norm_eps: f64,
    /// Base of the rotary frequencies.
    pub rope_theta: f64,
    /// Longest sequence.
    pub max_position_embeddings: i64,
    /// The output projection is the embedding.
    pub tie_word_embeddings: bool,
    /// End-of-sequence ids, if the configuration says; an empty list says that nothing ends a sequence.
    pub eos_token_ids: Option<Vec<i64>>,
}

#[derive(Deserialize)]
struct RawConfig {
    model_type: Option<String>,
    #[serde(default)]
    audio_config: AudioConfig,
    #[serde(default)]
    text_config: RawText,
    #[serde(alias = "audio_token_id")]
    audio_token_index: Option<i64>,
}

#[derive(Deserialize)]
#[serde(default)]
struct RawText {
    model_type: String,
    vocab_size: i64,
    hidden_size: i64,
    intermediate_size: i64,
    num_hidden_layers: i64,
    num_attention_heads: i64,
    num_key_value_heads: Option<i64>,
    head_dim: Option<i64>,
    rms_norm_eps: f64,
    rope_theta: Option<f64>,
    rope_scaling: Option<Value>,
    rope_parameters: Option<Value>,
    max_position_embeddings: i64,
    tie_word_embeddings: bool,
    use_sliding_window: bool,
    hidden_act: String,
    eos_token_id: Option<TokenIds>,
}

impl Default for RawText {
    fn default() -> Self {
        RawText {
            model_type: "qwen2".to_owned(),
            vocab_size: 151_936,
            hidden_size: 4096,
            intermediate_size: 22_016,
            num_hidden_layers: 32,
            num_attention_heads: 32,
            num_key_value_heads: Some(32),
            head_dim: None,
            rms_norm_eps: 1e-6,
            rope_theta: None,
            rope_scaling: None,
            rope_parameters: None,
            max_position_embeddings: 32_768,
            tie_word_embeddings: false,
            use_sliding_window: false,
            hidden_act: "silu".to_owned(),
            eos_token_id: None,
        }
    }
}

/// One id or a list of them: Hugging Face writes either.
#[derive(Deserialize)]
#[serde(untagged)]
pub(crate) enum TokenIds {
    One(i64),
    Many(Vec<i64>),
}

impl TokenIds {
    pub(crate) fn into_vec(self) -> Vec<i64> {
        match self {
            TokenIds::One(id) => vec![id],
            TokenIds::Many(ids) => ids,
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
        let text = std::fs::read_to_string(&path).map_err(|source| ModelError::io(&path, source))?;
        ModelConfig::parse(&text).map_err(|message| ModelError::config(&path, message))
    }

    fn parse(json: &str) -> Result<ModelConfig, String> {
        let raw: RawConfig = serde_json::from_str(json).map_err(|error| error.to_string())?;
        let model_type = raw.model_type.unwrap_or_default();
        if model_type != "qwen2_audio" {
            return Err(format!("model_type is `{model_type}`; this crate runs `qwen2_audio`"));
        }
        let audio = raw.audio_config;
        if audio.activation_function != "gelu" {
            return Err(format!(
                "audio_config.activation_function is `{}`; expected `gelu`",
                audio.activation_function
            ));
        }
        let sizes = [
            ("d_model", audio.d_model),
            ("encoder_attention_heads", audio.encoder_attention_heads),
            ("encoder_ffn_dim", audio.encoder_ffn_dim),
            ("max_source_positions", audio.max_source_positions),
            ("num_mel_bins", audio.num_mel_bins),
        ];
        positive("audio_config", &sizes)?;
        divides(
            "audio_config",
            ("encoder_attention_heads", audio.encoder_attention_heads),
            ("d_model", audio.d_model),
        )?;
        let text = raw.text_config.resolve()?;
        let audio_token_id = raw.audio_token_index.unwrap_or(151_646);
        if !(0..text.vocab_size).contains(&audio_token_id) {
            return Err(format!(
                "audio_token_index {audio_token_id} is outside the vocabulary of {}",
                text.vocab_size
            ));
        }
        Ok(ModelConfig { audio, text, audio_token_id })
    }
}

impl RawText {
    fn resolve(self) -> Result<TextConfig, String> {
        if self.model_type != "qwen2" {
            return Err(format!("text_config.model_type is `{}`; expected `qwen2`", self.model_type));
        }
        if self.hidden_act != "silu" {
            return Err(format!("text_config.hidden_act is `{}`; expected `silu`", self.hidden_act));
        }
        if self.use_sliding_window {
            return Err("text_config.use_sliding_window is true; only full attention is built".to_owned());
        }
        let num_key_value_heads = self.num_key_value_heads.unwrap_or(self.num_attention_heads);
        let sizes = [
            ("vocab_size", self.vocab_size),
            ("hidden_size", self.hidden_size),
            ("intermediate_size", self.intermediate_size),
            ("num_hidden_layers", self.num_hidden_layers),
            ("num_attention_heads", self.num_attention_heads),
            ("num_key_value_heads", num_key_value_heads),
            ("max_position_embeddings", self.max_position_embeddings),
        ];
        positive("text_config", &sizes)?;
        let heads = ("num_attention_heads", self.num_attention_heads);
        divides("text_config", ("num_key_value_heads", num_key_value_heads), heads)?;
        if self.head_dim.is_none() {
            divides("text_config", heads, ("hidden_size", self.hidden_size))?;
        }
        let head_dim = self.head_dim.unwrap_or(self.hidden_size / self.num_attention_heads);
        if head_dim <= 0 || head_dim % 2 != 0 {
            return Err(format!(
                "text_config: head_dim is {head_dim}; rotary positions need a positive even one"
            ));
        }
        Ok(TextConfig {
            vocab_size: self.vocab_size,
            hidden_size: self.hidden_size,
            intermediate_size: self.intermediate_size,
            num_hidden_layers: self.num_hidden_layers,
            num_attention_heads: self.num_attention_heads,
            num_key_value_heads,
            head_dim,
            rms_norm_eps: self.rms_norm_eps,
            rope_theta: rope_theta(self.rope_theta, self.rope_scaling, self.rope_parameters)?,
            max_position_embeddings: self.max_position_embeddings,
            tie_word_embeddings: self.tie_word_embeddings,
            eos_token_ids: self.eos_token_id.map(TokenIds::into_vec),
        })
    }
}

/// The rotary base from either form of the configuration. Scaled variants are refused rather than run wrongly.
fn rope_theta(theta: Option<f64>, scaling: Option<Value>, parameters: Option<Value>) -> Result<f64, String> {
    for rope in [&scaling, &parameters].into_iter().flatten() {
        let kind =
            rope.get("rope_type").or_else(|| rope.get("type")).and_then(Value::as_str).unwrap_or("default");
        if kind != "default" {
            return Err(format!("text_config: rope type `{kind}` is not built; only `default` is"));
        }
    }
    let nested = parameters.as_ref().and_then(|rope| rope.get("rope_theta")).and_then(Value::as_f64);
    Ok(nested.or(theta).unwrap_or(10_000.0))
}

fn positive(section: &str, sizes: &[(&str, i64)]) -> Result<(), String> {
    match sizes.iter().find(|(_, size)| *size <= 0) {
        Some((name, size)) => Err(format!("{section}.{name} is {size}; expected a positive number")),
        None => Ok(()),
    }
}

fn divides(section: &str, small: (&str, i64), large: (&str, i64)) -> Result<(), String> {
    if large.1 % small.1 == 0 {
        return Ok(());
    }
    Err(format!("{section}.{} {} does not divide {} {}", small.0, small.1, large.0, large.1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn absent_text_sizes_are_those_of_the_published_7b() {
        let json = r#"{"model_type": "qwen2_audio", "audio_token_index": 151646,
            "text_config": {"intermediate_size": 11008, "rms_norm_eps": 1e-5, "vocab_size": 156032}}"#;
        let config = ModelConfig::parse(json).unwrap();
        assert_eq!((config.text.hidden_size, config.text.num_hidden_layers), (4096, 32));
        assert_eq!((config.text.num_attention_heads, config.text.num_key_value_heads), (32, 32));
        assert_eq!((config.text.head_dim, config.text.rope_theta), (128, 10_000.0));
        assert_eq!((config.audio.d_model, config.audio.encoder_layers), (1280, 32));
    }

    #[test]
    fn rope_base_is_read_from_either_form() {
        let old =
            r#"{"model_type": "qwen2_audio", "audio_token_index": 1, "text_config": {"rope_theta": 5e5}}"#;
        let new = r#"{"model_type": "qwen2_audio", "audio_token_index": 1,
            "text_config": {"rope_parameters": {"rope_type": "default", "rope_theta": 5e5}}}"#;
        assert_eq!(ModelConfig::parse(old).unwrap().text.rope_theta, 5e5);
        assert_eq!(ModelConfig::parse(new).unwrap().text.rope_theta, 5e5);
    }

    #[test]
    fn empty_list_of_end_tokens_is_kept_apart_from_none() {
        let eos = |text: &str| {
            let json =
                format!(r#"{{"model_type": "qwen2_audio", "audio_token_index": 1, "text_config": {text}}}"#);
            ModelConfig::parse(&json).unwrap().text.eos_token_ids
        };
        assert_eq!(eos("{}"), None);
        assert_eq!(eos(r#"{"eos_token_id": []}"#), Some(Vec::new()));
        assert_eq!(eos(r#"{"eos_token_id": 7}"#), Some(vec![7]));
    }

    #[test]
    fn what_cannot_be_run_is_refused_with_the_key() {
        let scaled = r#"{"model_type": "qwen2_audio", "text_config": {"rope_scaling": {"type": "yarn"}}}"#;
        assert!(ModelConfig::parse(scaled).unwrap_err().contains("`yarn`"));
        let other = r#"{"model_type": "llama"}"#;
        assert!(ModelConfig::parse(other).unwrap_err().contains("`llama`"));
        let heads = r#"{"model_type": "qwen2_audio", "text_config": {"num_key_value_heads": 5}}"#;
        assert_eq!(
            ModelConfig::parse(heads).unwrap_err(),
            "text_config.num_key_value_heads 5 does not divide num_attention_heads 32"
        );
    }
}
