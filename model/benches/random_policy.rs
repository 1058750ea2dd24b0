//! Models with random weights in the Hugging Face layout, for the benches.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use audio::LogMel;
use model::{Policy, PolicyOptions};
use serde_json::{Value, json};

/// The dimensions of a random Qwen2-Audio.
pub struct Size {
    /// Width of the tower and of the decoder.
    pub width: i64,
    /// Number of decoder layers; the tower has two layers.
    pub layers: i64,
    /// Length that clips are padded to, in seconds.
    pub window_seconds: i64,
}

/// Opens a policy with random weights. With `endless`, no token ends a completion.
pub fn open(size: &Size, endless: bool, options: &PolicyOptions) -> Policy {
    let dir = tempfile::tempdir().expect("a temporary directory");
    write(dir.path(), size, endless);
    let options = PolicyOptions { from_scratch: Some(1), ..options.clone() };
    Policy::open(dir.path(), &options).expect("a valid directory")
}

fn write(dir: &Path, size: &Size, endless: bool) {
    let tokenizer = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/tokenizer/tokenizer.json");
    fs::copy(tokenizer, dir.join("tokenizer.json")).expect("the tokenizer of the fixtures");
    let end: Value = if endless { json!([]) } else { json!(290) };
    let config = json!({
        "model_type": "qwen2_audio",
        "audio_token_index": 291,
        "audio_config": {"d_model": size.width, "encoder_layers": 2, "encoder_attention_heads": 4,
            "encoder_ffn_dim": 4 * size.width, "max_source_positions": 50 * size.window_seconds,
            "num_mel_bins": 128},
        "text_config": {"vocab_size": 800, "hidden_size": size.width, "intermediate_size": 8 * size.width / 3,
            "num_hidden_layers": size.layers, "num_attention_heads": 4, "num_key_value_heads": 4,
            "rms_norm_eps": 1e-5, "max_position_embeddings": 8192, "eos_token_id": end},
    });
    let preprocessor = json!({"chunk_length": size.window_seconds, "feature_size": 128});
    fs::write(dir.join("config.json"), config.to_string()).expect("space on the disk");
    fs::write(dir.join("preprocessor_config.json"), preprocessor.to_string()).expect("space on the disk");
}

/// The features of a sine tone, whose pitch depends on `index`.
pub fn tone(policy: &Policy, index: usize, seconds: f64) -> Arc<LogMel> {
    let pitch = 0.1 + 0.05 * index as f64;
    let samples: Vec<f32> =
        (0..(16_000.0 * seconds) as usize).map(|sample| 0.3 * (pitch * sample as f64).sin() as f32).collect();
    Arc::new(policy.processor().extract(&samples).expect("a model with an audio tower"))
}
