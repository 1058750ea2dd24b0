//! Changes that are refused, and rewards that fail before or after they are in force.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn an_invalid_change_is_refused_in_one_line_and_changes_nothing() {
    struct Panics;
    impl Reward for Panics {
        fn score(&mut self, _: &RewardBatch) -> Result<Vec<Option<f64>>, RewardError> {
            panic!("over anything")
        }
    }
    struct Errs;
    impl Reward for Errs {
        fn score(&mut self, _: &RewardBatch) -> Result<Vec<Option<f64>>, RewardError> {
            Err(RewardError::Failed("no such voice".into()))
        }
    }
    let mut registry = registry();
    registry.register("panics", |_| Ok(Box::new(Panics)));
    registry.register("errs", |_| Ok(Box::new(Errs)));
    let mut live = Live::start_paused(SCENARIO, registry).await;
    let refused = [
        (weight("niose", 1.0), "no formula uses the weight `niose`; did you mean `noise`? (known: noise)"),
        (weight("noise", f64::INFINITY), "the weight `noise` is inf; give a number such as 0.5"),
        (
            formula("format + nois"),
            "formula, column 10: unknown name `nois`; did you mean `noise`? (known: format, noise, w_noise)",
        ),
        (Change::default(), "the change is empty; give weights, a formula, rewards or settings"),
        (
            reward("a/b", "kind = \"format\""),
            "`a/b` can't be the name of a reward; use letters, digits, - and _, at most 100",
        ),
        (
            reward("noise", "kind = \"pancis\""),
            "[rewards.noise]: no reward kind is called `pancis`; did you mean `panics`?",
        ),
        (
            reward("noise", "kind = \"constant\"\nvlaue = 1"),
            "[rewards.noise]: reward kind `constant` has no option `vlaue`",
        ),
        (
            reward("noise", "kind = \"errs\""),
            "`noise` failed its trial, and nothing was changed: no such voice",
        ),
        (reward("noise", "kind = \"panics\""), "it panicked on a trial batch: over anything"),
    ];
    for (change, expected) in refused {
        let error = live.arm.change(change, "test").await.unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
        assert_eq!(error.to_string().lines().count(), 1);
        if let ChangeError::Invalid { place: Some(place), .. } = error {
            assert_eq!(place, 9, "the place is counted from 0, the column in the message from 1");
        }
    }
    // The valid half of a partly invalid change is not applied either.
    let half = Change { weights: [("noise".into(), 9.0)].into(), ..reward("format", "kind = \"errs\"") };
    live.arm.change(half, "test").await.unwrap_err();
    live.arm.resume("test").unwrap();
    live.wait_for(|event| matches!(event, RunEvent::Resumed { .. }).then_some(())).await;
    let finished = live.end().await;
    assert_eq!(finished.status, ArmState::Done);
    finished.assert_adds_up(6);
    assert!(finished.journal().iter().all(|entry| entry.change.is_none()));
    assert!(finished.metrics().iter().all(|line| line["weights_version"] == 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reward_is_also_tried_out_for_an_arm_that_has_not_started() {
    let scenario =
        SCENARIO.replace("threads = 1", "threads = 1\nparallel_arms = 1") + "[[arm]]\nname = \"b\"\n";
    let live = Live::start_paused(&scenario, registry()).await;
    let waiting = live.run.arm(&ArmId::new("b", 3)).unwrap();
    assert_eq!(waiting.view().state, ArmState::Planned);
    let gone = reward("noise", "kind = \"python\"\nfile = \"gone.py\"");
    let error = waiting.change(gone, "test").await.unwrap_err().to_string();
    assert!(error.starts_with("`noise` failed its trial") && error.contains("there is no file"), "{error}");
    let constant = reward("noise", "kind = \"constant\"\nvalue = 2.0");
    assert_eq!(waiting.change(constant, "test").await.unwrap(), Applied { version: 1, step: 1 });
    live.stop.send_replace(true);
    live.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reward_that_exceeds_the_trials_time_limit_is_refused() {
    struct Hangs(Arc<Mutex<gate::Receiver<()>>>);
    impl Reward for Hangs {
        fn score(&mut self, batch: &RewardBatch) -> Result<Vec<Option<f64>>, RewardError> {
            let _ = self.0.lock().unwrap().recv();
            ByLength.score(batch)
        }
    }
    let (_hold, held) = gate::channel();
    let held = Arc::new(Mutex::new(held));
    let mut registry = registry();
    registry.register("hangs", move |_| Ok(Box::new(Hangs(held.clone()))));
    let scenario = SCENARIO.replace("probe_timeout_seconds = 60", "probe_timeout_seconds = 0.1");
    let live = Live::start_paused(&scenario, registry).await;
    let error = live.arm.change(reward("noise", "kind = \"hangs\""), "test").await.unwrap_err();
    assert!(error.to_string().contains("it did not answer a trial batch within 0.1 s"), "{error}");
    assert_eq!(live.arm.view().conditions.unwrap().version, 0);
    live.arm.stop("test").await.unwrap();
    assert_eq!(live.end().await.status, ArmState::Stopped);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reward_that_fails_too_often_pauses_its_arm_until_it_is_swapped() {
    struct Panics;
    impl Reward for Panics {
        fn score(&mut self, batch: &RewardBatch) -> Result<Vec<Option<f64>>, RewardError> {
            if batch.step == 3 { panic!("always at step 3") } else { ByLength.score(batch) }
        }
    }
    let mut registry = registry();
    registry.register("panics", |_| Ok(Box::new(Panics)));
    let mut live = Live::start(&SCENARIO.replace("by-length", "panics"), registry).await;
    assert_eq!(live.paused().await, 2);
    let view = live.arm.view();
    let ArmState::Paused { reason } = view.state else { panic!("{:?}", view.state) };
    assert!(
        reason.contains("`reward/noise` failed more than 5 times") && reason.contains("always at step 3"),
        "{reason}"
    );
    // Resumed without a change, it fails again.
    live.arm.resume("test").unwrap();
    assert_eq!(live.paused().await, 2);
    assert_eq!(live.arm.change(reward("noise", "kind = \"by-length\""), "test").await.unwrap().step, 3);
    live.arm.resume("test").unwrap();
    let finished = live.end().await;
    assert_eq!(finished.status, ArmState::Done);
    finished.assert_adds_up(6);
    let by: Vec<String> = finished.journal().into_iter().map(|entry| entry.by).collect();
    assert_eq!(by, ["engine", "test", "engine", "test", "test"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_arm_that_nobody_resumes_ends_with_the_reason_and_a_checkpoint() {
    struct Panics;
    impl Reward for Panics {
        fn score(&mut self, _: &RewardBatch) -> Result<Vec<Option<f64>>, RewardError> {
            panic!("always")
        }
    }
    let mut registry = registry();
    registry.register("panics", |_| Ok(Box::new(Panics)));
    let scenario = SCENARIO
        .replace("by-length", "panics")
        .replace("[supervision]", "[supervision]\nhelp_timeout_seconds = 0.01\nrestarts = 0");
    let finished = Live::start(&scenario, registry).await.end().await;
    let ArmState::Failed { reason } = &finished.status else { panic!("{:?}", finished.status) };
    assert!(
        reason.contains("`reward/noise` failed more than 0 times")
            && reason.contains("; nobody resumed it within 0.01 s (supervision.help_timeout_seconds)"),
        "{reason}"
    );
    assert!(finished.dir().join("checkpoints/step-000000/model.safetensors").is_file());
}

#[tokio::test(flavor = "multi_thread")]
async fn too_many_missing_scores_pause_the_arm() {
    struct Mute;
    impl Reward for Mute {
        fn score(&mut self, batch: &RewardBatch) -> Result<Vec<Option<f64>>, RewardError> {
            Ok(vec![None; batch.items.len()])
        }
    }
    let mut registry = registry();
    registry.register("mute", |_| Ok(Box::new(Mute)));
    let scenario = SCENARIO.replace("by-length", "mute").replace("steps = 6", "steps = 12");
    let mut live = Live::start(&scenario, registry).await;
    assert_eq!(live.paused().await, 10);
    assert!(
        live.arm
            .view()
            .state
            .reason()
            .unwrap()
            .contains("40 of 40 completions were left without a reward in the last 10 steps")
    );
    live.arm.change(reward("noise", "kind = \"by-length\""), "test").await.unwrap();
    live.arm.resume("test").unwrap();
    let finished = live.end().await;
    assert_eq!(finished.status, ArmState::Done);
    finished.assert_adds_up(12);
}
