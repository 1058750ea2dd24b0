//! Rewards in other languages, and what they may do to a run: real children, real sockets.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use actors::reward::{Cause, RewardSource, Scored, Scorer, sample_batch};
use rewards::RewardRegistry;
use scenarios::RewardSpec;

/// A source of a reward whose options are given as TOML; paths start from `folder`.
fn source(folder: &Path, options: &str) -> RewardSource {
    let spec: RewardSpec = toml::from_str(options).unwrap();
    RewardSource::new("mine", spec.anchored(folder), Arc::new(RewardRegistry::standard()))
}

/// A child in Python that does what `on_score` says with the message `m`; `say` answers, `scores` is the usual answer.
fn child(folder: &Path, on_score: &str, options: &str) -> Scorer {
    let body = on_score.replace('\n', "\n        ");
    let program = format!(
        r#"
import json, os, sys, time
state = {{"batches": 0}}
def say(message):
    sys.stdout.write((message if isinstance(message, str) else json.dumps(message)) + "\n")
    sys.stdout.flush()
def note(name, pid):
    with open(name, "a") as file:
        file.write("%d\n" % pid)
note("pids", os.getpid())
for line in iter(sys.stdin.readline, ""):
    m = json.loads(line)
    if m["type"] == "hello":
        say({{"type": "ready", "protocol": 1}})
    else:
        state["batches"] += 1
        scores = {{"type": "scores", "id": m["id"], "scores": [float(place) for place in range(len(m["items"]))]}}
        {body}
"#
    );
    std::fs::write(folder.join("child.py"), program).unwrap();
    let options = format!("kind = 'process'\ncommand = ['python3', 'child.py']\n{options}");
    source(folder, &options).open().unwrap()
}

async fn score(scorer: &mut Scorer) -> Scored {
    scorer.score(sample_batch()).await
}

fn cause(scored: &Scored) -> Vec<(Cause, u64)> {
    scored.missing.iter().map(|(cause, count)| (*cause, *count)).collect()
}

#[track_caller]
fn assert_said(scored: &Scored, parts: &[&str]) {
    let failure = scored.failure.as_deref().unwrap_or_default();
    assert!(parts.iter().all(|part| failure.contains(part)), "{failure}");
    assert!(!failure.contains('\n'), "one line: {failure}");
}

/// The processes that children noted, oldest first.
fn noted(folder: &Path, name: &str) -> Vec<u32> {
    let text = std::fs::read_to_string(folder.join(name)).unwrap_or_default();
    text.lines().filter_map(|line| line.parse().ok()).collect()
}

