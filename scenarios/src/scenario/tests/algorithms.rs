//! The messages about `[grpo]` and the budget of thinking.

use super::*;

#[track_caller]
fn assert_refused(grpo: &str, expected: &str) {
    let text = TWO_ARMS.replace("lr = 2e-4", &format!("lr = 2e-4\n{grpo}"));
    let found = message(&text);
    assert!(found.contains(expected), "{grpo}: {found}");
}

#[test]
fn settings_that_need_others_say_which() {
    for (grpo, expected) in [
        ("kl_in_reward = true\nkl_coef = 0", "write false, or kl_coef above 0 beside it"),
        ("kl_in_reward = true\nadvantages = \"gdpo\"", "write false with advantages = \"gdpo\""),
        ("kl_target = 0.1\nkl_coef = 0.0", "write kl_coef above 0 beside it"),
        (
            "advantages = \"rloo\"\nscale_rewards = \"none\"",
            "write advantages = \"group_relative\" beside it",
        ),
        ("entropy_target = 1.0\nentropy_coef = 2.0", "write a number up to entropy_coef_max = 1"),
    ] {
        assert_refused(grpo, expected);
    }
}

#[test]
fn values_out_of_range_are_refused() {
    for (grpo, expected) in [
        ("kl_target = 0.0", "write a number above 0"),
        ("kl_horizon = -1.0", "write a number above 0"),
        ("importance_cap = 0.9", "write 1 or more"),
        ("off_policy_threshold = -0.1", "write 0 or more"),
        ("entropy_coef = -0.1", "write 0 or more"),
        ("entropy_coef_delta = 0.0", "write a number above 0"),
        ("entropy_top_fraction = 0.0", "write a number above 0, up to 1"),
        ("entropy_top_fraction = 1.5", "write a number above 0, up to 1"),
        ("covariance_fraction = 0.0", "write a number above 0, up to 1"),
        ("covariance_range = [5.0, 1.0]", "write two numbers, the smaller first"),
        ("covariance_kl_coef = 0.0", "above 0"),
        ("sapo_temperature_neg = 0.0", "write a number above 0"),
        ("loss = \"sappo\"", "sapo"),
        ("advantages = \"gpdo\"", "gdpo"),
        ("importance_correction = \"token\"", "token_mask"),
    ] {
        assert_refused(grpo, expected);
    }
    let text = TWO_ARMS.replace("[grpo]", "[sampling]\nmax_new_tokens = 20\nmax_think_tokens = 20\n[grpo]");
    let found = message(&text);
    assert!(found.contains("write a number below max_new_tokens = 20, or 0 for no limit"), "{found}");
}

#[test]
fn a_selection_that_cannot_be_made_is_refused() {
    for (selection, expected) in [
        ("keep_completions = 1", "write 2 to group_size"),
        ("keep_completions = 9", "write 2 to group_size"),
        ("extra_rounds = 65", "write up to 64"),
        ("pass_rate = [0.9, 0.1]", "write the smaller fraction first"),
        ("pass_rate = [0.1, 1.5]", "pass_rate"),
        ("pass_rate = [0.1]", "pass_rate"),
        ("revisit_share = -0.1", "revisit_share"),
        ("revisit_target = [0.5, 2.0]", "revisit_target"),
        ("extra_round = 1", "did you mean `extra_rounds`?"),
    ] {
        let found = message(&TWO_ARMS.replace("[grpo]", &format!("[selection]\n{selection}\n[grpo]")));
        assert!(found.contains(expected), "{selection}: {found}");
    }
}

#[test]
fn the_defaults_are_those_of_the_paper() {
    let grpo = GrpoConfig::default();
    assert_eq!(grpo.advantages, AdvantageKind::GroupRelative);
    assert_eq!((grpo.kl_estimator, grpo.kl_in_reward, grpo.kl_target), (KlEstimator::K3, false, None));
    assert_eq!(grpo.importance_correction, ImportanceCorrection::None);
    assert_eq!((grpo.entropy_coef, grpo.entropy_top_fraction, grpo.off_policy_threshold), (0.0, 1.0, None));
    assert_eq!(SamplingConfig::default().max_think_tokens, 0);
    assert_eq!(grpo.covariance, CovarianceControl::None);
    assert!(SelectionConfig::default().is_off());
}
