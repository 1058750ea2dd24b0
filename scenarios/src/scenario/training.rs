//! `[sampling]`, `[optimizer]` and `[sft]`: how completions are sampled, and how the policy is trained. `grpo.rs` has
//! `[grpo]`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::prompt::PromptStyle;
use crate::world::TargetKind;

/// `[sampling]`: how the completions of a training step are sampled.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SamplingConfig {
    /// Number of completions per prompt, G in the paper; at least 2, since a completion is compared with the
    /// others of its group.
    pub group_size: usize,
    /// Number of prompts per optimizer step; at least 1.
    pub prompts_per_step: usize,
    /// Number of prompts whose completions are sampled at the same time; 0 samples those of a whole step at once. It affects
    /// memory use, not the result.
    #[serde(skip_serializing_if = "is_none_at_once")]
    pub batch_prompts: usize,
    /// Sampling temperature; above 0.
    pub temperature: f64,
    /// Nucleus sampling: tokens are drawn from the smallest set with at least this probability; above 0, at most 1.
    /// 1 keeps all tokens.
    pub top_p: f64,
    /// Tokens are drawn from this number of likeliest ones; 0 keeps all tokens.
    pub top_k: usize,
    /// Greatest length of a completion, in tokens; at least 1. It applies to evaluation too.
    pub max_new_tokens: usize,
    /// Number of tokens, from the beginning of a completion, after which thinking ends: `</think>` is put in where the
    /// completion is still thinking. Below `max_new_tokens`; 0 sets no limit. It applies to evaluation too.
    pub max_think_tokens: usize,
    /// Share of the completions of each prompt that are made to begin with `<answer>`, while the others are made to begin with
    /// `<think>`; 0 to 1. The importance ratio corrects for it (AdaptThink). 0 leaves the beginning to the policy.
    #[serde(skip_serializing_if = "is_zero")]
    pub forced_no_think: f64,
}

fn is_zero(value: &f64) -> bool {
    *value == 0.0
}

fn is_none_at_once(prompts: &usize) -> bool {
    *prompts == 0
}

impl Default for SamplingConfig {
    fn default() -> Self {
        Self {
            group_size: 8,
            prompts_per_step: 8,
            batch_prompts: 0,
            temperature: 1.0,
            top_p: 1.0,
            top_k: 0,
            max_new_tokens: 48,
            max_think_tokens: 0,
            forced_no_think: 0.0,
        }
    }
}

/// `[optimizer]`: AdamW and the schedule of its learning rate, for `grpo` and `sft`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct OptimizerConfig {
    /// Decoupled weight decay per step, as a multiple of the learning rate; 0 or more.
    pub weight_decay: f64,
    /// Decay rates β₁ and β₂ of the two moments; each 0 to below 1.
    pub betas: [f64; 2],
    /// Learning rate of the projector at the peak of the schedule, if it differs from the arm's; above 0. Only where
    /// `policy.train` has `projector`, or `policy.train_audio_tower` is set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub projector_lr: Option<f64>,
    /// Likewise that of the audio tower.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tower_lr: Option<f64>,
    /// Constant ε in the denominator of the update; above 0.
    pub eps: f64,
    /// Largest norm of the gradient, 0 or more; a larger gradient is scaled down to it. 0 turns clipping off.
    pub max_grad_norm: f64,
    /// Number of steps over which the learning rate rises linearly from 0 to its peak; fewer than the arm's steps.
    pub warmup_steps: u64,
    /// How the learning rate changes after the warm-up: `constant`, `linear` or `cosine`.
    pub schedule: Schedule,
    /// Learning rate at the last step, as a fraction of its peak; 0 to 1. Only if `schedule` is `linear` or `cosine`.
    pub final_lr_fraction: f64,
}

impl Default for OptimizerConfig {
    fn default() -> Self {
        Self {
            weight_decay: 0.0,
            betas: [0.9, 0.999],
            projector_lr: None,
            tower_lr: None,
            eps: 1e-8,
            max_grad_norm: 1.0,
            warmup_steps: 0,
            schedule: Schedule::Constant,
            final_lr_fraction: 0.0,
        }
    }
}