/// Waits until a process is no more, not even as a zombie.
async fn gone(pid: u32) {
    let there = format!("/proc/{pid}");
    for _ in 0..2000 {
        if !Path::new(&there).exists() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!(
        "process {pid} is still there: {}",
        std::fs::read_to_string(format!("{there}/stat")).unwrap_or_default()
    );
}

/// Waits for a file.
async fn appears(file: &Path) {
    while !file.exists() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_child_scores_batch_after_batch_and_is_gone_when_closed() {
    let folder = tempfile::tempdir().unwrap();
    let mut scorer = child(folder.path(), "say(scores)", "");
    for _ in 0..3 {
        let scored = score(&mut scorer).await;
        assert_eq!((scored.scores.as_slice(), scored.failure), ([Some(0.0), Some(1.0)].as_slice(), None));
    }
    let pids = noted(folder.path(), "pids");
    assert_eq!(pids.len(), 1, "one child for all batches");
    scorer.close().await;
    assert!(!Path::new(&format!("/proc/{}", pids[0])).exists(), "closing waits for the end");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_never_answers_runs_out_of_time_and_is_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let never = "if len(open('pids').readlines()) > 1: say(scores)";
    let mut scorer = child(folder.path(), never, "timeout_seconds = 2");
    let scored = score(&mut scorer).await;
    assert_eq!(
        (scored.scores.as_slice(), cause(&scored)),
        ([None, None].as_slice(), vec![(Cause::TimedOut, 2)])
    );
    assert_said(&scored, &["`python3 child.py` gave no scores within 2 s"]);
    assert_eq!(score(&mut scorer).await.scores, [Some(0.0), Some(1.0)], "its successor answers");
    let pids = noted(folder.path(), "pids");
    assert_eq!(pids.len(), 2);
    gone(pids[0]).await;
    drop(scorer);
    gone(pids[1]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_late_answer_counts_for_no_other_batch() {
    let folder = tempfile::tempdir().unwrap();
    // The first batch is answered only when the second has come, and with scores of its own.
    let late = "\
if state['batches'] == 1:
    state['late'] = dict(scores, scores=[9.0, 9.0])
    note('got', 1)
else:
    if 'late' in state: say(state.pop('late'))
    say(scores)";
    let mut scorer = child(folder.path(), late, "");
    let got = folder.path().join("got");
    tokio::select! {
        scored = score(&mut scorer) => panic!("{scored:?}"),
        () = appears(&got) => {}
    }
    assert_eq!(score(&mut scorer).await.scores, [Some(0.0), Some(1.0)]);
    assert_eq!(noted(folder.path(), "pids").len(), 1, "a batch given up costs the child nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_that_are_none_cost_the_batch_and_not_the_child() {
    let folder = tempfile::tempdir().unwrap();
    let answers = "\
n = state['batches']
if n == 1: say(dict(scores, scores=[1.0]))
elif n == 2: say(dict(scores, scores=[float('nan'), 1.0]))
elif n == 3: say(dict(scores, scores=[None, 1.0]))
elif n == 4: say('{\"type\": \"scores\", oops')
elif n == 5: say(dict(scores, scores=['high', 1.0]))
elif n == 6: say({'type': 'error', 'id': m['id'], 'message': 'no\\nmodel'})
elif n == 7: say(dict(scores, id=m['id'] + 1))
elif n == 8:
    print('a word to the world', flush=True)
    print('[INFO] another', flush=True)
    say(scores)
else: say(scores)";
    let mut scorer = child(folder.path(), answers, "");
    let scored = score(&mut scorer).await;
    assert_eq!(cause(&scored), [(Cause::WrongLength, 2)]);
    assert_said(&scored, &["gave 1 scores for 2 completions"]);

    let scored = score(&mut scorer).await;
    assert_eq!(
        (scored.scores.as_slice(), cause(&scored)),
        ([None, Some(1.0)].as_slice(), vec![(Cause::NotANumber, 1)])
    );
    assert_said(&scored, &["1 of 2 scores were NaN or infinite"]);

    let scored = score(&mut scorer).await;
    assert_eq!(
        (scored.scores.as_slice(), cause(&scored)),
        ([None, Some(1.0)].as_slice(), vec![(Cause::Null, 1)])
    );
    assert_eq!(scored.failure, None, "a reward may have no score");

    let scored = score(&mut scorer).await;
    assert_eq!(cause(&scored), [(Cause::BadAnswer, 2)]);
    assert_said(&scored, &["said `{\"type\": \"scores\", oops`, which is not JSON", "docs/plugins.md"]);

    let scored = score(&mut scorer).await;
    assert_eq!(cause(&scored), [(Cause::BadAnswer, 2)]);
    assert_said(&scored, &["score 0 is \"high\"; write a number or null"]);

    let scored = score(&mut scorer).await;
    assert_eq!(cause(&scored), [(Cause::Error, 2)]);
    assert_said(&scored, &["no model"]);

    let scored = score(&mut scorer).await;
    assert_eq!(cause(&scored), [(Cause::BadAnswer, 2)]);
    assert_said(&scored, &["when asked for the scores of batch 7"]);

    let scored = score(&mut scorer).await;
    assert_eq!(scored.scores, [Some(0.0), Some(1.0)], "what it prints is no answer");
    assert_eq!(noted(folder.path(), "pids").len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_only_prints_is_told_so() {
    let folder = tempfile::tempdir().unwrap();
    let mut scorer = child(folder.path(), "print('0.5 0.5', flush=True)", "timeout_seconds = 0.5");
    let scored = score(&mut scorer).await;
    assert_eq!(cause(&scored), [(Cause::TimedOut, 2)]);
    assert_said(&scored, &["it wrote `0.5 0.5` to standard output, where only JSON lines belong"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_dies_at_the_start_says_what_it_died_of() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("child.py"), "print('begin')\nimport a_module_that_is_not_there\n")
        .unwrap();
    let source = source(folder.path(), "kind = 'process'\ncommand = ['python3', 'child.py']");
    let mut scorer = source.open().unwrap();
    for _ in 0..2 {
        let scored = score(&mut scorer).await;
        assert_eq!(cause(&scored), [(Cause::Unavailable, 2)]);
        assert_said(
            &scored,
            &["ended with exit status: 1; it last said: ModuleNotFoundError", "before it was ready"],
        );
    }
    let problem = source.open().unwrap().probe(sample_batch()).await.unwrap_err();
    assert!(problem.contains("a_module_that_is_not_there"), "{problem}");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_is_never_ready_or_of_another_version_is_told_so() {
    let folder = tempfile::tempdir().unwrap();
    let open = |line: &str| source(folder.path(), &format!("kind = 'process'\n{line}")).open().unwrap();
    let mut silent = open("command = ['sleep', '100']\nstartup_timeout_seconds = 0.5");
    assert_said(
        &score(&mut silent).await,
        &["`sleep 100` was not ready within 0.5 s", "does it answer `hello`?"],
    );
    let mut newer =
        open(r#"command = ['sh', '-c', 'echo "{\"type\":\"ready\",\"protocol\":2}"; sleep 100']"#);
    assert_said(&score(&mut newer).await, &["speaks version 2 of the protocol, this program version 1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_dies_over_a_batch_is_replaced_and_the_batch_scored_again() {
    let folder = tempfile::tempdir().unwrap();
    let dies = "\
if len(open('pids').readlines()) % 2 == 1 and state['batches'] == 2: os._exit(7)
say(scores)";
    let mut scorer = child(folder.path(), dies, "");
    for _ in 0..2 {
        assert_eq!(score(&mut scorer).await.scores, [Some(0.0), Some(1.0)]);
    }
    let pids = noted(folder.path(), "pids");
    assert_eq!(pids.len(), 2);
    gone(pids[0]).await;

    let mut always = child(folder.path(), "sys.exit('enough')", "");
    let scored = score(&mut always).await;
    assert_eq!(cause(&scored), [(Cause::Died, 2)], "not more than twice");
    assert_said(&scored, &["`python3 child.py` ended with exit status: 1; it last said: enough"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_on_standard_error_holds_nothing_up() {
    let folder = tempfile::tempdir().unwrap();
    // 20 MB, far more than a pipe holds, partly without a line's end.
    let floods = "\
for _ in range(200): sys.stderr.write('x' * 50000 + '\\n' + 'y' * 50000)
say(scores)";
    let mut scorer = child(folder.path(), floods, "");
    assert_eq!(score(&mut scorer).await.scores, [Some(0.0), Some(1.0)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_child_forks_goes_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let forks = "\
import subprocess
for _ in range(3): note('forked', subprocess.Popen(['sleep', '1000'], stdin=subprocess.DEVNULL).pid)
if state['batches'] < 2: say(scores)
else: os._exit(0)";
    let mut scorer = child(folder.path(), forks, "");
    assert_eq!(score(&mut scorer).await.scores, [Some(0.0), Some(1.0)]);
    // The second batch kills it, twice; what it had forked holds its pipes.
    assert_eq!(cause(&score(&mut scorer).await).len(), 0, "the successor's first batch is answered");
    scorer.close().await;
    let (children, forked) = (noted(folder.path(), "pids"), noted(folder.path(), "forked"));
    assert_eq!((children.len(), forked.len()), (2, 9));
    for pid in children.into_iter().chain(forked) {
        gone(pid).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_ignores_the_end_of_its_input_is_killed() {
    let folder = tempfile::tempdir().unwrap();
    let deaf = "\
import signal
signal.signal(signal.SIGTERM, signal.SIG_IGN)
say(scores)
while state['batches']: time.sleep(1)";
    let mut scorer = child(folder.path(), deaf, "");
    assert_eq!(score(&mut scorer).await.scores, [Some(0.0), Some(1.0)]);
    scorer.close().await;
    let pids = noted(folder.path(), "pids");
    assert!(!Path::new(&format!("/proc/{}", pids[0])).exists());
}
