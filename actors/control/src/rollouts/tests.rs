use std::io::Write as _;

use serde_json::json;

use super::*;
use crate::lines::Follower;

fn line(
    phase: &str,
    step: u64,
    id: &str,
    completion: &str,
    reward: Option<f64>,
    think: Option<f64>,
) -> Value {
    json!({
        "phase": phase, "step": step, "group": 0, "index": 0, "id": id, "question": "What \"rings\"?",
        "choices": ["bell", "Glöckchen"], "answer_gold": "bell", "audio_path": format!("/clips/{id}.wav"),
        "completion": completion, "components": {"think": think}, "reward": reward, "advantage": null,
        "tokens": completion.len(),
    })
}

fn rollouts(lines: &[Value]) -> (tempfile::TempDir, Follower<Index>) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rollouts.jsonl");
    let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
    std::fs::write(&path, text).unwrap();
    let mut follower = Follower::new(path);
    follower.advance().unwrap();
    (folder, follower)
}

fn sample() -> (tempfile::TempDir, Follower<Index>) {
    rollouts(&[
        line("train", 1, "q1", "alpha", Some(0.5), Some(1.0)),
        line("train", 1, "q2", "beta", None, None),
        line("eval", 1, "q3", "gamma", Some(2.0), Some(0.25)),
        line("train", 2, "q1", "Delta said \"no\"", Some(-1.0), None),
    ])
}

/// A line without additions of the server.
fn bare(line: Map<String, Value>) -> RolloutLine {
    RolloutLine { line, audio: None, breakdown: None }
}

/// The number of rollouts that pass the filter, and the completions on the page.
fn page(follower: &Follower<Index>, query: RolloutsQuery) -> (usize, Vec<String>) {
    let page = follower.lines().page(follower, &query, bare).unwrap();
    let completion = |rollout: &RolloutLine| rollout.line["completion"].as_str().unwrap().to_owned();
    (page.total, page.rollouts.iter().map(completion).collect())
}

#[test]
fn rollouts_are_filtered_by_phase_step_and_question() {
    let (_folder, follower) = sample();
    let of = |query| page(&follower, query).1;
    assert_eq!(of(RolloutsQuery::default()), ["Delta said \"no\"", "alpha", "beta", "gamma"]);
    assert_eq!(of(RolloutsQuery { phase: Some(Phase::Eval), ..Default::default() }), ["gamma"]);
    let query = RolloutsQuery { phase: Some(Phase::Train), step: Some(1), ..Default::default() };
    assert_eq!(of(query), ["alpha", "beta"]);
    assert_eq!(
        of(RolloutsQuery { id: Some("q1".into()), ..Default::default() }),
        ["Delta said \"no\"", "alpha"]
    );
    assert_eq!(of(RolloutsQuery { id: Some("q9".into()), ..Default::default() }), [""; 0]);
}

#[test]
fn rollouts_are_sorted_by_any_field_and_those_without_it_come_last() {
    let (_folder, follower) = sample();
    let by = |sort: &str, order| {
        page(&follower, RolloutsQuery { sort: Some(sort.into()), order, ..Default::default() }).1
    };
    assert_eq!(by("reward", Order::Desc), ["gamma", "alpha", "Delta said \"no\"", "beta"]);
    assert_eq!(by("reward", Order::Asc), ["Delta said \"no\"", "alpha", "gamma", "beta"]);
    assert_eq!(by("components.think", Order::Asc), ["gamma", "alpha", "beta", "Delta said \"no\""]);
    assert_eq!(by("tokens", Order::Desc)[0], "Delta said \"no\"");
    let query = RolloutsQuery { sort: Some("components.thnk".into()), ..Default::default() };
    let error = follower.lines().page(&follower, &query, bare).unwrap_err().to_string();
    assert_eq!(
        error,
        "cannot sort by `components.thnk`; sort by step, reward, advantage, tokens, components.think"
    );
}

#[test]
fn a_page_has_the_total_of_all_pages() {
    let (_folder, follower) = sample();
    let query =
        RolloutsQuery { sort: Some("tokens".into()), offset: 1, limit: Some(2), ..Default::default() };
    assert_eq!(page(&follower, query), (4, vec!["alpha".to_owned(), "gamma".to_owned()]));
    let query = RolloutsQuery { offset: 9, ..Default::default() };
    assert_eq!(page(&follower, query), (4, vec![]));
}

#[test]
fn the_search_covers_texts_and_not_keys_paths_or_patterns() {
    let (_folder, follower) = sample();
    let with = |text: &str| page(&follower, RolloutsQuery { q: Some(text.into()), ..Default::default() }).1;
    assert_eq!(with("ALPHA"), ["alpha"]);
    assert_eq!(with("said \"no\""), ["Delta said \"no\""]);
    assert_eq!(with("glöckCHEN").len(), 4);
    assert_eq!(with("q2"), ["beta"]);
    // A key, a path, a pattern.
    assert_eq!([with("advantage"), with("/clips/"), with("a.pha")], [vec![""; 0], vec![], vec![]]);
}

