//! GDPO: the terms of the reward are normalised one by one (arXiv 2601.05242).
//!
//! `Â_i = (S_i − mean(S)) / (std(S) + ε)` over the step, with `S_i = Σ_k w_k · (r_ik − mean_k) / (std_k + ε)`, whose means
//! and deviations are those of the completion's group. A term that differs little within a group thus counts as much as
//! one that differs a lot.
//!
//! - ADV-4 a missing component stays missing: its completion has no advantage, and the other completions are compared
//!   without it. TRL and the paper's code count it as 0, the mean of its group.
//! - ADV-5 for a weighted sum of components that are all present, the advantages are those of TRL's
//!   `multi_objective_aggregation = "normalize_then_sum"`.

use std::collections::BTreeMap;

use super::moments::Moments;
use crate::{Formula, Weights, shape};

/// One term of the reward.
#[derive(Clone, Debug, PartialEq)]
pub struct Part {
    /// Its constant factor, the product of the numbers and weights in it; negative if the term is subtracted.
    pub coefficient: f64,
    /// The value of the rest of the term, by completion.
    pub values: Vec<Option<f64>>,
}

/// The parts of the reward that a formula computes: one for each term of its outermost sum that uses a component.
/// `components` has a column of scores for each component.
pub fn weighted_parts(
    formula: &Formula,
    components: &BTreeMap<String, Vec<Option<f64>>>,
    weights: &Weights,
) -> Vec<Part> {
    let part = |(coefficient, rest): (Formula, Formula)| Part {
        // A weight that is missing makes the whole reward missing.
        coefficient: coefficient.eval(&BTreeMap::new(), weights).unwrap_or(0.0),
        values: shape(&rest, components, weights),
    };
    formula.weighted_terms().into_iter().map(part).collect()
}

/// The sum of the normalised parts, by completion, and the groups in which no part differs. `scored` are the rewards,
/// without those that are missing or not finite.
pub(super) fn decoupled(
    scored: &[Option<f64>],
    parts: &[Part],
    group_size: usize,
    epsilon: f64,
) -> (Vec<Option<f64>>, Vec<bool>) {
    let mut sums: Vec<Option<f64>> = scored.iter().map(|reward| reward.map(|_| 0.0)).collect();
    let mut alike = vec![true; scored.len().div_ceil(group_size)];
    for part in parts.iter().filter(|part| part.coefficient != 0.0) {
        for (group, (sums, values)) in
            sums.chunks_mut(group_size).zip(part.values.chunks(group_size)).enumerate()
        {
            let Some(moments) = Moments::of(values.iter().flatten()).filter(|moments| !moments.alike())
            else {
                // Nothing to compare with: the term adds its mean, which is 0 once normalised.
                continue;
            };
            for (sum, value) in sums.iter_mut().zip(values) {
                if let (Some(sum), Some(value)) = (sum, value) {
                    *sum += part.coefficient * ((value - moments.mean) / (moments.std + epsilon));
                    alike[group] = false;
                }
            }
        }
    }
    (sums, alike)
}
