//! Alarms of whole runs: that a fork and a change of an alarm are repeated by a replay and a resume, and that its webhook is
//! sent beside the training.

use records::Action;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::*;

const ALARMS: &str = r#"
[[alarm]]
name = "turn"
when = "step >= 4 and {weights.noise} > 0"
then = ["fork", "weights.noise*=-1"]
as = "kept"

[[alarm]]
name = "slow"
when = "step >= 7"
then = "grpo.lr*=0.5"
arms = ["a"]
"#;

fn scenario(alarms: &str) -> String {
    format!("{alarms}\n{}", SCENARIO.replace("steps = 6", "steps = 12"))
}

async fn whole(alarms: &str) -> FinishedRun {
    let finished = Live::start(&scenario(alarms), registry()).await.end().await;
    assert_eq!(finished.status, ArmState::Done);
    finished
}

/// The rows of an arm without what the clock and the numbers of versions say.
fn rows(finished: &FinishedRun, arm: &str, file: &str) -> Vec<Value> {
    let mut rows = timeless(&finished.folder.path().join("run").join(arm).join("seed-3").join(file));
    rows.iter_mut().for_each(|row| drop(row.as_object_mut().unwrap().remove("weights_version")));
    rows
}

fn alarms(finished: &FinishedRun) -> Vec<(String, String, u64, String)> {
    let journal =
        finished.journal().into_iter().filter(|entry| entry.alarm.is_some() || entry.action == Action::Fork);
    let told = |entry: JournalEntry| {
        let action = serde_json::json!(entry.action).as_str().unwrap().to_owned();
        (entry.id.arm, entry.by, entry.step, action)
    };
    let mut told: Vec<_> = journal.map(told).collect();
    // The fork writes beside its parent.
    told.sort();
    told
}

/// FORK-3, FORK-4, ALARM-4, ALARM-5.
#[tokio::test(flavor = "multi_thread")]
async fn a_fork_and_a_change_of_an_alarm_are_repeated_by_a_replay_and_a_resume() {
    let (finished, plain) = (whole(ALARMS).await, whole("").await);
    let entry = |arm: &str, by: &str, step: u64, action: &str| {
        (arm.to_owned(), by.to_owned(), step, action.to_owned())
    };
    assert_eq!(
        alarms(&finished),
        [
            entry("a", "alarm slow", 7, "alarm"),
            entry("a", "alarm slow", 8, "change"),
            entry("a", "alarm turn", 4, "alarm"),
            entry("a", "alarm turn", 5, "change"),
            // A fork that an alarm makes is watched too, by what has not gone off yet.
            entry("kept", "alarm slow", 7, "alarm"),
            entry("kept", "alarm slow", 8, "change"),
            entry("kept", "alarm turn", 4, "fork"),
        ]
    );
    let weights =
        |rows: &[Value]| rows.iter().map(|row| row["weights"]["noise"].as_f64().unwrap()).collect::<Vec<_>>();
    let (a, kept) = (rows(&finished, "a", "metrics.jsonl"), rows(&finished, "kept", "metrics.jsonl"));
    assert_eq!(weights(&a), [[1.0; 4].as_slice(), [-1.0; 8].as_slice()].concat());
    assert_eq!(a[..4], rows(&plain, "a", "metrics.jsonl")[..4]);
    assert_eq!(kept[..7], rows(&plain, "a", "metrics.jsonl")[..7], "it is the arm as it was");
    assert_eq!((a[7]["lr"].as_f64().unwrap() * 2.0, kept.len()), (a[6]["lr"].as_f64().unwrap(), 12));

    let (again, compared) = replays::replay(&finished).await;
    let told: Vec<String> = compared.iter().map(ToString::to_string).collect();
    assert_eq!(
        told,
        [
            "a (seed 3): the same in all 12 steps; changes made again: 2",
            "kept (seed 3): the same in all 12 steps; changes made again: 1",
        ]
    );
    for arm in ["a", "kept"] {
        assert_eq!(rows(&again, arm, "rollouts.jsonl"), rows(&finished, arm, "rollouts.jsonl"));
    }
    let of_replay = again.journal().into_iter().filter(|entry| entry.action == Action::Alarm);
    assert_eq!(of_replay.map(|entry| entry.by).collect::<Vec<_>>(), ["replay"; 3]);

    for stop_at in [2, 5, 8] {
        let mut live = Live::start(&scenario(ALARMS), registry()).await;
        live.wait_for(|event| match event {
            RunEvent::StepDone { id, step, .. } if id.arm == "a" && *step == stop_at => Some(()),
            _ => None,
        })
        .await;
        live.stop();
        let stopped = live.end().await;
        let dir = stopped.folder.path().join("run/scenario.toml");
        let resumed = Live::start_in(stopped.folder, SCENARIO, registry(), |args| {
            args.experiment = scenarios::load(&dir, &[], &[], None).unwrap();
            args.resume = true;
        });
        let resumed = resumed.await.end().await;
        assert_eq!(alarms(&resumed), alarms(&finished), "stopped at step {stop_at}");
        for (arm, file) in [("a", "metrics.jsonl"), ("a", "rollouts.jsonl"), ("kept", "metrics.jsonl")] {
            assert_eq!(
                rows(&resumed, arm, file),
                rows(&finished, arm, file),
                "{arm}, stopped at step {stop_at}"
            );
        }
    }
}

