//! `[policy]`: the model that is trained, and which of its weights.

use std::fmt;
use std::path::PathBuf;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// `[policy]`: a Hugging Face directory (or the built-in tiny policy) and how much of it learns.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(extend("dependentSchemas" = { "adapter": not_full(), "lora": not_full() }))]
pub struct PolicyConfig {
    /// `builtin:tiny`, or the folder of a model in the Hugging Face layout (`config.json`, `*.safetensors`, `tokenizer.json`).
    pub path: PolicyPath,
    /// `full` trains every weight of the decoder, `lora` low-rank adapters on it.
    pub train: TrainMode,
    /// Start from this adapter, a folder in PEFT's form, with `train = "lora"`; `[policy.lora]` is then its own
    /// `adapter_config.json`. The reference policy is still the base without it: to be compared with an adapted policy,
    /// merge that adapter first (`sandbox merge`).
    pub adapter: Option<PathBuf>,
    /// Also train the audio tower and its projector; with `train = "lora"`, adapters may be put on them too.
    pub train_audio_tower: bool,
    /// Start from random weights instead of the directory's (its `config.json` and tokenizer are still used).
    pub from_scratch: bool,
    /// Keep only the layers' inputs between forward and backward and compute the rest again: a third more work, a fraction of
    /// the memory, the same gradients. `"auto"` does so on a GPU and for models of width 1024 or more.
    pub gradient_checkpointing: GradientCheckpointing,
    /// Number format of the weights: `auto` is `f32` on the CPU and `bf16` on a GPU.
    pub dtype: DType,
    /// `[policy.lora]`: the adapters of `train = "lora"`; refused with `full`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "LoraConfig")]
    pub lora: Option<LoraConfig>,
}

/// The schema of a `[policy]` with keys that `train = "full"` does not have. An arm may leave `train` to the base.
fn not_full() -> serde_json::Value {
    serde_json::json!({ "properties": { "train": { "const": "lora" } } })
}

/// Where a policy comes from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum PolicyPath {
    /// `builtin:tiny`: the small Qwen2-Audio embedded in this crate, see [`crate::builtin`].
    #[default]
    BuiltinTiny,
    /// A folder in the Hugging Face layout.
    Directory(PathBuf),
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
                &r#""builtin:tiny" or the folder of a Hugging Face model"#,
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
        json_schema!({ "type": "string", "examples": [BUILTIN_TINY, "models/Qwen2-Audio-7B-Instruct"] })
    }
}

/// Which of the policy's weights learn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TrainMode {
    /// Every weight of the decoder; the reference policy is a frozen copy.
    #[default]
    Full,
    /// Low-rank adapters; the reference policy is the base with the adapters off. A checkpoint is an adapter in PEFT's form.
    Lora,
}

/// Whether layers are recomputed in the backward pass: `true`, `false` or `"auto"`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum GradientCheckpointing {
    /// By the model's size and the device.
    #[default]
    Auto,
    /// As it says.
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
        json_schema!({ "anyOf": [{ "type": "boolean" }, { "const": AUTO }] })
    }
}

/// Number format of the weights.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DType {
    /// `f32` on the CPU, `bf16` on a GPU.
    #[default]
    Auto,
    /// 32-bit floats.
    F32,
    /// bfloat16 weights with norms, softmax and loss in f32.
    Bf16,
}

/// `[policy.lora]`: the adapters of `train = "lora"`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct LoraConfig {
    /// Rank of the adapters.
    pub rank: usize,
    /// Scale: the adapter's output is multiplied by `alpha / rank`.
    pub alpha: f64,
    /// Dropout before the adapter.
    pub dropout: f64,
    /// `all-linear`; or the names of the layers that get an adapter, such as `["q_proj", "v_proj"]`; or a regular expression
    /// that matches their whole names, such as `".*\\.self_attn\\..*"`.
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
    /// `"all-linear"`: every linear layer of the decoder, without the output projection; with `train_audio_tower` those of
    /// the audio tower and its projector too.
    #[default]
    AllLinear,
    /// The linear layers whose name ends with one of these.
    Named(Vec<String>),
    /// The linear layers whose whole name this regular expression matches.
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
            "anyOf": [
                { "const": ALL_LINEAR },
                { "type": "string", "minLength": 1 },
                { "type": "array", "items": { "type": "string" }, "minItems": 1 }
            ]
        })
    }
}
