//! The vetted alarms on real runs of the built-in policy: healthy ones, in which none may go off, and some whose failure is
//! planted in the rewards, the learning rate or the judge.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use records::{Action, ArmId, JournalEntry, RunDir};
use rewards::{Reward, RewardBatch, RewardError, RewardRegistry};
use serde_json::Value;

use crate::runs::{Ran, run};
use crate::scripted_server::{Act, ScriptedServer};

/// The built-in policy with the paper's rewards, as in scenarios/smoke.toml, with the vetted alarms.
fn scenario(seed: u64, steps: u64, sections: &str) -> String {
    format!(
        r#"
[[alarm]]
vetted = "all"
{sections}
[run]
name = "test"
seeds = [{seed}]
steps = {steps}
device = "cpu"
threads = 1

[data.soundscapes]
train_clips = 24
heldout_clips = 12

[optimizer]
betas = [0.9, 0.99]

[checkpoint]
every = 0
"#
    )
}

const PAPER: &str = r#"
[sampling]
group_size = 4
prompts_per_step = 4

[grpo]
lr = 1e-4
kl_coef = 0.04

[rewards]
accuracy = { kind = "accuracy" }
adaptive_think = { kind = "adaptive-think" }
consistency = { kind = "consistency" }
format = { kind = "format" }
think = { kind = "think" }

[shaping]
formula = "adaptive_think * (1 + w_consistency * consistency) + w_format * format + w_think * think"
weights = { consistency = 0.5, format = 0.5, think = 1.0 }

[eval]
every = 5
temperature = 1.0
limit = 24

[[arm]]
name = "a"
"#;

/// The alarms that went off, with their steps.
fn alarms(ran: &Ran) -> Vec<(String, u64)> {
    let journal = RunDir::new(ran.folder.path().join("run")).read_journal().unwrap().into_iter();
    let firings =
        journal.filter(|entry: &JournalEntry| entry.action == Action::Alarm).filter_map(|entry| entry.alarm);
    firings.map(|firing| (firing.name, firing.step)).collect()
}

async fn healthy(seeds: std::ops::Range<u64>, steps: u64) {
    for seed in seeds {
        let ran = run(&(scenario(seed, steps, "") + PAPER), RewardRegistry::standard(), None).await;
        let dir = RunDir::new(ran.folder.path().join("run")).arm(&ArmId::new("a", seed));
        assert_eq!(dir.read_metrics().unwrap().len() as u64, steps);
        assert_eq!(alarms(&ran), [], "seed {seed}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn healthy_runs_raise_no_vetted_alarm() {
    healthy(1..3, 24).await;
}

/// The long form, which takes minutes: `cargo nextest run -p integration-tests --run-ignored only twenty_healthy`.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes minutes; healthy_runs_raise_no_vetted_alarm is its short form"]
async fn twenty_healthy_runs_raise_no_vetted_alarm() {
    healthy(1..21, 60).await;
}

/// 1 for a completion without thinking.
struct NoThinking;

impl Reward for NoThinking {
    fn score(&mut self, batch: &RewardBatch) -> Result<Vec<Option<f64>>, RewardError> {
        Ok(batch.items.iter().map(|item| Some(f64::from(u8::from(!item.thinks())))).collect())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reward_for_not_thinking_is_caught() {
    let mut registry = RewardRegistry::standard();
    registry.register("no-thinking", |_| Ok(Box::new(NoThinking)));
    let planted = r#"
[sampling]
group_size = 4
prompts_per_step = 4
[grpo]
lr = 1e-3
kl_coef = 0.0
[rewards]
quick = { kind = "no-thinking" }
[shaping]
formula = "quick"
[eval]
every = 0
at_start = false
limit = 4
[[arm]]
name = "a"
"#;
    let stop = "then = \"stop\"\n";
    let ran = run(&(scenario(3, 60, stop) + planted), registry, None).await;
    let rates: Vec<f64> =
        ran.lines("metrics.jsonl").iter().filter_map(|row| row["think_rate"].as_f64()).collect();
    let found = alarms(&ran);
    let (name, step) = found.first().unwrap_or_else(|| panic!("none went off; {rates:?}"));
    assert_eq!(name, "no-thinking", "{found:?} {rates:?}");
    // The first step whose last ten have a mean below 0.02; and the arm stops there.
    let expected =
        rates.windows(10).position(|window| window.iter().sum::<f64>() / 10.0 < 0.02).unwrap() + 10;
    assert_eq!(*step, expected as u64, "{rates:?}");
    assert_eq!(rates.len() as u64, *step);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_learning_rate_that_is_far_too_high_is_caught() {
    let planted = PAPER.replace("lr = 1e-4", "lr = 3e-2");
    let limits = "[limits]\naction = \"ignore\"\n";
    let ran = run(&(scenario(3, 60, limits) + &planted), RewardRegistry::standard(), None).await;
    let found = alarms(&ran);
    assert!(!found.is_empty() && found[0].1 <= 40, "{found:?}");
}

/// A judge whose verdicts turn round after a while.
#[tokio::test(flavor = "multi_thread")]
async fn a_judge_that_changes_its_mind_is_caught_and_its_requests_are_counted() {
    let (turned, folder) = (Arc::new(AtomicBool::new(false)), tempfile::tempdir().unwrap());
    let now = turned.clone();
    let server = ScriptedServer::start(move |number, _| {
        now.fetch_or(number > 200, Ordering::SeqCst);
        let consistent = u8::from(!now.load(Ordering::SeqCst));
        Act::Say(format!("{{\"consistent\": {consistent}, \"quality\": 0.5}}"))
    })
    .await;
    let planted = format!(
        r#"
[prompt]
style = "think"
[sampling]
group_size = 4
prompts_per_step = 4
max_new_tokens = 48
[judge]
kind = "openai"
base_url = "{}"
model = "scripted"
cache.path = "{}"
[rewards]
consistency = {{ kind = "consistency", when_wrong = "always" }}
format = {{ kind = "format" }}
[shaping]
formula = "consistency + format"
[eval]
every = 0
at_start = false
limit = 4
[limits]
action = "ignore"
[[arm]]
name = "a"
"#,
        server.url,
        folder.path().join("verdicts.sqlite").display()
    );
    let ran = run(
        &(scenario(3, 30, "recheck_every = 3\nthen = \"stop\"\n") + &planted),
        RewardRegistry::standard(),
        None,
    )
    .await;
    let rows = ran.lines("metrics.jsonl");
    let agreement: Vec<(u64, f64)> = rows
        .iter()
        .filter_map(|row: &Value| Some((row["step"].as_u64()?, row.get("judge_agreement")?.as_f64()?)))
        .collect();
    assert!(
        turned.load(Ordering::SeqCst) && agreement.iter().all(|(step, _)| step % 3 == 0),
        "{agreement:?}"
    );
    let drifted: Vec<u64> =
        agreement.iter().filter(|(_, agreement)| *agreement < 0.8).map(|(step, _)| *step).collect();
    assert!(
        alarms(&ran).contains(&("judge-drift".to_owned(), drifted[1])),
        "{:?} {agreement:?}",
        alarms(&ran)
    );
    assert_eq!(agreement[0].1, 1.0, "before it turns it gives the same verdicts");
    let rechecked = rows.iter().filter(|row| row.get("judge_agreement").is_some());
    assert!(
        rechecked.into_iter().all(|row| row["judge_requests"].as_u64().unwrap() >= 32),
        "the requests are counted"
    );
}
