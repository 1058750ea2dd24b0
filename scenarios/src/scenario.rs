//! Scenario files: what is trained, on what, with which rewards, and the arms that are compared.
//!
//! A file is read into a tree that knows every line, the arms are laid over what they share and `--set` over both
//! (see `merge.rs`), and each arm is read into an [`ArmConfig`] with nothing left open. [`check()`] then looks at what the file
//! refers to: rewards, formulas, files.
//!
//! - SCENARIO-1 every mistake is one line, `path:line:column: what is wrong; what to write instead`.
//! - SCENARIO-2 [`Experiment::to_toml`] loads again to the same experiment, from any folder.
//! - SCENARIO-3 paths in a file start from the file's folder, paths on the command line from the current one.

mod check;
mod data;
mod de;
mod feedback;
mod judge;
mod layers;
mod load;
mod merge;
mod overrides;
mod paths;
mod plugin;
mod policy;
mod prompt;
mod ranges;
mod reference;
mod resolved;
mod run;
mod schema;
#[cfg(test)]
mod tests;
mod training;
mod tree;
mod weights;
mod words;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use check::{check, check_names};
pub use data::{DataConfig, Downmix, EvalConfig, LoaderConfig};
pub use feedback::{RewardSpec, ShapingConfig};
pub use judge::{
    Aggregate, Guided, JudgeCacheConfig, JudgeConfig, JudgeKind, JudgeSet, OnJudgeFailure, Prompting, Scoring,
};
pub use load::{load, parse};
pub use plugin::{HttpPlugin, PLUGIN_KINDS, ProcessPlugin, RewardForm};
pub use policy::{
    DType, GradientCheckpointing, LoraConfig, PolicyConfig, PolicyPath, TargetModules, TrainMode,
};
pub use prompt::{PromptConfig, PromptStyle};
pub use reference::scenario_reference;
pub use run::{CheckpointConfig, ControlConfig, Device, RunConfig, SupervisionConfig};
pub use schema::json_schema;
pub use training::{
    CurriculumConfig, GrpoConfig, LossKind, OptimizerConfig, SamplingConfig, ScaleRewards, Schedule,
    SftConfig,
};
pub use weights::{Interpolate, WeightConfig, WeightSchedule};

/// A scenario, resolved: every arm with all its settings.
#[derive(Clone, Debug)]
pub struct Experiment {
    /// The scenario file, as it was given.
    pub path: PathBuf,
    /// `[run]`.
    pub run: RunConfig,
    /// `[control]`.
    pub control: ControlConfig,
    /// The arms to run, in the order of the file.
    pub arms: Vec<ArmConfig>,
    /// Where each setting of each arm was written, by the arm's position.
    places: Arc<Vec<tree::Node>>,
}

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
