//! Runs that sample on servers: every silent mistake of a server is caught, and every failure survived.

use std::collections::BTreeSet;

use records::{Action, ArmState, JournalEntry, RunDir};
use runtime::seed::{Purpose, derive};
use serde_json::{Value, json};

use crate::live::{self, Live};
use crate::runs::{self, Ran, run};
use crate::scripted_vllm::{Fault, Mistake, ScriptedVllm, Slice};

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

/// The seed of a completion of step `step`, counted from 0, as it is drawn from and as it is sent.
fn seeds(step: u64) -> Vec<(u64, u64)> {
    let places = (0..2).flat_map(|group| (0..3).map(move |index| [step, group, index]));
    let seed = |place: [u64; 3]| derive(3, Purpose::Completion, &place);
    places.map(seed).map(|seed| (seed, sent(seed))).collect()
}

/// Seeds are signed on the server.
fn sent(seed: u64) -> u64 {
    seed & (u64::MAX >> 1)
}

/// The slice of a completion after `before` tokens.
fn slice_of(slices: &[Slice], seed: u64, before: u64) -> Vec<&Slice> {
    let seed = sent(if before == 0 { seed } else { derive(seed, Purpose::Slice, &[before]) });
    slices.iter().filter(|slice| slice.seed == seed).collect()
}

/// Three steps with slices of two tokens, of which the second is sampled while the first is trained on. At their learning rate all
/// versions have the same log-probabilities, as far as f32 can tell.
fn overlapping(server: &ScriptedVllm, at_new_version: &str) -> String {
    // The second step's completions are in their first slices until there is a new version.
    let second: Vec<u64> = seeds(1).into_iter().map(|(_, sent)| sent).collect();
    server.hold(&second, "policy-v1-");
    let sampler = format!("slice_tokens = 2\nat_new_version = {at_new_version:?}");
    let scenario = scenario(&[&server.url], &sampler, "steps = 3");
    scenario.replace("[grpo]\n", "[grpo]\nmax_staleness = 1\n").replace("lr = 3e-2", "lr = 1e-12")
}

