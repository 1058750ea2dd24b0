//! Whole runs of a tiny random policy with each algorithm of `docs/algorithms.md`: they train, a resumed run ends like one
//! that was not stopped, and what they log is what was set.

use records::ArmState;
use runtime::RunEvent;
use serde_json::Value;

use crate::runs::{Ran, SCENARIO, registry, run, run_in};

/// The scenario of `runs.rs` with these keys.
fn with(grpo: &str) -> String {
    SCENARIO.replace("[rewards]", &format!("[grpo]\n{grpo}\n\n[rewards]"))
}

/// A run of six steps whose every step changed the weights.
async fn trained(scenario: &str) -> Ran {
    let ran = run(scenario, registry(), None).await;
    assert_eq!(ran.only_arm(), &ArmState::Done, "{scenario}");
    let steps = ran.lines("metrics.jsonl");
    assert_eq!(steps.len(), 6);
    for step in &steps {
        let number = |name: &str| step[name].as_f64().unwrap_or(f64::NAN);
        assert!(number("loss").is_finite() && number("grad_norm").is_finite(), "{scenario}: {step}");
        assert!(number("entropy") > 0.0 && number("entropy") < 12.0, "{step}");
    }
    assert!(steps.iter().any(|step| step["grad_norm"].as_f64().unwrap() > 0.0));
    ran
}

/// Stops the scenario after its third step, resumes it, and compares it with a run that was not stopped, bit for bit.
async fn resumes_as(whole: &Ran, scenario: &str) {
    let stopped = run_in(tempfile::tempdir().unwrap(), scenario, registry(), None, false, |event, stop| {
        if matches!(event, RunEvent::StepDone { step: 3, .. }) {
            stop.send(true).unwrap();
        }
    })
    .await;
    assert_eq!(stopped.only_arm(), &ArmState::Stopped, "{scenario}");
    let resumed = run_in(stopped.folder, scenario, registry(), None, true, |_, _| {}).await;
    assert_eq!(resumed.only_arm(), &ArmState::Done);
    assert_eq!(resumed.timeless("metrics.jsonl"), whole.timeless("metrics.jsonl"), "{scenario}");
    assert_eq!(resumed.lines("rollouts.jsonl"), whole.lines("rollouts.jsonl"), "{scenario}");
}

fn column(ran: &Ran, name: &str) -> Vec<Value> {
    ran.lines("metrics.jsonl").iter().map(|line| line[name].clone()).collect()
}

fn numbers(ran: &Ran, name: &str) -> Vec<f64> {
    column(ran, name)
        .iter()
        .map(|value| value.as_f64().unwrap_or_else(|| panic!("{name}: {value}")))
        .collect()
}

