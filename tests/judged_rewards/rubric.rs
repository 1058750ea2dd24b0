//! The reward `rubric`.

use std::sync::atomic::{AtomicUsize, Ordering};

use ::run::RunError;
use records::ArmState;
use rewards::FailureCause;

use super::*;
use crate::runs::{Ran, run};
use crate::scripted_server::Act;

/// Two criteria, of 1 and 3 points.
fn rubric() -> Value {
    json!({ "rubric": ["names the bark", { "criterion": "counts", "max": 3 }] })
}

fn say(reply: &str) -> Act {
    Act::Say(reply.to_owned())
}

#[tokio::test]
async fn five_raters_are_asked_and_the_lowest_and_the_highest_rating_are_dropped() {
    let server = ScriptedServer::start(|_, request| {
        assert!(request.prompt().contains("1. names the bark (0 to 1)\n2. counts (0 to 3)"));
        assert_eq!(request.body["temperature"], 0.7);
        // Of 4 points: 0, 4, 2, 1 and 3.
        let scores = ["[0, 0]", "[1, 3]", "[1, 1]", "[1, 0]", "[0, 3]"][seed(request) as usize - 1];
        Act::Say(format!("{{\"scores\": {scores}}}"))
    })
    .await;
    let (pool, question) = (pool(&server.url, ""), question("q", rubric()));
    let items = [
        thought(&question, 0, "it barks", "dog"),
        thought(&question, 0, "it meows", "cat"),
        thought(&question, 0, "it barks", "dog"),
        item(&question, 0, "<answer>dog</answer>"),
        item(&question, 0, "<think>it barks"),
    ];
    let graded = grade(&pool, &task("rubric", toml::Table::new()), &items).await;
    // Two completions are equal, the others score without being rated.
    assert_eq!(server.asked(), 5);
    let rated = only(&graded)[0].unwrap();
    assert_eq!(rated.ratings, [0.0, 1.0, 0.5, 0.25, 0.75].map(Some));
    assert_eq!(rated.disagreement(), Some(1.0));
    assert_eq!(rated.made, None, "the row's own rubric is not recorded again");
    // (0.25 + 0.5 + 0.75) / 3 = 0.5
    let expected = [Some(0.5), Some(0.0), Some(0.5), Some(0.0), Some(0.0)];
    assert_eq!(scores("rubric", toml::Table::new(), &items, &graded), expected);
    let tally = &graded.tally;
    assert_eq!((tally.requests, tally.failed(), tally.usage.lookups, tally.usage.hits), (10, 0, 10, 5));

    let again = grade(&pool, &task("rubric", toml::Table::new()), &items).await;
    assert_eq!((server.asked(), again.graded), (5, graded.graded), "the ratings are cached");
}

#[tokio::test]
async fn a_rating_that_was_not_had_is_missing_and_too_few_of_them_are_no_score() {
    let failing = Arc::new(AtomicUsize::new(2));
    let server = ScriptedServer::start({
        let failing = failing.clone();
        move |_, request| match seed(request) as usize {
            seed if seed > failing.load(Ordering::SeqCst) => {
                Act::Say(format!("{{\"scores\": [0, {}]}}", seed as i64 - 2))
            }
            1 => say("I'm sorry, I can't."),
            2 => say("{\"scores\": [1]}"),
            _ => Act::Status(500, "", "out of memory".to_owned()),
        }
    })
    .await;
    let (pool, question) = (pool(&server.url, ""), question("q", rubric()));
    let items = [thought(&question, 0, "it barks", "dog")];
    let graded = grade(&pool, &task("rubric", toml::Table::new()), &items).await;
    let rated = only(&graded)[0].unwrap();
    assert_eq!(rated.ratings, [None, None, Some(0.25), Some(0.5), Some(0.75)]);
    assert_eq!(rated.score, Some(0.5), "three ratings are left, of which one is in the middle");
    assert_eq!(graded.tally.failures, [(FailureCause::Refused, 1), (FailureCause::Malformed, 1)].into());

    failing.store(3, Ordering::SeqCst);
    let items = [thought(&question, 0, "it barks loudly", "dog")];
    let graded = grade(&pool, &task("rubric", toml::Table::new()), &items).await;
    let rated = only(&graded)[0].unwrap();
    assert_eq!((rated.score, rated.ratings.iter().flatten().count()), (None, 2));
    let note = rated.note.as_deref().unwrap();
    assert!(note.starts_with("2 of 5 ratings, and it takes 3; the first failure: refused"), "{note}");
    assert_eq!(scores("rubric", toml::Table::new(), &items, &graded), [None], "a missing score is no 0");

    // What failed is asked again, and nothing else.
    failing.store(0, Ordering::SeqCst);
    let before = server.asked();
    let graded = grade(&pool, &task("rubric", toml::Table::new()), &items).await;
    assert_eq!(server.asked() - before, 3);
    // Seeds 1 and 2 now say -1 and 0 points; -1 is off the scale. 0, 0.25, 0.5, 0.75: the middle two.
    assert_eq!(only(&graded)[0].unwrap().score, Some(0.375));
    assert_eq!(graded.tally.failures, [(FailureCause::OutOfRange, 1)].into());
}

