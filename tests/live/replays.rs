//! Replays of runs with live changes.

use super::*;

/// A run with twenty changes of every kind, one after each of its first twenty steps.
async fn changed_twenty_times() -> FinishedRun {
    let scenario = SCENARIO
        .replace("steps = 6", "steps = 24")
        .replace("every = 2", "every = 0")
        .replace("weights = { noise = 1.0 }", "weights = { noise = { schedule = [[1, 0.1], [30, 1.0]] } }");
    let mut live = Live::start_paused(&scenario, registry()).await;
    for number in 0..20_u32 {
        live.arm.step(1, "test").unwrap();
        live.paused().await;
        // Most of these values have no short decimal form, so writing and reading must round-trip exactly.
        let value = 1.0 / f64::from(3 + number);
        let change = match number % 5 {
            0 => reward("noise", &format!("kind = \"constant\"\nvalue = {value:?}")),
            1 if number > 5 => weight("noise", value),
            1 => reward("format", "kind = \"by-length\""),
            2 => Change {
                weights: [("extra".into(), value)].into(),
                formula: Some("w_extra * extra + exp(w_noise) * noise - format / 3".into()),
                ..reward("extra", "kind = \"by-length\"")
            },
            3 => reward("noise", "kind = \"by-length\""),
            _ => Change {
                formula: Some(format!("{value:?} * noise + format")),
                rewards: [("extra".into(), None)].into(),
                ..Change::default()
            },
        };
        live.arm.change(change, "test").await.unwrap();
    }
    live.arm.resume("test").unwrap();
    live.end().await
}

/// Replays a run; returns the new run, and the comparison of both by arm.
pub(super) async fn replay(finished: &FinishedRun) -> (FinishedRun, Vec<Comparison>) {
    let recorded = RunDir::new(finished.folder.path().join("run"));
    let mut experiment = scenarios::load(&recorded.scenario(), &[], &[], None).unwrap();
    let recording = Recording::open(&recorded, &mut experiment).unwrap();
    let live = Live::start_in(tempfile::tempdir().unwrap(), SCENARIO, registry(), |args| {
        args.experiment = experiment.clone();
        args.controlled = false;
        args.replay = Some(recording.replay.clone());
    })
    .await;
    let again = live.end().await;
    let compared = recording.compare(&RunDir::new(again.folder.path().join("run")), &experiment).unwrap();
    (again, compared)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_replay_of_a_run_with_twenty_changes_is_bit_identical() {
    let finished = changed_twenty_times().await;
    assert_eq!(finished.status, ArmState::Done);
    let (again, compared) = replay(&finished).await;
    assert_eq!(compared[0].to_string(), "a (seed 3): the same in all 24 steps; changes made again: 20");
    assert_eq!(again.rollouts(), finished.rollouts());
    let versions = |finished: &FinishedRun| {
        let changes = finished.journal().into_iter().filter(|entry| entry.change.is_some());
        changes.map(|entry| (entry.version, entry.step, entry.change, entry.from)).collect::<Vec<_>>()
    };
    assert_eq!(versions(&again), versions(&finished));
    assert_eq!(versions(&again).len(), 20);

    // A replay with another value in the journal differs, and the comparison finds where.
    let journal = finished.folder.path().join("run/control.jsonl");
    let text = std::fs::read_to_string(&journal).unwrap();
    std::fs::write(&journal, text.replacen("\"value\":0.3333333333333333", "\"value\":0.25", 1)).unwrap();
    let difference = replay(&finished).await.1[0].difference.clone().unwrap();
    assert_eq!((difference.step, difference.field.as_deref()), (2, Some("reward")));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_replay_of_a_stopped_run_ends_at_the_same_step() {
    let mut live = Live::start_paused(SCENARIO, registry()).await;
    live.arm.step(3, "test").unwrap();
    live.paused().await;
    live.arm.change(weight("noise", 0.3), "test").await.unwrap();
    live.arm.step(1, "test").unwrap();
    live.paused().await;
    live.stop.send_replace(true);
    let finished = live.end().await;
    let (again, compared) = replay(&finished).await;
    assert_eq!(compared[0].to_string(), "a (seed 3): the same in all 4 steps; changes made again: 1");
    assert_eq!((again.status.clone(), again.metrics().len()), (ArmState::Stopped, 4));
}