/// Trains and resumes with each of these settings. Each must train differently from the first.
async fn all_train_and_resume(settings: &[&str]) {
    let plain = trained(SCENARIO).await;
    for grpo in settings {
        let scenario = with(grpo);
        let whole = trained(&scenario).await;
        assert_ne!(column(&whole, "loss"), column(&plain, "loss"), "{grpo}");
        resumes_as(&whole, &scenario).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_advantage_trains_and_resumes() {
    all_train_and_resume(&[
        "advantages = \"gdpo\"",
        "advantages = \"rloo\"",
        "advantages = \"reinforce_plus_plus\"",
        "advantages = \"reinforce_plus_plus_baseline\"",
        "advantages = \"hgpo\"",
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_new_loss_trains_and_resumes() {
    all_train_and_resume(&[
        "loss = \"cispo\"\nclip_high = 4.0",
        "loss = \"sapo\"\niterations = 2",
        "loss = \"gspo_token\"\niterations = 2",
        "mode_token_coef = 0.1",
        "kl_estimator = \"k1\"",
        "kl_estimator = \"k2\"\niterations = 2",
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn corrections_masks_and_entropy_train_and_resume() {
    all_train_and_resume(&[
        "importance_correction = \"token_truncate\"\nimportance_cap = 1.0\niterations = 2",
        "importance_correction = \"geometric_mask\"\nimportance_cap = 1.0\niterations = 2",
        "off_policy_threshold = 0.0\niterations = 3\nlr = 0.003",
        "entropy_coef = 0.05\nmicro_batch_prompts = 1",
        "entropy_top_fraction = 0.3\nmicro_batch_prompts = 1",
        "covariance = \"clip\"\ncovariance_fraction = 0.5\ncovariance_range = [0.0, 50.0]\nmicro_batch_prompts = 1",
        "covariance = \"kl\"\ncovariance_fraction = 0.5\niterations = 2\nlr = 0.003",
    ])
    .await;
}

/// The coefficients are part of a checkpoint: without them a resumed run would begin with the scenario's.
#[tokio::test(flavor = "multi_thread")]
async fn coefficients_follow_their_targets_through_a_resume() {
    let scenario = with("kl_target = 50.0\nkl_horizon = 12\nkl_coef = 0.1\nlr = 0.003");
    let whole = trained(&scenario).await;
    // Below the target by more than a fifth: 1 − 0.2 · 6 / 12 in each step.
    let (kl, found) = (numbers(&whole, "kl"), numbers(&whole, "kl_coef"));
    let mut expected = 0.1;
    for (kl, found) in kl.iter().zip(&found) {
        assert!((found - expected).abs() < 1e-12, "{found} is not {expected}");
        expected *= 1.0 + (kl / 50.0 - 1.0).clamp(-0.2, 0.2) * 6.0 / 12.0;
    }
    assert!(found[5] < 0.1);
    resumes_as(&whole, &scenario).await;

    let scenario = with("entropy_target = 12.0\nentropy_coef = 0.01\nentropy_coef_delta = 0.02");
    let whole = trained(&scenario).await;
    // The bonus is in force from the second step, when the entropy is known to be below 12.
    for (found, expected) in numbers(&whole, "entropy_coef").iter().zip([0.0, 0.03, 0.05, 0.07, 0.09, 0.11]) {
        assert!((found - expected).abs() < 1e-12, "{found} is not {expected}");
    }
    resumes_as(&whole, &scenario).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_divergence_is_subtracted_from_the_rewards() {
    let scenario =
        with("kl_in_reward = true\nkl_estimator = \"k1\"\nkl_coef = 0.5\nlr = 0.003\nkl_target = 0.01");
    let whole = trained(&scenario).await;
    let (penalty, kl) = (numbers(&whole, "kl_penalty"), numbers(&whole, "kl"));
    assert!(penalty[0].abs() < 1e-4, "the policy is its own reference: {penalty:?}");
    assert!(penalty[5].abs() > 1e-4 && (penalty[5] > 0.0) == (kl[5] > 0.0), "{penalty:?} {kl:?}");
    resumes_as(&whole, &scenario).await;
}

/// With one prompt per micro-batch, the tokens with the greatest entropy are those of the whole step (OPT-2).
#[tokio::test(flavor = "multi_thread")]
async fn the_entropy_mask_does_not_depend_on_the_split_into_micro_batches() {
    let whole = trained(&with("entropy_top_fraction = 0.3\nentropy_coef = 0.01")).await;
    let split =
        trained(&with("entropy_top_fraction = 0.3\nentropy_coef = 0.01\nmicro_batch_prompts = 1")).await;
    let (one, other) = (numbers(&whole, "entropy_kept_frac"), numbers(&split, "entropy_kept_frac"));
    assert_eq!(one[0], other[0]);
    assert!(one.iter().all(|fraction| (0.2..0.5).contains(fraction)), "{one:?}");
    for (one, other) in numbers(&whole, "loss").iter().zip(numbers(&split, "loss")).take(1) {
        assert!((one - other).abs() < 1e-5, "{one} is not {other}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn stale_samples_are_weighted() {
    let scenario = with(
        "max_staleness = 2\nlr = 0.01\nimportance_correction = \"sequence_truncate\"\nimportance_cap = 1.0",
    );
    let ran = trained(&scenario).await;
    let (staleness, weights) = (numbers(&ran, "staleness"), numbers(&ran, "importance_weight"));
    for (lag, weight) in staleness.iter().zip(&weights) {
        let changed = (weight - 1.0).abs() > 1e-3;
        assert!(*weight <= 1.0 + 1e-6, "{weights:?}");
        assert!(changed || *lag < 2.0 || weights.len() < 6, "{staleness:?} {weights:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn thinking_ends_at_its_budget() {
    let scenario = SCENARIO
        .replace("from_scratch = true\n", "")
        .replace("max_new_tokens = 6", "max_new_tokens = 24\nmax_think_tokens = 3")
        .replace("formula = \"format + noise\"", "formula = \"format + noise + budget\"")
        .replace("[shaping]", "budget = { kind = \"think-budget\", budget = 2, cache = 4 }\n\n[shaping]");
    let whole = trained(&scenario).await;
    let rollouts = whole.lines("rollouts.jsonl");
    let thinking: Vec<&Value> =
        rollouts.iter().filter(|row| row["completion"].as_str().unwrap().starts_with("<think>")).collect();
    assert!(!thinking.is_empty(), "the built-in policy thinks");
    for row in thinking {
        assert!(row["completion"].as_str().unwrap().contains("</think>"), "{row}");
    }
    let means = column(&whole, "think_tokens_mean");
    assert!(
        means.iter().any(|mean| mean.as_f64().is_some_and(|mean| (2.0..=24.0).contains(&mean))),
        "{means:?}"
    );
    resumes_as(&whole, &scenario).await;
}

/// AdaptThink and HGPO: each group has both modes, whatever the policy would have chosen; evaluations are left to it.
#[tokio::test(flavor = "multi_thread")]
async fn completions_are_made_to_begin_in_both_modes() {
    for grpo in ["advantages = \"reinforce_plus_plus\"", "advantages = \"hgpo\"\niterations = 2"] {
        let scenario = with(grpo)
            .replace("from_scratch = true\n", "")
            .replace("max_new_tokens = 6", "max_new_tokens = 16\nforced_no_think = 0.5");
        let whole = trained(&scenario).await;
        let rollouts = whole.lines("rollouts.jsonl");
        let of_group = |row: &&Value| row["phase"] == "train" && row["group"] == 0 && row["step"] == 1;
        let size = rollouts.iter().filter(of_group).count() as f64;
        for row in rollouts.iter().filter(|row| row["phase"] == "train") {
            let begins =
                if row["index"].as_f64().unwrap() < (size / 2.0).round() { "<answer>" } else { "<think>" };
            assert!(row["completion"].as_str().unwrap().starts_with(begins), "{row}");
        }
        resumes_as(&whole, &scenario).await;
    }
}
