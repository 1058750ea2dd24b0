//! `[sampling]`, `[grpo]`, `[optimizer]` and `[sft]`: how completions are drawn and how the policy learns from them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::prompt::PromptStyle;
use crate::soundscape::TargetKind;

/// `[sampling]`: the completions of one training step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SamplingConfig {
    /// Completions per prompt (the paper's G); at least 2, since a completion is compared with its group.
    pub group_size: usize,
    /// Prompts per optimizer step.
    pub prompts_per_step: usize,
    /// Sampling temperature; above 0.
    pub temperature: f64,
    /// Nucleus sampling: the smallest set of tokens with this much probability; 1 keeps all.
    pub top_p: f64,
    /// Only the k likeliest tokens; 0 keeps all.
    pub top_k: usize,
    /// Longest completion, in tokens; also used in evaluation.
    pub max_new_tokens: usize,
}

impl Default for SamplingConfig {
    fn default() -> Self {
        Self {
            group_size: 8,
            prompts_per_step: 8,
            temperature: 1.0,
            top_p: 1.0,
            top_k: 0,
            max_new_tokens: 48,
        }
    }
}

/// `[grpo]`: the policy-gradient step of arms with `method = "grpo"`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct GrpoConfig {
    /// Which loss of the family.
    pub loss: LossKind,
    /// Learning rate (its peak, see `[optimizer]` for the schedule).
    pub lr: f64,
    /// Weight of the KL penalty towards the reference policy (β); 0 leaves it out.
    pub kl_coef: f64,
    /// Clip range ε of the importance ratio: 1 ± ε.
    pub clip: f64,
    /// Upper clip range where it differs (`dapo`'s clip-higher). Default: `clip`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clip_high: Option<f64>,
    /// Two-sided clipping: an upper bound on the ratio itself for negative advantages. Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delta: Option<f64>,
    /// Optimizer steps on the same completions (the papers' μ).
    pub iterations: usize,
    /// Prompts per forward and backward pass; 0 takes all of the step at once. Changes memory, not the result.
    pub micro_batch_prompts: usize,
    /// What a reward is divided by after its group's mean is taken away: the `group`'s standard deviation, the
    /// `batch`'s, or nothing (`none`).
    pub scale_rewards: ScaleRewards,
    /// Versions by which the sampling policy may lag behind the trained one; 0 is on-policy and reproducible.
    pub max_staleness: u64,
    /// Leave completions cut off at `max_new_tokens` out of the loss.
    pub mask_truncated: bool,
}

impl GrpoConfig {
    /// The upper clip range: `clip_high`, or `clip` where it is not set.
    pub fn clip_high(&self) -> f64 {
        self.clip_high.unwrap_or(self.clip)
    }
}

impl Default for GrpoConfig {
    fn default() -> Self {
        Self {
            loss: LossKind::Grpo,
            lr: 1e-4,
            kl_coef: 0.04,
            clip: 0.2,
            clip_high: None,
            delta: None,
            iterations: 1,
            micro_batch_prompts: 0,
            scale_rewards: ScaleRewards::Group,
            max_staleness: 0,
            mask_truncated: false,
        }
    }
}

/// The losses of the GRPO family; they differ in what a completion's tokens are averaged over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LossKind {
    /// Mean over the tokens of each completion, then over completions (the paper's).
    #[default]
    Grpo,
    /// Mean over all tokens of the batch.
    Bnpo,
    /// Sum over tokens divided by a constant length, so that length carries no weight.
    DrGrpo,
    /// Mean over all tokens of the whole step; usually with `clip_high = 0.28`.
    Dapo,
    /// One importance ratio per completion instead of per token.
    Gspo,
}

/// What rewards are scaled by within a group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ScaleRewards {
    /// The standard deviation of the group.
    #[default]
    Group,
    /// The standard deviation of the whole step.
    Batch,
    /// Nothing: the advantage is the reward minus its group's mean.
    None,
}

/// `[optimizer]`: AdamW and its learning-rate schedule, for every method.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct OptimizerConfig {
    /// Decoupled weight decay.
    pub weight_decay: f64,
    /// Decay rates of the two moments.
    pub betas: [f64; 2],
    /// Term that keeps the division finite.
    pub eps: f64,
    /// Gradients are scaled down to this norm; 0 leaves them as they are.
    pub max_grad_norm: f64,
    /// Steps over which the learning rate rises from 0 to its peak.
    pub warmup_steps: u64,
    /// How it falls after the warm-up.
    pub schedule: Schedule,
    /// Learning rate at the last step, as a fraction of the peak.
    pub final_lr_fraction: f64,
}

impl Default for OptimizerConfig {
    fn default() -> Self {
        Self {
            weight_decay: 0.0,
            betas: [0.9, 0.999],
            eps: 1e-8,
            max_grad_norm: 1.0,
            warmup_steps: 0,
            schedule: Schedule::Constant,
            final_lr_fraction: 0.0,
        }
    }
}

/// Course of the learning rate after the warm-up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Schedule {
    /// It stays at its peak.
    #[default]
    Constant,
    /// It falls in a straight line.
    Linear,
    /// It falls along half a cosine.
    Cosine,
}

/// `[sft]`: supervised fine-tuning, for arms with `method = "sft"`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SftConfig {
    /// Learning rate (its peak).
    pub lr: f64,
    /// Questions per optimizer step.
    pub rows_per_step: usize,
    /// What the policy learns to write: the `answer` alone, the `reasoning` and then the answer, or the built-in
    /// `world`'s deliberately flawed mixture of both.
    pub target: TargetKind,
    /// Targets drawn per question and step; more than 1 shares the audio's encoding among them.
    pub targets_per_row: usize,
    /// Prompt styles drawn from uniformly, row by row. Default: the arm's own prompt.
    pub styles: Vec<PromptStyle>,
    /// `[sft.curriculum]`: which questions come first.
    pub curriculum: CurriculumConfig,
}

/// `[sft.curriculum]`: the first steps take only questions of some kinds. A policy from random weights learns to hear
/// from one simple question within minutes, and from a mixture hardly at all.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct CurriculumConfig {
    /// How many steps; 0 mixes all kinds from the start.
    pub steps: u64,
    /// The `kind`s of question they take.
    pub kinds: Vec<String>,
}

impl Default for SftConfig {
    fn default() -> Self {
        Self {
            lr: 1e-4,
            rows_per_step: 8,
            target: TargetKind::Answer,
            targets_per_row: 1,
            styles: Vec::new(),
            curriculum: CurriculumConfig::default(),
        }
    }
}
