//! The settings of an arm: a field for each section of a scenario.

use std::collections::BTreeMap;

use rewards::{AdvantageOptions, Estimator, Question, Scale};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::formats::RowFilter;

use super::{
    AdvantageKind, AlarmConfig, AlignConfig, AudioConfig, CheckpointConfig, DataConfig, EvalConfig,
    ForkConfig, GrpoConfig, JudgeConfig, LimitsConfig, LoaderConfig, OptimizerConfig, PolicyConfig,
    PromptConfig, RewardSpec, SamplerConfig, SamplingConfig, ScaleRewards, SelectionConfig, SftConfig,
    ShapingConfig, SupervisionConfig,
};

/// An arm of an experiment, with a value for every setting.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ArmConfig {
    /// Name of the arm in tables, and of its folder in the run directory; must be set. It may have letters, digits and
    /// `+ - _ .`, at most 100 characters.
    pub name: String,
    /// How the arm is trained: `grpo`, `sft` or `none`.
    #[serde(default)]
    pub method: Method,
    /// Number of optimizer steps; at least 1. Default: `run.steps`.
    pub steps: u64,
    /// `fork = { arm = "grpo", step = 40 }`: the arm begins as a copy of another one after some of its steps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fork: Option<ForkConfig>,
    /// `[policy]`: the model that is trained.
    #[serde(default)]
    pub policy: PolicyConfig,
    /// `[data]`: the questions to train on.
    #[serde(default)]
    pub data: DataConfig,
    /// `[loader]`: how audio is decoded.
    #[serde(default)]
    pub loader: LoaderConfig,
    /// `[audio]`: formats that the sandbox does not decode itself.
    #[serde(default)]
    pub audio: AudioConfig,
    /// `[prompt]`: the wording of the questions, in training and evaluation.
    #[serde(default)]
    pub prompt: PromptConfig,
    /// `[sampling]`: how completions are sampled in training.
    #[serde(default)]
    pub sampling: SamplingConfig,
    /// `[sampler]`: what completions are sampled with.
    #[serde(default, skip_serializing_if = "SamplerConfig::is_default")]
    pub sampler: SamplerConfig,
    /// `[selection]`: which prompts and completions a GRPO step trains on.
    #[serde(default, skip_serializing_if = "SelectionConfig::is_off")]
    pub selection: SelectionConfig,
    /// `[grpo]`: the policy-gradient step of arms with `method = "grpo"`.
    #[serde(default)]
    pub grpo: GrpoConfig,
    /// `[sft]`: supervised fine-tuning of arms with `method = "sft"`.
    #[serde(default)]
    pub sft: SftConfig,
    /// `[align]`: the first steps of a supervised arm, which fit the projector alone.
    #[serde(default, skip_serializing_if = "AlignConfig::is_off")]
    pub align: AlignConfig,
    /// `[optimizer]`: AdamW and the schedule of its learning rate.
    #[serde(default)]
    pub optimizer: OptimizerConfig,
    /// `[judge]`: the judge that grades the thinking.
    #[serde(default)]
    pub judge: JudgeConfig,
    /// `[rewards.NAME]`: the reward components. A component that the formula does not use is scored and logged too.
    #[serde(default)]
    pub rewards: BTreeMap<String, RewardSpec>,
    /// `[shaping]`: the formula that combines the components, and its weights.
    #[serde(default)]
    pub shaping: ShapingConfig,
    /// `[eval]`: when and on which questions the policy is evaluated.
    #[serde(default)]
    pub eval: EvalConfig,
    /// `[checkpoint]`: when checkpoints are saved, and how many are kept.
    #[serde(default)]
    pub checkpoint: CheckpointConfig,
    /// `[supervision]`: how many failures an arm tolerates.
    #[serde(default)]
    pub supervision: SupervisionConfig,
    /// `[limits]`: when the policy counts as dead, and what happens then.
    #[serde(default)]
    pub limits: LimitsConfig,
    /// `[[alarm]]`: conditions on the numbers of the arm, and what is done when one of them holds.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub alarm: Vec<AlarmConfig>,
}

impl ArmConfig {
    /// Selects the rows of each suite of `[eval]`.
    pub fn suite_filter(&self) -> RowFilter {
        RowFilter { limit: self.eval.limit, fetch: self.data.fetch, ..RowFilter::default() }
    }

    /// Whether the arm is trained under this seed of the run.
    pub fn has_seed(&self, seed: u64) -> bool {
        self.fork.as_ref().is_none_or(|fork| fork.has_seed(seed))
    }

    /// How the advantages of a step are computed.
    pub fn advantage_options(&self) -> AdvantageOptions {
        AdvantageOptions {
            estimator: match self.grpo.advantages {
                AdvantageKind::GroupRelative => Estimator::GroupRelative,
                AdvantageKind::Gdpo => Estimator::Gdpo,
                AdvantageKind::Rloo => Estimator::Rloo,
                AdvantageKind::ReinforcePlusPlus => Estimator::ReinforcePlusPlus,
                AdvantageKind::ReinforcePlusPlusBaseline => Estimator::ReinforcePlusPlusBaseline,
                AdvantageKind::Hgpo => Estimator::Hgpo,
            },
            scale: match self.grpo.scale_rewards {
                ScaleRewards::Group => Scale::Group,
                ScaleRewards::Batch => Scale::Batch,
                ScaleRewards::None => Scale::None,
            },
            keep: self.selection.keep_completions,
            discard_equal: self.selection.extra_rounds > 0,
            mode_margin: self.grpo.mode_margin,
            mode_coefficient: self.grpo.mode_advantage_coef,
            ..AdvantageOptions::default()
        }
    }

    /// The user turns in which a training question may be asked.
    pub fn training_texts(&self, question: &Question) -> Vec<String> {
        if self.method == Method::Sft && !self.sft.styles.is_empty() {
            return self.sft.styles.iter().map(|style| self.prompt.render_in(*style, question)).collect();
        }
        vec![self.prompt.render(question)]
    }

    /// Number of tokens that must be left for the completion of a training question.
    pub fn training_completion(&self) -> usize {
        match self.method {
            // A supervised target has at least one token; how long it is shows when it is drawn.
            Method::Sft => 1,
            Method::Grpo | Method::None => self.sampling.max_new_tokens,
        }
    }
}

/// How an arm is trained.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// Reinforcement learning: the completions of a prompt are compared with each other.
    #[default]
    Grpo,
    /// Supervised fine-tuning on the targets of `[sft]`.
    Sft,
    /// No training: the policy is evaluated as it is.
    None,
}
