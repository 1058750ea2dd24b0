//! Combines the components of each completion into its shaped reward.
//!
//! Each reward actor returns a column of scores, the formula combines a row of scores into the shaped reward, and
//! [`advantages`](crate::advantages()) are computed from the shaped rewards. The paper's formula (arXiv 2508.08039v3,
//! Eq. 7) is `R = R_a · (1 + 0.5·R_c) + 0.5·R_f + R_t`.

use std::collections::BTreeMap;

use crate::{Formula, Weights};

/// Computes the shaped reward of every completion. `components` has a column of scores for each component.
///
/// A reward is `None` if a component that the formula uses is missing (REWARD-1), if a weight that it uses is not in
/// `weights`, or if the result is not finite, since one infinite reward would make the advantages of its whole group
/// useless. Components that the formula does not use may be missing.
pub fn shape(
    formula: &Formula,
    components: &BTreeMap<String, Vec<Option<f64>>>,
    weights: &Weights,
) -> Vec<Option<f64>> {
    let rows = components.values().map(Vec::len).max().unwrap_or(0);
    let Some(mut bound) = formula.bind(weights) else {
        return vec![None; rows];
    };
    let columns: Vec<&[Option<f64>]> = formula
        .component_names()
        .map(|name| components.get(name).map(Vec::as_slice).unwrap_or_default())
        .collect();
    (0..rows).map(|row| bound.eval_with(|column| columns[column].get(row).copied().flatten())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{assert_scores, batch, broken_thought, direct, thought};
    use crate::{RewardBatch, RewardRegistry};

    const PAPER: &str =
        "adaptive_think * (1 + w_consistency * consistency) + w_format * format + w_think * think";

    fn paper_weights() -> Weights {
        let values = [("consistency", 0.5), ("format", 0.5), ("think", 1.0)];
        Weights {
            version: 0,
            values: values.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
        }
    }

    fn components(batch: &RewardBatch, consistency: &toml::Table) -> BTreeMap<String, Vec<Option<f64>>> {
        let registry = RewardRegistry::standard();
        let none = toml::Table::new();
        let columns = [
            ("adaptive_think", "adaptive-think", &none),
            ("consistency", "consistency", consistency),
            ("format", "format", &none),
            ("think", "think", &none),
        ];
        let score = |kind, options| registry.build(kind, options).unwrap().score(batch).unwrap();
        columns.into_iter().map(|(name, kind, options)| (name.to_owned(), score(kind, options))).collect()
    }

    fn paper_rewards(batch: &RewardBatch, consistency: &toml::Table) -> Vec<Option<f64>> {
        let components = components(batch, consistency);
        let weights = paper_weights();
        let formula = Formula::parse(PAPER, components.keys(), weights.values.keys()).unwrap();
        shape(&formula, &components, &weights)
    }

    /// At s = T/2; five of eight think, so λ = 5/8: γ_think = exp(-5/16) = 0.7316156289466418, γ_nothink = exp(-3/16) =
    /// 0.8290291181804004. Mean R_t = (0.9 + 0.4 + 0.7 + 0 + 0) / 5 = 0.4 (one malformed).
    fn eight() -> RewardBatch {
        batch(
            50,
            vec![
                thought(0, "dog", Some(1.0), Some(0.9)),
                thought(0, "dog", Some(0.0), Some(0.4)),
                thought(0, "cat", Some(1.0), Some(0.7)),
                thought(0, "cat", Some(0.0), Some(0.0)),
                direct(1, "dog"),
                direct(1, "cat"),
                broken_thought(1),
                direct(1, "dog"),
            ],
        )
    }

    #[test]
    fn the_paper_s_formula_is_equation_7() {
        let (think, no_think) = (0.7316156289466418, 0.8290291181804004);
        let expected = [
            // correct, consistent: γ·1.5 + 0.5 + 0.9 = 2.497423443419963
            think * 1.5 + 1.4,
            // correct, inconsistent: γ + 0.5 + 0.4
            think + 0.9,
            // wrong, consistent: -(1 - γ)·1.5 + 0.5 + 0.7 = 0.7974234434199627
            (think - 1.0) * 1.5 + 1.2,
            // wrong, inconsistent: -(1 - γ) + 0.5 + 0
            think - 0.5,
            // no-think, correct: 2γ·1.5 + 0.5 + 0.4
            no_think * 3.0 + 0.9,
            // no-think, wrong: (γ - 2)·1.5 + 0.5 + 0.4 = -0.8564563227293994
            (no_think - 2.0) * 1.5 + 0.9,
            // malformed think: -(1 - γ) + 0 + 0 = -0.2683843710533582
            think - 1.0,
            no_think * 3.0 + 0.9,
        ];
        let found = paper_rewards(&eight(), &toml::toml! { when_wrong = "always" });
        assert_scores(&found, &expected.map(Some));
        assert_scores(&found[..1], &[Some(2.497423443419963)]);
        assert_scores(&found[2..3], &[Some(0.7974234434199627)]);
        assert_scores(&found[5..7], &[Some(-0.8564563227293994), Some(-0.2683843710533582)]);
    }

    #[test]
    fn by_default_the_factor_is_1_if_the_answer_is_wrong() {
        let always = paper_rewards(&eight(), &toml::toml! { when_wrong = "always" });
        let found = paper_rewards(&eight(), &toml::Table::new());
        let (think, no_think) = (0.7316156289466418, 0.8290291181804004);
        // wrong, consistent: -(1 - γ) + 0.5 + 0.7; no-think, wrong: (γ - 2) + 0.5 + 0.4
        assert_scores(&found[2..3], &[Some(think - 1.0 + 1.2)]);
        assert_scores(&found[5..6], &[Some(no_think - 2.0 + 0.9)]);
        for same in [0, 1, 3, 4, 6, 7] {
            assert_eq!(found[same], always[same]);
        }
    }

    #[test]
    fn a_reward_is_none_if_the_formula_uses_a_missing_score() {
        let columns = BTreeMap::from([
            ("a".to_owned(), vec![Some(1.0), None, Some(3.0), Some(4.0)]),
            ("b".to_owned(), vec![None, Some(20.0), Some(30.0)]),
        ]);
        let shaped =
            |text| shape(&Formula::parse(text, ["a", "b"], ["k"]).unwrap(), &columns, &Weights::default());
        assert_eq!(shaped("a"), [Some(1.0), None, Some(3.0), Some(4.0)]);
        assert_eq!(
            shaped("a + b"),
            [None, None, Some(33.0), None],
            "a short column has no score in the last row"
        );
        assert_eq!(shaped("0 * b + 1"), [None, Some(1.0), Some(1.0), None]);
        assert_eq!(shaped("2"), [Some(2.0); 4]);
        assert_eq!(shaped("1 / (a - 3)"), [Some(-0.5), None, None, Some(1.0)], "infinite is missing");
        assert_eq!(shaped("w_k * a"), [None; 4], "an unknown weight");
        let unknown = Formula::parse("a + c", ["a", "b", "c"], [""; 0]).unwrap();
        assert_eq!(shape(&unknown, &columns, &Weights::default()), [None; 4], "an unknown component");
    }

    #[test]
    fn new_weights_are_used_at_once() {
        let columns = BTreeMap::from([("a".to_owned(), vec![Some(2.0)])]);
        let formula = Formula::parse("w_a * a", ["a"], ["a"]).unwrap();
        let with = |value| Weights { version: 1, values: BTreeMap::from([("a".to_owned(), value)]) };
        assert_eq!(shape(&formula, &columns, &with(0.5)), [Some(1.0)]);
        assert_eq!(shape(&formula, &columns, &with(-3.0)), [Some(-6.0)]);
    }
}
