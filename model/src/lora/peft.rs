//! PEFT's files: `adapter_config.json` and `adapter_model.safetensors`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::{Map, Value, json};
use tch::Tensor;

use super::{LoraConfig, TargetModules, names};
use crate::checkpoint::{Checkpoint, write_tensors};
use crate::config::Architecture;
use crate::error::ModelError;

const CONFIG: &str = "adapter_config.json";
const WEIGHTS: &str = "adapter_model.safetensors";
/// Before every name of a tensor.
const PREFIX: &str = "base_model.model.";

/// The two tensors of an adapted layer, as they are called in PEFT's files and here.
pub(super) const PARTS: [&str; 2] = ["lora_A.weight", "lora_B.weight"];

/// Settings under which an adapter computes something else than plain LoRA. Each must be absent, null, false or empty.
const VARIANTS: [&str; 18] = [
    "use_dora",
    "use_qalora",
    "use_bdlora",
    "lora_bias",
    "modules_to_save",
    "rank_pattern",
    "alpha_pattern",
    "layer_replication",
    "target_parameters",
    "trainable_token_indices",
    "alora_invocation_tokens",
    "arrow_config",
    "corda_config",
    "kasa_config",
    "lora_ga_config",
    "monteclora_config",
    "velora_config",
    "loftq_config",
];

/// Starting values that leave the base as it is; others are differences to a base that was changed along with them.
const PLAIN_STARTS: [&str; 3] = ["gaussian", "eva", "orthogonal"];

#[derive(Deserialize)]
struct RawConfig {
    peft_type: String,
    r: i64,
    lora_alpha: f64,
    #[serde(default)]
    lora_dropout: f64,
    target_modules: Option<TargetModules>,
    #[serde(default)]
    use_rslora: bool,
    bias: Option<String>,
    #[serde(default)]
    init_lora_weights: Value,
}

/// An open adapter directory.
pub(crate) struct AdapterFile {
    pub(crate) config: LoraConfig,
    path: PathBuf,
    tensors: Checkpoint,
    /// The file's name of each tensor, by layer in PEFT's words and part.
    keys: BTreeMap<(String, &'static str), String>,
}

impl AdapterFile {
    /// Opens an adapter directory and reads what its tensors are called.
    ///
    /// # Errors
    /// A file is missing or damaged, or the adapter is of another kind than plain LoRA.
    pub(crate) fn open(dir: &Path) -> Result<AdapterFile, ModelError> {
        let config = read_config(&dir.join(CONFIG))?;
        let path = dir.join(WEIGHTS);
        let tensors = Checkpoint::open_file(&path)?;
        let mut keys = BTreeMap::new();
        for name in tensors.names() {
            let Some(key) = key_of(name) else {
                let message = format!(
                    "tensor `{name}` is no part of a LoRA on a linear layer; expected names such as \
                     `{PREFIX}….q_proj.lora_A.weight`"
                );
                return Err(ModelError::checkpoint(&path, message));
            };
            keys.insert(key, name.clone());
        }
        Ok(AdapterFile { config, path, tensors, keys })
    }

    /// Reads a layer's tensors, if it has any here; each is handed out once.
    ///
    /// # Errors
    /// One of the two is missing, or has another shape than this model's layer asks for.
    pub(crate) fn take(
        &mut self,
        module: &str,
        shapes: [[i64; 2]; 2],
    ) -> Result<Option<[Tensor; 2]>, ModelError> {
        let mut found =
            names::accepted(module).into_iter().flat_map(|name| PARTS.map(|part| (name.clone(), part)));
        let Some((name, _)) = found.find(|key| self.keys.contains_key(key)) else { return Ok(None) };
        let read = |part: &'static str, shape: [i64; 2], keys: &mut BTreeMap<_, String>| {
            let Some(key) = keys.remove(&(name.clone(), part)) else {
                let message = format!("`{PREFIX}{name}` has no {part}; the file is not whole");
                return Err(ModelError::checkpoint(&self.path, message));
            };
            let size = self.tensors.size(&key).unwrap_or_default();
            if size != shape {
                let message = format!(
                    "tensor `{key}` has shape {size:?}; this base and adapter_config.json ask for {shape:?}: \
                     the adapter was made for another base"
                );
                return Err(ModelError::checkpoint(&self.path, message));
            }
            self.tensors.tensor(&key, &shape)
        };
        let a = read(PARTS[0], shapes[0], &mut self.keys)?;
        let b = read(PARTS[1], shapes[1], &mut self.keys)?;
        Ok(Some([a, b]))
    }

