//! `[policy]`: the model that is trained, and which of its weights are.

use std::fmt;
use std::path::PathBuf;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::hub::{self, HubId};
use super::train_parts::TrainParts;
use crate::builtin::builtin_tiny_policy;
use crate::error::ScenarioError;

/// `[policy]`: the model that is trained, and which of its weights are trained.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(extend("dependentSchemas" = { "adapter": with_lora(), "lora": with_lora() }))]
pub struct PolicyConfig {
    /// The model: `builtin:tiny`; or the folder of a Qwen2-Audio or Qwen2.5-Omni in the Hugging Face layout
    /// (`config.json`, `*.safetensors`, `tokenizer.json`); or, if there is no folder of that name, the model's name on the
    /// Hub, `ORG/NAME` or `ORG/NAME@REVISION`, which is looked for in the local Hugging Face cache. Nothing is fetched.
    pub path: PolicyPath,
    /// Which weights are trained: `full`, all weights of the decoder; `lora`, low-rank adapters on it; `projector`, the
    /// projection between audio tower and decoder; `tower`, the audio tower; or a list of these, such as
    /// `["projector", "lora"]`. With `lora` a checkpoint is an adapter in PEFT's format, whose `modules_to_save` hold the
    /// other parts; otherwise it is a whole model.
    pub train: TrainParts,
    /// Folder of an adapter in PEFT's format to start from; only where `train` has `lora`. Its `adapter_config.json` then
    /// replaces `[policy.lora]`. The reference policy is the base without the adapter; to compare with an adapted
    /// policy instead, merge the adapter first (`sandbox merge`). Default: new adapters.
    pub adapter: Option<PathBuf>,
    /// Whether to train the audio tower and its projector too; where `train` has `lora`, whether they may get adapters.
    pub train_audio_tower: bool,
    /// Whether to start from random weights; of the model's folder only `config.json` and the tokenizer are used then.
    /// Not where `train` has `lora`.
    pub from_scratch: bool,
    /// Whether to keep only the inputs of each layer between forward and backward and to recompute the rest: a third
    /// more computation for a fraction of the memory, with the same gradients. `"auto"` does so on a GPU and for models
    /// of width 1024 or more.
    pub gradient_checkpointing: GradientCheckpointing,
    /// Number format of the weights: `f32`, `bf16`, `auto` for `f32` on the CPU and `bf16` on a GPU, or `fastest` for the one
    /// whose matrix products are faster on this device. That is measured when the run begins and stored in its scenario, so that a
    /// resumed run and a replay use the same.
    pub dtype: DType,
    /// `[policy.lora]`: the adapters. Refused where `train` has no `lora`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "LoraConfig")]
    pub lora: Option<LoraConfig>,
}

/// The schema of a `[policy]` with keys that are refused without `lora` in `train`. An arm may leave `train`
/// to the shared settings.
fn with_lora() -> serde_json::Value {
    serde_json::json!({ "properties": { "train": { "anyOf": [{ "const": "lora" }, { "contains": { "const": "lora" } }] } } })
}

/// The model that a policy starts from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum PolicyPath {
    /// `builtin:tiny`, the small Qwen2-Audio that is embedded in this crate, see [`crate::builtin`].
    #[default]
    BuiltinTiny,
    /// A model's folder in the Hugging Face layout, or its name on the Hub.
    Directory(PathBuf),
}

impl PolicyPath {
    /// The model's folder: that of the built-in policy is unpacked first, and a name on the Hub is looked for in the
    /// local Hugging Face cache.
    ///
    /// Errors: the cache cannot be written, or the model is neither a folder nor in the Hub's cache.
    pub fn folder(&self) -> Result<PathBuf, ScenarioError> {
        let path = match self {
            Self::BuiltinTiny => return builtin_tiny_policy(),
            Self::Directory(path) => path,
        };
        // A folder that is missing is reported by whoever opens it.
        let Some(id) = path.to_str().and_then(HubId::parse).filter(|_| !path.exists()) else {
            return Ok(path.clone());
        };
        let find = || {
            let snapshot = id.find(&hub::cache())?;
            id.check_whole(&snapshot, false)?;
            Ok(snapshot)
        };
        find().map_err(|error| match error {
            ScenarioError::Value { problem, instead } => {
                let problem = format!("there is no folder of this name, and {problem}");
                ScenarioError::File { path: path.clone(), problem, instead }
            }
            other => other,
        })
    }
}

const BUILTIN_TINY: &str = "builtin:tiny";

impl fmt::Display for PolicyPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BuiltinTiny => f.write_str(BUILTIN_TINY),
            Self::Directory(path) => write!(f, "{}", path.display()),
        }
    }
}

impl Serialize for PolicyPath {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for PolicyPath {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        match text.as_str() {
            BUILTIN_TINY => Ok(Self::BuiltinTiny),
            other if other.is_empty() || other.starts_with("builtin:") => Err(de::Error::invalid_value(
                de::Unexpected::Str(other),
                &r#""builtin:tiny", the folder of a Hugging Face model, or its name on the Hub"#,
            )),
            path => Ok(Self::Directory(PathBuf::from(path))),
        }
    }
}