#[tokio::test]
async fn a_question_without_a_rubric_gets_one_once() {
    let server = ScriptedServer::start(|_, request| {
        let prompt = request.prompt();
        if prompt.contains("You write a rubric") {
            assert!(prompt.contains("right-answer") && !prompt.contains("it barks"), "{prompt}");
            assert_eq!((seed(request), &request.body["temperature"]), (0, &json!(0.0)));
            return say(r#"{"criteria": [{"criterion": "hears a bark", "max": 2}]}"#);
        }
        assert!(prompt.contains("1. hears a bark (0 to 2)"), "{prompt}");
        say("{\"scores\": [1]}")
    })
    .await;
    let (pool, question) = (pool(&server.url, ""), question("q", no_columns()));
    let options = toml::toml! { raters = 1 trim = 0 };
    // The same question in two groups, as a later epoch has it.
    let items = [thought(&question, 0, "it barks", "dog"), thought(&question, 1, "it barks twice", "dog")];
    let graded = grade(&pool, &task("rubric", options.clone()), &items).await;
    assert_eq!(server.asked(), 3, "one rubric and two ratings");
    let made = only(&graded)[0].unwrap().made.clone().unwrap();
    assert_eq!((made.0[0].criterion.as_str(), made.0[0].max), ("hears a bark", 2.0));
    assert_eq!(scores("rubric", options.clone(), &items, &graded), [Some(0.5); 2]);
    let later = [thought(&question, 0, "it barks three times", "dog")];
    grade(&pool, &task("rubric", options), &later).await;
    assert_eq!(server.asked(), 4);
}

#[tokio::test]
async fn arms_that_need_a_rubric_at_the_same_time_share_one() {
    let server = ScriptedServer::start(|number, request| {
        if !request.prompt().contains("You write a rubric") {
            return say("{\"scores\": [1]}");
        }
        let made = format!(r#"{{"criteria": [{{"criterion": "number {number}", "max": 1}}]}}"#);
        Act::SayAfter(Duration::from_millis(100), made)
    })
    .await;
    let (pool, question) = (pool(&server.url, ""), question("q", no_columns()));
    let task = task("rubric", toml::toml! { raters = 1 trim = 0 });
    let items = [thought(&question, 0, "it barks", "dog")];
    let (one, two) = tokio::join!(grade(&pool, &task, &items), grade(&pool, &task, &items));
    assert_eq!(server.asked(), 2, "one rubric and one rating");
    assert_eq!(one.graded, two.graded);
}

#[tokio::test]
async fn a_row_without_a_rubric_that_can_be_used_has_no_score_and_is_named() {
    let server = unasked().await;
    let pool = pool(&server.url, "");
    for (columns, options, what) in [
        (
            json!({ "rubric": [{ "max": 3 }] }),
            toml::Table::new(),
            "criterion 1 has no text in `criterion`; write a list",
        ),
        (json!({ "rubric": 7 }), toml::Table::new(), "it is 7; write a list"),
        (
            no_columns(),
            toml::toml! { make = false },
            "has no rubric in `rubric`; add one, or set make = true",
        ),
        (rubric(), toml::toml! { make = false column = "points" }, "has no rubric in `points`"),
    ] {
        let items = [thought(&question("row 7", columns), 0, "it barks", "dog")];
        let graded = grade(&pool, &task("rubric", options.clone()), &items).await;
        let note = only(&graded)[0].unwrap().note.clone().unwrap();
        assert!(note.starts_with("no_rubric: the row `row 7` ") && note.contains(what), "{note}");
        assert_eq!(scores("rubric", options, &items, &graded), [None]);
        assert_eq!(graded.tally.failures, [(FailureCause::NoRubric, 1)].into());
    }
}

#[tokio::test]
async fn a_rubric_that_could_not_be_made_leaves_its_question_without_scores_and_no_other() {
    let server = ScriptedServer::start(|_, request| {
        let prompt = request.prompt();
        match prompt.contains("You write a rubric") {
            true if prompt.contains("Which bird") => say(r#"{"criteria": []}"#),
            true => say(r#"{"criteria": ["hears a bark"]}"#),
            false => say("{\"scores\": [1]}"),
        }
    })
    .await;
    let (pool, options) = (pool(&server.url, ""), toml::toml! { raters = 1 trim = 0 });
    let bird =
        Question { text: "Which bird is heard?".to_owned(), ..(*question("bird", no_columns())).clone() };
    let items = [
        thought(&Arc::new(bird), 0, "it barks", "dog"),
        thought(&question("q", no_columns()), 1, "it barks", "dog"),
    ];
    let graded = grade(&pool, &task("rubric", options.clone()), &items).await;
    assert_eq!(scores("rubric", options, &items, &graded), [None, Some(1.0)]);
    let note = only(&graded)[0].unwrap().note.clone().unwrap();
    assert!(note.contains("no rubric could be made for the row `bird`"), "{note}");
}

#[tokio::test]
async fn a_server_without_schemas_and_seeds_is_asked_without_them() {
    let server = ScriptedServer::start(|_, request| {
        let refuse = |field: &str| Act::Status(400, "", format!(r#"{{"error": "unknown field {field}"}}"#));
        match &request.body {
            body if body.get("response_format").is_some() => refuse("response_format"),
            body if body.get("seed").is_some() => refuse("seed"),
            _ => say("{\"scores\": [1, 3]}"),
        }
    })
    .await;
    let (pool, question) = (pool(&server.url, "concurrency = 1"), question("q", rubric()));
    let items = [thought(&question, 0, "it barks", "dog")];
    let graded = grade(&pool, &task("rubric", toml::Table::new()), &items).await;
    assert_eq!(only(&graded)[0].unwrap().score, Some(1.0));
    assert_eq!(server.asked(), 7);
}

#[tokio::test]
async fn a_panel_takes_turns_and_a_reward_may_have_its_own_judge() {
    let one = ScriptedServer::start(|_, _| say("{\"scores\": [1, 0]}")).await;
    let two = ScriptedServer::start(|_, _| say("{\"scores\": [0, 3]}")).await;
    let own = ScriptedServer::start(|_, _| say("{\"scores\": [1, 3]}")).await;
    let member =
        |url: &str| format!("[[members]]\nkind = \"openai\"\nbase_url = \"{url}\"\nmodel = \"scripted\"\n");
    let panel = format!("kind = \"panel\"\ncache.disk = false\n{}{}", member(&one.url), member(&two.url));
    let config: JudgeConfig = toml::from_str(&panel).unwrap();
    let pool = JudgeArgs { config, ..pool(&one.url, "") };
    let items = [thought(&question("q", rubric()), 0, "it barks", "dog")];
    let graded = grade(&pool, &task("rubric", toml::toml! { raters = 3 }), &items).await;
    // 0.25, 0.75, 0.25
    assert_eq!(only(&graded)[0].unwrap().ratings, [0.25, 0.75, 0.25].map(Some));
    let mut options = toml::toml! { raters = 3 };
    let judge = toml::Table::from_iter([
        ("base_url".to_owned(), toml::Value::from(own.url.as_str())),
        ("model".to_owned(), "scripted".into()),
    ]);
    options.insert("judge".to_owned(), judge.into());
    let graded = grade(&pool, &task("rubric", options), &items).await;
    assert_eq!((only(&graded)[0].unwrap().score, own.asked()), (Some(1.0), 3));
    assert_eq!((one.asked(), two.asked()), (2, 1));
}

/// A scenario that trains with a rubric, whose rows have none.
pub fn scenario(url: &str, cache: &std::path::Path, rest: &str) -> String {
    format!(
        r#"
[run]
name = "test"
seeds = [3]
steps = 3
device = "cpu"
threads = 1

[data.soundscapes]
train_clips = 12
heldout_clips = 3

[prompt]
style = "think"

[sampling]
group_size = 4
prompts_per_step = 2
max_new_tokens = 48

[judge]
kind = "openai"
base_url = "{url}"
model = "scripted"
retries = 0
cache.path = "{}"

[rewards]
accuracy = {{ kind = "accuracy" }}
chain = {{ kind = "rubric", raters = 3, only_correct = false, criteria = 2 }}

[shaping]
formula = "accuracy + chain"

[eval]
every = 0
at_start = false
limit = 4

[[arm]]
name = "a"
{rest}
"#,
        cache.display()
    )
}

/// Ratings that depend on the text and on the rater.
pub fn reply(request: &Request) -> String {
    let prompt = request.prompt();
    if prompt.contains("You write a rubric") {
        return r#"{"criteria": ["hears it", {"criterion": "counts it", "max": 9}]}"#.to_owned();
    }
    let reasoning = prompt.split("<reasoning-").nth(1).unwrap().len() as u64;
    format!(r#"{{"scores": [1, {}]}}"#, (reasoning + seed(request)) % 10)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_records_what_the_raters_gave_and_a_second_one_asks_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let server = ScriptedServer::start(|_, request| Act::Say(reply(request))).await;
    let scenario = scenario(&server.url, &folder.path().join("verdicts.sqlite"), "");
    let first = run(&scenario, RewardRegistry::standard(), None).await;
    assert_eq!(first.only_arm(), &ArmState::Done);
    let asked = server.asked();
    let mut rated = 0;
    for row in first.lines("rollouts.jsonl").iter().filter(|row| row["phase"] == "train") {
        let graded = &row["graded"]["chain"];
        if row["well_formed"] == true && row["mode"] == "think" {
            rated += 1;
            assert_eq!(graded["ratings"].as_array().unwrap().len(), 3, "{row}");
            assert_eq!(graded["rubric"][1]["max"], 9.0, "{row}");
            assert_eq!(graded["score"], row["components"]["chain"], "{row}");
            assert!(graded["disagreement"].is_number(), "{row}");
        } else {
            assert_eq!((row.get("graded"), &row["components"]["chain"]), (None, &json!(0.0)), "{row}");
        }
    }
    assert!(rated > 0);
    let requests = |ran: &Ran| -> u64 {
        ran.lines("metrics.jsonl").iter().map(|row| row["judge_requests"].as_u64().unwrap()).sum()
    };
    assert!(requests(&first) > 3 * rated, "the rubrics count too");

    let second = run(&scenario, RewardRegistry::standard(), None).await;
    assert_eq!(server.asked(), asked);
    assert_eq!(first.lines("rollouts.jsonl"), second.lines("rollouts.jsonl"));
    assert_eq!(requests(&second), requests(&first));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_fails_in_the_middle_leaves_scores_missing_and_never_zero() {
    let folder = tempfile::tempdir().unwrap();
    let server = ScriptedServer::start(|number, request| match number {
        0..12 => Act::Say(reply(request)),
        _ => Act::Status(503, "", "overloaded".to_owned()),
    })
    .await;
    let rest = "supervision.max_missing_fraction = 1.0";
    let scenario = scenario(&server.url, &folder.path().join("verdicts.sqlite"), rest);
    let ran = run(&scenario, RewardRegistry::standard(), None).await;
    assert_eq!(ran.only_arm(), &ArmState::Done);
    let mut rows = ran.lines("rollouts.jsonl");
    rows.retain(|row| row["phase"] == "train");
    let missing = rows.iter().filter(|row| row["components"]["chain"].is_null()).count();
    let metrics = ran.lines("metrics.jsonl");
    let counted: u64 = metrics.iter().map(|row| row["missing"]["chain"].as_u64().unwrap()).sum();
    assert!(counted > 0 && rows.iter().any(|row| row["graded"]["chain"]["score"].is_number()));
    assert_eq!(missing as u64, counted);
    assert!(metrics.last().unwrap()["judge_failures"]["http_5xx"].as_u64().unwrap() > 0);
    assert!(ran.warnings.iter().any(|warning| warning.contains("the judge did not answer")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rubric_without_a_server_is_refused_before_anything_is_trained() {
    let folder = tempfile::tempdir().unwrap();
    let cache = folder.path().join("verdicts.sqlite");
    let scenario = scenario("http://127.0.0.1:1/v1", &cache, "");
    let ran = run(&scenario, RewardRegistry::standard(), None).await;
    let Err(RunError::Input(error)) = ran.outcome else { panic!("{:?}", ran.outcome) };
    assert!(error.to_string().contains("no server answers at http://127.0.0.1:1/v1"), "{error}");
}
