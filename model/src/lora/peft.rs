//! Reading and writing PEFT's files: `adapter_config.json` and `adapter_model.safetensors`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::{Map, Value, json};
use tch::Tensor;

use super::config::{LoraConfig, TargetModules};
use super::names::{self, Naming};
use crate::checkpoint::{Checkpoint, write_tensors};
use crate::error::{CheckpointError, ConfigError, ModelError};
use crate::parts::{Part, Trained};

const CONFIG: &str = "adapter_config.json";
const WEIGHTS: &str = "adapter_model.safetensors";
/// Prefix of the name of every tensor.
const PREFIX: &str = "base_model.model.";

/// Suffixes of the names of an adapted layer's two tensors, in PEFT's files and in this crate.
pub(super) const PARTS: [&str; 2] = ["lora_A.weight", "lora_B.weight"];

/// Settings with which an adapter computes something other than plain LoRA. Each must be absent, null, false or empty.
const VARIANTS: [&str; 17] = [
    "use_dora",
    "use_qalora",
    "use_bdlora",
    "lora_bias",
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

/// Initialisations that do not change the base. With any other, the adapter is the difference to a base
/// that was changed too.
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
    modules_to_save: Option<Vec<String>>,
}

/// An adapter directory whose configuration and tensor names have been read.
pub(crate) struct AdapterFile {
    pub(crate) config: LoraConfig,
    path: PathBuf,
    tensors: Checkpoint,
    /// The name in the file of each tensor that has not been taken, by the layer's name in PEFT and the part.
    keys: BTreeMap<(String, &'static str), String>,
    /// The name in the file of each tensor of a whole module (LORA-4) that has not been taken, by its hub name.
    whole: BTreeMap<String, String>,
}

impl AdapterFile {
    /// Opens an adapter directory and reads the names of its tensors. Fails if a file is missing or damaged, or if the
    /// adapter is not plain LoRA.
    pub(crate) fn open(dir: &Path) -> Result<AdapterFile, ModelError> {
        let (config, modules_to_save) = read_config(&dir.join(CONFIG))?;
        let path = dir.join(WEIGHTS);
        let tensors = Checkpoint::open_file(&path)?;
        let (mut keys, mut whole) = (BTreeMap::new(), BTreeMap::new());
        for name in tensors.names() {
            if let Some(key) = key_of(name) {
                keys.insert(key, name.clone());
            } else if let Some(hub) = whole_name(name).filter(|_| !modules_to_save.is_empty()) {
                whole.insert(hub, name.clone());
            } else {
                return Err(ModelError::checkpoint(&path, CheckpointError::NotLora { name: name.clone() }));
            }
        }
        if whole.is_empty() && !modules_to_save.is_empty() {
            let problem = CheckpointError::NoWholeModule { modules: modules_to_save.join("`, `") };
            return Err(ModelError::checkpoint(&path, problem));
        }
        Ok(AdapterFile { config, path, tensors, keys, whole })
    }

    /// The parts of the base that the file replaces.
    pub(crate) fn replaces(&self) -> Trained {
        let has = |part| self.whole.keys().any(|name| Part::of(name) == part);
        Trained { decoder: false, projector: has(Part::Projector), tower: has(Part::Tower) }
    }

    /// Reads a tensor of a whole module by its hub name and marks it as taken; `None` if the file has none of this name.
    /// Fails if it has another shape than expected.
    ///
    /// Shapes: → `shape`, on the CPU in the stored dtype
    pub(crate) fn take_whole(&mut self, name: &str, shape: &[i64]) -> Result<Option<Tensor>, ModelError> {
        let Some(key) = self.whole.remove(name) else { return Ok(None) };
        self.read(&key, shape).map(Some)
    }

    fn read(&self, key: &str, shape: &[i64]) -> Result<Tensor, ModelError> {
        let found = self.tensors.size(key).unwrap_or_default();
        if found != shape {
            let problem =
                CheckpointError::AdapterShape { name: key.to_owned(), found, expected: shape.to_vec() };
            return Err(ModelError::checkpoint(&self.path, problem));
        }
        self.tensors.tensor(key, shape)
    }

