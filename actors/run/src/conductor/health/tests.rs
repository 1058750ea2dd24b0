use super::*;

fn limits() -> LimitsConfig {
    LimitsConfig::default()
}

fn applied(grad_norm: f64, loss: f64) -> Signs {
    Signs { applied: 1, grad_norm, loss, ..Signs::default() }
}

fn skipped() -> Signs {
    Signs { skipped: 1, grad_norm: f64::NAN, loss: f64::NAN, ..Signs::default() }
}

fn sampled(sampled: Sampled) -> Signs {
    Signs { sampled: Some(sampled), ..applied(1.0, 0.1) }
}

/// Four completions of a policy in good health, and how they differ from that.
fn completions(change: impl FnOnce(&mut Sampled)) -> Signs {
    let mut found = Sampled { completions: 4, distinct: 3, equal_rewards: Some(false), ..Sampled::default() };
    change(&mut found);
    sampled(found)
}

/// The first verdict over these steps, with the number of the step, and the health after it or after all steps.
fn judge(steps: impl IntoIterator<Item = Signs>, limits: &LimitsConfig) -> (Option<(usize, String)>, Health) {
    let mut health = Health::default();
    for (place, signs) in steps.into_iter().enumerate() {
        health = after(&health, &signs, limits);
        if let Some(reason) = verdict(&health, &signs, limits) {
            return (Some((place + 1, reason)), health);
        }
    }
    (None, health)
}

// HEALTH-1
#[test]
fn a_streak_of_skipped_steps_is_fatal_and_a_step_in_between_ends_it() {
    let (died, health) = judge((0..40).map(|_| skipped()), &limits());
    let (step, reason) = died.unwrap();
    assert!(step == 10 && reason.contains("the last 10 optimizer steps were skipped"), "{step}: {reason}");
    assert_eq!((health.skipped_steps, health.skipped_streak), (10, 10));
    // Nine of ten are skipped, so the fraction of the last 20 is what ends it: after 20 steps, 18 of 20.
    let often = (0..40).map(|step| if step % 10 == 0 { applied(1.0, 0.1) } else { skipped() });
    let (step, reason) = judge(often, &limits()).0.unwrap();
    assert!(step == 20 && reason.contains("18 of the last 20"), "{step}: {reason}");
    let rarely = (0..400).map(|step| if step % 4 == 0 { skipped() } else { applied(1.0, 0.1) });
    assert_eq!(judge(rarely, &limits()).0, None);
}

// HEALTH-1
#[test]
fn weights_and_probabilities_that_are_not_finite_are_fatal_at_once() {
    let tensor = |weights| NonFiniteTensor { name: "lm_head.weight".into(), weights, gradient: 2 };
    let signs = Signs { nonfinite: vec![tensor(7), tensor(1)], ..skipped() };
    let reason = judge([signs], &limits()).0.unwrap().1;
    assert!(
        reason.contains("7 numbers of the weights `lm_head.weight`") && reason.contains("1 other"),
        "{reason}"
    );
    // Only the gradient: the step is skipped, and the weights are as good as before.
    assert_eq!(judge([Signs { nonfinite: vec![tensor(0)], ..skipped() }], &limits()).0, None);
    let reason = judge([completions(|found| found.nan = 3)], &limits()).0.unwrap().1;
    assert!(reason.contains("the probabilities of 3 of 4 completions are NaN"), "{reason}");
    assert_eq!(
        judge([completions(|found| found.nan = 2)], &limits()).0,
        None,
        "half of them may be a bad clip"
    );
}

// HEALTH-1
#[test]
fn blank_completions_are_fatal_after_some_steps() {
    for blank in [|found: &mut Sampled| found.one_token = 4, |found: &mut Sampled| found.empty = 4] {
        let (died, _) = judge((0..30).map(|_| completions(blank)), &limits());
        let (step, reason) = died.unwrap();
        assert!(step == 20 && reason.contains("empty or of a single token"), "{step}: {reason}");
    }
    let (died, health) = judge((0..30).map(|_| completions(|found| found.one_token = 3)), &limits());
    assert_eq!((died, health.collapsed_streak), (None, 0));
}

