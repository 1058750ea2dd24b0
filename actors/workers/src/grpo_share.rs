//! What a process needs to know of a GRPO step for its share of the groups.

use model::loss::{Correction, GrpoConfig, Normalizer};
use model::{Entropies, Forward};
use serde::{Deserialize, Serialize};

use crate::micro_batch::MicroBatch;
use crate::train_group::TrainGroup;

/// How the passes are made.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct PassSettings {
    /// The loss, with the coefficients of this step.
    pub(crate) config: GrpoConfig,
    /// How stale completions are weighted.
    pub(crate) correction: Option<Correction>,
    /// Fraction of tokens that the policy loss acts on.
    pub(crate) entropy_top_fraction: f64,
    /// Whether completions that were cut off are left out.
    pub(crate) mask_truncated: bool,
    /// Whether the ratios to the policy that sampled are measured.
    pub(crate) measure_ratios: bool,
    /// The sampling temperature.
    pub(crate) temperature: f64,
}

impl PassSettings {
    pub(crate) fn entropies(&self) -> Entropies {
        if self.config.entropy_coef != 0.0 { Entropies::Differentiated } else { Entropies::Measured }
    }

    pub(crate) fn micro_batch(&self, groups: &[TrainGroup], current: &Forward<'_>) -> MicroBatch {
        let longest = current.logprobs.size()[1] as usize;
        MicroBatch::new(groups, longest, self.mask_truncated, current.logprobs.device())
    }
}

/// What a process needs to know of a step for its share of the groups, which are all of them if it trains alone.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct GrpoShare {
    pub(crate) settings: PassSettings,
    /// The totals of the whole step.
    pub(crate) normalizer: Normalizer,
    /// By completion of the share, the tokens that are controlled by their covariance; empty if none are.
    pub(crate) covariant: Vec<Vec<usize>>,
    /// Number of micro-batches in the shares before it.
    pub(crate) first_micro_batch: usize,
    /// Number of trained tokens in the shares before it.
    pub(crate) tokens_before: usize,
    /// Number of optimizer steps on the same completions.
    pub(crate) iterations: usize,
    /// Learning rate.
    pub(crate) lr: f64,
}
