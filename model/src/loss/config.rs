//! The settings of the policy-gradient losses.

/// How the losses of the tokens of a batch are averaged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LossKind {
    /// The mean over the tokens of each completion, then over completions.
    #[default]
    Grpo,
    /// The mean over all tokens of the batch.
    Bnpo,
    /// The sum over tokens, divided by completions × the longest completion allowed, which has no length bias.
    DrGrpo,
    /// The mean over all tokens of the whole batch; usually with a larger `clip_high`.
    Dapo,
    /// GRPO's mean with one importance ratio for each completion, whatever `importance` is.
    Gspo,
}

/// Whether an importance ratio belongs to a token or to a completion.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Importance {
    /// One ratio for each token.
    #[default]
    Token,
    /// One ratio for each completion: the geometric mean of its tokens' ratios.
    Sequence,
}

/// Settings of `grpo_loss`. The defaults are those of Audio-Thinker.
#[derive(Clone, Debug, PartialEq)]
pub struct GrpoConfig {
    /// How the losses of tokens are averaged.
    pub loss: LossKind,
    /// Whether there is one ratio for each token or for each completion.
    pub importance: Importance,
    /// Distance below 1 at which ratios are clipped: at `1 − clip_low`.
    pub clip_low: f64,
    /// Distance above 1 at which ratios are clipped: at `1 + clip_high`.
    pub clip_high: f64,
    /// Upper bound of the ratio where the clip has no effect: for large ratios with a negative advantage. Must be above
    /// `1 + clip_high`; `None` for no bound.
    pub delta: Option<f64>,
    /// Weight of the KL divergence to the reference policy. With 0, no reference is needed.
    pub kl_coef: f64,
    /// Whether the KL estimate is multiplied by the importance ratio, which makes its gradient unbiased off-policy.
    pub kl_importance_corrected: bool,
}

impl Default for GrpoConfig {
    fn default() -> Self {
        GrpoConfig {
            loss: LossKind::Grpo,
            importance: Importance::Token,
            clip_low: 0.2,
            clip_high: 0.2,
            delta: None,
            kl_coef: 0.04,
            kl_importance_corrected: false,
        }
    }
}

impl GrpoConfig {
    /// The importance ratios that are used: always per completion for GSPO.
    pub(super) fn importance(&self) -> Importance {
        if self.loss == LossKind::Gspo { Importance::Sequence } else { self.importance }
    }
}
