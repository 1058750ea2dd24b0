//! How a GRPO step is trained on: what may differ from step to step.

use model::loss::{Correction, CovarianceControl, GrpoConfig};

/// How a GRPO step is taken. These settings may differ from step to step.
#[derive(Clone, Debug)]
pub struct GrpoSettings {
    /// Learning rate, before the schedule's factor.
    pub lr: f64,
    /// Settings of the loss. The coefficients are those of arms in which they follow no target.
    pub grpo: GrpoConfig,
    /// How stale completions are weighted; `None` leaves that to the importance ratio, which then compares with the
    /// policy that sampled.
    pub correction: Option<Correction>,
    /// Fraction of tokens, those with the greatest entropy, that the policy loss acts on; 1 for all.
    pub entropy_top_fraction: f64,
    /// Which tokens are controlled by their covariance; `None` for none.
    pub covariance: Option<CovarianceSettings>,
    /// Number of optimizer steps on the same completions, at least 1.
    pub iterations: usize,
    /// Whether completions cut off at `max_new_tokens` are left out of the loss.
    pub mask_truncated: bool,
    /// Whether the ratios to the policy that sampled are measured, which is another program on servers.
    pub measure_ratios: bool,
    /// The sampling temperature, at which log-probabilities are computed here too.
    pub temperature: f64,
}

/// Which tokens are controlled, and how.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CovarianceSettings {
    /// What happens to them.
    pub control: CovarianceControl,
    /// Their largest fraction of all tokens.
    pub fraction: f64,
    /// With [`CovarianceControl::Clip`]: the covariances among which they are drawn.
    pub range: [f64; 2],
}
