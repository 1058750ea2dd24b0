use serde_json::{Value, json};

use super::*;
use crate::error::Refusal;

const SCENARIO: &str = r#"
    [run]
    device = "cpu"
    [policy]
    from_scratch = true
    [data.soundscapes]
    train_clips = 2
    heldout_clips = 1
    [rewards]
    accuracy = { kind = "accuracy" }
    format = { kind = "format" }
    idle = { kind = "format" }
    [shaping]
    formula = "accuracy + w_format * format"
    weights = { format = 0.5 }
    [[arm]]
    name = "a"
"#;

/// Accuracy and format in the formula, and a reward that it does not use.
fn conditions() -> ConditionsRecord {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.toml");
    let experiment = scenarios::scenario::parse(SCENARIO, &path, &[], &[], None).unwrap();
    ConditionsRecord::of(&experiment.arms[0])
}

fn resolve(request: Value) -> Result<Value, Refusal> {
    let request: ChangeRequest = serde_json::from_value(request).unwrap();
    let change = request.read().and_then(|request| request.resolve(&conditions()));
    change.map(|change| json!(change)).map_err(ApiError::into_refusal)
}

#[test]
fn a_new_reward_joins_with_a_weight_of_its_own_name() {
    let request = json!({
        "rewards": {"my-reward": {"kind": "format"}}, "join_formula": {"my-reward": {"weight": 0.25}},
    });
    let expected = json!({
        "weights": {"my-reward": 0.25},
        "formula": "accuracy + w_format * format + {w_my-reward} * {my-reward}",
        "rewards": {"my-reward": {"kind": "format"}},
    });
    assert_eq!(resolve(request), Ok(expected));
}

#[test]
fn a_reward_joins_without_a_weight_or_with_another_ones() {
    assert_eq!(
        resolve(json!({"join_formula": {"idle": {}}})),
        Ok(json!({"formula": "accuracy + w_format * format + idle"}))
    );
    assert_eq!(
        resolve(json!({"join_formula": {"idle": {"weight_name": "format"}}})),
        Ok(json!({"formula": "accuracy + w_format * format + w_format * idle"}))
    );
}

#[test]
fn a_reward_that_the_formula_uses_only_gets_its_weight() {
    assert_eq!(
        resolve(json!({"join_formula": {"format": {"weight": 2.0}}})),
        Ok(json!({"weights": {"format": 2.0}}))
    );
}

#[test]
fn a_reward_leaves_with_its_terms_and_another_may_take_its_place() {
    assert_eq!(
        resolve(json!({"rewards": {"format": null}, "leave_formula": ["format"]})),
        Ok(json!({"formula": "accuracy", "rewards": {"format": null}}))
    );
    assert_eq!(
        resolve(json!({"leave_formula": ["format"], "join_formula": {"idle": {"weight": 1.0}}})),
        Ok(json!({"weights": {"idle": 1.0}, "formula": "accuracy + w_idle * idle"}))
    );
    let idle = json!({"rewards": {"idle": null}, "leave_formula": ["idle"]});
    assert_eq!(resolve(idle), Ok(json!({"rewards": {"idle": null}})), "the formula does not use it");
}

#[test]
fn requests_that_contradict_themselves_are_refused() {
    for (request, expected) in [
        (
            json!({"formula": "accuracy", "leave_formula": ["format"]}),
            "give either `formula` or `join_formula` and `leave_formula`, not both",
        ),
        (
            json!({"weights": {"idle": 1.0}, "join_formula": {"idle": {"weight": 2.0}}}),
            "the weight `idle` has two values; give one",
        ),
        (
            json!({"join_formula": {"idel": {"weight": 2.0}}}),
            "there is no reward `idel`; did you mean `idle`? (known: accuracy, format, idle)",
        ),
        (
            json!({"leave_formula": ["fromat"]}),
            "there is no reward `fromat`; did you mean `format`? (known: accuracy, format, idle)",
        ),
    ] {
        assert_eq!(resolve(request.clone()).unwrap_err().error, expected, "{request}");
    }
}