#[test]
fn every_rollout_gets_what_the_server_adds() {
    let (_folder, follower) = sample();
    let query = RolloutsQuery { order: Order::Asc, limit: Some(1), ..Default::default() };
    let complete = |line: Map<String, Value>| {
        let audio = format!("clip of {}", line["audio_path"].as_str().unwrap());
        RolloutLine { audio: Some(audio), ..bare(line) }
    };
    let page = follower.lines().page(&follower, &query, complete).unwrap();
    let rollout = serde_json::to_value(&page.rollouts[0]).unwrap();
    assert_eq!(rollout["audio"], "clip of /clips/q1.wav");
    assert_eq!((&rollout["audio_path"], &rollout["breakdown"]), (&json!("/clips/q1.wav"), &Value::Null));
}

#[test]
fn lines_that_are_appended_are_indexed() {
    let (folder, mut follower) = sample();
    let more = line("train", 3, "q4", "epsilon", Some(9.0), None);
    let path = folder.path().join("rollouts.jsonl");
    let mut file = std::fs::OpenOptions::new().append(true).open(path).unwrap();
    write!(file, "not json\n{more}\n{{\"phase\": \"tr").unwrap();
    follower.advance().unwrap();
    let query = RolloutsQuery { sort: Some("reward".into()), limit: Some(1), ..Default::default() };
    assert_eq!(page(&follower, query), (5, vec!["epsilon".to_owned()]));
}

#[test]
fn the_last_batch_has_the_scores_of_the_newest_training_step() {
    let (_folder, follower) = rollouts(&[
        line("train", 1, "q1", "a", Some(0.5), Some(1.0)),
        line("train", 2, "q1", "b", Some(0.5), Some(0.25)),
        line("train", 2, "q2", "c", None, None),
        line("eval", 3, "q3", "d", None, Some(0.75)),
    ]);
    let batch = follower.lines().last_batch().unwrap();
    let scores = BTreeMap::from([("think".to_owned(), vec![Some(0.25), None])]);
    let (advantages, thinks) = (vec![None; 2], vec![false; 2]);
    assert_eq!(batch, ScoredBatch { step: 2, version: None, components: scores, advantages, thinks });
    assert_eq!(rollouts(&[]).1.lines().last_batch(), None);
    assert_eq!(rollouts(&[line("eval", 1, "q", "a", None, None)]).1.lines().last_batch(), None);
}

/// A completion of a group, with what the filters look at.
fn said(step: u64, group: u64, answer: &str, correct: bool, more: &Value) -> Value {
    let mut line = line("train", step, &format!("q{group}"), answer, Some(1.0), None);
    line["group"] = json!(group);
    line["answer"] = json!(answer);
    line["correct"] = json!(correct);
    line["mode"] = json!("no_think");
    for (name, value) in more.as_object().unwrap() {
        line[name] = value.clone();
    }
    line
}

#[test]
fn a_filter_looks_at_the_group_of_each_completion() {
    let none = json!({});
    let (_folder, follower) = rollouts(&[
        said(1, 0, "wrong", false, &none),
        said(1, 0, " Wrong ", false, &none),
        said(1, 1, "easy", true, &json!({"mode": "think"})),
        said(1, 1, "also easy", true, &none),
        // The same question at another step is another group.
        said(2, 1, "alone", false, &json!({"mode": "think", "think_quality": 1.0})),
        said(2, 2, "split", true, &json!({"graded": {"rubric": {"score": 0.5, "disagreement": 0.75}}})),
    ]);
    let by = |filter: &str| {
        let query = json!({"filter": filter, "sort": "step", "order": "asc"});
        page(&follower, serde_json::from_value(query).unwrap()).1
    };
    assert_eq!(by("wrong-and-confident"), ["wrong", " Wrong "]);
    assert_eq!(by("thinks-needlessly"), ["easy"]);
    assert_eq!(by("judge-disagrees"), ["alone", "split"]);
    let unknown = serde_json::from_value::<RolloutsQuery>(json!({"filter": "sure"})).unwrap_err().to_string();
    assert!(unknown.contains("wrong-and-confident"), "{unknown}");
}

#[test]
fn the_newest_completions_to_a_question_are_one_group() {
    let none = json!({});
    let (_folder, follower) = rollouts(&[
        said(1, 1, "old", true, &none),
        said(2, 1, "new", true, &none),
        said(2, 1, "newer", true, &none),
        said(3, 2, "other", true, &none),
    ]);
    let newest = |step: Option<u64>, id: &str| {
        let query = RolloutsQuery { id: Some(id.into()), step, ..Default::default() };
        let found = follower.lines().newest(&follower, &query, bare).unwrap();
        found.map(|lines| lines.iter().map(|line| line.line["answer"].clone()).collect::<Vec<_>>())
    };
    assert_eq!(newest(None, "q1"), Some(vec![json!("new"), json!("newer")]));
    assert_eq!(newest(Some(1), "q1"), Some(vec![json!("old")]));
    assert_eq!((newest(Some(0), "q1"), newest(None, "q9")), (None, None));
}
