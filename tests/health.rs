//! Policies that die in training: what is recorded, and that their arms do not end as done.

use std::path::Path;

use model::checkpoint::{read_tensors, write_tensors};
use records::ArmState;
use report::write_report;
use rewards::{Reward, RewardBatch, RewardError, RewardRegistry};
use runtime::RunEvent;
use serde_json::Value;
use tch::Tensor;

use crate::runs::{Ran, SCENARIO, counts, registry, run, run_in};

/// The scenario of `runs.rs` with further sections.
fn with(sections: &str) -> String {
    SCENARIO.replace("[rewards]", &format!("{sections}\n[rewards]"))
}

fn reason(ran: &Ran) -> &str {
    ran.only_arm().failure().unwrap_or_else(|| panic!("{:?}", ran.only_arm()))
}

/// Rewards of which every completion gets the same.
fn flat() -> RewardRegistry {
    struct Flat;
    impl Reward for Flat {
        fn score(&mut self, batch: &RewardBatch) -> Result<Vec<Option<f64>>, RewardError> {
            Ok(vec![Some(0.5); batch.items.len()])
        }
    }
    let mut registry = registry();
    registry.register("by-length", |_| Ok(Box::new(Flat)));
    registry
}

/// The scenario without the reward for the format, so that `flat` makes all rewards equal.
fn flat_scenario(sections: &str) -> String {
    with(sections).replace("formula = \"format + noise\"", "formula = \"noise\"")
}

fn column<'a>(rows: &'a [Value], name: &str) -> Vec<&'a Value> {
    rows.iter().map(|row| &row[name]).collect()
}

// HEALTH-1, HEALTH-3
#[tokio::test(flavor = "multi_thread")]
async fn weights_that_are_not_finite_fail_the_arm_and_reach_no_checkpoint() {
    // The first update makes weights that are 1 infinite: 1 − 3 × 1e38, and up to 1e38 less.
    let ran = run(&with("[grpo]\nlr = 1e38\n[optimizer]\nweight_decay = 3.0\n"), registry(), None).await;
    assert!(reason(&ran).contains("the policy died"), "{}", reason(&ran));
    let status = ran.status();
    assert_eq!(
        (status["status"].as_str(), status["health"]["died"].as_str()),
        (Some("failed"), Some(reason(&ran)))
    );
    // Step 2 is sampled from them: its completions are all the same, so that there is nothing to train on. No checkpoint is of finite weights, so there is none.
    assert_eq!(status["step"], 2);
    assert!(status["checkpoint"].is_null(), "{status}");
    let metrics = ran.lines("metrics.jsonl");
    assert_eq!(metrics[1]["groups_trained"], 0);
    assert_eq!(metrics[1]["nan_completions"], 6);
    assert_eq!(column(&metrics, "skipped_steps"), [0, 1]);
    let tensors = metrics[1]["nonfinite"].as_object().unwrap();
    assert!(tensors.values().any(|tensor| tensor["weights"].as_u64().unwrap() > 0), "{tensors:?}");
    let (dispatched, trained, excluded) = counts(&status["groups"]);
    assert_eq!(dispatched, trained + excluded.values().sum::<u64>());
}

// HEALTH-1
#[tokio::test(flavor = "multi_thread")]
async fn a_supervised_arm_whose_steps_are_skipped_fails() {
    let scenario = with("[sft]\nlr = 1e30\nrows_per_step = 2\n[limits]\nskipped_steps = 3\n")
        .replace("name = \"a\"", "name = \"a\"\nmethod = \"sft\"")
        .replace("every = 3\nlimit = 4", "every = 0\nat_start = false\nsuites = []");
    let ran = run(&scenario, registry(), None).await;
    assert!(reason(&ran).contains("the policy died"), "{}", reason(&ran));
    let metrics = ran.lines("metrics.jsonl");
    assert!(metrics.len() < 6, "{metrics:?}");
    let (_, trained, excluded) = counts(&ran.status()["groups"]);
    // Two rows in each step, of which the first alone was trained on.
    assert_eq!((trained, excluded["step_skipped"]), (2, 2 * (metrics.len() as u64 - 1)));
}

