//! Settings that are changed while an arm is trained.

use super::*;

fn set(settings: &[(&str, Value)]) -> Change {
    let settings = settings.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
    Change { settings, ..Change::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_setting_is_in_force_from_the_next_step_on_and_a_replay_and_a_fork_have_it() {
    let scenario = SCENARIO.replace("steps = 6", "steps = 8");
    let mut live = Live::start_paused(&scenario, registry()).await;
    live.arm.step(2, "test").unwrap();
    live.paused().await;
    let changed = set(&[("grpo.lr", 3e-3.into()), ("sampling.temperature", 0.5.into())]);
    assert_eq!(live.arm.change(changed, "test").await.unwrap(), Applied { version: 1, step: 3 });
    let settings = live.arm.view().conditions.unwrap().settings;
    assert_eq!((&settings["grpo.lr"], &settings["grpo.delta"]), (&Value::from(3e-3), &Value::Null));
    live.arm.step(2, "test").unwrap();
    live.paused().await;
    live.arm.change(set(&[("grpo.loss", "dapo".into())]), "test").await.unwrap();
    let fork = ::run::ForkRequest {
        arm: "a".into(),
        name: "b".into(),
        step: None,
        seeds: Vec::new(),
        settings: Vec::new(),
    };
    live.run.fork(fork, "test").await.unwrap();
    live.arm.resume("test").unwrap();
    let finished = live.end().await;
    let rates: Vec<f64> = finished.metrics().iter().map(|row| number(&row["lr"])).collect();
    let began = number(&serde_json::json!(scenarios::GrpoConfig::default().lr));
    assert_eq!(rates, [&[began; 2][..], &[3e-3; 6][..]].concat());
    let journal = finished.journal();
    let from: Vec<&Value> = journal.iter().filter_map(|entry| entry.from.as_ref()).collect();
    assert_eq!(from[0]["settings"], serde_json::json!({ "grpo.lr": began, "sampling.temperature": 1.0 }));
    assert_eq!(from[1]["settings"], serde_json::json!({ "grpo.loss": "grpo" }));
    let fork = scenarios::load(&finished.folder.path().join("run/scenario.toml"), &[], &[], None).unwrap();
    let fork = fork.arms.iter().find(|arm| arm.name == "b").unwrap();
    assert_eq!((fork.grpo.lr, fork.grpo.loss), (3e-3, scenarios::LossKind::Dapo));
    let (_, compared) = replays::replay(&finished).await;
    let told: Vec<String> = compared.iter().map(ToString::to_string).collect();
    assert_eq!(told[0], "a (seed 3): the same in all 8 steps; changes made again: 2");
    assert_eq!(told[1], "b (seed 3): the same in all 8 steps; changes made again: 0");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_resumed_arm_keeps_its_settings() {
    let scenario = SCENARIO.replace("steps = 6", "steps = 8");
    let mut whole = None;
    for stops in [false, true] {
        let mut live = Live::start_paused(&scenario, registry()).await;
        live.arm.step(3, "test").unwrap();
        live.paused().await;
        live.arm
            .change(set(&[("grpo.lr", 3e-3.into()), ("grpo.iterations", 2.into())]), "test")
            .await
            .unwrap();
        live.arm.step(2, "test").unwrap();
        live.paused().await;
        if stops {
            live.stop();
        } else {
            live.arm.resume("test").unwrap();
        }
        let mut finished = live.end().await;
        if stops {
            let resumed =
                Live::start_in(finished.folder, &scenario, registry(), |args| args.resume = true).await;
            finished = resumed.end().await;
        }
        let metrics = timeless(&finished.dir().join("metrics.jsonl"));
        assert_eq!(metrics.len(), 8);
        match &whole {
            None => whole = Some(metrics),
            Some(whole) => assert_eq!(&metrics, whole),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_not_be_set_is_refused_in_one_line() {
    let live = Live::start_paused(SCENARIO, registry()).await;
    let cases = [
        (
            ("grpo.lrr", Value::from(1)),
            "`grpo.lrr` can't be changed while an arm is trained; did you mean `grpo.lr`?",
        ),
        (("sampling.group_size", 4.into()), "`sampling.group_size` can't be changed while an arm is trained"),
        (("grpo.lr", (-1).into()), "grpo.lr = -1"),
        (("grpo.lr", "fast".into()), "grpo.lr"),
        (("grpo.lr", Value::Null), "`grpo.lr` is null"),
        (("grpo.loss", "grpp".into()), "grpp"),
    ];
    for ((name, value), expected) in cases {
        let error = live.arm.change(set(&[(name, value)]), "test").await.unwrap_err().to_string();
        assert!(error.contains(expected) && !error.contains('\n'), "{error}");
    }
    assert_eq!(live.arm.view().conditions.unwrap().version, 0);
    live.arm.stop("test").await.unwrap();
    live.end().await;
}
