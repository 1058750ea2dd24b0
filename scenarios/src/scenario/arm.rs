//! One arm of a scenario: every section it may have.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    CheckpointConfig, DataConfig, EvalConfig, GrpoConfig, JudgeConfig, LoaderConfig, OptimizerConfig,
    PolicyConfig, PromptConfig, RewardSpec, SamplingConfig, SftConfig, ShapingConfig, SupervisionConfig,
};

/// One arm of an experiment, with all its settings.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ArmConfig {
    /// Its name in tables and its folder in the run directory.
    pub name: String,
    /// How it learns.
    #[serde(default)]
    pub method: Method,
    /// Optimizer steps. Default: `run.steps`.
    pub steps: u64,
    /// `[policy]`: the model.
    #[serde(default)]
    pub policy: PolicyConfig,
    /// `[data]`: the training questions.
    #[serde(default)]
    pub data: DataConfig,
    /// `[loader]`: audio decoding.
    #[serde(default)]
    pub loader: LoaderConfig,
    /// `[prompt]`: what the policy is asked, in training and in evaluation.
    #[serde(default)]
    pub prompt: PromptConfig,
    /// `[sampling]`: how completions are drawn.
    #[serde(default)]
    pub sampling: SamplingConfig,
    /// `[grpo]`: the policy-gradient step.
    #[serde(default)]
    pub grpo: GrpoConfig,
    /// `[sft]`: supervised fine-tuning.
    #[serde(default)]
    pub sft: SftConfig,
    /// `[optimizer]`: AdamW and its schedule.
    #[serde(default)]
    pub optimizer: OptimizerConfig,
    /// `[judge]`: who judges the thinking.
    #[serde(default)]
    pub judge: JudgeConfig,
    /// `[rewards.NAME]`: the reward components. One that the formula does not name is still scored and logged.
    #[serde(default)]
    pub rewards: BTreeMap<String, RewardSpec>,
    /// `[shaping]`: the formula and its weights.
    #[serde(default)]
    pub shaping: ShapingConfig,
    /// `[eval]`: evaluation.
    #[serde(default)]
    pub eval: EvalConfig,
    /// `[checkpoint]`: what is saved.
    #[serde(default)]
    pub checkpoint: CheckpointConfig,
    /// `[supervision]`: how much may fail.
    #[serde(default)]
    pub supervision: SupervisionConfig,
}

/// How an arm learns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// By reinforcement: completions of a prompt are compared with one another.
    #[default]
    Grpo,
    /// By example: `[sft] target`.
    Sft,
    /// Not at all: it is evaluated as it is.
    None,
}