/// How the learning rate changes after the warm-up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Schedule {
    /// It stays at its peak.
    #[default]
    Constant,
    /// It falls linearly until the last step.
    Linear,
    /// It falls along half a cosine until the last step.
    Cosine,
}

/// `[sft]`: supervised fine-tuning of arms with `method = "sft"`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SftConfig {
    /// Learning rate, above 0; the peak of the schedule in `[optimizer]`.
    pub lr: f64,
    /// Number of questions per optimizer step; at least 1.
    pub rows_per_step: usize,
    /// The completion that is taught: the `answer` only, the `reasoning` followed by the answer, or the `world` target
    /// of a built-in world, a deliberately flawed mixture of both.
    pub target: TargetKind,
    /// Number of targets per question and step, at least 1; they share the encoding of the question's audio.
    pub targets_per_row: usize,
    /// Prompt styles, of which one is drawn at random for each question. Default: the arm's own prompt.
    pub styles: Vec<PromptStyle>,
    /// `[sft.curriculum]`: the kinds of questions to begin with.
    pub curriculum: CurriculumConfig,
    /// `[sft.replay]`: the policy's own answers to questions without a clip, so that it keeps its language.
    #[serde(skip_serializing_if = "ReplayConfig::is_off")]
    pub replay: ReplayConfig,
}

/// `[sft.replay]`: text questions that the policy answers before it is trained, and whose answers it is taught again
/// beside the rows of each step. Without them a small language model forgets how to answer anything but the questions that
/// it is trained on.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ReplayConfig {
    /// Fraction of a step's rows that are such answers, from 0 to below 1; they are added to `sft.rows_per_step`. 0 turns
    /// replay off.
    pub share: f64,
    /// A file with a question per line. Default: 120 questions that are built in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub questions: Option<std::path::PathBuf>,
}

impl ReplayConfig {
    fn is_off(&self) -> bool {
        *self == Self::default()
    }
}

/// `[align]`: the first steps of an arm with `method = "sft"`, which fit the projector alone: each audio token is to be
/// nearest to the embedding of the word that is spoken then. It needs rows with a `transcript` and the `spans` of its
/// words, as `builtin:spoken` has. Supervised fine-tuning hardly begins from a random projector, and takes minutes from
/// one that was fitted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct AlignConfig {
    /// Number of such steps, fewer than the arm's steps; 0 for none.
    pub steps: u64,
    /// Number of clips per step; at least 1.
    pub rows_per_step: usize,
    /// Learning rate of the first of these steps, above 0; it falls linearly to 0.
    pub lr: f64,
}

impl AlignConfig {
    /// Whether there are no such steps.
    pub fn is_off(&self) -> bool {
        self.steps == 0
    }
}

impl Default for AlignConfig {
    fn default() -> Self {
        Self { steps: 0, rows_per_step: 64, lr: 2e-3 }
    }
}

impl SftConfig {
    /// The built-in text in which a question is asked, given the style that was drawn for it. `None` stands for the
    /// arm's own prompt, which may have a text of its own.
    pub fn prompt_style(&self, drawn: PromptStyle) -> Option<PromptStyle> {
        (!self.styles.is_empty()).then_some(drawn)
    }
}

/// `[sft.curriculum]`: restricts the first steps to some kinds of questions. A policy with random weights learns to use
/// the audio from one simple kind of question within minutes, but hardly at all from a mixture.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct CurriculumConfig {
    /// Number of steps with these kinds only; 0 uses all kinds from the start.
    pub steps: u64,
    /// The kinds of questions, such as `first`; see `kind` in the dataset.
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
            replay: ReplayConfig::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_styles_a_question_is_asked_in_the_arm_s_own_prompt() {
        assert_eq!(SftConfig::default().prompt_style(PromptStyle::Think), None);
        let drawn =
            SftConfig { styles: vec![PromptStyle::Think, PromptStyle::Answer], ..SftConfig::default() };
        assert_eq!(drawn.prompt_style(PromptStyle::Answer), Some(PromptStyle::Answer));
    }
}
