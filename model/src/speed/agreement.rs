//! Whether generation by replays of a captured step agrees with libtorch's operations on the same device, for
//! `sandbox bench --check`.

use serde::Serialize;
use tch::Device;

use super::policy::PolicySpeed;
use crate::error::ModelError;
use crate::sampling::Completion;

/// How far the log-probabilities of drawn tokens are from those of the learner's pass over the same completions, which
/// computes them without a cache.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Gap {
    /// Largest difference.
    pub largest: f64,
    /// Mean difference.
    pub mean: f64,
}

/// Generation with a captured step beside generation without, with the same seeds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Agreement {
    /// Kernels of a replayed step; `None` if nothing was replayed, and so nothing compared.
    pub launches: Option<usize>,
    /// Completions of each.
    pub completions: usize,
    /// Completions that have the same tokens with both.
    pub equal: usize,
    /// Of the replays.
    pub replayed: Gap,
    /// Of libtorch's operations.
    pub plain: Gap,
}

impl Agreement {
    /// Whether replays are as near to the learner as libtorch's operations are: twice their mean difference, and 1e-5 for
    /// models whose own is next to nothing.
    pub fn holds(&self) -> bool {
        self.launches.is_some() && self.replayed.mean <= 2.0 * self.plain.mean + 1e-5
    }
}

impl PolicySpeed {
    /// Generates the workload's completions by replays and by libtorch's operations, and compares both.
    ///
    /// Errors: Those of [`Policy::generate`](crate::Policy::generate) and [`Policy::logprobs`](crate::Policy::logprobs).
    pub fn agreement(&self) -> Result<Agreement, ModelError> {
        self.use_cuda_graphs(true);
        let (replayed, of_replayed) = self.drawn_and_learned()?;
        let launches = self.launches();
        self.use_cuda_graphs(false);
        let (plain, of_plain) = self.drawn_and_learned()?;
        self.use_cuda_graphs(true);
        let equal = replayed.iter().zip(&plain).filter(|(one, other)| one.ids == other.ids).count();
        Ok(Agreement { launches, completions: plain.len(), equal, replayed: of_replayed, plain: of_plain })
    }

    fn drawn_and_learned(&self) -> Result<(Vec<Completion>, Gap), ModelError> {
        let (completions, learned) = self.completions_and_logprobs()?;
        let learned: Vec<Vec<f32>> = Vec::try_from(learned.to_device(Device::Cpu))?;
        let drawn = completions.iter().map(|completion| &completion.logprobs);
        let gaps = drawn.zip(&learned).flat_map(|(drawn, learned)| drawn.iter().zip(learned));
        let gaps: Vec<f64> = gaps.map(|(one, other)| f64::from((one - other).abs())).collect();
        let gap = Gap {
            largest: gaps.iter().copied().fold(0.0, f64::max),
            mean: gaps.iter().sum::<f64>() / gaps.len().max(1) as f64,
        };
        Ok((completions, gap))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replays_agree_if_they_are_as_near_to_the_learner_as_libtorch_s_operations() {
        let gap = |mean: f64| Gap { largest: 10.0 * mean, mean };
        let agreement = |replayed: f64, launches| Agreement {
            launches,
            completions: 4,
            equal: 3,
            replayed: gap(replayed),
            plain: gap(0.01),
        };
        assert!(agreement(0.02, Some(21)).holds());
        assert!(!agreement(0.021, Some(21)).holds());
        assert!(!agreement(f64::NAN, Some(21)).holds());
        assert!(!agreement(0.0, None).holds(), "nothing was replayed");
    }
}