// HEALTH-1
#[test]
fn one_completion_for_all_questions_is_fatal_unless_it_is_the_right_answer_to_all() {
    let same = |answer: &str, differ: bool| {
        let first = Collapsed {
            completion: "<answer>dog</answer>".into(),
            answer: answer.into(),
            answers_differ: differ,
        };
        completions(|found| (found.distinct, found.first) = (1, first))
    };
    let (step, reason) = judge((0..30).map(|_| same("dog", true)), &limits()).0.unwrap();
    assert!(step == 20 && reason.contains("<answer>dog</answer>"), "{step}: {reason}");
    // One question per step, with another answer now and then.
    let alternating = (0..30).map(|step| same(if step % 3 == 0 { "cat" } else { "dog" }, false));
    assert!(judge(alternating, &limits()).0.is_some());
    assert_eq!(judge((0..30).map(|_| same("dog", false)), &limits()).0, None);
}

// HEALTH-1
#[test]
fn groups_with_equal_rewards_are_fatal_after_many_steps() {
    let equal = || completions(|found| found.equal_rewards = Some(true));
    let (step, reason) = judge((0..60).map(|_| equal()), &limits()).0.unwrap();
    assert!(step == 50 && reason.contains("the rewards of every group were equal"), "{step}: {reason}");
    // A step in which no group has two rewards says nothing.
    let unknown =
        |step| if step % 2 == 0 { equal() } else { completions(|found| found.equal_rewards = None) };
    assert_eq!(judge((0..99).map(unknown), &limits()).1.equal_reward_streak, 50);
}

#[test]
fn a_gradient_that_begins_after_steps_without_one_is_no_spike_but_a_blow_up_is() {
    let begins = (0..30).map(|_| applied(1e-9, 0.0)).chain((0..30).map(|_| applied(3.0, 0.2)));
    let (died, health) = judge(begins, &limits());
    assert_eq!((died, health.spike_streak), (None, 0));
    let blows_up = (0..30).map(|_| applied(2.0, 0.1)).chain((0..30).map(|_| applied(201.0, 0.1)));
    let (step, reason) = judge(blows_up, &limits()).0.unwrap();
    assert!(step == 40 && reason.contains("100 times its mean"), "{step}: {reason}");
    let loss = (0..30).map(|_| applied(2.0, 0.1)).chain((0..30).map(|_| applied(2.0, -150.0)));
    assert_eq!(judge(loss, &limits()).0.unwrap().0, 40);
    let once = (0..60).map(|step| applied(if step % 30 == 25 { 1e6 } else { 2.0 }, 0.1));
    assert_eq!(judge(once, &limits()).1.spike_streak, 0);
}

#[test]
fn a_limit_of_zero_is_none() {
    let none = LimitsConfig {
        skipped_steps: 0,
        skipped_fraction: 1.0,
        equal_reward_steps: 0,
        collapsed_steps: 0,
        spike_steps: 0,
        ..limits()
    };
    assert_eq!(judge((0..99).map(|_| skipped()), &none).0, None);
    let dead = |found: &mut Sampled| (found.one_token, found.equal_rewards) = (4, Some(true));
    let (died, health) = judge((0..99).map(|_| completions(dead)), &none);
    assert_eq!((died, verdict_at_end(&health, 99, &none)), (None, None));
}

// HEALTH-1
#[test]
fn an_arm_shorter_than_the_limits_is_judged_at_its_end() {
    let at_end = |steps: &mut dyn Iterator<Item = Signs>, count: u64| {
        let (died, health) = judge(steps, &limits());
        assert_eq!(died, None);
        verdict_at_end(&health, count, &limits())
    };
    let reason = at_end(&mut (0..3).map(|step| if step == 0 { applied(1.0, 0.1) } else { skipped() }), 3);
    assert!(reason.unwrap().contains("2 of 3 optimizer steps were skipped"));
    let equal = || completions(|found| found.equal_rewards = Some(true));
    assert!(at_end(&mut (0..20).map(|_| equal()), 20).unwrap().contains("equal"));
    assert_eq!(at_end(&mut (0..19).map(|_| equal()), 19), None, "nineteen steps may be bad luck");
    let mut once = (0..20).map(|step| if step == 0 { completions(|_| ()) } else { equal() });
    assert_eq!(at_end(&mut once, 20), None);
    assert_eq!(at_end(&mut (0..20).map(|_| applied(1.0, 0.1)), 20), None);
}

// HEALTH-2
#[test]
fn streaks_go_on_where_a_checkpoint_left_them() {
    let (_, health) = judge((0..6).map(|_| skipped()), &limits());
    let restored: Health = serde_json::from_str(&serde_json::to_string(&health).unwrap()).unwrap();
    assert_eq!(restored, health);
    let mut health = restored;
    for step in 7..=10 {
        health = after(&health, &skipped(), &limits());
        assert_eq!(verdict(&health, &skipped(), &limits()).is_some(), step == 10);
    }
}