fn train_rows(ran: &Ran, step: u64) -> Vec<Value> {
    let of_step = |row: &Value| row["phase"] == "train" && row["step"] == step;
    ran.lines("rollouts.jsonl").into_iter().filter(of_step).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_completion_goes_on_with_the_version_that_is_published_meanwhile() {
    let server = ScriptedVllm::start(Mistake::None).await;
    let ran = ran(&overlapping(&server, "continue")).await;
    assert_eq!(ran.only_arm(), &ArmState::Done);
    let slices = server.seen().slices;
    let rows = train_rows(&ran, 2);
    assert_eq!(rows.len(), 6);
    let mut continued = 0;
    for ((seed, _), row) in seeds(1).into_iter().zip(&rows) {
        let first = slice_of(&slices, seed, 0);
        assert!(first.len() == 1 && first[0].model.starts_with("policy-v0-"), "{first:?}");
        assert_eq!(row["policy_version"], 0);
        let tokens = row["tokens"].as_u64().unwrap();
        if tokens <= 2 {
            // It ended in its first slice.
            assert!(row.get("policy_versions").is_none(), "{row}");
            continue;
        }
        continued += 1;
        assert_eq!(row["policy_versions"], json!([[0, 2], [1, tokens - 2]]));
        let second = slice_of(&slices, seed, 2);
        assert!(second.len() == 1 && second[0].model.starts_with("policy-v1-"), "{second:?}");
        assert_eq!(second[0].prompt, first[0].prompt + 2, "it has the tokens so far");
        let drawn = [0, 2, 4].into_iter().flat_map(|before| slice_of(&slices, seed, before));
        assert_eq!(drawn.map(|slice| slice.ids.len() as u64).sum::<u64>(), tokens, "none lost or doubled");
    }
    assert!(continued > 0);
    // The third step's completions may be cut by the second step's training, or not.
    assert_eq!(numbers(&ran, "rollouts_continued")[..2], [0.0, f64::from(continued)]);
    assert_eq!(numbers(&ran, "rollouts_restarted"), [0.0; 3]);
    assert_eq!(numbers(&ran, "staleness")[..2], [0.0, 1.0]);
    let mean = numbers(&ran, "token_staleness")[1];
    assert!(mean > 0.0 && mean < 1.0, "some tokens of the step are of version 0, others of 1: {mean}");
    // Across the change of versions, each token has the log-probability that the learner finds.
    let gaps = numbers(&ran, "logprob_gap_max");
    assert!(gaps.len() == 3 && gaps.iter().all(|gap| *gap < 1e-4), "{gaps:?}");
    assert_eq!(server.left(), (0, 0), "everything is unloaded");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_completion_begins_again_with_the_version_that_is_published_meanwhile() {
    let server = ScriptedVllm::start(Mistake::None).await;
    let ran = ran(&overlapping(&server, "discard")).await;
    assert_eq!(ran.only_arm(), &ArmState::Done);
    let slices = server.seen().slices;
    let rows = train_rows(&ran, 2);
    assert_eq!(rows.len(), 6);
    let mut restarted = 0;
    for ((seed, _), row) in seeds(1).into_iter().zip(&rows) {
        assert!(row.get("policy_versions").is_none(), "{row}");
        let first = slice_of(&slices, seed, 0);
        assert!(first[0].model.starts_with("policy-v0-"), "{first:?}");
        if first.len() == 1 {
            // It ended in its first slice.
            assert_eq!(row["policy_version"], 0);
            continue;
        }
        restarted += 1;
        assert_eq!(row["policy_version"], 1);
        assert!(first.len() == 2 && first[1].model.starts_with("policy-v1-"), "{first:?}");
        assert_eq!(first[0].prompt, first[1].prompt, "from the prompt alone");
    }
    assert!(restarted > 0);
    assert_eq!(numbers(&ran, "rollouts_restarted")[..2], [0.0, f64::from(restarted)]);
    assert_eq!(numbers(&ran, "restarted_tokens")[..2], [0.0, f64::from(2 * restarted)]);
    assert_eq!(numbers(&ran, "rollouts_continued"), [0.0; 3]);
}

#[tokio::test(flavor = "multi_thread")]
async fn slices_of_one_version_are_the_same_completions_in_every_run() {
    let text = async |server: &ScriptedVllm| {
        let ran = ran(&scenario(&[&server.url], "slice_tokens = 2", "")).await;
        assert_whole(&ran);
        let rows = ran.lines("rollouts.jsonl");
        rows.iter().map(|row| row["completion"].clone()).collect::<Vec<_>>()
    };
    let (first, second) =
        (ScriptedVllm::start(Mistake::None).await, ScriptedVllm::start(Mistake::None).await);
    second.fail(&[Fault::Cut, Fault::Status(500)]);
    assert_eq!(text(&first).await, text(&second).await, "whatever happened to the server");
    let drawn = |server: &ScriptedVllm| {
        let slices = server.seen().slices;
        assert!(slices.iter().all(|slice| slice.ids.len() <= 2));
        slices.iter().map(|slice| (slice.seed, slice.ids.clone())).collect::<BTreeSet<_>>()
    };
    assert_eq!(drawn(&first), drawn(&second));
}

#[tokio::test(flavor = "multi_thread")]
async fn another_server_goes_on_from_the_tokens_of_a_server_that_ended() {
    let servers = [ScriptedVllm::start(Mistake::None).await, ScriptedVllm::start(Mistake::None).await];
    // It draws two slices, and ends in the next.
    servers[0].answer(2);
    servers[0].fail(&[Fault::Die]);
    let urls: Vec<&str> = servers.iter().map(|server| server.url.as_str()).collect();
    let sampler = "concurrency = 2\nslice_tokens = 2\nstraggler_factor = 0.0";
    let ran = ran(&scenario(&urls, sampler, "")).await;
    assert_whole(&ran);
    let [ended, other] = servers.each_ref().map(|server| server.seen().slices);
    assert_eq!(ended.len(), 2);
    let asked: Vec<u64> = (0..2).flat_map(seeds).map(|(seed, _)| seed).collect();
    for seed in &asked {
        for before in [0, 2, 4] {
            let drawn = slice_of(&ended, *seed, before).len() + slice_of(&other, *seed, before).len();
            assert!(drawn <= 1, "no slice is drawn twice");
        }
    }
    let begun = asked.iter().find(|seed| !slice_of(&ended, **seed, 0).is_empty()).unwrap();
    let drawn_by = |slices: &[Slice], before: u64| slice_of(slices, *begun, before).len();
    assert_eq!((drawn_by(&ended, 2), drawn_by(&other, 4)), (1, 1), "the other one has its last tokens");
    let rows = ran.lines("rollouts.jsonl");
    let tokens: u64 = rows.iter().map(|row| row["tokens"].as_u64().unwrap()).sum();
    let drawn: usize = ended.iter().chain(&other).map(|slice| slice.ids.len()).sum();
    assert_eq!(drawn as u64, tokens);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_straggler_moves_to_another_server() {
    let servers = [ScriptedVllm::start(Mistake::None).await, ScriptedVllm::start(Mistake::None).await];
    servers[0].fail(&[Fault::Hang]);
    let urls: Vec<&str> = servers.iter().map(|server| server.url.as_str()).collect();
    let ran = ran(&scenario(&urls, "concurrency = 6\nslice_tokens = 2", "")).await;
    assert_whole(&ran);
    assert!(numbers(&ran, "rollouts_moved").iter().sum::<f64>() >= 1.0);
    assert_eq!(notices(&ran), Vec::<String>::new(), "no server is taken out of use");
}