    /// Checks that every tensor found its layer (LORA-3).
    ///
    /// # Errors
    /// One did not.
    pub(crate) fn finish(&self) -> Result<(), ModelError> {
        match self.keys.values().next() {
            None => Ok(()),
            Some(key) => {
                let message = format!(
                    "this base has no layer for `{key}` ({} such tensors): the adapter was made for another base",
                    self.keys.len()
                );
                Err(ModelError::checkpoint(&self.path, message))
            }
        }
    }
}

/// The layer in PEFT's words and the part that a tensor's name stands for.
fn key_of(name: &str) -> Option<(String, &'static str)> {
    let module_and_part = name.strip_prefix(PREFIX)?;
    PARTS.into_iter().find_map(|part| {
        // A state dict saved without PEFT's help has the adapter's name in it.
        let with_name = part.replace(".weight", ".default.weight");
        let module = module_and_part
            .strip_suffix(part)
            .or_else(|| module_and_part.strip_suffix(with_name.as_str()))?;
        Some((module.strip_suffix('.')?.to_owned(), part))
    })
}

fn read_config(path: &Path) -> Result<LoraConfig, ModelError> {
    let text = std::fs::read_to_string(path).map_err(|source| ModelError::io(path, source))?;
    parse_config(&text).map_err(|message| ModelError::config(path, message))
}

fn parse_config(json: &str) -> Result<LoraConfig, String> {
    let document: Map<String, Value> = serde_json::from_str(json).map_err(|error| error.to_string())?;
    let raw: RawConfig = serde_json::from_str(json).map_err(|error| error.to_string())?;
    if raw.peft_type != "LORA" {
        return Err(format!("peft_type is `{}`; this crate applies `LORA`", raw.peft_type));
    }
    let off = |value: &Value| match value {
        Value::Null | Value::Bool(false) => true,
        Value::Array(values) => values.is_empty(),
        Value::Object(values) => values.is_empty(),
        _ => false,
    };
    for key in VARIANTS {
        if let Some(value) = document.get(key).filter(|value| !off(value)) {
            return Err(format!("{key} is {value}; this crate applies plain LoRA, without it"));
        }
    }
    if let Some(bias) = raw.bias.filter(|bias| bias != "none") {
        return Err(format!("bias is `{bias}`; this crate trains and reads adapters with `none`"));
    }
    if let Value::String(start) = &raw.init_lora_weights
        && !PLAIN_STARTS.contains(&start.as_str())
    {
        return Err(format!(
            "init_lora_weights is `{start}`, which changes the base too; convert it to plain LoRA with PEFT's \
             save_pretrained(path_initial_model_for_weight_conversion=…)"
        ));
    }
    if raw.r <= 0 {
        return Err(format!("r is {}; expected a positive number", raw.r));
    }
    Ok(LoraConfig {
        rank: raw.r,
        alpha: raw.lora_alpha,
        dropout: raw.lora_dropout,
        target_modules: raw.target_modules.unwrap_or(TargetModules::AllLinear),
        use_rslora: raw.use_rslora,
    })
}

