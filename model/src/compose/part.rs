//! The two parts: which of their tensors are taken, and what of their settings.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};
use tch::{Kind, Tensor};
use tokenizers::Tokenizer;

use super::{load, open};
use crate::checkpoint::Checkpoint;
use crate::error::{ConfigError, ModelError, ProcessorError};

/// Keys of an encoder's configuration that the composed model needs, with Whisper's names, which Qwen2-Audio uses too.
const ENCODER_KEYS: [&str; 6] = [
    "d_model",
    "encoder_layers",
    "encoder_attention_heads",
    "encoder_ffn_dim",
    "num_mel_bins",
    "max_source_positions",
];

/// Keys of a language model's configuration that say how it was saved, and not what it is.
const NOT_COPIED: [&str; 5] =
    ["architectures", "torch_dtype", "dtype", "transformers_version", "_name_or_path"];

/// The encoder of a Whisper or of a Qwen2-Audio.
pub(super) struct Encoder {
    dir: PathBuf,
    settings: Map<String, Value>,
    checkpoint: Checkpoint,
    /// What the names of the encoder's tensors begin with.
    prefix: &'static str,
}

impl Encoder {
    pub(super) fn open(dir: &Path) -> Result<Self, ModelError> {
        let (config, checkpoint) = open(dir)?;
        let wrong = |problem| ModelError::config(dir.join("config.json"), problem);
        let found = config["model_type"].as_str().unwrap_or_default();
        let config = match found {
            "whisper" => &config,
            "qwen2_audio" => &config["audio_config"],
            other => return Err(wrong(ConfigError::NotAnEncoder { found: other.to_owned() })),
        };
        let mut settings = Map::new();
        for key in ENCODER_KEYS {
            let value = config[key].as_i64().filter(|value| *value > 0);
            let value = value.ok_or_else(|| {
                wrong(ConfigError::WrongType {
                    key: key.to_owned(),
                    found: config[key].to_string(),
                    expected: "a positive integer",
                })
            })?;
            settings.insert(key.to_owned(), value.into());
        }
        if config["scale_embedding"] == true {
            return Err(wrong(ConfigError::SwitchedOn { key: "scale_embedding".to_owned() }));
        }
        let activation = config["activation_function"].as_str().unwrap_or("gelu");
        settings.insert("activation_function".to_owned(), activation.into());
        let prefixes = ["model.encoder.", "encoder.", "audio_tower.", "model.audio_tower."];
        let has = |prefix: &&&str| checkpoint.size(&format!("{prefix}conv1.weight")).is_some();
        let prefix = prefixes.iter().find(has).copied().unwrap_or(prefixes[0]);
        Ok(Encoder { dir: dir.to_owned(), settings, checkpoint, prefix })
    }

    fn setting(&self, key: &str) -> i64 {
        self.settings[key].as_i64().unwrap_or_default()
    }

    /// Width of the encoder's output.
    pub(super) fn width(&self) -> i64 {
        self.setting("d_model")
    }

    /// `audio_config` of the composed model.
    pub(super) fn config(&self) -> Value {
        let mut config = self.settings.clone();
        config.insert("model_type".to_owned(), "qwen2_audio_encoder".into());
        config.insert("scale_embedding".to_owned(), false.into());
        config.into()
    }

    /// The feature extractor: Whisper's own, with its number of mel bands and its window.
    pub(super) fn preprocessor(&self) -> Value {
        // Two mel frames of 10 ms for each position.
        let frames = 2 * self.setting("max_source_positions");
        json!({
            "chunk_length": frames / 100,
            "feature_extractor_type": "WhisperFeatureExtractor",
            "feature_size": self.setting("num_mel_bins"),
            "hop_length": 160,
            "n_fft": 400,
            "n_samples": frames * 160,
            "nb_max_frames": frames,
            "padding_side": "right",
            "padding_value": 0.0,
            "processor_class": "Qwen2AudioProcessor",
            "return_attention_mask": true,
            "sampling_rate": 16_000,
        })
    }

