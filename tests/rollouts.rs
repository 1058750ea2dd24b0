//! Runs that sample on servers: every silent mistake of a server is caught, and every failure survived.

use records::{Action, ArmState, JournalEntry, RunDir};
use serde_json::Value;

use crate::live::{self, Live};
use crate::runs::{self, Ran, run};
use crate::scripted_vllm::{Fault, Mistake, ScriptedVllm};

/// Completions of a run of [`scenario`]: two steps of 2 × 3, and two questions after the last.
const ASKED: usize = 2 * 2 * 3 + 2;

/// Two steps of two questions with three completions each, and an evaluation at the end.
fn scenario(urls: &[&str], sampler: &str, rest: &str) -> String {
    format!(
        r#"
[run]
name = "test"
seeds = [3]
steps = 2
device = "cpu"
threads = 1

[policy]
train = "lora"

[data.soundscapes]
train_clips = 4
heldout_clips = 2

[sampling]
group_size = 3
prompts_per_step = 2
max_new_tokens = 6

[sampler]
backend = "vllm"
urls = {urls:?}
timeout_seconds = 20.0
give_up_seconds = 20.0
{sampler}

[grpo]
importance_correction = "token_truncate"
lr = 3e-2

[rewards]
noise = {{ kind = "by-length" }}

[shaping]
formula = "noise"

[eval]
every = 0
at_start = false
limit = 2

[limits]
action = "ignore"

[[arm]]
name = "a"
{rest}
"#
    )
}

async fn ran(scenario: &str) -> Ran {
    run(scenario, runs::registry(), None).await
}

fn numbers(ran: &Ran, name: &str) -> Vec<f64> {
    ran.lines("metrics.jsonl").iter().filter_map(|line| line[name].as_f64()).collect()
}

fn failed(ran: &Ran) -> &str {
    match ran.only_arm() {
        ArmState::Failed { reason } => reason,
        other => panic!("{other:?}"),
    }
}

/// What the journal says of the servers.
fn notices(ran: &Ran) -> Vec<String> {
    let journal = RunDir::new(ran.folder.path().join("run")).read_journal().unwrap();
    let of_servers = journal.into_iter().filter(|entry: &JournalEntry| entry.action == Action::Server);
    of_servers.filter_map(|entry| entry.note).collect()
}

