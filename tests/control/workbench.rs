//! What the page shows to compare arms: curves, what every arm said to one question, filters, bookmarks, and what the
//! advantages of a step would have been.

use std::collections::BTreeMap;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::{Live, SCENARIO};

/// The scenario with a second arm whose policy is the same.
fn two_arms() -> String {
    format!("{SCENARIO}\n[[arm]]\nname = \"b\"\nshaping.weights.bonus = 2.0\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_curves_are_those_of_the_metrics_and_only_what_is_new_is_sent_again() {
    let mut live = Live::start(SCENARIO).await;
    live.step_taken(3).await;
    live.post("/api/pause", json!({})).await;
    let curves = live.get("/api/curves?fields=reward,components&band=true").await;
    assert_eq!((&curves["width"], &curves["whole"]), (&json!(1.0), &json!(true)));
    let line = &curves["lines"][0];
    assert_eq!((&line["arm"], &line["seeds"][0]["seed"]), (&json!("a"), &json!(3)));
    let taken = line["seeds"][0]["step"].as_u64().unwrap();
    let metrics = live.lines("metrics.jsonl");
    for (place, x) in line["x"].as_array().unwrap().iter().enumerate() {
        assert_eq!(*x, json!((place + 1) as f64), "a point is a step while they are few");
        let (row, drawn) = (&metrics[place], &line["values"]["reward"]);
        for part in ["mean", "low", "high"] {
            let difference = drawn[part][place].as_f64().unwrap() - row["reward"].as_f64().unwrap();
            assert!(difference.abs() < 1e-4, "{part}: {drawn} {row}");
        }
        assert!(line["values"]["components.format"]["mean"][place].is_number());
    }
    let names: Vec<&str> =
        curves["fields"].as_array().unwrap().iter().map(|field| field["name"].as_str().unwrap()).collect();
    assert!(names.contains(&"loss") && names.contains(&"components.format"), "{names:?}");
    // A client that has all of it gets no line again.
    let path = format!("/api/curves?fields=reward,components&band=true&width=1&since={taken}");
    let now = live.get("/api/state").await["arms"][0]["step"].as_u64().unwrap();
    if now == taken {
        let news = live.get(&path).await;
        assert_eq!((&news["whole"], &news["lines"]), (&json!(false), &json!([])));
    }
    live.post("/api/step", json!({"n": 1})).await;
    live.step_taken(now + 1).await;
    while live.get("/api/state").await["arms"][0]["status"] != "paused" {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    let news = live.get(&path).await;
    assert_eq!(news["lines"][0]["x"][0], json!(taken as f64), "the last point may have got more rows");
    // By tokens, the end is the sum of what the rates say.
    let by_tokens = live.get("/api/curves?x=tokens&fields=reward").await;
    let tokens = |row: &Value| {
        (row["tokens_per_second"].as_f64().unwrap() * row["step_seconds"].as_f64().unwrap()).round()
    };
    let expected: f64 = live.lines("metrics.jsonl").iter().map(tokens).sum();
    assert_eq!(by_tokens["to"], json!(expected));
    live.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_every_arm_said_to_a_question_is_one_answer() {
    let mut live = Live::start(&two_arms()).await;
    live.step_taken(2).await;
    // The other arm may wait for the first; both are asked the same questions.
    let page = live.get("/api/arms/a/3/rollouts?phase=train&step=1&limit=1").await;
    let id = page["rollouts"][0]["id"].as_str().unwrap().to_owned();
    let answers = live.get(&format!("/api/answers?id={id}&phase=train&step=1")).await;
    let arms = answers["arms"].as_array().unwrap();
    assert_eq!([&arms[0]["arm"], &arms[1]["arm"]], ["a", "b"]);
    let said = arms[0]["completions"].as_array().unwrap();
    let recorded = live.lines("rollouts.jsonl");
    let group: Vec<&Value> = recorded
        .iter()
        .filter(|line| line["phase"] == "train" && line["step"] == 1 && line["id"] == id.as_str())
        .collect();
    assert_eq!(said.len(), group.len());
    assert_eq!(said[0]["completion"], group[0]["completion"]);
    assert!(said[0]["breakdown"]["terms"].is_array(), "with the terms of its reward");
    let (status, refused) = live.send(Method::GET, "/api/answers?id=nobody", &json!(null)).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    assert!(refused["error"].as_str().unwrap().contains("no arm was asked the question `nobody`"));
    let (status, refused) = live.send(Method::GET, "/api/arms/a/3/rollouts?filter=odd", &json!(null)).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert!(refused["error"].as_str().unwrap().contains("wrong-and-confident"), "{refused}");
    live.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_advantages_of_a_step_under_other_weights_are_those_of_the_formula() {
    let mut live = Live::start(SCENARIO).await;
    live.step_taken(2).await;
    let reshape = "/api/arms/a/3/reshape";
    let same = live.post(reshape, json!({"step": 2})).await;
    let trained: Vec<Value> = live
        .lines("rollouts.jsonl")
        .into_iter()
        .filter(|line| line["phase"] == "train" && line["step"] == 2)
        .collect();
    // Without a change nothing differs, in all completions that have an advantage.
    let with = trained.iter().filter(|line| line["advantage"].is_number()).count();
    assert_eq!((&same["step"], &same["compared"]), (&json!(2), &json!(with)));
    assert_eq!((&same["changed_signs"], &same["largest_difference"]), (&json!(0.0), &json!(0.0)));
    // The opposite formula turns every sign that is not 0.
    let turned =
        live.post(reshape, json!({"step": 2, "formula": "0 - accuracy - w_format * format - w_bonus"})).await;
    let not_zero = trained.iter().filter(|line| line["advantage"].as_f64().is_some_and(|a| a != 0.0)).count();
    assert_eq!(turned["changed_signs"], json!(not_zero as f64 / with as f64));
    if not_zero > 0 {
        assert!((turned["rank_correlation"].as_f64().unwrap() + 1.0).abs() < 1e-9, "{turned}");
    }
    // A change in between does not change what is said of an earlier step.
    live.send(Method::PUT, "/api/arms/a/3/weights", &json!({"format": 9.0})).await;
    assert_eq!(live.post(reshape, json!({"step": 2})).await, same);
    for (body, words) in [
        (json!({"weights": {"frmat": 1.0}}), "the formula uses no weight `frmat`"),
        (json!({"formula": "accuracy +"}), "formula"),
        (json!({"step": 100_000}), "step 100000 has no completions"),
        (json!({"weight": {}}), "weights"),
    ] {
        let (status, refused) = live.send(Method::POST, reshape, &body).await;
        assert!(status.is_client_error(), "{body}");
        assert!(refused["error"].as_str().unwrap().contains(words), "{refused}");
    }
    // The check of a formula says it of the last batch.
    let check = live.post("/api/arms/a/3/formula/check", json!({"formula": "accuracy"})).await;
    assert!(check["advantages"]["compared"].is_u64(), "{check}");
    live.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bookmarks_are_made_changed_and_removed_and_kept_in_the_run() {
    let mut live = Live::start(SCENARIO).await;
    live.step_taken(1).await;
    let completion = json!({"phase": "train", "group": 0, "index": 1, "question": "q"});
    let mark = json!({"arm": "a", "seed": 3, "step": 1, "completion": completion, "note": " odd ", "view": "x=tokens"});
    let first = live.post("/api/bookmarks", mark).await;
    assert_eq!((&first["number"], &first["note"], &first["by"]), (&json!(1), &json!("odd"), &json!("api")));
    let second = live.post("/api/bookmarks", json!({"arm": "a", "seed": 3})).await;
    assert!(second["step"].as_u64().unwrap() >= 1, "without a step it is the newest: {second}");
    let (status, noted) = live.send(Method::PUT, "/api/bookmarks/1", &json!({"note": "not odd"})).await;
    assert_eq!(
        (status, &noted["note"], &noted["view"]),
        (StatusCode::OK, &json!("not odd"), &json!("x=tokens"))
    );
    let (status, _) = live.send(Method::DELETE, "/api/bookmarks/2", &json!({})).await;
    assert_eq!(status, StatusCode::OK);
    let listed = live.get("/api/bookmarks").await["bookmarks"].clone();
    assert_eq!(listed, json!([noted]));
    for (method, path, body, expected, words) in [
        (Method::DELETE, "/api/bookmarks/2", json!({}), 404, "there is no bookmark 2"),
        (Method::PUT, "/api/bookmarks/x", json!({"note": ""}), 404, "`x` is not the number"),
        (Method::POST, "/api/bookmarks", json!({"arm": "z", "seed": 3}), 404, "there is no arm `z`"),
        (Method::POST, "/api/bookmarks", json!({"arm": "a", "seed": 3, "step": 1_000_000}), 400, "has taken"),
        (
            Method::POST,
            "/api/bookmarks",
            json!({"arm": "a", "seed": 3, "note": "x".repeat(4_001)}),
            400,
            "4000",
        ),
    ] {
        let (status, refused) = live.send(method, path, &body).await;
        assert_eq!(status.as_u16(), expected, "{path}: {refused}");
        assert!(refused["error"].as_str().unwrap().contains(words), "{refused}");
    }
    let (folder, _) = live.end().await;
    let run_dir = records::RunDir::new(folder.path().join("run"));
    let text = std::fs::read_to_string(run_dir.bookmarks()).unwrap();
    assert_eq!(text.lines().count(), 4, "two new ones, a change and a removal: {text}");
    let (kept, unreadable) = run_dir.read_bookmarks().unwrap();
    let notes: BTreeMap<u64, String> = kept.into_iter().map(|kept| (kept.number, kept.note)).collect();
    assert_eq!((notes, unreadable), (BTreeMap::from([(1, "not odd".to_owned())]), 0));
}
