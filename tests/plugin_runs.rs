//! Whole runs with misbehaving plug-ins: a run loses only the scores that the plug-in did not give.

use std::path::Path;

use records::ArmState;
use serde_json::{Value, json};

use crate::runs::{Ran, SCENARIO, counts, registry, run_in};

/// Runs the scenario of `runs.rs` with a plug-in process as its second reward. `on_score` is the Python code that
/// answers a request `m`; it can use `step`, the correct answer `scores`, and `say(message)`.
async fn run(on_score: &str, change: impl Fn(String) -> String) -> Ran {
    let folder = tempfile::tempdir().unwrap();
    let program = format!(
        r#"
import json, os, sys
def say(message):
    print(message if isinstance(message, str) else json.dumps(message), flush=True)
with open("pids", "a") as file: file.write("%d\n" % os.getpid())
for line in iter(sys.stdin.readline, ""):
    m = json.loads(line)
    if m["type"] == "hello":
        say({{"type": "ready", "protocol": 1, "columns": ["completion"]}})
        continue
    step = m["step"]
    scores = {{"type": "scores", "id": m["id"], "scores": [len(item["completion"]) for item in m["items"]]}}
    {}
"#,
        on_score.replace('\n', "\n    ")
    );
    std::fs::write(folder.path().join("child.py"), program).unwrap();
    let plugin = "noise = { kind = \"process\", command = [\"python3\", \"child.py\"], timeout_seconds = 3 }";
    let scenario = SCENARIO.replace("noise = { kind = \"by-length\" }", plugin);
    assert_ne!(scenario, SCENARIO);
    run_in(folder, &change(scenario), registry(), None, false, |_, _| {}).await
}

