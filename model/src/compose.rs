//! Composes an audio-language model of two published parts: the encoder of a Whisper, and a language model of the types
//! Llama, Qwen2 or Qwen3. The result is a directory in the layout of Qwen2-Audio, which transformers opens too.
//!
//! Between the parts there is a linear projector. Unless a trained one is given, its outputs are spread around the mean of the
//! language model's embeddings as the embeddings are, so that training starts from inputs of the usual size.
//!
//! - COMPOSE-1 the tensors of the parts are copied unchanged but for their dtype; a model without audio computes what the
//!   language model does.
//! - COMPOSE-2 the output projection is always stored: transformers does not tie it to the embeddings in a Qwen2-Audio.

mod card;
mod part;
mod tokens;

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tch::{Device, Kind, Tensor};

use crate::checkpoint::{Checkpoint, Entry, write_sharded};
use crate::config::{Architecture, ModelConfig};
use crate::error::{CheckpointError, ConfigError, InputError, ModelError, ProcessorError};
use crate::init::{Init, random};
use crate::policy::directory::{sync_files, write_directory};
use part::{Encoder, Language};
use tokens::Tokens;

/// What a model is composed of.
#[derive(Clone, Debug)]
pub struct Parts {
    /// Hugging Face directory of a Whisper, or of a Qwen2-Audio, whose encoder is taken.
    pub audio: PathBuf,
    /// Hugging Face directory of a language model of type `llama`, `qwen2` or `qwen3`.
    pub text: PathBuf,
    /// A safetensors file with the projector's `weight` and `bias`; `None` for a fresh one.
    pub projector: Option<PathBuf>,
    /// Whether the tensors are written as bf16 instead of f32.
    pub bf16: bool,
    /// Seed of a fresh projector.
    pub seed: u64,
}

/// The sizes of a composed model, and the tokens that it was given.
#[derive(Clone, Debug, PartialEq)]
pub struct Composed {
    /// Numbers in all tensors, the encoder's and the language model's parts of them.
    pub parameters: u64,
    /// Numbers in the encoder.
    pub encoder_parameters: u64,
    /// Tokens that the tokenizer did not have; their embeddings are the mean of all others.
    pub added_tokens: Vec<String>,
    /// Width of the encoder's output and of the language model's embeddings.
    pub projector: [i64; 2],
}

/// Composes a model and writes it to a directory, which is replaced if it exists.
///
/// Errors: A file of a part is missing or damaged, a part is of a type that does not fit, or the directory can't be written.
pub fn compose(parts: &Parts, dir: &Path) -> Result<Composed, ModelError> {
    for part in [&parts.audio, &parts.text] {
        if dir == part {
            return Err(InputError::ComposedIntoAPart { dir: dir.display().to_string() }.into());
        }
    }
    let kind = if parts.bf16 { Kind::BFloat16 } else { Kind::Float };
    let encoder = Encoder::open(&parts.audio)?;
    let language = Language::open(&parts.text)?;
    let mut tokenizer = language.tokenizer()?;
    let embeddings = language.tensor("model.embed_tokens.weight", kind)?;
    let [rows, hidden] = sizes(&embeddings);
    let tokens = Tokens::add_to(&mut tokenizer, rows)
        .map_err(|problem| ModelError::processor(parts.text.join("tokenizer.json"), problem))?;
    let config = config(&encoder, &language, &tokens, kind);
    checked(&config, parts)?;

    let width = encoder.width();
    let projector = match &parts.projector {
        Some(file) => given_projector(file, [hidden, width], kind)?,
        None => fresh_projector(&embeddings, width, parts.seed)?.map(|tensor| tensor.to_kind(kind)),
    };
    let extended = |tensor: &Tensor| {
        let missing = tokens.rows - rows;
        if missing == 0 {
            return tensor.shallow_clone();
        }
        let mean = tensor.mean_dim([0].as_slice(), true, Kind::Float).to_kind(kind);
        Tensor::cat(&[tensor.shallow_clone(), mean.expand([missing, -1], false)], 0)
    };
    let mut tensors = encoder.tensors(kind)?;
    let encoder_parameters = numbers(&tensors);
    let [weight, bias] = projector;
    tensors.push(("multi_modal_projector.linear.weight".to_owned(), weight));
    tensors.push(("multi_modal_projector.linear.bias".to_owned(), bias));
    let output = match language.has_output() {
        true => language.tensor("lm_head.weight", kind)?,
        false => embeddings.shallow_clone(),
    };
    tensors.push(("language_model.model.embed_tokens.weight".to_owned(), extended(&embeddings)));
    tensors.push(("language_model.lm_head.weight".to_owned(), extended(&output)));
    tensors.extend(language.layers(kind)?);

    let unwritable = |error: &dyn std::error::Error| {
        let problem = ProcessorError::Tokenizer { error: error.to_string() };
        ModelError::processor(parts.text.join("tokenizer.json"), problem)
    };
    write_directory(dir, |draft| {
        let write = |name: &str, text: String| {
            let path = draft.join(name);
            std::fs::write(&path, text).map_err(|source| ModelError::io(&path, source))
        };
        let write_json = |name: &str, value: &Value| write(name, format!("{value:#}\n"));
        let path = draft.join("model.safetensors");
        let entries: Result<Vec<_>, _> =
            tensors.iter().map(|(name, tensor)| Entry::tensor(name, tensor, &path)).collect();
        write_sharded(draft, entries?)?;
        write_json("config.json", &config)?;
        write_json("generation_config.json", &tokens.generation(&language.ends()))?;
        write_json("preprocessor_config.json", &encoder.preprocessor())?;
        write("tokenizer.json", tokenizer.to_string(true).map_err(|error| unwritable(&*error))?)?;
        write_json("tokenizer_config.json", &language.tokenizer_config()?)?;
        write("chat_template.jinja", tokens::CHAT_TEMPLATE.to_owned())?;
        write("README.md", card::text(parts, &tokens))?;
        sync_files(draft)
    })?;
    Ok(Composed {
        parameters: numbers(&tensors),
        encoder_parameters,
        added_tokens: tokens.added,
        projector: [width, hidden],
    })
}