/// Every group has all of its completions, each with its own seed, and was trained on.
fn assert_whole(ran: &Ran) {
    assert_eq!(ran.only_arm(), &ArmState::Done);
    let rollouts = ran.lines("rollouts.jsonl");
    let trained = rollouts.iter().filter(|row| row["phase"] == "train");
    let mut places: Vec<String> =
        trained.map(|row| format!("{} {} {}", row["step"], row["group"], row["index"])).collect();
    places.sort();
    places.dedup();
    assert_eq!(places.len(), 2 * 2 * 3);
    assert_eq!(numbers(ran, "rollouts_dropped"), [0.0, 0.0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_samples_from_each_version_and_is_left_as_it_was() {
    let server = ScriptedVllm::start(Mistake::None).await;
    let ran = ran(&scenario(&[&server.url], "", "eval.every = 2")).await;
    assert_whole(&ran);
    let seen = server.seen();
    assert_eq!((seen.completions, seen.loaded.len()), (ASKED, 3));
    assert_eq!(seen.models, seen.loaded, "only adapters are asked");
    let version = |name: &String| name.split('-').nth(1).unwrap().to_owned();
    assert_eq!(seen.loaded.iter().map(version).collect::<Vec<_>>(), ["v0", "v1", "v2"]);
    let mut clips = seen.clips_sent.clone();
    clips.sort();
    clips.dedup();
    assert!(clips.len() >= 2);
    assert_eq!(clips.len(), seen.clips_sent.len(), "each clip is sent once: {:?}", seen.clips_sent);
    assert_eq!(server.left(), (0, 0), "everything is unloaded");
    assert!(!ran.folder.path().join("run/a/seed-3/adapters").exists());
    for name in ["canary_gap", "logprob_gap_max"] {
        let gaps = numbers(&ran, name);
        assert!(gaps.len() == 2 && gaps.iter().all(|gap| *gap < 1e-4), "{name}: {gaps:?}");
    }
    for (name, expected) in [("sampling_ratio_mean", 1.0), ("sampling_ratio_max", 1.0), ("sampling_ess", 1.0)]
    {
        let found = numbers(&ran, name);
        assert!(
            found.len() == 2 && found.iter().all(|value| (value - expected).abs() < 1e-3),
            "{name}: {found:?}"
        );
    }
    assert_eq!(numbers(&ran, "sampler_idle_seconds").len() + numbers(&ran, "learner_idle_seconds").len(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn rollout_1_silent_mistakes_are_asked_again_and_never_trained_on() {
    let server = ScriptedVllm::start(Mistake::None).await;
    let faults =
        [Fault::NoClip, Fault::Twice, Fault::Suppressed, Fault::Beyond, Fault::NoLogprob, Fault::Aborted];
    server.fail(&faults);
    let ran = ran(&scenario(&[&server.url], "retries = 6", "")).await;
    assert_whole(&ran);
    assert_eq!(numbers(&ran, "rollouts_retried"), [faults.len() as f64, 0.0]);
    assert_eq!((server.seen().completions, server.left().0), (ASKED, 0), "none is lost or doubled");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_completion_without_a_usable_answer_costs_its_group() {
    let server = ScriptedVllm::start(Mistake::None).await;
    server.fail(&[Fault::Suppressed]);
    let ran = ran(&scenario(&[&server.url], "retries = 0\nmax_dropped_fraction = 0.5", "")).await;
    assert_eq!(ran.only_arm(), &ArmState::Done);
    assert_eq!(numbers(&ran, "rollouts_dropped"), [1.0, 0.0]);
    let excluded: Vec<Value> = ran
        .lines("metrics.jsonl")
        .iter()
        .map(|line| line["groups_excluded"]["rollouts_unusable"].clone())
        .collect();
    assert_eq!(excluded[0], 1);
    assert_eq!(ran.lines("rollouts.jsonl").iter().filter(|row| row["step"] == 1).count(), 3);
    let server = ScriptedVllm::start(Mistake::None).await;
    server.fail(&[Fault::NoClip]);
    let ran = self::ran(&scenario(&[&server.url], "retries = 0\nmax_dropped_fraction = 0.0", "")).await;
    let reason = failed(&ran);
    assert!(
        reason.contains("sampler.max_dropped_fraction = 0") && reason.contains("found 0 clips of 1"),
        "{reason}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn rollout_2_a_server_that_fails_loses_and_doubles_no_completion() {
    let server = ScriptedVllm::start(Mistake::None).await;
    let faults = [Fault::Status(500), Fault::Cut, Fault::Restarted, Fault::AsBase];
    server.fail(&faults);
    let ran = ran(&scenario(&[&server.url], "", "")).await;
    assert_whole(&ran);
    assert_eq!((server.seen().completions, server.left()), (ASKED, (0, 0)));
    let notices = notices(&ran);
    let said = |text: &str| notices.iter().any(|notice| notice.contains(text));
    // Of failures at the same time only the first is noted.
    assert!(said("failed: status 500") || said("connection closed"), "{notices:#?}");
    assert!(said("is in use again"), "{notices:#?}");
    // The restarted one had its base alone.
    assert!(server.seen().loaded.len() > 2, "{:?}", server.seen().loaded);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_others_go_on_when_one_server_ends_and_one_hangs() {
    let servers = [
        ScriptedVllm::start(Mistake::None).await,
        ScriptedVllm::start(Mistake::None).await,
        ScriptedVllm::start(Mistake::None).await,
    ];
    servers[0].fail(&[Fault::Die]);
    servers[1].fail(&[Fault::Hang]);
    let urls: Vec<&str> = servers.iter().map(|server| server.url.as_str()).collect();
    // One completion at a time on each, so that every server gets some.
    let ran = ran(&scenario(&urls, "concurrency = 3\ntimeout_seconds = 5.0", "").replacen(
        "timeout_seconds = 20.0\n",
        "",
        1,
    ))
    .await;
    assert_whole(&ran);
    let completions: usize = servers.iter().map(|server| server.seen().completions).sum();
    // What the first server answered as it ended did not arrive.
    assert!((ASKED..ASKED + 3).contains(&completions), "{completions}");
    assert_eq!(servers[0].left().0 + servers[1].left().0, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_ended_is_started_again_elsewhere() {
    let (first, second) =
        (ScriptedVllm::start(Mistake::None).await, ScriptedVllm::start(Mistake::None).await);
    first.fail(&[Fault::Die]);
    let restart =
        format!("restart = \"test \\\"$SANDBOX_SERVER_URL\\\" = {} && echo {}\"", first.url, second.url);
    let ran = ran(&scenario(&[&first.url], &restart, "")).await;
    assert_whole(&ran);
    // What the first server answered as it ended did not arrive.
    assert!(first.seen().completions + second.seen().completions >= ASKED && second.seen().completions > 0);
    let moved = format!("sampler: {} was restarted, and is at {} now", first.url, second.url);
    assert!(notices(&ran).contains(&moved), "{:#?}", notices(&ran));
}

#[tokio::test(flavor = "multi_thread")]
async fn no_server_for_too_long_ends_the_step_with_their_reasons() {
    let ran =
        ran(&scenario(&["http://127.0.0.1:1"], "", "")
            .replace("give_up_seconds = 20.0", "give_up_seconds = 0.3"))
        .await;
    let reason = failed(&ran);
    assert!(
        reason.starts_with("no server of sampler.urls could be used for 0.3 s: http://127.0.0.1:1 ("),
        "{reason}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn rollout_3_the_canary_names_each_cause() {
    for (mistake, cause) in [
        (Mistake::WrongBase, "wrong base"),
        (Mistake::IgnoredAdapter, "ignored adapter"),
        (Mistake::StaleCache, "stale prefix cache"),
        (Mistake::OtherTemplate, "other chat template"),
        (Mistake::OtherFeatures, "other audio features"),
    ] {
        let server = ScriptedVllm::start(mistake).await;
        let ran = ran(&scenario(&[&server.url], "", "")).await;
        let reason = failed(&ran);
        assert!(reason.contains(&format!(": {cause}: ")), "{mistake:?}: {reason}");
        // An adapter that was not trained yet changes nothing, so its mistakes show in step 2.
        let file = ran.folder.path().join("run/a/seed-3/metrics.jsonl");
        let steps = if file.exists() { runs::lines(&file).len() } else { 0 };
        let trained = matches!(mistake, Mistake::IgnoredAdapter | Mistake::StaleCache);
        assert_eq!(steps, usize::from(trained), "{mistake:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn importance_ratios_beyond_the_limit_pause_the_arm() {
    let server = ScriptedVllm::start(Mistake::Skewed).await;
    let ran = ran(&scenario(&[&server.url], "", "")).await;
    let reason = failed(&ran);
    assert!(reason.contains("less than sampler.min_effective_fraction = 0.5 allows"), "{reason}");
    assert_eq!(ran.lines("metrics.jsonl").len(), 1, "the step itself is recorded");
    let largest = numbers(&ran, "sampling_ratio_max")[0];
    // e⁵ = 148.4.
    assert!((largest - 148.4).abs() < 1.0, "{largest}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_evaluation_that_fails_pauses_the_arm_and_is_repeated() {
    let server = ScriptedVllm::start(Mistake::None).await;
    // The first step asks for 6 completions; the first of its evaluation is refused.
    server.answer(6);
    server.fail(&[Fault::Status(403)]);
    let mut live = Live::start(&scenario(&[&server.url], "", "eval.every = 1"), live::registry()).await;
    assert_eq!(live.paused().await, 1);
    live.arm.resume("test").unwrap();
    let finished = live.end().await;
    assert_eq!((finished.status.clone(), finished.metrics().len()), (ArmState::Done, 2));
    let evaluated = runs::lines(&finished.dir().join("eval.jsonl"));
    assert_eq!(evaluated.iter().map(|row| row["step"].clone()).collect::<Vec<_>>(), [1, 2]);
}