/// Writes an adapter into a directory. `tensors` are called by hub layer and part; `targets` is what `target_modules` says.
///
/// # Errors
/// A file cannot be written.
pub(super) fn write(
    dir: &Path,
    config: &LoraConfig,
    targets: &TargetModules,
    base: &Path,
    architecture: Architecture,
    tensors: impl Iterator<Item = (String, Tensor)>,
) -> Result<(), ModelError> {
    let alpha = match config.alpha.fract() == 0.0 {
        true => json!(config.alpha as i64),
        false => json!(config.alpha),
    };
    let document = json!({
        "alpha_pattern": {},
        "auto_mapping": null,
        "base_model_name_or_path": base,
        "bias": "none",
        "fan_in_fan_out": false,
        "inference_mode": true,
        "init_lora_weights": true,
        "lora_alpha": alpha,
        "lora_dropout": config.dropout,
        "modules_to_save": null,
        "peft_type": "LORA",
        "r": config.rank,
        "rank_pattern": {},
        "target_modules": targets,
        "task_type": "CAUSAL_LM",
        "use_dora": false,
        "use_rslora": config.use_rslora,
    });
    let path = dir.join(CONFIG);
    std::fs::write(&path, format!("{document:#}\n")).map_err(|source| ModelError::io(&path, source))?;
    let renamed: Vec<(String, Tensor)> =
        tensors.map(|(name, tensor)| (file_name(&name, architecture), tensor)).collect();
    write_tensors(&dir.join(WEIGHTS), &renamed)
}

/// What a tensor is called in the file.
fn file_name(name: &str, architecture: Architecture) -> String {
    let split = PARTS.into_iter().find_map(|part| Some((name.strip_suffix(part)?.strip_suffix('.')?, part)));
    match split {
        Some((module, part)) => format!("{PREFIX}{}.{part}", names::written(module, architecture)),
        None => format!("{PREFIX}{name}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(change: impl FnOnce(&mut Value)) -> Result<LoraConfig, String> {
        let mut document = json!({"peft_type": "LORA", "r": 8, "lora_alpha": 16, "lora_dropout": 0.05,
            "target_modules": ["q_proj", "v_proj"], "bias": "none", "rank_pattern": {}, "modules_to_save": null,
            "use_dora": false, "use_rslora": true, "init_lora_weights": true, "from_the_future": 1});
        change(&mut document);
        parse_config(&document.to_string())
    }

    #[test]
    fn plain_lora_is_read() {
        let named = TargetModules::Named(vec!["q_proj".to_owned(), "v_proj".to_owned()]);
        let expected =
            LoraConfig { rank: 8, alpha: 16.0, dropout: 0.05, target_modules: named, use_rslora: true };
        assert_eq!(config(|_| ()).unwrap(), expected);
        let pattern = config(|document| document["target_modules"] = json!(".*q_proj")).unwrap();
        assert_eq!(pattern.target_modules, TargetModules::Pattern(".*q_proj".to_owned()));
    }

    #[test]
    fn what_plain_lora_does_not_compute_is_refused_with_the_key() {
        let refused = |key: &str, value: Value| config(|document| document[key] = value).unwrap_err();
        for (key, value) in [
            ("use_dora", json!(true)),
            ("modules_to_save", json!(["lm_head"])),
            ("rank_pattern", json!({"q_proj": 4})),
            ("alpha_pattern", json!({"q_proj": 4})),
            ("layer_replication", json!([[0, 2]])),
        ] {
            let message = refused(key, value);
            assert!(
                message.starts_with(&format!("{key} is ")) && message.contains("plain LoRA"),
                "{message}"
            );
        }
        assert_eq!(refused("peft_type", json!("LOHA")), "peft_type is `LOHA`; this crate applies `LORA`");
        assert!(refused("bias", json!("all")).contains("`none`"));
        assert!(refused("init_lora_weights", json!("pissa")).contains("changes the base too"));
        assert!(refused("r", json!(0)).contains("positive"));
    }

    #[test]
    fn names_of_tensors_are_taken_apart() {
        let key = |module: &str, part| Some((module.to_owned(), part));
        assert_eq!(key_of("base_model.model.a.b.lora_A.weight"), key("a.b", "lora_A.weight"));
        assert_eq!(key_of("base_model.model.a.b.lora_B.default.weight"), key("a.b", "lora_B.weight"));
        for other in
            ["a.b.lora_A.weight", "base_model.model.a.lora_embedding_A", "base_model.model.a.lora_B.bias"]
        {
            assert_eq!(key_of(other), None, "{other}");
        }
    }
}
