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

/// The completions of the page that is asked for.
fn page(follower: &Follower<Index>, query: RolloutsQuery) -> (usize, Vec<String>) {
    let file = follower.open().unwrap();
    let page = follower.lines().page(file, &query, |path| format!("clip of {path}")).unwrap();
    let completions =
        page.rollouts.iter().map(|line| line["completion"].as_str().unwrap().to_owned()).collect();
    (page.total, completions)
}

#[test]
fn rollouts_are_chosen_by_phase_step_and_question() {
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
fn rollouts_are_sorted_by_any_figure_and_those_without_it_come_last() {
    let (_folder, follower) = sample();
    let by = |sort: &str, order| {
        page(&follower, RolloutsQuery { sort: Some(sort.into()), order, ..Default::default() }).1
    };
    assert_eq!(by("reward", Order::Desc), ["gamma", "alpha", "Delta said \"no\"", "beta"]);
    assert_eq!(by("reward", Order::Asc), ["Delta said \"no\"", "alpha", "gamma", "beta"]);
    assert_eq!(by("components.think", Order::Asc), ["gamma", "alpha", "beta", "Delta said \"no\""]);
    assert_eq!(by("tokens", Order::Desc)[0], "Delta said \"no\"");
    let query = RolloutsQuery { sort: Some("components.thnk".into()), ..Default::default() };
    let error = follower.lines().page(None, &query, |_| String::new()).unwrap_err().to_string();
    assert_eq!(
        error,
        "cannot sort by `components.thnk`; sort by step, reward, advantage, tokens, components.think"
    );
}

#[test]
fn pages_are_cut_from_the_whole_and_say_how_many_there_are() {
    let (_folder, follower) = sample();
    let query =
        RolloutsQuery { sort: Some("tokens".into()), offset: 1, limit: Some(2), ..Default::default() };
    assert_eq!(page(&follower, query), (4, vec!["alpha".to_owned(), "gamma".to_owned()]));
    let query = RolloutsQuery { offset: 9, ..Default::default() };
    assert_eq!(page(&follower, query), (4, vec![]));
}

#[test]
fn text_is_found_in_what_people_read_and_nowhere_else() {
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
fn every_rollout_says_how_to_ask_for_its_clip() {
    let (_folder, follower) = sample();
    let query = RolloutsQuery { order: Order::Asc, limit: Some(1), ..Default::default() };
    let page =
        follower.lines().page(follower.open().unwrap(), &query, |path| format!("clip of {path}")).unwrap();
    assert_eq!(page.rollouts[0]["audio"], "clip of /clips/q1.wav");
    assert_eq!(page.rollouts[0]["audio_path"], "/clips/q1.wav");
}

#[test]
fn new_lines_join_the_index() {
    let (folder, mut follower) = sample();
    let more = line("train", 3, "q4", "epsilon", Some(9.0), None);
    let path = folder.path().join("rollouts.jsonl");
    let mut file = std::fs::OpenOptions::new().append(true).open(path).unwrap();
    write!(file, "not json\n{more}\n{{\"phase\": \"tr").unwrap();
    follower.advance().unwrap();
    let query = RolloutsQuery { sort: Some("reward".into()), limit: Some(1), ..Default::default() };
    assert_eq!(page(&follower, query), (5, vec!["epsilon".to_owned()]));
}