/// ALARM-3: an alarm whose numbers are logged anyway changes no record before it goes off.
#[tokio::test(flavor = "multi_thread")]
async fn an_alarm_that_does_not_go_off_changes_no_record() {
    let quiet = "[[alarm]]\nname = \"quiet\"\nwhen = \"mean(kl, 3) > 1e9 and first(reward, 2) > 1e9\"\nthen = \"pause\"\n";
    let (with, without) = (whole(quiet).await, whole("").await);
    for file in ["metrics.jsonl", "rollouts.jsonl"] {
        assert_eq!(rows(&with, "a", file), rows(&without, "a", file), "{file}");
    }
    assert_eq!(with.journal().len(), 0);
    let more = "[[alarm]]\nname = \"more\"\nwhen = \"repetition_rate > 2 and foreign_script_rate > 2\"\n";
    let with = whole(more).await;
    let mut found = rows(&with, "a", "metrics.jsonl");
    for row in found.iter_mut().filter_map(Value::as_object_mut) {
        assert!(row.remove("repetition_rate").is_some_and(|rate| rate == 0.0), "two tokens repeat nothing");
        row.remove("foreign_script_rate");
    }
    assert_eq!(found, rows(&without, "a", "metrics.jsonl"), "the two columns are all that is added");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alarm_pauses_the_arm_and_shows_its_evidence() {
    let alarm =
        "[[alarm]]\nname = \"hold\"\nwhen = \"step > 2 for 2 steps\"\nthen = \"pause\"\nmessage = \"look\"\n";
    let mut live = Live::start(&scenario(alarm), registry()).await;
    assert_eq!(live.paused().await, 4);
    let view = live.arm.view();
    assert_eq!(view.state.reason(), Some("the alarm \"hold\" went off: step = 4"));
    let alarms = live.arm.alarms();
    assert_eq!((alarms[0].streak, alarms[0].steps, alarms[0].spent), (2, 2, true));
    assert_eq!((alarms[0].firings[0].step, alarms[0].firings[0].values["step"]), (4, 4.0));
    live.arm.resume("test").unwrap();
    assert_eq!(live.end().await.status, ArmState::Done, "it goes off once");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_gets_the_evidence_and_one_that_never_answers_holds_up_no_step() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/hook", listener.local_addr().unwrap());
    let received = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let (mut text, mut part) = (String::new(), [0; 4096]);
        while !text.contains("\"alarm\"") || !text.ends_with('}') {
            let read = stream.read(&mut part).await.unwrap();
            assert!(read > 0, "{text}");
            text.push_str(std::str::from_utf8(&part[..read]).unwrap());
        }
        stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await.unwrap();
        text
    });
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let alarm = |name: &str, url: &str| {
        format!("[[alarm]]\nname = \"{name}\"\nwhen = \"step >= 3\"\nthen = \"webhook\"\nurl = \"{url}\"\n")
    };
    let never = format!("http://{}/hook", silent.local_addr().unwrap());
    let alarms = alarm("told", &url) + &alarm("never", &never);
    let mut live = Live::start(&scenario(&alarms), registry()).await;
    // The last step comes before the warning, which comes after 10 s.
    live.wait_for(|event| matches!(event, RunEvent::StepDone { step: 12, .. }).then_some(())).await;
    let warned = live.wait_for(|event| match event {
        RunEvent::Warning { message, .. } if message.contains("webhook") => Some(message.clone()),
        _ => None,
    });
    assert_eq!(
        warned.await,
        "the webhook of the alarm \"never\" was not delivered: it did not answer within 10 s"
    );
    let text = received.await.unwrap();
    assert!(text.starts_with("POST /hook "), "{text}");
    let body: Value = serde_json::from_str(text.split("\r\n\r\n").nth(1).unwrap()).unwrap();
    assert_eq!(
        (&body["arm"], &body["alarm"]["name"], &body["alarm"]["values"]["step"]),
        (&"a".into(), &"told".into(), &3.0.into())
    );
    assert_eq!(live.end().await.status, ArmState::Done);
}
