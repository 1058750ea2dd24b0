//! The order of changes after a kill (ORDER-1): what a resumed run does with the changes that its journal has after the
//! checkpoint, and with those that are made before these are in force again.

use std::io::Write as _;

use serde_json::json;

use super::*;

/// A line of the journal, as a run that was killed left it.
fn journaled(version: u64, step: u64, change: &Change) -> String {
    let from = json!({});
    json!({
        "format_version": records::FORMAT_VERSION, "time": "2026-01-31T12:00:00Z", "by": "ctl", "arm": "a", "seed": 3,
        "action": "change", "change": change, "from": from, "version": version, "step": step
    })
    .to_string()
}

/// Resumes a run that was killed before its first checkpoint and left these lines in its journal; pauses it at once.
async fn resumed_with(journal: &[String]) -> Live {
    let folder = tempfile::tempdir().unwrap();
    let run_dir = RunDir::new(folder.path().join("run"));
    std::fs::create_dir_all(run_dir.path()).unwrap();
    let mut file = std::fs::File::create(run_dir.journal()).unwrap();
    journal.iter().for_each(|line| writeln!(file, "{line}").unwrap());
    let mut live = Live::start_in(folder, SCENARIO, registry(), |args| args.resume = true).await;
    live.arm.pause("test", None).unwrap();
    live.paused().await;
    live
}

/// The weight of `noise` and the version, by step.
fn noise_by_step(finished: &FinishedRun) -> Vec<(u64, f64)> {
    let of = |line: &Value| (line["weights_version"].as_u64().unwrap(), number(&line["weights"]["noise"]));
    finished.metrics().iter().map(of).collect()
}

/// ORDER-1: the older change waits for its step when the newer one is made; it must not undo the newer one there.
#[tokio::test(flavor = "multi_thread")]
async fn a_change_made_after_a_kill_is_not_undone_by_an_older_one() {
    let live = resumed_with(&[journaled(1, 4, &weight("noise", 0.1))]).await;
    let newer = live.arm.change(weight("noise", 0.9), "test").await.unwrap();
    assert_eq!(newer, Applied { version: 2, step: 1 });
    live.arm.resume("test").unwrap();
    let finished = live.end().await;
    assert_eq!(noise_by_step(&finished), vec![(2, 0.9); 6]);
}

/// ORDER-1: lines of the same step count in the order of their versions, wherever they are in the file.
#[tokio::test(flavor = "multi_thread")]
async fn changes_are_made_again_in_the_order_of_their_versions() {
    let lines = [journaled(2, 2, &weight("noise", 0.9)), journaled(1, 3, &weight("noise", 0.1))];
    let live = resumed_with(&lines).await;
    live.arm.resume("test").unwrap();
    let finished = live.end().await;
    let expected = [(0, 1.0), (2, 0.9), (2, 0.9), (2, 0.9), (2, 0.9), (2, 0.9)];
    assert_eq!(noise_by_step(&finished), expected);
}

/// ORDER-1: a change that was acknowledged before the kill, and is not in force again yet, counts for what comes next.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_before_a_kill_is_there_from_the_beginning() {
    let add = Change {
        formula: Some("format + w_noise * noise + bonus".into()),
        ..reward("bonus", "kind = \"constant\"\nvalue = 2.0")
    };
    let lines = [journaled(1, 1, &weight("noise", 0.5)), journaled(2, 5, &add)];
    let live = resumed_with(&lines).await;
    let view = live.arm.view();
    assert_eq!(view.conditions.unwrap().weights["noise"], 0.5, "it was acknowledged for the next step");
    let waiting: Vec<(u64, Option<u64>)> =
        view.waiting.iter().map(|change| (change.version, change.step)).collect();
    assert_eq!(waiting, [(2, Some(5))]);
    // ADD-1: the name is taken although the reward is not in force yet.
    let requires = ::run::Requires { added: ["bonus".to_owned()].into(), ..::run::Requires::default() };
    let again = live.arm.change_if(reward("bonus", "kind = \"format\""), "test", requires).await;
    assert!(matches!(again, Err(ChangeError::Exists { .. })), "{again:?}");
    // STALE-1: a change made from the version in force does not know of the one that waits.
    let requires = ::run::Requires { version: Some(1), ..::run::Requires::default() };
    let stale = live.arm.change_if(weight("noise", 0.25), "test", requires).await.unwrap_err().to_string();
    assert!(stale.contains("version 2 by ctl at 2026-01-31T12:00:00Z, from step 5: formula"), "{stale}");
    // A newer change brings it forward, so that the order of the versions is that of the steps.
    assert_eq!(
        live.arm.change(weight("noise", 0.25), "test").await.unwrap(),
        Applied { version: 3, step: 1 }
    );
    assert!(live.arm.view().conditions.unwrap().rewards.contains_key("bonus"));
    live.arm.resume("test").unwrap();
    let finished = live.end().await;
    assert_eq!(noise_by_step(&finished), vec![(3, 0.25); 6]);
}
