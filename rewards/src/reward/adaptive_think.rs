//! Adaptive-think accuracy R_a (arXiv 2508.08039v3, Eq. 3-5): is the answer right, and was it worth thinking?
//!
//! With λ the fraction of think completions, s the step and T the number of steps,
//!
//! ```text
//! γ_think    = exp(-λ·(1 - s/T))            γ_nothink = exp(-(1-λ)·(1 - s/T))
//! case 1  think,    correct   :  γ_think
//! case 2  think,    incorrect : -(1 - γ_think)
//! case 3  no-think, correct   :  2·γ_nothink
//! case 4  no-think, incorrect : -γ_nothink - 2·(1 - γ_nothink)
//! ```
//!
//! The mode that fills the batch is paid less, so that neither dies out early; at s = T both γ are 1 and the base
//! values +1, 0, +2, -1 stand. A malformed completion is incorrect, its mode that of PARSE-2.
//!
//! Option: `scope = "step" | "group" | "microbatch"`, the completions over which λ is taken (the paper does not say).

use serde::{Deserialize, Serialize};

use crate::statistics::{BatchStatistics, Scope};
use crate::{Reward, RewardBatch, RewardError, RewardItem, read_options};

/// The name in a scenario.
pub const KIND: &str = "adaptive-think";

/// The options of `adaptive-think`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AdaptiveThinkOptions {
    /// The completions over which λ is taken.
    pub scope: Scope,
}

/// R_a.
#[derive(Clone, Debug, Default)]
pub struct AdaptiveThink {
    options: AdaptiveThinkOptions,
}

impl AdaptiveThink {
    /// R_a under these options.
    pub fn new(options: AdaptiveThinkOptions) -> Self {
        Self { options }
    }

    /// # Errors
    /// An option is unknown or unusable.
    pub fn from_options(options: &toml::Table) -> Result<Self, RewardError> {
        Ok(Self::new(read_options(KIND, options)?))
    }
}

impl Reward for AdaptiveThink {
    fn score(&mut self, batch: &RewardBatch) -> Result<Vec<Option<f64>>, RewardError> {
        let statistics = BatchStatistics::of(batch, self.options.scope);
        let remaining = batch.remaining();
        let score = |item: &RewardItem| {
            let lambda = statistics.around(item).think_fraction();
            adaptive_accuracy(item.thinks(), item.correct, lambda, remaining)
        };
        Ok(batch.items.iter().map(|item| Some(score(item))).collect())
    }
}

/// Eq. 3-5 for one completion; `remaining` is `1 - s/T`.
fn adaptive_accuracy(thinks: bool, correct: bool, lambda: f64, remaining: f64) -> f64 {
    let gamma_think = (-lambda * remaining).exp();
    let gamma_no_think = (-(1.0 - lambda) * remaining).exp();
    match (thinks, correct) {
        (true, true) => gamma_think,
        (true, false) => -(1.0 - gamma_think),
        (false, true) => 2.0 * gamma_no_think,
        (false, false) => -gamma_no_think - 2.0 * (1.0 - gamma_no_think),
    }
}
