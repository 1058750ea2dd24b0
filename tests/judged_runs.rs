//! Whole runs with a judge behind a server: cached verdicts, failing judges, and how far judging
//! overlaps with the training.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ::run::RunError;
use records::ArmState;
use rewards::RewardRegistry;
use serde_json::Value;

use crate::live::Live;
use crate::runs::{Ran, run};
use crate::scripted_server::{Act, Request, ScriptedServer};

/// A scenario whose rewards need a judge, with the built-in policy, which thinks in about half of its completions.
fn scenario(url: &str, cache: &Path, judge: &str, rest: &str) -> String {
    format!(
        r#"
[run]
name = "test"
seeds = [3]
steps = 4
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
retries = 1
retry_pause_seconds = 0.01
timeout_seconds = 20.0
cache.path = "{}"
{judge}

[rewards]
consistency = {{ kind = "consistency", when_wrong = "always" }}
think = {{ kind = "think" }}

[shaping]
formula = "consistency + think"

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

/// A verdict that depends on the length of the judged text, so that rewards differ.
fn verdict(request: &Request) -> String {
    let prompt = request.prompt();
    let reasoning = prompt.split("<reasoning-").nth(1).unwrap();
    format!(r#"{{"consistent": {}, "quality": 0.{}}}"#, reasoning.len() % 2, reasoning.len() % 10)
}

fn numbers(ran: &Ran, name: &str) -> Vec<f64> {
    ran.lines("metrics.jsonl").iter().filter_map(|line| line[name].as_f64()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_run_uses_cached_verdicts_only_and_records_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let cache = folder.path().join("verdicts.sqlite");
    let server = ScriptedServer::start(|_, request| Act::Say(verdict(request))).await;
    let scenario = scenario(&server.url, &cache, "", "");
    let first = run(&scenario, RewardRegistry::standard(), None).await;
    assert_eq!(first.only_arm(), &ArmState::Done);
    let requests = server.asked();
    assert!(requests > 4, "{requests}");
    assert!(numbers(&first, "judge_cache_hit_rate")[0] < 1.0);

    let second = run(&scenario, RewardRegistry::standard(), None).await;
    assert_eq!(server.asked(), requests);
    assert_eq!(numbers(&second, "judge_cache_hit_rate"), [1.0; 4]);
    assert_eq!(first.lines("rollouts.jsonl"), second.lines("rollouts.jsonl"));
    let without_judge = |ran: &Ran| -> Vec<Value> {
        let mut lines = ran.timeless("metrics.jsonl");
        for line in &mut lines {
            line.as_object_mut().unwrap().retain(|name, _| !name.starts_with("judge_"));
        }
        lines
    };
    assert_eq!(without_judge(&first), without_judge(&second));
}

#[tokio::test(flavor = "multi_thread")]
async fn failed_verdicts_are_missing_scores_and_counted_by_cause() {
    let folder = tempfile::tempdir().unwrap();
    let server = ScriptedServer::start(|number, request| match number % 4 {
        0 => Act::Say(verdict(request)),
        1 => Act::Say("I'm sorry, but I can't grade this.".to_owned()),
        2 => Act::Say(r#"{"consistent": 1, "quality": 7}"#.to_owned()),
        _ => Act::Status(404, "", "no such model".to_owned()),
    })
    .await;
    let scenario = scenario(
        &server.url,
        &folder.path().join("verdicts.sqlite"),
        "",
        "supervision.max_missing_fraction = 1.0",
    );
    let ran = run(&scenario, RewardRegistry::standard(), None).await;
    assert_eq!(ran.only_arm(), &ArmState::Done);
    let (mut failed, mut missing) = (0, 0);
    for line in ran.lines("metrics.jsonl") {
        let causes = line["judge_failures"].as_object().unwrap();
        assert!(causes.keys().all(|cause| ["refused", "out_of_range", "http_4xx"].contains(&cause.as_str())));
        failed += causes.values().map(|count| count.as_u64().unwrap()).sum::<u64>();
        missing += line["missing"]["consistency"].as_u64().unwrap();
    }
    assert!(failed > 0);
    assert_eq!(failed, missing, "every failed verdict is a missing score");
    let mut rollouts = ran.lines("rollouts.jsonl");
    rollouts.retain(|line| line["phase"] == "train" && line["components"]["think"].is_null());
    assert_eq!(failed as usize, rollouts.len(), "a failed verdict is never a score of 0");
    assert!(ran.warnings.iter().any(|warning| warning.contains("the judge gave no verdict on")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_judge_that_fails_too_often_ends_the_arm_with_the_reason_and_a_checkpoint() {
    let folder = tempfile::tempdir().unwrap();
    let server = ScriptedServer::start(|_, _| Act::Status(500, "", "out of memory".to_owned())).await;
    let judge = "on_failure = \"abort\"\nfailure_window = 2\nmax_failed_fraction = 0.9";
    let scenario = scenario(&server.url, &folder.path().join("verdicts.sqlite"), judge, "");
    let ran = run(&scenario, RewardRegistry::standard(), None).await;
    let ArmState::Failed { reason } = ran.only_arm() else { panic!("{:?}", ran.only_arm()) };
    assert!(reason.contains("verdicts are missing in the last 2 steps"), "{reason}");
    let status = ran.status();
    assert_eq!(status["step"], 2);
    assert!(Path::new(status["checkpoint"].as_str().unwrap()).join("model.safetensors").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_arm_whose_judge_fails_too_often_pauses_and_can_be_resumed_when_the_judge_works() {
    let folder = tempfile::tempdir().unwrap();
    let works = Arc::new(AtomicBool::new(false));
    let server = ScriptedServer::start({
        let works = works.clone();
        move |_, request| {
            if works.load(Ordering::SeqCst) {
                Act::Say(verdict(request))
            } else {
                Act::Status(503, "", "loading the model".to_owned())
            }
        }
    })
    .await;
    let judge = "on_failure = \"pause\"\nfailure_window = 2\nmax_failed_fraction = 0.5";
    let scenario = scenario(&server.url, &folder.path().join("verdicts.sqlite"), judge, "");
    let mut live = Live::start(&scenario, RewardRegistry::standard()).await;
    assert_eq!(live.paused().await, 2);
    let view = live.arm.view();
    let ArmState::Paused { reason } = view.state else { panic!("{:?}", view.state) };
    assert!(reason.contains("verdicts are missing in the last 2 steps"), "{reason}");
    works.store(true, Ordering::SeqCst);
    live.arm.resume("test").unwrap();
    let finished = live.end().await;
    assert_eq!(finished.status, ArmState::Done);
    assert!(finished.dir().join("checkpoints/step-000002/model.safetensors").is_file());
    let failed: Vec<bool> =
        finished.metrics().iter().map(|line| line["judge_failures"]["http_5xx"] != Value::Null).collect();
    assert_eq!(failed, [true, true, false, false]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_judge_that_does_not_answer_is_reported_before_the_first_step() {
    let folder = tempfile::tempdir().unwrap();
    // Nothing listens on port 1.
    let scenario = scenario("http://127.0.0.1:1/v1", &folder.path().join("verdicts.sqlite"), "", "");
    let ran = run(&scenario, RewardRegistry::standard(), None).await;
    let Err(RunError::Input(error)) = ran.outcome else { panic!("{:?}", ran.outcome) };
    let message = error.to_string();
    assert!(message.contains("[judge]: no server answers at http://127.0.0.1:1/v1; start it"), "{message}");
}

/// `cargo nextest run --workspace --run-ignored only --no-capture -E 'test(judging_overlaps)'`
#[ignore = "a measurement that takes four minutes; docs/log.md has its result"]
#[tokio::test(flavor = "multi_thread")]
async fn judging_overlaps_with_computing() {
    const JUDGE: Duration = Duration::from_secs(2);
    let server = ScriptedServer::start(|_, request| Act::SayAfter(JUDGE, verdict(request))).await;
    for (prompts, staleness) in [4, 24, 72, 192].into_iter().flat_map(|prompts| [(prompts, 0), (prompts, 1)])
    {
        let folder = tempfile::tempdir().unwrap();
        let text = scenario(
            &server.url,
            &folder.path().join("verdicts.sqlite"),
            "concurrency = 10000",
            &format!("grpo.max_staleness = {staleness}\nsampling.group_size = 8"),
        )
        .replace("prompts_per_step = 2", &format!("prompts_per_step = {prompts}"))
        .replace("steps = 4", "steps = 8");
        let ran = run(&text, RewardRegistry::standard(), None).await;
        assert_eq!(ran.only_arm(), &ArmState::Done);
        // The first steps and the last are left out: the first waits for its own judging, and the last has no next step
        // to overlap with.
        let middle = |name: &str| {
            let values = numbers(&ran, name);
            let middle = &values[2..values.len() - 1];
            middle.iter().sum::<f64>() / middle.len() as f64
        };
        let (step, judge) = (middle("step_seconds"), middle("judge_seconds"));
        let compute = middle("load_seconds") + middle("sample_seconds") + middle("optimize_seconds");
        let (larger, sum) = (judge.max(compute), judge + compute);
        println!(
            "max_staleness {staleness}, {prompts} prompts × 8: judge {judge:.2} s, compute {compute:.2} s, step {step:.2} s, \
             {:.2} of the larger, {:.2} of the sum",
            step / larger,
            step / sum
        );
        if staleness == 0 {
            assert!((0.9..1.1).contains(&(step / sum)));
        } else {
            assert!(step < 1.1 * larger);
        }
    }
}
