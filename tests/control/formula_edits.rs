//! Rewards that join and leave formulas, previews of changes, and rewards broken down into terms.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::{Live, SCENARIO};

/// A second arm with another formula.
fn two_arms() -> String {
    format!("{SCENARIO}\n[[arm]]\nname = \"b\"\nshaping.formula = \"format * (1 + accuracy)\"\n")
}

async fn formula(live: &Live, arm: &str) -> Value {
    live.get(&format!("/api/arms/{arm}/3/formula")).await["formula"].clone()
}

async fn paused_after(live: &mut Live, step: u64) {
    live.step_taken(step).await;
    live.post("/api/pause", json!({"arms": [["a", 3]]})).await;
    while live.get("/api/arms/a/3").await["status"] != "paused" {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rewards_join_and_leave_the_formula_of_each_arm() {
    let live = Live::start(&two_arms()).await;
    let change = json!({
        "rewards": {"my-reward": {"kind": "accuracy"}}, "join_formula": {"my-reward": {"weight": 0.5}},
    });
    let results = live.post("/api/change", json!({"change": change})).await["results"].clone();
    for result in results.as_array().unwrap() {
        assert_eq!((&result["applied"]["version"], &result["error"]), (&json!(1), &Value::Null));
    }
    let joined = "accuracy + w_format * format + w_bonus + {w_my-reward} * {my-reward}";
    assert_eq!(formula(&live, "a").await, joined);
    assert_eq!(formula(&live, "b").await, "format * (1 + accuracy) + {w_my-reward} * {my-reward}");
    let rewards = live.get("/api/arms/a/3/rewards").await;
    assert_eq!(rewards["my-reward"]["in_formula"], true);

    // The journal has the formula itself, so that a replay needs no resolving.
    let entries = live.get("/api/journal").await["entries"].clone();
    assert_eq!(entries[0]["change"]["formula"].as_str().unwrap().matches("my-reward").count(), 2);
    assert!(entries[0]["change"].get("join_formula").is_none(), "{}", entries[0]);

    let leave = json!({"rewards": {"accuracy": null}, "leave_formula": ["accuracy"]});
    live.post("/api/change", json!({"change": leave})).await;
    assert_eq!(formula(&live, "a").await, "w_format * format + w_bonus + {w_my-reward} * {my-reward}");
    assert_eq!(formula(&live, "b").await, "format * 1 + {w_my-reward} * {my-reward}");

    let unknown = json!({"join_formula": {"brevity": {"weight": 1.0}}});
    let (status, refused) = live.send(Method::POST, "/api/arms/a/3/change", &unknown).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert!(refused["error"].as_str().unwrap().starts_with("there is no reward `brevity`"), "{refused}");
    live.end().await;
}

/// Two rewards that join at the same time, and a formula that is replaced at the same time as one
/// joins: nothing is lost.
#[tokio::test(flavor = "multi_thread")]
async fn edits_of_one_formula_do_not_undo_each_other() {
    let mut live = Live::start(SCENARIO).await;
    live.step_taken(1).await;
    let path = "/api/arms/a/3/change";
    let join =
        |name: &str| json!({"rewards": {name: {"kind": "format"}}, "join_formula": {name: {"weight": 0.1}}});
    let (first, second) = (join("first"), join("second"));
    let (one, other) = tokio::join!(live.post(path, first), live.post(path, second));
    assert_ne!(one["version"], other["version"]);
    let both = formula(&live, "a").await.as_str().unwrap().to_owned();
    assert!(both.contains("w_first * first") && both.contains("w_second * second"), "{both}");

    let third = join("third");
    let replaced = live.post(path, json!({"formula": "accuracy"}));
    let (_, joined) = tokio::join!(replaced, live.post(path, third));
    let formula = formula(&live, "a").await;
    // In whichever order they came, the later one was made of the earlier one's formula.
    if joined["version"] == 4 {
        assert_eq!(formula, "accuracy + w_third * third");
    } else {
        assert_eq!((&joined["version"], &formula), (&json!(3), &json!("accuracy")));
    }
    live.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_preview_values_a_change_on_the_last_batch_without_making_it() {
    let mut live = Live::start(SCENARIO).await;
    paused_after(&mut live, 2).await;
    let path = "/api/arms/a/3/formula/check";
    let metrics = live.lines("metrics.jsonl").pop().unwrap();
    let mean = |name: &str| metrics["components"][name].as_f64().unwrap();

    // An empty change: the formula in force, which made the last step's rewards.
    let now = live.post(path, json!({})).await;
    assert_eq!((&now["ok"], &now["last_batch"]["step"]), (&json!(true), &metrics["step"]));
    assert_eq!(now["rewards"], json!(["accuracy", "format"]));
    assert_eq!(now["weights"], json!({"format": 0.5, "bonus": 0.25}));
    let close = |found: &Value, expected: f64| (found.as_f64().unwrap() - expected).abs() < 1e-9;
    assert!(close(&now["last_batch"]["reward"], metrics["reward"].as_f64().unwrap()), "{now}");

    let request = json!({"formula": "accuracy - (w_format * format - 1)", "weights": {"format": 2.0}});
    let preview = live.post(path, request).await;
    let terms: Vec<(&Value, &Value)> = preview["last_batch"]["terms"]
        .as_array()
        .unwrap()
        .iter()
        .map(|term| (&term["term"], &term["subtracted"]))
        .collect();
    let (added, subtracted) = (json!(false), json!(true));
    let texts = [json!("accuracy"), json!("w_format * format"), json!("1")];
    assert_eq!(terms, [(&texts[0], &added), (&texts[1], &subtracted), (&texts[2], &added)]);
    assert!(close(&preview["last_batch"]["terms"][1]["value"], -2.0 * mean("format")), "{preview}");
    let expected = mean("accuracy") - 2.0 * mean("format") + 1.0;
    assert!(close(&preview["last_batch"]["reward"], expected), "{preview}");

    // A new reward has no scores yet.
    let join = json!({"rewards": {"new": {"kind": "format"}}, "join_formula": {"new": {}}});
    let preview = live.post(path, join).await;
    assert_eq!(preview["formula"], "accuracy + w_format * format + w_bonus + new");
    assert_eq!(preview["last_batch"]["reward"], Value::Null);
    assert_eq!(preview["last_batch"]["terms"][3]["value"], Value::Null);
    assert!(close(&preview["last_batch"]["terms"][0]["value"], mean("accuracy")));

    let wrong = live.post(path, json!({"rewards": {"new": "kind = format"}})).await;
    assert_eq!((&wrong["ok"], &wrong["line"]), (&json!(false), &json!(1)), "{wrong}");
    assert_eq!(live.get("/api/journal").await["entries"].as_array().unwrap().len(), 1, "the pause alone");
    live.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rewards_are_broken_down_by_the_formula_and_weights_that_made_them() {
    let scenario = SCENARIO.replace("bonus = 0.25", "bonus = { schedule = [[0, 0.0], [1000, 100.0]] }");
    let mut live = Live::start(&scenario).await;
    live.step_taken(2).await;
    let change = json!({"formula": "accuracy - w_format * (format - w_bonus)", "weights": {"bonus": 3.0}});
    let first = live.post("/api/arms/a/3/change", change).await["step"].as_u64().unwrap();
    live.step_taken(first + 1).await;
    let page = live.get("/api/arms/a/3/rollouts?phase=train&limit=500").await;
    let (mut before, mut after) = (0, 0);
    for rollout in page["rollouts"].as_array().unwrap() {
        let terms = rollout["breakdown"]["terms"].as_array().unwrap_or_else(|| panic!("{rollout}"));
        let texts: Vec<&str> = terms.iter().map(|term| term["term"].as_str().unwrap()).collect();
        let step = rollout["step"].as_u64().unwrap();
        if step < first {
            before += 1;
            assert_eq!(texts, ["accuracy", "w_format * format", "w_bonus"]);
            // A tenth per step.
            let bonus = terms[2]["value"].as_f64().unwrap();
            assert!((bonus - step as f64 / 10.0).abs() < 1e-9, "{rollout}");
        } else {
            after += 1;
            assert_eq!(texts, ["accuracy", "w_format * (format - w_bonus)"]);
        }
        let sum: f64 = terms.iter().map(|term| term["value"].as_f64().unwrap()).sum();
        assert!((sum - rollout["reward"].as_f64().unwrap()).abs() < 1e-9, "{rollout}");
        assert_eq!(rollout["breakdown"]["rewards"], json!(["accuracy", "format"]));
    }
    assert!(before > 0 && after > 0, "{before} before, {after} after");
    live.end().await;
}