// HEALTH-1
#[tokio::test(flavor = "multi_thread")]
async fn an_arm_whose_rewards_never_differ_is_not_done_and_its_groups_are_not_trained_on() {
    let ran = run(&flat_scenario("[limits]\nequal_reward_steps = 6\n"), flat(), None).await;
    assert!(reason(&ran).contains("the rewards of every group were equal"), "{}", reason(&ran));
    let excluded = [("equal_rewards".to_owned(), 12)].into();
    assert_eq!(counts(&ran.status()["groups"]), (12, 0, excluded));
    let metrics = ran.lines("metrics.jsonl");
    assert_eq!(column(&metrics, "equal_reward_streak"), [1, 2, 3, 4, 5, 6]);
    assert!(
        metrics.iter().all(|row| row["skipped_steps"] == 0 && row["distinct_completions"].as_u64() > Some(1))
    );
    let summary = write_report(&records::RunDir::new(ran.folder.path().join("run"))).unwrap();
    assert_eq!(summary.arms[0].mark.as_deref(), Some("policy died"));
    assert!(summary.terminal_table(200).contains("a (policy died)"), "{}", summary.terminal_table(200));
    assert!(summary.notes.iter().any(|note| note.contains("the rewards of every group were equal")));
}

// HEALTH-1
#[tokio::test(flavor = "multi_thread")]
async fn an_ignored_limit_is_a_warning_and_the_report_marks_the_arm() {
    let scenario = flat_scenario("[limits]\naction = \"ignore\"\nequal_reward_steps = 2\n");
    let ran = run(&scenario, flat(), None).await;
    assert_eq!(ran.only_arm(), &ArmState::Done);
    let warned = |warning: &&String| warning.contains("limits.action is \"ignore\"");
    assert_eq!(ran.warnings.iter().filter(warned).count(), 1, "{:?}", ran.warnings);
    let died = ran.status()["health"]["died"].as_str().unwrap().to_owned();
    assert!(died.contains("limits.equal_reward_steps = 2"), "{died}");
    let summary = write_report(&records::RunDir::new(ran.folder.path().join("run"))).unwrap();
    assert_eq!(summary.arms[0].mark.as_deref(), Some("policy died"));
    assert!(summary.notes.iter().any(|note| note.contains(&died)), "{:?}", summary.notes);
}

// HEALTH-2
#[tokio::test(flavor = "multi_thread")]
async fn a_resumed_arm_keeps_its_streaks() {
    let scenario = flat_scenario("[limits]\nequal_reward_steps = 5\n");
    let stopped = run_in(tempfile::tempdir().unwrap(), &scenario, flat(), None, false, |event, stop| {
        if matches!(event, RunEvent::StepDone { step: 3, .. }) {
            stop.send(true).unwrap();
        }
    })
    .await;
    assert_eq!(stopped.only_arm(), &ArmState::Stopped);
    let resumed = run_in(stopped.folder, &scenario, flat(), None, true, |_, _| {}).await;
    assert!(reason(&resumed).contains("limits.equal_reward_steps = 5"), "{}", reason(&resumed));
    assert_eq!(resumed.status()["step"], 5);
    assert_eq!(column(&resumed.lines("metrics.jsonl"), "equal_reward_streak"), [1, 2, 3, 4, 5]);
}

/// A copy of the built-in policy with one weight that is NaN.
fn broken_policy(folder: &Path) {
    let tiny = scenarios::builtin_tiny_policy().unwrap();
    for entry in std::fs::read_dir(tiny).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), folder.join(entry.file_name())).unwrap();
    }
    let file = folder.join("model.safetensors");
    let mut tensors = read_tensors(&file).unwrap();
    let (_, weight) = tensors.iter_mut().find(|(name, _)| name.ends_with("q_proj.weight")).unwrap();
    *weight = weight.shallow_clone() * Tensor::from(f32::NAN);
    write_tensors(&file, &tensors).unwrap();
}

// HEALTH-1
#[tokio::test(flavor = "multi_thread")]
async fn a_policy_that_is_broken_from_the_start_fails_its_first_evaluation() {
    let policy = tempfile::tempdir().unwrap();
    broken_policy(policy.path());
    let scenario = SCENARIO
        .replace("from_scratch = true", &format!("path = \"{}\"", policy.path().display()))
        .replace("name = \"a\"", "name = \"a\"\nmethod = \"none\"");
    let ran = run(&scenario, registry(), None).await;
    assert!(reason(&ran).contains("of 4 completions are NaN"), "{}", reason(&ran));
    assert_eq!(ran.lines("eval.jsonl")[0]["nan_completions"], 4);
}

// HEALTH-1
#[tokio::test(flavor = "multi_thread")]
async fn an_arm_in_good_health_is_done_with_nothing_against_it() {
    let ran = run(SCENARIO, registry(), None).await;
    assert_eq!(ran.only_arm(), &ArmState::Done);
    let health = &ran.status()["health"];
    assert!(health["died"].is_null() && health["steps"] == 6 && health["skipped_steps"] == 0, "{health}");
    for row in ran.lines("metrics.jsonl") {
        let streaks =
            ["skipped_streak", "collapsed_streak", "spike_streak", "nonfinite_tensors", "unusable_rows"];
        assert!(streaks.iter().all(|name| row[name] == 0), "{row}");
    }
}
