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
fn the_defaults_are_those_of_the_paper() {
    let grpo = GrpoConfig::default();
    assert_eq!(grpo.advantages, AdvantageKind::GroupRelative);
    assert_eq!((grpo.kl_estimator, grpo.kl_in_reward, grpo.kl_target), (KlEstimator::K3, false, None));
    assert_eq!(grpo.importance_correction, ImportanceCorrection::None);
    assert_eq!((grpo.entropy_coef, grpo.entropy_top_fraction, grpo.off_policy_threshold), (0.0, 1.0, None));
    assert_eq!(SamplingConfig::default().max_think_tokens, 0);
}
