//! From the scores of a step to its advantages, in one go.

use std::collections::BTreeMap;

use crate::{
    AdvantageOptions, Advantages, Estimator, Formula, Weights, advantages, decoupled_advantages,
    hybrid_advantages, shape, weighted_parts,
};

/// Shapes the scores of a step into rewards and computes their advantages. `components` has a column of scores for each
/// component; `penalties` are subtracted from the rewards before they are compared, and are no part of the first result.
/// `thinks` says of each completion whether it thinks.
pub fn shaped_advantages(
    formula: &Formula,
    components: &BTreeMap<String, Vec<Option<f64>>>,
    weights: &Weights,
    group_size: usize,
    options: &AdvantageOptions,
    penalties: Option<&[f64]>,
    thinks: &[bool],
) -> (Vec<Option<f64>>, Advantages) {
    let rewards = shape(formula, components, weights);
    let found = match (options.estimator, penalties) {
        (Estimator::Gdpo, _) => {
            let parts = weighted_parts(formula, components, weights);
            decoupled_advantages(&rewards, &parts, group_size, options)
        }
        (_, penalties) => {
            let penalty = |place: usize| penalties.map_or(0.0, |penalties| penalties[place]);
            let penalized = rewards.iter().enumerate();
            let penalized: Vec<Option<f64>> =
                penalized.map(|(place, reward)| reward.map(|reward| reward - penalty(place))).collect();
            match options.estimator {
                Estimator::Hgpo => hybrid_advantages(&penalized, thinks, group_size, options),
                _ => advantages(&penalized, group_size, options),
            }
        }
    };
    (rewards, found)
}
