//! Whole runs of a tiny random policy with `[selection]`: which rows are asked, which completions are trained on, what is
//! recorded of the others, and that a resumed run asks the same.

use std::collections::BTreeMap;

use records::ArmState;
use rewards::{Reward, RewardBatch, RewardError, RewardRegistry};
use runtime::RunEvent;
use serde_json::Value;

use crate::runs::{Ran, SCENARIO, registry, run, run_in};

/// Scores by length, but gives all completions of half of the questions the same score.
struct HalfEqual;

impl Reward for HalfEqual {
    fn score(&mut self, batch: &RewardBatch) -> Result<Vec<Option<f64>>, RewardError> {
        let score = |item: &rewards::RewardItem| {
            let varied = item.question.id.bytes().map(u64::from).sum::<u64>() % 2 == 0;
            Some(if varied { item.completion.len() as f64 } else { 1.0 })
        };
        Ok(batch.items.iter().map(score).collect())
    }
}

fn half_equal() -> RewardRegistry {
    let mut registry = registry();
    registry.register("half-equal", |_| Ok(Box::new(HalfEqual)));
    registry
}

/// The scenario of `runs.rs` with 40 clips, this reward and these keys.
fn scenario(reward: &str, selection: &str) -> String {
    SCENARIO
        .replace("train_clips = 6", "train_clips = 40")
        .replace("format + noise", "noise")
        .replace("by-length", reward)
        .replace("[rewards]", &format!("[selection]\n{selection}\n\n[rewards]"))
}

async fn done(scenario: &str) -> Ran {
    let ran = run(scenario, half_equal(), None).await;
    assert_eq!(ran.only_arm(), &ArmState::Done, "{scenario}");
    ran
}

/// Stops the scenario after its third step, resumes it, and compares it with a run that was not stopped.
async fn resumes_as(whole: &Ran, scenario: &str) {
    let stopped = run_in(tempfile::tempdir().unwrap(), scenario, half_equal(), None, false, |event, stop| {
        if matches!(event, RunEvent::StepDone { step: 3, .. }) {
            stop.send(true).unwrap();
        }
    })
    .await;
    assert_eq!(stopped.only_arm(), &ArmState::Stopped, "{scenario}");
    let resumed = run_in(stopped.folder, scenario, half_equal(), None, true, |_, _| {}).await;
    assert_eq!(resumed.only_arm(), &ArmState::Done);
    assert_eq!(resumed.timeless("metrics.jsonl"), whole.timeless("metrics.jsonl"), "{scenario}");
    assert_eq!(resumed.lines("rollouts.jsonl"), whole.lines("rollouts.jsonl"), "{scenario}");
}

/// The completions of the training, by step and group.
fn groups(ran: &Ran) -> BTreeMap<(u64, u64), Vec<Value>> {
    let mut groups: BTreeMap<(u64, u64), Vec<Value>> = BTreeMap::new();
    for line in ran.lines("rollouts.jsonl").into_iter().filter(|line| line["phase"] == "train") {
        let number = |name: &str| line[name].as_u64().unwrap();
        groups.entry((number("step"), number("group"))).or_default().push(line);
    }
    groups
}

fn equal_rewards(group: &[Value]) -> bool {
    group.iter().all(|line| line["reward"] == group[0]["reward"])
}

