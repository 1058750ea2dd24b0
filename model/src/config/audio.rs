//! The audio tower's section of `config.json`.

use super::section::Section;
use crate::error::ConfigError;

/// Dimensions of the audio tower, a Whisper encoder with a pooling layer. Fields are named as in `config.json`.
#[derive(Debug, Clone, PartialEq)]
pub struct AudioConfig {
    /// Id of the `<|AUDIO|>` placeholder in the vocabulary.
    pub token_id: i64,
    /// Width of the tower's hidden states.
    pub d_model: i64,
    /// Number of transformer layers.
    pub encoder_layers: i64,
    /// Attention heads of each layer, a divisor of `d_model`.
    pub encoder_attention_heads: i64,
    /// Width of the feed-forward layers.
    pub encoder_ffn_dim: i64,
    /// Mel bands of a frame, equal to `n_mels` of the feature extractor.
    pub num_mel_bins: i64,
    /// Qwen2-Audio: number of positions after the convolutions, half the mel frames of a full window.
    pub max_source_positions: i64,
    /// Qwen2.5-Omni: half the mel frames of a chunk.
    pub n_window: i64,
}

impl AudioConfig {
    /// Reads `audio_config` of a model's section.
    pub(super) fn read(model: &Section, vocab_size: i64) -> Result<AudioConfig, ConfigError> {
        let audio = model.section("audio_config")?;
        audio.require_value("activation_function", "gelu")?;
        let config = AudioConfig {
            token_id: model.token_id("audio", 151_646)?,
            d_model: audio.positive("d_model", 1280)?,
            encoder_layers: audio.positive("encoder_layers", 32)?,
            encoder_attention_heads: audio.positive("encoder_attention_heads", 20)?,
            encoder_ffn_dim: audio.positive("encoder_ffn_dim", 5120)?,
            num_mel_bins: audio.positive("num_mel_bins", 128)?,
            max_source_positions: audio.positive("max_source_positions", 1500)?,
            n_window: audio.positive("n_window", 100)?,
        };
        audio.require_divisor(
            ("encoder_attention_heads", config.encoder_attention_heads),
            ("d_model", config.d_model),
        )?;
        if !(0..vocab_size).contains(&config.token_id) {
            return Err(ConfigError::AudioToken { token_id: config.token_id, vocab_size });
        }
        Ok(config)
    }
}