/// The number of child processes that were started. Asserts that none is left, not even as a zombie.
fn children(folder: &Path) -> usize {
    let pids = std::fs::read_to_string(folder.join("pids")).unwrap();
    for pid in pids.lines() {
        assert!(!Path::new("/proc").join(pid).exists(), "process {pid} is still there");
    }
    pids.lines().count()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_way_of_misbehaving_loses_only_the_scores_of_its_step() {
    let misbehaves = "\
if step == 2 and len(open('pids').readlines()) == 1: os._exit(3)
elif step == 3: continue
elif step == 4: scores['scores'][0] = None
elif step == 5: scores['scores'][1] = float('nan')
elif step == 6: scores = '{oops'
print('a word')
say(scores)";
    let ran = run(misbehaves, |scenario| scenario).await;
    assert_eq!(ran.only_arm(), &ArmState::Done);
    let causes: Vec<Value> =
        ran.lines("metrics.jsonl").iter().map(|line| line["missing_causes"].clone()).collect();
    let of = |cause: &str, count: u64| json!({ "noise": { cause: count } });
    assert_eq!(
        causes,
        [json!({}), json!({}), of("timed_out", 6), of("null", 1), of("not_a_number", 1), of("bad_answer", 6)]
    );
    // Excluded: both groups of the two steps without any score.
    assert_eq!(counts(&ran.status()["groups"]), (12, 8, [("too_few_scored".to_owned(), 4)].into()));
    let said = |part: &str| ran.warnings.iter().any(|warning| warning.contains(part));
    assert!(said("gave no scores within 3 s") && said("sent `{oops`"), "{:?}", ran.warnings);
    assert_eq!(
        children(ran.folder.path()),
        3,
        "one that exited, one that was killed after its timeout, and one that served until the end"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_that_never_scores_ends_the_arm_with_the_reason() {
    let fails = "say({'type': 'error', 'id': m['id'], 'message': 'no model'})";
    let ran = run(fails, |scenario| scenario.replace("steps = 6", "steps = 12")).await;
    let ArmState::Failed { reason } = ran.only_arm() else { panic!("{:?}", ran.only_arm()) };
    assert!(
        reason.starts_with("60 of 60 completions were left without a reward in the last 10 steps")
            && reason.ends_with("`noise` lacks 60 error scores; it last failed with: no model"),
        "{reason}"
    );
    assert_eq!(ran.status()["step"], 10);
    assert_eq!(children(ran.folder.path()), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_arm_continues_if_a_plugin_that_its_formula_does_not_use_fails() {
    let fails = "say({'type': 'error', 'id': m['id'], 'message': 'no model'})";
    let ran = run(fails, |scenario| {
        scenario.replace("steps = 6", "steps = 12").replace("\"format + noise\"", "\"format\"")
    })
    .await;
    assert_eq!(ran.only_arm(), &ArmState::Done);
    assert_eq!(ran.lines("metrics.jsonl")[11]["missing"]["noise"], 6);
    // The failure is reported the first time and the tenth.
    assert_eq!(
        ran.warnings,
        [
            "reward `noise` at step 1: no model",
            "reward `noise` at step 10: no model (time 10; the next warning is at time 100)"
        ]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_does_not_wait_for_a_slow_plugin() {
    let folder = tempfile::tempdir().unwrap();
    let child = "
import os, sys, time
with open('pids', 'a') as file: file.write('%d\\n' % os.getpid())
sys.stdin.readline()
print('{\"type\": \"ready\", \"protocol\": 1}', flush=True)
sys.stdin.readline()
open('asked', 'w').close()
time.sleep(1000)
";
    std::fs::write(folder.path().join("child.py"), child).unwrap();
    let plugin =
        "noise = { kind = \"process\", command = [\"python3\", \"child.py\"], timeout_seconds = 900 }";
    let scenario = SCENARIO.replace("noise = { kind = \"by-length\" }", plugin);
    let asked = folder.path().join("asked");
    let ran = run_in(folder, &scenario, registry(), None, false, move |_, stop| {
        let (asked, stop) = (asked.clone(), stop.clone());
        tokio::spawn(async move {
            while !asked.exists() {
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            }
            stop.send_replace(true);
        });
    })
    .await;
    assert_eq!(ran.only_arm(), &ArmState::Stopped);
    assert_eq!(children(ran.folder.path()), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trl_function_sees_the_sampled_tokens_and_what_it_logs_is_recorded() {
    let folder = tempfile::tempdir().unwrap();
    let code = "\
def reward(completions, completion_ids, solution, answer, log_metric, log_extra, **columns):
    assert answer == solution == columns['answer_gold']
    log_metric('length', sum(map(len, completion_ids)) / len(completion_ids))
    log_extra('first', [ids[0] for ids in completion_ids])
    return [float(len(completion[0]['content'].encode())) for completion in completions]
";
    std::fs::write(folder.path().join("words.py"), code).unwrap();
    let plugin = "noise = { kind = \"python\", file = \"words.py\", processes = 2 }";
    let scenario = SCENARIO.replace("noise = { kind = \"by-length\" }", plugin);
    let ran = run_in(folder, &scenario, registry(), None, false, |_, _| {}).await;
    assert_eq!(ran.only_arm(), &ArmState::Done, "{:?}", ran.warnings);
    let steps = ran.lines("metrics.jsonl");
    assert_eq!(steps.len(), 6);
    for step in &steps {
        let [length, mean] = [&step["reward_metrics"]["noise"]["length"], &step["completion_tokens_mean"]];
        assert!((length.as_f64().unwrap() - mean.as_f64().unwrap()).abs() < 1e-9, "{step}");
    }
    for row in ran.lines("rollouts.jsonl") {
        let first = &row["extras"]["noise"]["first"];
        assert_eq!(first.is_u64(), row["phase"] == "train", "{row}");
    }
    // The same reward in Rust gives the same scores, and rows without what only this one logs.
    let in_rust = run_in(tempfile::tempdir().unwrap(), SCENARIO, registry(), None, false, |_, _| {}).await;
    for (row, step) in in_rust.lines("metrics.jsonl").iter().zip(&steps) {
        assert_eq!(row["components"], step["components"]);
        assert!(row.get("reward_metrics").is_none(), "{row}");
    }
    assert!(in_rust.lines("rollouts.jsonl").iter().all(|row| row.get("extras").is_none()));
}