fn tokens<'a>(lines: impl IntoIterator<Item = &'a Value>) -> u64 {
    lines.into_iter().map(|line| line["tokens"].as_u64().unwrap()).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn groups_without_variance_are_replaced() {
    let plain = done(&scenario("half-equal", "")).await;
    let trained = |ran: &Ran| -> Vec<u64> {
        ran.lines("metrics.jsonl").iter().map(|step| step["groups_trained"].as_u64().unwrap()).collect()
    };
    assert!(trained(&plain).iter().any(|trained| *trained < 2), "the world has groups of equal rewards");
    assert!(plain.lines("metrics.jsonl")[0].get("discarded_tokens").is_none());

    let text = scenario("half-equal", "extra_rounds = 20");
    let whole = done(&text).await;
    assert_eq!(trained(&whole), [2; 6]);
    let of_run = groups(&whole);
    for step in whole.lines("metrics.jsonl") {
        let of_step: Vec<&Vec<Value>> = of_run
            .iter()
            .filter(|((number, _), _)| step["step"] == *number)
            .map(|(_, group)| group)
            .collect();
        assert_eq!(step["groups_dispatched"], of_step.len(), "all that was sampled is recorded");
        let discarded: Vec<&Vec<Value>> =
            of_step.iter().copied().filter(|group| equal_rewards(group)).collect();
        assert_eq!(discarded.len() + 2, of_step.len(), "no more are sampled than are needed");
        assert_eq!(step["discarded_tokens"], tokens(discarded.iter().copied().flatten()));
        if !discarded.is_empty() {
            assert_eq!(step["groups_excluded"]["equal_rewards"], discarded.len());
        }
        let rounds = step["extra_rounds"].as_u64().unwrap();
        assert!((rounds > 0) != discarded.is_empty() && rounds <= discarded.len() as u64, "{step}");
        let zero = discarded.len() as f64 / of_step.len() as f64;
        assert!((step["frac_zero_std"].as_f64().unwrap() - zero).abs() < 1e-12);
        let mut asked: Vec<&Value> = of_step.iter().map(|group| &group[0]["id"]).collect();
        asked.sort_by_key(|id| id.to_string());
        asked.dedup();
        assert_eq!(asked.len(), of_step.len(), "no question is asked twice in a step");
    }
    resumes_as(&whole, &text).await;
    // Also where advantages are computed over the step, and with a KL term.
    let text = text.replace("[rewards]", "[grpo]\nadvantages = \"gdpo\"\nkl_coef = 0.5\n\n[rewards]");
    resumes_as(&done(&text).await, &text).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rounds_are_bounded_where_nothing_varies() {
    let text = scenario("format", "extra_rounds = 3");
    let ran = done(&text).await;
    for step in ran.lines("metrics.jsonl") {
        assert_eq!((&step["extra_rounds"], &step["groups_dispatched"]), (&3.into(), &8.into()), "{step}");
        assert_eq!((&step["groups_trained"], &step["loss"]), (&0.into(), &Value::Null));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_completions_those_are_trained_on_that_vary_most() {
    let text = scenario("by-length", "keep_completions = 2").replace("group_size = 3", "group_size = 5");
    let whole = done(&text).await;
    let mut left_out = 0;
    for ((step, _), group) in groups(&whole) {
        let rewards: Vec<f64> = group.iter().map(|line| line["reward"].as_f64().unwrap()).collect();
        let kept: Vec<f64> = group
            .iter()
            .zip(&rewards)
            .filter(|(line, _)| !line["advantage"].is_null())
            .map(|(_, r)| *r)
            .collect();
        let (least, most) =
            (rewards.iter().copied().fold(f64::MAX, f64::min), rewards.iter().copied().fold(0.0, f64::max));
        assert_eq!(kept.len(), 2, "step {step}");
        assert_eq!(kept.iter().copied().fold(f64::MAX, f64::min), least);
        assert_eq!(kept.iter().copied().fold(0.0, f64::max), most);
        left_out += tokens(group.iter().filter(|line| line["advantage"].is_null()));
    }
    let logged: u64 =
        whole.lines("metrics.jsonl").iter().map(|step| step["discarded_tokens"].as_u64().unwrap()).sum();
    assert_eq!(logged, left_out);
    assert!(logged > 0);
    resumes_as(&whole, &text).await;
}

/// The random policy answers nothing correctly, so that every question that was asked has a pass rate of 0.
#[tokio::test(flavor = "multi_thread")]
async fn questions_outside_of_the_pass_rates_are_not_asked_again() {
    let repeated = |ran: &Ran| {
        let mut asked: Vec<String> = groups(ran).values().map(|group| group[0]["id"].to_string()).collect();
        let all = asked.len();
        asked.sort();
        asked.dedup();
        all - asked.len()
    };
    let unfiltered = done(&scenario("half-equal", "extra_rounds = 20")).await;
    assert!(repeated(&unfiltered) > 0, "the world is small enough for questions to be drawn again");
    let text = scenario("half-equal", "extra_rounds = 20\npass_rate = [0.1, 0.9]");
    let filtered = done(&text).await;
    assert_eq!(repeated(&filtered), 0);
    resumes_as(&filtered, &text).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_share_of_the_prompts_is_asked_again() {
    let text = scenario("by-length", "revisit_share = 0.5\nrevisit_target = [0.0, 0.0]");
    let whole = done(&text).await;
    let mut before: Vec<Value> = Vec::new();
    let of_run = groups(&whole);
    for step in 1..=6 {
        let ids: Vec<Value> = (0..2).map(|group| of_run[&(step, group)][0]["id"].clone()).collect();
        assert!(!before.contains(&ids[0]), "the first prompt is the next of the epoch");
        assert_eq!(
            before.contains(&ids[1]),
            step > 1,
            "the second was asked before, as soon as there is one"
        );
        before.extend(ids);
    }
    resumes_as(&whole, &text).await;
    // With stale completions a step knows less of those before it, but still the same in every run.
    let stale = text.replace("[rewards]", "[grpo]\nmax_staleness = 1\n\n[rewards]");
    let asked =
        |ran: &Ran| -> Vec<Value> { groups(ran).values().map(|group| group[0]["id"].clone()).collect() };
    assert_eq!(asked(&done(&stale).await), asked(&done(&stale).await));
}
