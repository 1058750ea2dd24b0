//! Weights that correct the loss for completions that were sampled from other weights than those that are trained.
//!
//! `w = π_old / π_sampled`, per token, per completion, or as the geometric mean of a completion's tokens. `π_old` is the
//! policy at the beginning of the step. Large weights are truncated, or set to 0, which masks their tokens.
//! <https://fengyao.notion.site/off-policy-rl>

use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

use crate::memory::no_grad;

/// What has one weight.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum CorrectionLevel {
    /// Each token.
    Token,
    /// Each completion: the product of its tokens' weights, which is unbiased and varies greatly with the length.
    Sequence,
    /// Each completion: the geometric mean of its tokens' weights.
    Geometric,
}

/// How stale completions are weighted.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Correction {
    /// What has one weight.
    pub level: CorrectionLevel,
    /// Whether a weight above `cap` becomes 0 instead of `cap`.
    pub mask: bool,
    /// Largest weight.
    pub cap: f64,
}

/// The weights of a micro-batch, as constants.
#[derive(Debug)]
pub struct CorrectionWeights {
    /// `[N, T]` or `[N, 1]`, float.
    pub weights: Tensor,
    /// As `weights`, bool: those that were above the cap.
    pub cut: Tensor,
}

impl Correction {
    /// Computes the weights. A token without a log-probability at sampling (NaN) has a ratio of 1.
    ///
    /// Shapes: `old`, `sampled: [N, T]`, float; `mask: [N, T]`, bool
    pub fn weights(&self, old: &Tensor, sampled: &Tensor, mask: &Tensor) -> CorrectionWeights {
        no_grad(|| {
            let padding = mask.to_kind(Kind::Bool).logical_not();
            let gap = (old - sampled).masked_fill(&padding, 0.0).nan_to_num(0.0, None, None);
            let sum = || gap.sum_dim_intlist([-1].as_slice(), true, None);
            let log = match self.level {
                CorrectionLevel::Token => gap.shallow_clone(),
                CorrectionLevel::Sequence => sum(),
                CorrectionLevel::Geometric => {
                    let tokens = padding.logical_not().to_kind(gap.kind());
                    sum() / tokens.sum_dim_intlist([-1].as_slice(), true, None).clamp_min(1.0)
                }
            };
            let ratio = log.exp();
            let cut = ratio.gt(self.cap);
            let weights = if self.mask { ratio.masked_fill(&cut, 0.0) } else { ratio.clamp_max(self.cap) };
            CorrectionWeights { weights, cut }
        })
    }
}