fn numbers(tensors: &[(String, Tensor)]) -> u64 {
    tensors.iter().map(|(_, tensor)| tensor.numel() as u64).sum()
}

fn sizes(matrix: &Tensor) -> [i64; 2] {
    let size = matrix.size();
    [size[0], size[1]]
}

fn config(encoder: &Encoder, language: &Language, tokens: &Tokens, kind: Kind) -> Value {
    let mut text = language.config.clone();
    text["vocab_size"] = tokens.rows.into();
    text["tie_word_embeddings"] = false.into();
    let dtype = if kind == Kind::BFloat16 { "bfloat16" } else { "float32" };
    json!({
        "architectures": ["Qwen2AudioForConditionalGeneration"],
        "model_type": "qwen2_audio",
        "audio_token_index": tokens.audio,
        "audio_config": encoder.config(),
        "text_config": text,
        "tie_word_embeddings": false,
        "torch_dtype": dtype,
    })
}

/// Fails if the composed model is one that this crate does not run; the error names the part.
fn checked(config: &Value, parts: &Parts) -> Result<(), ModelError> {
    ModelConfig::parse(&config.to_string()).map(drop).map_err(|problem| {
        let part = if problem.to_string().contains("text_config") { &parts.text } else { &parts.audio };
        ModelError::config(part.join("config.json"), problem)
    })
}

/// The projector in a file, whose names may be those of a whole model.
fn given_projector(path: &Path, shape: [i64; 2], kind: Kind) -> Result<[Tensor; 2], ModelError> {
    let file = Checkpoint::open_file(path)?;
    let read = |name: &str, shape: &[i64]| {
        let long = format!("multi_modal_projector.linear.{name}");
        let name = if file.size(&long).is_some() { long.as_str() } else { name };
        file.load(name, shape, Device::Cpu, Some(kind))
    };
    Ok([read("weight", &shape)?, read("bias", &shape[..1])?])
}

/// The features that go in have a layer norm behind them, so their deviation is about 1.
fn fresh_projector(embeddings: &Tensor, width: i64, seed: u64) -> Result<[Tensor; 2], ModelError> {
    let embeddings = embeddings.to_kind(Kind::Float);
    let deviation = embeddings.std_dim([0].as_slice(), true, true).mean(Kind::Float).double_value(&[]);
    let weight = random(seed, &[sizes(&embeddings)[1], width], Init::Embedding)?;
    let bias = embeddings.mean_dim([0].as_slice(), false, Kind::Float);
    Ok([weight * (deviation / (width as f64).sqrt()), bias])
}

/// Fails unless a part's tensor is there.
fn load(checkpoint: &Checkpoint, name: &str, kind: Kind, dir: &Path) -> Result<Tensor, ModelError> {
    let Some(shape) = checkpoint.size(name) else {
        let problem = CheckpointError::MissingTensor { name: name.to_owned(), shape: Vec::new() };
        return Err(ModelError::checkpoint(dir, problem));
    };
    checkpoint.load(name, &shape, Device::Cpu, Some(kind))
}

fn open(dir: &Path) -> Result<(Value, Checkpoint), ModelError> {
    let path = dir.join("config.json");
    let text = std::fs::read_to_string(&path).map_err(|source| match source.kind() {
        std::io::ErrorKind::NotFound => ModelError::config(&path, ConfigError::Missing),
        _ => ModelError::io(&path, source),
    })?;
    let config = serde_json::from_str(&text)
        .map_err(|error| ModelError::config(&path, ConfigError::NotJson { error: error.to_string() }))?;
    // Names are read as they are stored.
    Ok((config, Checkpoint::open(dir, Architecture::Qwen3)?))
}

#[cfg(test)]
mod tests;
