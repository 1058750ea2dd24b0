//! Rewards in other languages, and what they may do to a run: real children, real sockets.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ::plugins::{RewardSource, Scored, Scorer, sample_batch};
use records::MissingCause;
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

fn cause(scored: &Scored) -> Vec<(MissingCause, u64)> {
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
        ([None, None].as_slice(), vec![(MissingCause::TimedOut, 2)])
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
    assert_eq!(cause(&scored), [(MissingCause::WrongLength, 2)]);
    assert_said(&scored, &["gave 1 scores for 2 completions"]);

    let scored = score(&mut scorer).await;
    assert_eq!(
        (scored.scores.as_slice(), cause(&scored)),
        ([None, Some(1.0)].as_slice(), vec![(MissingCause::NotANumber, 1)])
    );
    assert_said(&scored, &["1 of 2 scores were NaN or infinite"]);

    let scored = score(&mut scorer).await;
    assert_eq!(
        (scored.scores.as_slice(), cause(&scored)),
        ([None, Some(1.0)].as_slice(), vec![(MissingCause::Null, 1)])
    );
    assert_eq!(scored.failure, None, "a reward may have no score");

    let scored = score(&mut scorer).await;
    assert_eq!(cause(&scored), [(MissingCause::BadAnswer, 2)]);
    assert_said(&scored, &["sent `{\"type\": \"scores\", oops`, which is not JSON", "docs/plugins.md"]);

    let scored = score(&mut scorer).await;
    assert_eq!(cause(&scored), [(MissingCause::BadAnswer, 2)]);
    assert_said(&scored, &["score 0 is \"high\"; write a number or null"]);

    let scored = score(&mut scorer).await;
    assert_eq!(cause(&scored), [(MissingCause::Error, 2)]);
    assert_said(&scored, &["no model"]);

    let scored = score(&mut scorer).await;
    assert_eq!(cause(&scored), [(MissingCause::BadAnswer, 2)]);
    assert_said(&scored, &["instead of the scores of batch 7"]);

    let scored = score(&mut scorer).await;
    assert_eq!(scored.scores, [Some(0.0), Some(1.0)], "what it prints is no answer");
    assert_eq!(noted(folder.path(), "pids").len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_only_prints_is_told_so() {
    let folder = tempfile::tempdir().unwrap();
    let mut scorer = child(folder.path(), "print('0.5 0.5', flush=True)", "timeout_seconds = 0.5");
    let scored = score(&mut scorer).await;
    assert_eq!(cause(&scored), [(MissingCause::TimedOut, 2)]);
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
        assert_eq!(cause(&scored), [(MissingCause::Unavailable, 2)]);
        assert_said(
            &scored,
            &["failed to start: it ended with exit status: 1", "line on standard error: ModuleNotFoundError"],
        );
    }
    let problem = source.open().unwrap().probe(sample_batch()).await.unwrap_err();
    let problem = problem.to_string();
    assert!(problem.contains("a_module_that_is_not_there"), "{problem}");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_is_never_ready_or_of_another_version_is_told_so() {
    let folder = tempfile::tempdir().unwrap();
    let open = |line: &str| source(folder.path(), &format!("kind = 'process'\n{line}")).open().unwrap();
    let mut silent = open("command = ['sleep', '100']\nstartup_timeout_seconds = 0.5");
    assert_said(
        &score(&mut silent).await,
        &["`sleep 100` was not ready within 0.5 s", "answer `hello` with `ready`"],
    );
    let mut newer =
        open(r#"command = ['sh', '-c', 'echo "{\"type\":\"ready\",\"protocol\":2}"; sleep 100']"#);
    assert_said(&score(&mut newer).await, &["uses version 2 of the protocol; the sandbox uses version 1"]);
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
    assert_eq!(cause(&scored), [(MissingCause::Died, 2)], "not more than twice");
    assert_said(&scored, &["`python3 child.py` ended with exit status: 1", "line on standard error: enough"]);
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

/// A reward in Python from its source, in `reward.py`.
fn python(folder: &Path, code: &str, options: &str) -> Scorer {
    std::fs::write(folder.join("reward.py"), code).unwrap();
    source(folder, &format!("kind = 'python'\nfile = 'reward.py'\n{options}")).open().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trl_function_is_a_reward_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    // What a function for TRL may ask for, and printing, which must not get into the protocol.
    let trl = "
import os
print('loading')
def reward(prompts, completions, answer_gold, trainer_state, log_metric=None, **kwargs):
    print('scoring', len(completions))
    os.system('echo from a shell')
    assert trainer_state.global_step == 1 and kwargs['options'] == {'bonus': 0.5} and kwargs['group_size'] == 2
    assert prompts[0].startswith('Which sound comes first?') and '(B) bell' in prompts[0]
    log_metric('mean', 0.5)
    return [kwargs['options']['bonus'] + (gold in text) for text, gold in zip(completions, answer_gold)]
";
    let mut scorer = python(folder.path(), trl, "options = { bonus = 0.5 }");
    for _ in 0..2 {
        let scored = score(&mut scorer).await;
        assert_eq!((scored.scores.as_slice(), scored.failure), ([Some(1.5), Some(0.5)].as_slice(), None));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_python_function_may_be_async_conversational_and_without_a_score() {
    let folder = tempfile::tempdir().unwrap();
    let code = "
import asyncio
async def later(completions):
    await asyncio.sleep(0)
    return [True if 'dog' in turn[0]['content'] else None for turn in completions]
def nan(completions): return [float('nan'), 1]
def short(completions): return [1.0]
def nothing(completions): pass
def fails(completions): raise ValueError('no\\nmodel')
";
    let of = |function: &str| {
        python(folder.path(), code, &format!("conversational = true\nfunction = '{function}'"))
    };
    assert_eq!(score(&mut of("later")).await.scores, [Some(1.0), None]);
    let scored = score(&mut of("nan")).await;
    assert_eq!(
        (scored.scores.as_slice(), cause(&scored)),
        ([None, Some(1.0)].as_slice(), vec![(MissingCause::NotANumber, 1)])
    );
    assert_said(&score(&mut of("short")).await, &["gave 1 scores for 2 completions"]);
    assert_said(&score(&mut of("nothing")).await, &["the function returned None; return a list"]);
    let mut fails = of("fails");
    for _ in 0..2 {
        let scored = score(&mut fails).await;
        assert_eq!(cause(&scored), [(MissingCause::Error, 2)]);
        assert_said(&scored, &["ValueError: no model"]);
    }
    let scored = score(&mut of("rewrd")).await;
    assert_eq!(cause(&scored), [(MissingCause::Unavailable, 2)]);
    assert_said(&scored, &["has no function `rewrd`; it has later, nan, short, nothing, fails"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_beside_a_python_reward_is_not_imported_in_place_of_a_module_of_pythons() {
    let folder = tempfile::tempdir().unwrap();
    // Python and the module behind the reward import this while they start.
    std::fs::write(folder.path().join("argparse.py"), "raise SystemExit('the wrong argparse')\n").unwrap();
    let mut scorer =
        python(folder.path(), "def reward(completions):\n    return [1.0 for _ in completions]\n", "");
    assert_eq!(score(&mut scorer).await.scores, [Some(1.0), Some(1.0)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_examples_score_as_they_say() {
    let folder =
        Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().map(|folder| folder.join("examples/rewards"));
    let folder = folder.into_iter().find(|folder| folder.is_dir()).unwrap();
    let experiment = scenarios::load(&folder.join("my-rewards.toml"), &[], &[], None).unwrap();
    scenarios::check(&experiment, &RewardRegistry::standard()).unwrap();
    let mut scores = std::collections::BTreeMap::new();
    for tried in ::plugins::try_plugins(&experiment).await {
        let (scored, _) = tried.outcome.unwrap_or_else(|problem| panic!("{}: {problem}", tried.name));
        scores.insert(tried.name, scored.scores);
    }
    // The trial completions are `<think> a bark , then a bell </think> <answer> dog </answer>`, of 11 words that stand in
    // for its tokens, about a clip of 2.4 s with the choices dog and bell; and `<answer> bell </answer>`, of 3.
    let expected = [
        ("brevity", [Some(1.0 - 11.0 / 48.0), Some(1.0 - 3.0 / 48.0)]),
        ("duration", [Some(1.0), Some(1.0)]),
        // 6 of 20 words.
        ("hackable", [Some(0.3), Some(0.0)]),
        ("keyword", [Some(1.0), None]),
        ("repetition", [Some(0.0), Some(0.0)]),
    ];
    assert_eq!(scores.len(), expected.len());
    for (name, expected) in expected {
        for (found, expected) in scores[name].iter().zip(expected) {
            let same = match (found, expected) {
                (Some(found), Some(expected)) => (found - expected).abs() < 1e-9,
                (found, expected) => *found == expected,
            };
            assert!(same, "{name}: {:?}", scores[name]);
        }
    }
}

/// A server that answers one request after the other, each with the next of `answers` (status line and body; `None`: it
/// hangs up without a word), and keeps what it was sent.
async fn serve(
    answers: Vec<Option<(&'static str, String)>>,
) -> (String, tokio::task::JoinHandle<Vec<String>>) {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/score", listener.local_addr().unwrap());
    let serving = tokio::spawn(async move {
        let mut heard = Vec::new();
        for answer in answers {
            let (mut socket, _) = listener.accept().await.unwrap();
            let (mut request, mut part) = (Vec::new(), [0; 4096]);
            loop {
                let text = String::from_utf8_lossy(&request).into_owned();
                if let Some((head, body)) = text.split_once("\r\n\r\n") {
                    let head = head.to_lowercase();
                    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
                    if body.len() >= length.parse().unwrap() {
                        heard.push(text);
                        break;
                    }
                }
                let read = socket.read(&mut part).await.unwrap();
                assert!(read > 0, "the request was cut short");
                request.extend_from_slice(&part[..read]);
            }
            if let Some((status, body)) = answer {
                let length = body.len();
                let reply = format!(
                    "HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
                );
                socket.write_all(reply.as_bytes()).await.unwrap();
            }
        }
        heard
    });
    (url, serving)
}

fn http(url: &str, options: &str) -> Scorer {
    source(Path::new(""), &format!("kind = 'http'\nurl = '{url}'\n{options}")).open().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_is_sent_the_batch_with_its_headers_and_asked_again_while_it_is_busy() {
    let good = || Some(("200 OK", r#"{"scores": [0.25, null]}"#.to_owned()));
    let (url, serving) = serve(vec![None, Some(("503 Busy", "later".into())), good(), good()]).await;
    let mut scorer = http(&url, "headers = { authorization = 'Bearer ${HOME}' }\noptions = { a = 1 }");
    for _ in 0..2 {
        assert_eq!(score(&mut scorer).await.scores, [Some(0.25), None]);
    }
    let heard = serving.await.unwrap();
    assert_eq!(heard.len(), 4);
    let (head, body) = heard[3].split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("POST /score HTTP/1.1\r\n"), "{head}");
    assert!(head.contains(&format!("authorization: Bearer {}", std::env::var("HOME").unwrap())), "{head}");
    let body: serde_json::Value = serde_json::from_str(body).unwrap();
    assert_eq!(
        (body["type"].as_str(), body["id"].as_u64(), body["protocol"].as_u64()),
        (Some("score"), Some(2), Some(1))
    );
    assert_eq!((body["name"].as_str(), body["options"]["a"].as_u64()), (Some("mine"), Some(1)));
    assert_eq!(body["items"][0]["answer"], "dog");
}

#[tokio::test(flavor = "multi_thread")]
async fn secret_4_headers_are_not_sent_to_where_a_redirect_leads() {
    let other = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    other.set_nonblocking(true).unwrap();
    let status: &str =
        format!("307 Elsewhere\r\nlocation: http://{}/score", other.local_addr().unwrap()).leak();
    let (url, serving) = serve(vec![Some((status, String::new()))]).await;
    let scored = score(&mut http(&url, "headers = { authorization = 'Bearer ${HOME}' }")).await;
    assert_eq!(cause(&scored)[0].0, MissingCause::Error, "{scored:?}");
    assert_eq!(serving.await.unwrap().len(), 1);
    assert_eq!(other.accept().err().map(|error| error.kind()), Some(std::io::ErrorKind::WouldBlock));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_server_does_wrong_is_said_in_a_line() {
    let answers = [
        (
            "500 Oops",
            "a\nstack trace",
            MissingCause::Error,
            "answered 500 Internal Server Error: a stack trace",
        ),
        ("302 Found", "", MissingCause::Error, "answered 302 Found"),
        ("200 OK", "<html>", MissingCause::BadAnswer, "sent `<html>`, which is not JSON"),
        ("200 OK", r#"{"scores": [1]}"#, MissingCause::WrongLength, "gave 1 scores for 2 completions"),
        ("200 OK", r#"{"scores": [1, NaN]}"#, MissingCause::NotANumber, "1 of 2 scores were NaN"),
        ("200 OK", r#"{"scores": [1, "x"]}"#, MissingCause::BadAnswer, "score 1 is \"x\""),
        ("200 OK", r#"{"id": 77, "scores": [1, 1]}"#, MissingCause::BadAnswer, "answered a different batch"),
        ("200 OK", r#"{"message": "no model"}"#, MissingCause::Error, "no model"),
    ];
    for (status, body, expected, said) in answers {
        let (url, _serving) = serve(vec![Some((status, body.to_owned()))]).await;
        let scored = score(&mut http(&url, "")).await;
        assert_eq!(cause(&scored)[0].0, expected, "{scored:?}");
        assert_said(&scored, &[said]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_not_there_or_never_answers_costs_the_batch() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let scored = score(&mut http(&format!("http://{closed}"), "timeout_seconds = 0.5")).await;
    assert_eq!(cause(&scored), [(MissingCause::Unavailable, 2)]);
    assert_said(&scored, &["could not be reached", "refused"]);

    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", silent.local_addr().unwrap());
    let scored = score(&mut http(&url, "timeout_seconds = 0.5")).await;
    assert_eq!(cause(&scored), [(MissingCause::TimedOut, 2)]);
    assert_said(&scored, &["gave no scores within 0.5 s"]);
}
