//! From the scores of a step to its advantages, in one go.

use std::collections::BTreeMap;

use crate::{
    AdvantageOptions, Advantages, Estimator, Formula, Weights, advantages, decoupled_advantages, shape,
    weighted_parts,
};

/// Shapes the scores of a step into rewards and computes their advantages. `components` has a column of scores for each
/// component; `penalties` are subtracted from the rewards before they are compared, and are no part of the first result.
pub fn shaped_advantages(
    formula: &Formula,
    components: &BTreeMap<String, Vec<Option<f64>>>,
    weights: &Weights,
    group_size: usize,
    options: &AdvantageOptions,
    penalties: Option<&[f64]>,
) -> (Vec<Option<f64>>, Advantages) {
    let rewards = shape(formula, components, weights);
    let found = match (options.estimator, penalties) {
        (Estimator::Gdpo, _) => {
            let parts = weighted_parts(formula, components, weights);
            decoupled_advantages(&rewards, &parts, group_size, options)
        }
        (_, None) => advantages(&rewards, group_size, options),
        (_, Some(penalties)) => {
            let penalized = |(reward, penalty): (&Option<f64>, &f64)| reward.map(|r| r - penalty);
            let penalized: Vec<Option<f64>> = rewards.iter().zip(penalties).map(penalized).collect();
            advantages(&penalized, group_size, options)
        }
    };
    (rewards, found)
}
