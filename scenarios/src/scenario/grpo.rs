//! `[grpo]`: advantages, losses and their coefficients. `docs/algorithms.md` has the equations.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `[grpo]`: the policy-gradient step of arms with `method = "grpo"`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct GrpoConfig {
    /// The loss: `grpo`, `bnpo`, `dr_grpo`, `dapo`, `gspo`, `gspo_token`, `cispo` or `sapo`.
    pub loss: LossKind,
    /// Learning rate, above 0; the peak of the schedule in `[optimizer]`.
    pub lr: f64,
    /// Weight β of the KL penalty towards the reference policy, 0 or more; 0 turns it off.
    pub kl_coef: f64,
    /// Clip range ε of the importance ratio, above 0 and below 1: the ratio is clipped to 1 ± ε.
    pub clip: f64,
    /// Upper clip range, above 0, if it differs from the lower one (the clip-higher of `dapo`). Default: `clip`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clip_high: Option<f64>,
    /// Two-sided clipping: upper bound of the ratio for negative advantages, above `1 + clip_high`. Default: no bound.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delta: Option<f64>,
    /// Number of optimizer steps on the same completions, μ in the GRPO papers; at least 1.
    pub iterations: usize,
    /// Number of prompts per forward and backward pass, at most `sampling.prompts_per_step`; 0 takes all prompts of the
    /// step at once. It affects memory use, not the result.
    pub micro_batch_prompts: usize,
    /// What a reward is compared with: `group_relative`, `gdpo`, `rloo`, `reinforce_plus_plus` or
    /// `reinforce_plus_plus_baseline`.
    pub advantages: AdvantageKind,
    /// The divisor of a reward after its group's mean has been subtracted: the standard deviation of the `group` or of
    /// the `batch`, or `none`. Only with `advantages = "group_relative"`.
    pub scale_rewards: ScaleRewards,
    /// Number of versions that the sampling policy may be behind the trained one; 0 is on-policy and reproducible.
    pub max_staleness: u64,
    /// Whether to exclude completions from the loss that were cut off at `sampling.max_new_tokens`.
    pub mask_truncated: bool,
    /// Steepness of the gate of `loss = "sapo"` for advantages above 0; above 0.
    pub sapo_temperature_pos: f64,
    /// Steepness of the gate of `loss = "sapo"` for all other advantages; above 0.
    pub sapo_temperature_neg: f64,
    /// How the KL divergence is estimated: `k1`, `k2` or `k3`.
    pub kl_estimator: KlEstimator,
    /// Whether the KL divergence of a completion, summed over its tokens and times `kl_coef`, is subtracted from its reward
    /// instead of being a term of the loss. Needs `kl_coef` above 0.
    pub kl_in_reward: bool,
    /// KL divergence per token, above 0, that `kl_coef` follows from step to step. Default: `kl_coef` stays as it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kl_target: Option<f64>,
    /// Number of completions, above 0, in which `kl_coef` changes by at most a fifth. Only with `kl_target`.
    pub kl_horizon: f64,
    /// How completions are weighted that were sampled from older weights: `none`, or per token, per completion (`sequence`)
    /// or by their geometric mean, where weights above `importance_cap` are truncated to it or masked.
    pub importance_correction: ImportanceCorrection,
    /// Largest weight of `importance_correction`; 1 or more.
    pub importance_cap: f64,
    /// Off-policy mask: a completion with a negative advantage is left out of the policy loss if its log-probability per
    /// token has fallen by more than this since it was sampled; 0 or more. Default: no mask.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub off_policy_threshold: Option<f64>,
    /// Weight of the entropy bonus, 0 or more; the first one if it follows `entropy_target`.
    pub entropy_coef: f64,
    /// Entropy per token in nats, above 0, that `entropy_coef` follows: it rises by `entropy_coef_delta` in each step whose
    /// entropy is at most this, and falls in each other step, which also gets no bonus. Default: `entropy_coef` stays as it
    /// is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub entropy_target: Option<f64>,
    /// Change of `entropy_coef` per step, above 0. Only with `entropy_target`.
    pub entropy_coef_delta: f64,
    /// Largest `entropy_coef`, above 0. Only with `entropy_target`.
    pub entropy_coef_max: f64,
    /// Fraction of the tokens of a step, those with the greatest entropy, that the policy loss acts on; above 0, at most 1.
    pub entropy_top_fraction: f64,
    /// Entropy control of the tokens whose log-probability and advantage lie on the same side of the step's means: `none`,
    /// `clip` (Clip-Cov: some of them are left out of the policy loss) or `kl` (KL-Cov: those that do most are held near the
    /// sampling policy).
    pub covariance: CovarianceControl,
    /// Largest fraction of the tokens of a step that `covariance` acts on, above 0 and up to 1; at least one token.
    pub covariance_fraction: f64,
    /// The covariances between which Clip-Cov draws its tokens, the smaller first.
    pub covariance_range: [f64; 2],
    /// Weight of KL-Cov's penalty, above 0.
    pub covariance_kl_coef: f64,
    /// Weight of the first token of a completion, which decides whether it thinks, beside the mean over its other tokens (DeGRPO);
    /// 0 or more, with `loss = "grpo"`. Default: the mean over all tokens.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode_token_coef: Option<f64>,
    /// With `advantages = "hgpo"`: weight of the advantage of the completion's mode, 0 or more.
    pub mode_advantage_coef: f64,
    /// With `advantages = "hgpo"`: by how much the mean reward of the completions that think must exceed that of the others for
    /// thinking to count as the better mode.
    pub mode_margin: f64,
}

