//! What the advantages of a recorded batch would have been under other weights or another formula, as `sandbox reshape` says
//! it of a whole run.

use rewards::{Agreement, Formula, Weights, shaped_advantages};
use scenarios::ArmConfig;
use schemars::JsonSchema;
use serde::Serialize;

use super::contribution::ScoredBatch;

/// How the advantages of a batch would differ from those that were trained on.
#[derive(Debug, PartialEq, Serialize, JsonSchema)]
pub(super) struct ReshapedBatch {
    /// The step whose completions these are.
    pub step: u64,
    /// Completions with an advantage in both cases, of which the figures below are.
    pub compared: u64,
    /// Completions that would have got an advantage, and had none.
    pub gained: u64,
    /// Completions that would have lost their advantage.
    pub lost: u64,
    /// Share of the compared completions whose advantage would have the other sign; 0 is a sign of its own.
    pub changed_signs: Option<f64>,
    /// Spearman's rank correlation of the advantages; `null` if one side is constant.
    pub rank_correlation: Option<f64>,
    /// The largest difference of an advantage.
    pub largest_difference: f64,
    /// Mean advantage of the completions that think: as it was, and as it would have been.
    pub think_advantage: [Option<f64>; 2],
}

impl ReshapedBatch {
    /// Shapes a batch anew; `arm` says how advantages are made. `None` if that can't be repeated, because
    /// `grpo.kl_in_reward` subtracts a divergence that is not recorded by completion.
    pub fn of(batch: &ScoredBatch, formula: &Formula, weights: &Weights, arm: &ArmConfig) -> Option<Self> {
        if arm.grpo.kl_in_reward {
            return None;
        }
        let (size, options) = (arm.sampling.group_size, arm.advantage_options());
        let (_, after) =
            shaped_advantages(formula, &batch.components, weights, size, &options, None, &batch.thinks);
        let agreement = Agreement::of(&batch.advantages, &after.values);
        let think = |advantages: &[Option<f64>]| {
            let thinking = advantages.iter().zip(&batch.thinks).filter(|(_, thinks)| **thinks);
            let values: Vec<f64> = thinking.filter_map(|(advantage, _)| *advantage).collect();
            (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
        };
        Some(ReshapedBatch {
            step: batch.step,
            compared: agreement.compared,
            gained: agreement.gained,
            lost: agreement.lost,
            changed_signs: agreement.changed_signs,
            rank_correlation: agreement.rank_correlation,
            largest_difference: agreement.largest_difference,
            think_advantage: [think(&batch.advantages), think(&after.values)],
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::json;

    use super::*;

    #[test]
    fn a_weight_that_turns_the_order_of_a_group_changes_its_signs() {
        let arm = |more: serde_json::Value| -> ArmConfig {
            let mut arm =
                json!({"name": "a", "steps": 9, "shaping": {"formula": "a"}, "sampling": {"group_size": 2}});
            arm["grpo"] = more;
            serde_json::from_value(arm).unwrap()
        };
        let columns = [("a", vec![Some(1.0), Some(0.0)]), ("b", vec![Some(0.0), Some(1.0)])];
        let batch = ScoredBatch {
            step: 4,
            version: Some(0),
            components: columns.into_iter().map(|(name, scores)| (name.to_owned(), scores)).collect(),
            advantages: vec![Some(1.0), Some(-1.0)],
            thinks: vec![false, true],
        };
        let formula = Formula::parse("a + w_b * b", ["a", "b"], ["b"]).unwrap();
        let weights = |b: f64| Weights { version: 1, values: BTreeMap::from([("b".to_owned(), b)]) };
        // Rewards 1 and 3: the second completion is favoured now.
        let turned = ReshapedBatch::of(&batch, &formula, &weights(3.0), &arm(json!({}))).unwrap();
        assert_eq!(
            (turned.compared, turned.changed_signs, turned.rank_correlation),
            (2, Some(1.0), Some(-1.0))
        );
        assert_eq!(turned.think_advantage[0], Some(-1.0));
        assert!(turned.think_advantage[1].unwrap() > 0.0);
        // Rewards 1 and 0.5: the same order as before.
        let same = ReshapedBatch::of(&batch, &formula, &weights(0.5), &arm(json!({}))).unwrap();
        assert_eq!((same.changed_signs, same.rank_correlation), (Some(0.0), Some(1.0)));
        assert_eq!(
            ReshapedBatch::of(&batch, &formula, &weights(0.5), &arm(json!({"kl_in_reward": true}))),
            None
        );
    }
}
