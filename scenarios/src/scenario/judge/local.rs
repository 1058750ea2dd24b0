//! `kind = "local"`: a judge that runs in this process.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::required::must_be_set;
use super::wording::{Prompting, Scoring};
use crate::scenario::{DType, Device};

/// A text-only Qwen3, Qwen2 or Llama (such as SmolLM2), or any model that can be a policy, run in this process. It only
/// ever writes one of the possible verdicts, so that no reply is malformed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct LocalJudgeConfig {
    /// The model's folder in the Hugging Face layout, or its name on the Hub as in `policy.path`; must be set.
    #[schemars(transform = must_be_set)]
    pub path: PathBuf,
    /// Device of the model: `auto` (a GPU if libtorch finds one, else the CPU), `cpu`, `cuda` or `cuda:N`.
    pub device: Device,
    /// Number format of its weights: `auto` is f32 on the CPU and the checkpoint's own on a GPU.
    pub dtype: DType,
    /// Completions judged in one batch; at least 1.
    pub batch: usize,
    /// Whether each token's step is replayed on an NVIDIA GPU as one CUDA graph, where that is possible.
    pub cuda_graphs: bool,
    /// `text` takes each grade as it is written; `logprobs` takes its expected value over the
    /// alternatives of its token.
    pub scoring: Scoring,
    /// How the model is asked: `instruct` through its chat template, `base` by graded examples that it continues. A Llama or
    /// Qwen2 without a chat template is always asked as a base model, unless `<|im_end|>` ends its replies.
    pub prompting: Prompting,
    /// Ask for each grade in a prompt of its own, as the paper does, instead of for both in one.
    pub separate: bool,
    /// Longest thinking that is shown in full, in characters; at least 200. The middle of a longer one is cut out.
    pub max_chars: usize,
    /// Special tokens of the model's template that are removed from what it is shown, besides the common ones
    /// and its tokenizer's own.
    pub special_tokens: Vec<String>,
}

impl Default for LocalJudgeConfig {
    fn default() -> Self {
        Self {
            path: PathBuf::new(),
            device: Device::Auto,
            dtype: DType::Auto,
            batch: 16,
            cuda_graphs: true,
            scoring: Scoring::Text,
            prompting: Prompting::Instruct,
            separate: false,
            max_chars: 6_000,
            special_tokens: Vec::new(),
        }
    }
}
