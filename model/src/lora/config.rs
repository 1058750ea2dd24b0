//! The settings of an adapter, and where it comes from.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// The hyperparameters of an adapter. Fields are PEFT's; the defaults are this crate's.
#[derive(Debug, Clone, PartialEq)]
pub struct LoraConfig {
    /// Number of rows of every `A` and of columns of every `B`; above 0.
    pub rank: i64,
    /// Numerator of the scale `alpha / rank`, by which the adapter's output is multiplied.
    pub alpha: f64,
    /// Probability, 0 to 1, with which an element of the adapter's input is zeroed during training.
    pub dropout: f64,
    /// Which linear layers get an adapter.
    pub target_modules: TargetModules,
    /// Whether the scale is `alpha / √rank` instead (rank-stabilised LoRA, <https://arxiv.org/abs/2312.03732>).
    pub use_rslora: bool,
}

impl Default for LoraConfig {
    fn default() -> Self {
        LoraConfig {
            rank: 8,
            alpha: 32.0,
            dropout: 0.0,
            target_modules: TargetModules::AllLinear,
            use_rslora: false,
        }
    }
}

impl LoraConfig {
    /// The factor that the adapter's output is multiplied by.
    pub(crate) fn scale(&self) -> f64 {
        let rank = self.rank as f64;
        self.alpha / if self.use_rslora { rank.sqrt() } else { rank }
    }
}

/// Which layers get an adapter, in the form of PEFT's `target_modules`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum TargetModules {
    /// The linear layers whose name is one of these, or ends with `.` and one of these.
    Named(Vec<String>),
    /// The linear layers whose whole name matches this regular expression.
    Pattern(String),
    /// Every linear layer except the output projection: PEFT's `all-linear`.
    #[serde(skip)]
    AllLinear,
}

/// Where a policy's adapter comes from.
#[derive(Debug, Clone, PartialEq)]
pub enum Adapter {
    /// A new adapter, whose `A` is random and whose `B` is zero, so that the policy starts equal to its base.
    Fresh {
        /// The rank, scale, dropout and layers of the adapter.
        config: LoraConfig,
        /// The seed that `A` is drawn with.
        seed: u64,
    },
    /// A directory with PEFT's `adapter_config.json` and `adapter_model.safetensors`.
    Directory(PathBuf),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rank_stabilised_scale_divides_by_the_root() {
        let config = LoraConfig { rank: 16, alpha: 8.0, ..LoraConfig::default() };
        assert_eq!(config.scale(), 0.5);
        assert_eq!(LoraConfig { use_rslora: true, ..config }.scale(), 2.0);
    }
}
