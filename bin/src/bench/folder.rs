//! The model's folder for a measurement: without an end-of-sequence token, so that every completion has the length that is
//! asked for, and without weights for a random model.

use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::Path;

use scenarios::PolicyPath;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::cli::{BenchOptions, Shape};
use crate::failure::Failure;

const GENERATION: &str = "generation_config.json";
const CONFIG: &str = "config.json";

/// A folder that links to the files of the model that the options name.
///
/// Errors: The model is not there, or no temporary folder can be made.
pub fn folder(options: &BenchOptions) -> Result<TempDir, Failure> {
    let source = match options.random {
        Some(_) => PolicyPath::BuiltinTiny,
        None => options.policy.clone(),
    };
    let source = fs::canonicalize(source.folder()?)
        .map_err(|error| Failure::Input(format!("--policy {}: {error}", options.policy)))?;
    let folder = tempfile::tempdir().map_err(Failure::running)?;
    let prepare = || {
        link(&source, folder.path())?;
        write(folder.path(), GENERATION, &json!({ "eos_token_id": [] }))?;
        match options.random {
            Some(Shape::Qwen2Audio7b) => shape(folder.path(), options.layers),
            None => Ok(()),
        }
    };
    prepare()
        .map_err(|error: io::Error| Failure::Running(format!("{}: {error}", folder.path().display())))?;
    Ok(folder)
}

fn link(source: &Path, folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(source)? {
        let entry = entry?;
        symlink(entry.path(), folder.join(entry.file_name()))?;
    }
    Ok(())
}

/// Replaces a file of the folder, which may be a link to the model's own.
fn write(folder: &Path, name: &str, content: &Value) -> io::Result<()> {
    let path = folder.join(name);
    match fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => fs::write(path, content.to_string()),
    }
}

/// Gives the built-in policy's folder the dimensions of Qwen2-Audio-7B (its `config.json` on the Hub, and the defaults of
/// its classes in transformers). The tokenizer stays the small one: its ids are within the larger vocabulary.
fn shape(folder: &Path, layers: Option<u32>) -> io::Result<()> {
    let config: Value = serde_json::from_slice(&fs::read(folder.join(CONFIG))?)?;
    let layers = layers.unwrap_or(32);
    let config = json!({
        "model_type": "qwen2_audio",
        "audio_token_index": config["audio_token_index"],
        "audio_config": { "d_model": 1280, "encoder_layers": layers, "encoder_attention_heads": 20,
            "encoder_ffn_dim": 5120, "max_source_positions": 1500, "num_mel_bins": 128 },
        "text_config": { "vocab_size": 156_032, "hidden_size": 4096, "intermediate_size": 11_008,
            "num_hidden_layers": layers, "num_attention_heads": 32, "num_key_value_heads": 32,
            "rms_norm_eps": 1e-5, "rope_theta": 10_000.0, "max_position_embeddings": 8192 },
    });
    write(folder, CONFIG, &config)?;
    write(folder, "preprocessor_config.json", &json!({ "chunk_length": 30, "feature_size": 128 }))
}