impl JsonSchema for PolicyPath {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "PolicyPath".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "The model that a policy starts from: `builtin:tiny`, the path of its folder, or its name on the Hub.",
            "type": "string",
            "examples": [BUILTIN_TINY, "models/Qwen2-Audio-7B-Instruct", "Qwen/Qwen2-Audio-7B-Instruct"]
        })
    }
}

/// Whether layers are recomputed in the backward pass: `true`, `false` or `"auto"`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum GradientCheckpointing {
    /// Decided by the model's size and the device.
    #[default]
    Auto,
    /// Always or never, on every device.
    Always(bool),
}

const AUTO: &str = "auto";

impl Serialize for GradientCheckpointing {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Auto => serializer.serialize_str(AUTO),
            Self::Always(on) => serializer.serialize_bool(*on),
        }
    }
}

impl<'de> Deserialize<'de> for GradientCheckpointing {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Choice;
        impl de::Visitor<'_> for Choice {
            type Value = GradientCheckpointing;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(r#"true, false or "auto""#)
            }

            fn visit_bool<E: de::Error>(self, on: bool) -> Result<GradientCheckpointing, E> {
                Ok(GradientCheckpointing::Always(on))
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<GradientCheckpointing, E> {
                match text {
                    AUTO => Ok(GradientCheckpointing::Auto),
                    other => Err(E::invalid_value(de::Unexpected::Str(other), &self)),
                }
            }
        }
        deserializer.deserialize_any(Choice)
    }
}

impl JsonSchema for GradientCheckpointing {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "GradientCheckpointing".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "Whether layers are recomputed in the backward pass: `true`, `false` or `auto`.",
            "anyOf": [{ "type": "boolean" }, { "const": AUTO }]
        })
    }
}

/// Number format of the weights.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DType {
    /// `f32` on the CPU, `bf16` on a GPU.
    #[default]
    Auto,
    /// Numbers in 32-bit floating point.
    F32,
    /// bfloat16, with norms, softmax and loss in f32.
    Bf16,
    /// The one with the faster matrix products on this device, measured when the run begins.
    Fastest,
}

/// `[policy.lora]`: the low-rank adapters of `train = "lora"`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct LoraConfig {
    /// Rank of the adapters; at least 1.
    pub rank: usize,
    /// Scale of the adapters, above 0: their output is multiplied by `alpha / rank`.
    pub alpha: f64,
    /// Probability of dropout in front of the adapters; 0 to below 1.
    pub dropout: f64,
    /// The layers that get an adapter: `all-linear`; or a list of names, such as `["q_proj", "v_proj"]`; or a regular
    /// expression that matches whole names, such as `".*\\.self_attn\\..*"`.
    pub target_modules: TargetModules,
}

impl Default for LoraConfig {
    fn default() -> Self {
        Self { rank: 8, alpha: 32.0, dropout: 0.0, target_modules: TargetModules::AllLinear }
    }
}

/// The layers that get an adapter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum TargetModules {
    /// `"all-linear"`: all linear layers of the decoder except the output projection; with `train_audio_tower` those of
    /// the audio tower and its projector too.
    #[default]
    AllLinear,
    /// The linear layers with a name that ends with one of these.
    Named(Vec<String>),
    /// The linear layers with a name that this regular expression matches as a whole.
    Pattern(String),
}

const ALL_LINEAR: &str = "all-linear";

impl Serialize for TargetModules {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::AllLinear => serializer.serialize_str(ALL_LINEAR),
            Self::Named(names) => names.serialize(serializer),
            Self::Pattern(pattern) => serializer.serialize_str(pattern),
        }
    }
}

impl<'de> Deserialize<'de> for TargetModules {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Modules;
        impl<'de> de::Visitor<'de> for Modules {
            type Value = TargetModules;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(
                    r#""all-linear", a list of layer names such as ["q_proj", "v_proj"], or a regular expression"#,
                )
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<TargetModules, E> {
                match text {
                    ALL_LINEAR => Ok(TargetModules::AllLinear),
                    "" => Err(E::invalid_value(de::Unexpected::Str(text), &self)),
                    pattern => Ok(TargetModules::Pattern(pattern.to_owned())),
                }
            }

            fn visit_seq<A: de::SeqAccess<'de>>(self, seq: A) -> Result<TargetModules, A::Error> {
                Vec::deserialize(de::value::SeqAccessDeserializer::new(seq)).map(TargetModules::Named)
            }
        }
        deserializer.deserialize_any(Modules)
    }
}

impl JsonSchema for TargetModules {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "TargetModules".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "The layers that get an adapter: `all-linear`, a list of names, or a regular expression.",
            "anyOf": [
                { "const": ALL_LINEAR },
                { "type": "string", "minLength": 1 },
                { "type": "array", "items": { "type": "string" }, "minItems": 1 }
            ]
        })
    }
}