    /// Reads the tensors of a layer and marks them as taken; `None` if the file has none for this layer. Fails if one
    /// of the two is missing or has another shape than expected.
    ///
    /// Shapes: → the two `shapes`, on the CPU in the stored dtype
    pub(crate) fn take(
        &mut self,
        module: &str,
        shapes: [[i64; 2]; 2],
    ) -> Result<Option<[Tensor; 2]>, ModelError> {
        let mut found =
            names::accepted(module).into_iter().flat_map(|name| PARTS.map(|part| (name.clone(), part)));
        let Some((name, _)) = found.find(|key| self.keys.contains_key(key)) else { return Ok(None) };
        let mut take = |part: &'static str| {
            self.keys.remove(&(name.clone(), part)).ok_or_else(|| {
                let problem = CheckpointError::HalfAdapter { layer: format!("{PREFIX}{name}"), part };
                ModelError::checkpoint(&self.path, problem)
            })
        };
        let [a, b] = [take(PARTS[0])?, take(PARTS[1])?];
        Ok(Some([self.read(&a, &shapes[0])?, self.read(&b, &shapes[1])?]))
    }

    /// Fails if a tensor of the file was not taken by a layer (LORA-3).
    pub(crate) fn finish(&self) -> Result<(), ModelError> {
        let (left, count) =
            (self.keys.values().chain(self.whole.values()).next(), self.keys.len() + self.whole.len());
        match left {
            None => Ok(()),
            Some(name) => {
                let problem = CheckpointError::UnmatchedAdapter { name: name.clone(), count };
                Err(ModelError::checkpoint(&self.path, problem))
            }
        }
    }
}

/// Reads an adapter directory without a model: its configuration, and the names of its tensors.
///
/// Errors: A file is missing or damaged, or the adapter is not plain LoRA. Whether its tensors fit a model is known only
/// when the model is opened.
pub fn check_adapter(dir: &Path) -> Result<LoraConfig, ModelError> {
    AdapterFile::open(dir).map(|file| file.config)
}

/// Splits the name of a tensor in PEFT's file into the layer and the part.
fn key_of(name: &str) -> Option<(String, &'static str)> {
    let module_and_part = name.strip_prefix(PREFIX)?;
    PARTS.into_iter().find_map(|part| {
        // A state dict that was not saved by PEFT contains the adapter's name, `default`.
        let with_name = part.replace(".weight", ".default.weight");
        let module = module_and_part
            .strip_suffix(part)
            .or_else(|| module_and_part.strip_suffix(with_name.as_str()))?;
        Some((module.strip_suffix('.')?.to_owned(), part))
    })
}

/// The hub name of a tensor of a whole module in PEFT's file; `None` if it belongs neither to the projector nor to the
/// audio tower.
fn whole_name(name: &str) -> Option<String> {
    // A state dict that was not saved by PEFT contains the wrapper's names.
    let name = name.strip_prefix(PREFIX)?.replace("modules_to_save.default.", "");
    names::hub_of_tower(&name).map(str::to_owned)
}

/// The settings of the adapter, and the modules that its file holds as a whole.
fn read_config(path: &Path) -> Result<(LoraConfig, Vec<String>), ModelError> {
    let text = std::fs::read_to_string(path).map_err(|source| ModelError::io(path, source))?;
    parse_config(&text).map_err(|problem| ModelError::config(path, problem))
}

fn parse_config(json: &str) -> Result<(LoraConfig, Vec<String>), ConfigError> {
    let unreadable = |error: serde_json::Error| ConfigError::NotAnAdapter { error: error.to_string() };
    let document: Map<String, Value> = serde_json::from_str(json).map_err(unreadable)?;
    let raw: RawConfig = serde_json::from_str(json).map_err(unreadable)?;
    if raw.peft_type != "LORA" {
        return Err(ConfigError::PeftType { found: raw.peft_type });
    }
    let off = |value: &Value| match value {
        Value::Null | Value::Bool(false) => true,
        Value::Array(values) => values.is_empty(),
        Value::Object(values) => values.is_empty(),
        _ => false,
    };
    for key in VARIANTS {
        if let Some(value) = document.get(key).filter(|value| !off(value)) {
            return Err(ConfigError::LoraVariant { key, found: value.to_string() });
        }
    }
    if let Some(found) = raw.bias.filter(|bias| bias != "none") {
        return Err(ConfigError::LoraBias { found });
    }
    if let Value::String(start) = &raw.init_lora_weights
        && !PLAIN_STARTS.contains(&start.as_str())
    {
        return Err(ConfigError::LoraStart { found: start.clone() });
    }
    if raw.r <= 0 {
        return Err(ConfigError::NotPositive { key: "r".to_owned(), found: raw.r });
    }
    let config = LoraConfig {
        rank: raw.r,
        alpha: raw.lora_alpha,
        dropout: raw.lora_dropout,
        target_modules: raw.target_modules.unwrap_or(TargetModules::AllLinear),
        use_rslora: raw.use_rslora,
    };
    Ok((config, raw.modules_to_save.unwrap_or_default()))
}