    /// The encoder's tensors, under the names of the composed model.
    pub(super) fn tensors(&self, kind: Kind) -> Result<Vec<(String, Tensor)>, ModelError> {
        let mut names = vec!["embed_positions.weight".to_owned()];
        for module in ["conv1", "conv2", "layer_norm"] {
            names.extend(["weight", "bias"].map(|part| format!("{module}.{part}")));
        }
        for layer in 0..self.setting("encoder_layers") {
            for module in [
                "self_attn.q_proj",
                "self_attn.v_proj",
                "self_attn.out_proj",
                "self_attn_layer_norm",
                "fc1",
                "fc2",
                "final_layer_norm",
            ] {
                names.extend(["weight", "bias"].map(|part| format!("layers.{layer}.{module}.{part}")));
            }
            names.push(format!("layers.{layer}.self_attn.k_proj.weight"));
        }
        let read = |name: String| {
            let tensor = load(&self.checkpoint, &format!("{}{name}", self.prefix), kind, &self.dir)?;
            Ok((format!("audio_tower.{name}"), tensor))
        };
        names.into_iter().map(read).collect()
    }
}

/// A language model of type `llama`, `qwen2` or `qwen3`.
pub(super) struct Language {
    dir: PathBuf,
    /// Its settings, as `text_config` of the composed model.
    pub(super) config: Value,
    checkpoint: Checkpoint,
}

impl Language {
    pub(super) fn open(dir: &Path) -> Result<Self, ModelError> {
        let (mut config, checkpoint) = open(dir)?;
        let found = config["model_type"].as_str().unwrap_or_default().to_owned();
        if !["llama", "qwen2", "qwen3"].contains(&found.as_str()) {
            return Err(ModelError::config(
                dir.join("config.json"),
                ConfigError::NotALanguageModel { found },
            ));
        }
        if let Some(config) = config.as_object_mut() {
            config.retain(|key, _| !NOT_COPIED.contains(&key.as_str()));
        }
        Ok(Language { dir: dir.to_owned(), config, checkpoint })
    }

    pub(super) fn tensor(&self, name: &str, kind: Kind) -> Result<Tensor, ModelError> {
        load(&self.checkpoint, name, kind, &self.dir)
    }

    /// Whether the model has an output projection of its own.
    pub(super) fn has_output(&self) -> bool {
        self.config["tie_word_embeddings"] != true && self.checkpoint.size("lm_head.weight").is_some()
    }

    /// All tensors but the embeddings and the output projection, under the names of the composed model.
    pub(super) fn layers(&self, kind: Kind) -> Result<Vec<(String, Tensor)>, ModelError> {
        let names = self.checkpoint.names().filter(|name| name.starts_with("model."));
        // Buffers that old versions of transformers saved.
        let kept =
            names.filter(|name| !name.contains("embed_tokens") && !name.ends_with("rotary_emb.inv_freq"));
        kept.map(|name| Ok((format!("language_model.{name}"), self.tensor(name, kind)?))).collect()
    }

    /// The ids that end a sequence.
    pub(super) fn ends(&self) -> Vec<i64> {
        let generation = std::fs::read_to_string(self.dir.join("generation_config.json")).unwrap_or_default();
        let generation: Value = serde_json::from_str(&generation).unwrap_or_default();
        let ids = |value: &Value| match value {
            Value::Array(ids) => ids.iter().filter_map(Value::as_i64).collect(),
            one => one.as_i64().into_iter().collect::<Vec<i64>>(),
        };
        let stated = ids(&generation["eos_token_id"]);
        if stated.is_empty() { ids(&self.config["eos_token_id"]) } else { stated }
    }

    pub(super) fn tokenizer(&self) -> Result<Tokenizer, ModelError> {
        let path = self.dir.join("tokenizer.json");
        if !path.exists() {
            return Err(ModelError::processor(&path, ProcessorError::Missing));
        }
        Tokenizer::from_file(&path).map_err(|error| {
            ModelError::processor(&path, ProcessorError::Tokenizer { error: error.to_string() })
        })
    }

    /// `tokenizer_config.json` of the composed model, which has a template and a processor of its own.
    pub(super) fn tokenizer_config(&self) -> Result<Value, ModelError> {
        let path = self.dir.join("tokenizer_config.json");
        let text = std::fs::read_to_string(&path).unwrap_or_else(|_| "{}".to_owned());
        let mut config: Value = serde_json::from_str(&text).map_err(|error| {
            ModelError::processor(&path, ProcessorError::Json { error: error.to_string() })
        })?;
        if let Some(config) = config.as_object_mut() {
            config.shift_remove("chat_template");
            // It would hide the added tokens of tokenizer.json.
            config.shift_remove("added_tokens_decoder");
            config.insert("processor_class".to_owned(), "Qwen2AudioProcessor".into());
            config.entry("tokenizer_class").or_insert_with(|| "PreTrainedTokenizerFast".into());
        }
        Ok(config)
    }
}