impl GrpoConfig {
    /// The upper clip range: `clip_high` if it is set, else `clip`.
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
            advantages: AdvantageKind::GroupRelative,
            scale_rewards: ScaleRewards::Group,
            max_staleness: 0,
            mask_truncated: false,
            sapo_temperature_pos: 1.0,
            sapo_temperature_neg: 1.05,
            kl_estimator: KlEstimator::K3,
            kl_in_reward: false,
            kl_target: None,
            kl_horizon: 10_000.0,
            importance_correction: ImportanceCorrection::None,
            importance_cap: 2.0,
            off_policy_threshold: None,
            entropy_coef: 0.0,
            entropy_target: None,
            entropy_coef_delta: 0.005,
            entropy_coef_max: 1.0,
            entropy_top_fraction: 1.0,
            covariance: CovarianceControl::None,
            covariance_fraction: 2e-4,
            covariance_range: [1.0, 5.0],
            covariance_kl_coef: 1.0,
            mode_token_coef: None,
            mode_advantage_coef: 1.0,
            mode_margin: 0.2,
        }
    }
}

/// Entropy control by the covariance of log-probability and advantage.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CovarianceControl {
    /// None.
    #[default]
    None,
    /// Clip-Cov.
    Clip,
    /// KL-Cov.
    Kl,
}

/// The losses of the GRPO family. They differ in the importance ratio, in how it is bounded, and in how the losses of
/// tokens are averaged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LossKind {
    /// The mean over the tokens of each completion, then over completions, as in the paper (Eq. 9).
    #[default]
    Grpo,
    /// The mean over all tokens of the step.
    Bnpo,
    /// The sum over tokens divided by a constant length, so that the length of a completion does not change its weight.
    DrGrpo,
    /// The mean over all tokens of the step, as for `bnpo`; usually with `clip_high = 0.28`.
    Dapo,
    /// One importance ratio per completion instead of one per token.
    Gspo,
    /// The ratio of `gspo`, with a gradient through each token's own log-probability.
    GspoToken,
    /// REINFORCE, each token weighted by its ratio clipped at `1 + clip_high`; usually with `clip_high = 4`.
    Cispo,
    /// A smooth gate instead of the clip, so that no token loses all of its gradient.
    Sapo,
}

/// What a reward is compared with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AdvantageKind {
    /// The mean of its group, divided as `scale_rewards` says.
    #[default]
    GroupRelative,
    /// Each term of the formula is normalised within its group; the weighted sum is normalised over the step.
    Gdpo,
    /// The mean of the other rewards of its group, without a divisor.
    Rloo,
    /// The mean of the step, divided by the standard deviation of the step.
    ReinforcePlusPlus,
    /// The mean of its group; the result is normalised over the step.
    ReinforcePlusPlusBaseline,
    /// Whether it is the best of its group in its mode, thinking or not; the first token is also compared by whether its mode is
    /// the better one.
    Hgpo,
}

/// The divisor of the centred rewards of a group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ScaleRewards {
    /// The standard deviation of the group.
    #[default]
    Group,
    /// The standard deviation over the whole step.
    Batch,
    /// No divisor: the advantage is the reward minus the mean of its group.
    None,
}

/// The estimate of the KL divergence of a token, with `d = log π_ref − log π`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum KlEstimator {
    /// `−d`. For `kl_in_reward`: as a term of a loss, its gradient is 0 in expectation.
    K1,
    /// `d²/2`.
    K2,
    /// `e^d − d − 1`, as in the paper.
    #[default]
    K3,
}

/// How completions are weighted that were sampled from older weights.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ImportanceCorrection {
    /// Not at all: the importance ratio of the loss compares with the policy that sampled.
    #[default]
    None,
    /// Per token; larger weights are truncated.
    TokenTruncate,
    /// Per token; tokens with a larger weight are masked.
    TokenMask,
    /// Per completion, by the product over its tokens; larger weights are truncated.
    SequenceTruncate,
    /// Per completion; completions with a larger weight are masked.
    SequenceMask,
    /// Per completion, by the geometric mean over its tokens; larger weights are truncated.
    GeometricTruncate,
    /// Per completion, by the geometric mean; completions with a larger weight are masked.
    GeometricMask,
}