/// What an adapter's files say beside its tensors.
pub(super) struct Description<'a> {
    pub(super) config: &'a LoraConfig,
    /// Becomes `target_modules`.
    pub(super) targets: &'a TargetModules,
    /// Becomes `modules_to_save`: the modules whose tensors are written as a whole.
    pub(super) whole: &'a [&'static str],
    /// The base's directory.
    pub(super) base: &'a Path,
    pub(super) naming: Naming,
}

/// Writes an adapter into a directory. `tensors` are named by the layer's hub name and the part; those of whole modules
/// by their hub name.
pub(super) fn write(
    dir: &Path,
    Description { config, targets, whole, base, naming }: Description<'_>,
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
        "modules_to_save": if whole.is_empty() { Value::Null } else { json!(whole) },
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
        tensors.map(|(name, tensor)| (file_name(&name, naming), tensor)).collect();
    write_tensors(&dir.join(WEIGHTS), &renamed)
}

/// The name of a tensor in PEFT's file.
fn file_name(name: &str, naming: Naming) -> String {
    let split = PARTS.into_iter().find_map(|part| Some((name.strip_suffix(part)?.strip_suffix('.')?, part)));
    match split {
        Some((module, part)) => format!("{PREFIX}{}.{part}", naming.written(module)),
        None => format!("{PREFIX}{}", naming.written(name)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(change: impl FnOnce(&mut Value)) -> Result<LoraConfig, ConfigError> {
        let mut document = json!({"peft_type": "LORA", "r": 8, "lora_alpha": 16, "lora_dropout": 0.05,
            "target_modules": ["q_proj", "v_proj"], "bias": "none", "rank_pattern": {}, "modules_to_save": null,
            "use_dora": false, "use_rslora": true, "init_lora_weights": true, "from_the_future": 1});
        change(&mut document);
        parse_config(&document.to_string()).map(|(config, _)| config)
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
    fn variants_of_lora_are_refused_with_the_key() {
        let refused =
            |key: &str, value: Value| config(|document| document[key] = value).unwrap_err().to_string();
        for (key, value) in [
            ("use_dora", json!(true)),
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
        assert_eq!(refused("peft_type", json!("LOHA")), "peft_type is `LOHA`; only `LORA` is supported");
        assert!(refused("bias", json!("all")).contains("`none`"));
        assert!(refused("init_lora_weights", json!("pissa")).contains("changes the base too"));
        assert!(refused("r", json!(0)).contains("positive"));
    }

    #[test]
    fn tensors_of_the_projector_and_the_tower_are_known_under_the_names_of_all_versions() {
        let hub = Some("multi_modal_projector.linear.weight".to_owned());
        for name in [
            "base_model.model.multi_modal_projector.linear.weight",
            "base_model.model.model.multi_modal_projector.linear.weight",
            "base_model.model.multi_modal_projector.modules_to_save.default.linear.weight",
        ] {
            assert_eq!(whole_name(name), hub, "{name}");
        }
        let omni = whole_name("base_model.model.thinker.audio_tower.proj.bias");
        assert_eq!(omni.as_deref(), Some("audio_tower.proj.bias"));
        assert_eq!(whole_name("base_model.model.lm_head.weight"), None);
        assert_eq!(whole_name("multi_modal_projector.linear.weight"), None, "not PEFT's");
    }

    #[test]
    fn names_of_tensors_are_split_into_layer_and_part() {
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
