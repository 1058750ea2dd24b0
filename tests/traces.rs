//! Traces of the built `sandbox`, read by a collector within the test. A test of the package `sandbox` (see bin/Cargo.toml), for
//! which cargo builds that binary.

#![expect(clippy::unwrap_used, reason = "a failing test should panic")]

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Output};
use std::sync::{Arc, Mutex};

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;

const SCENARIO: &str = r#"
[run]
name = "traced"
seeds = [3]
steps = 3
device = "cpu"
threads = 1

[policy]
from_scratch = true

[data.soundscapes]
train_clips = 8
heldout_clips = 6

[sampling]
group_size = 2
prompts_per_step = 2
max_new_tokens = 4

[rewards]
format = { kind = "format" }
remote = { kind = "http", url = "REWARD/score" }

[shaping]
formula = "format + remote"

[eval]
every = 0

# Random weights never vary in their rewards.
[limits]
action = "ignore"

[[arm]]
name = "a"
"#;

/// What a server got: the head and the body of a request.
type Request = (Vec<String>, Vec<u8>);

/// A server that answers every request with `answer` of it, and keeps the requests.
fn serve(answer: impl Fn(&[u8]) -> Vec<u8> + Send + Sync + 'static) -> (String, Arc<Mutex<Vec<Request>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (requests, answer) = (Arc::new(Mutex::new(Vec::new())), Arc::new(answer));
    let kept = requests.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let (kept, answer) = (kept.clone(), answer.clone());
            // A client that goes away ends its connection only.
            std::thread::spawn(move || while serve_one(&stream, &kept, &*answer).is_some() {});
        }
    });
    (url, requests)
}

fn serve_one(
    mut stream: &TcpStream,
    kept: &Mutex<Vec<Request>>,
    answer: &dyn Fn(&[u8]) -> Vec<u8>,
) -> Option<()> {
    let mut reader = BufReader::new(stream);
    let head: Vec<String> =
        reader.by_ref().lines().map_while(Result::ok).take_while(|line| !line.is_empty()).collect();
    let length =
        head.iter().find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
    let mut body = vec![0; if head.is_empty() { return None } else { length.unwrap_or(0) }];
    reader.read_exact(&mut body).ok()?;
    let content = answer(&body);
    kept.lock().unwrap().push((head, body));
    let head = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
        content.len()
    );
    stream.write_all(&[head.as_bytes(), &content].concat()).ok()
}

/// Scores every completion with 0.5.
fn scores(body: &[u8]) -> Vec<u8> {
    let batch: serde_json::Value = serde_json::from_slice(body).unwrap();
    let scores = vec![0.5; batch["items"].as_array().unwrap().len()];
    serde_json::to_vec(&serde_json::json!({ "type": "scores", "id": batch["id"], "scores": scores })).unwrap()
}

fn run(folder: &tempfile::TempDir, reward: &str, more: &[&str]) -> Output {
    fs::write(folder.path().join("traced.toml"), SCENARIO.replace("REWARD", reward)).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_sandbox"));
    command
        .current_dir(folder.path())
        .env_remove("RUST_LOG")
        .args(["traced.toml", "--no-control"])
        .args(more);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output
}

fn attribute(attributes: &[KeyValue], name: &str) -> Option<String> {
    let found = attributes.iter().find(|attribute| attribute.key == name)?;
    match found.value.as_ref()?.value.as_ref()? {
        Any::StringValue(text) => Some(text.clone()),
        Any::IntValue(number) => Some(number.to_string()),
        other => panic!("{name}: {other:?}"),
    }
}

/// The names from a span up to the root of its trace.
fn path(spans: &BTreeMap<Vec<u8>, Span>, span: &Span) -> String {
    match spans.get(&span.parent_span_id) {
        None if span.parent_span_id.is_empty() => span.name.clone(),
        None => panic!("the parent of {} is missing", span.name),
        Some(parent) => {
            assert_eq!(parent.trace_id, span.trace_id, "{}", span.name);
            assert!(parent.start_time_unix_nano <= span.start_time_unix_nano, "{}", span.name);
            format!("{}/{}", path(spans, parent), span.name)
        }
    }
}

#[test]
fn a_step_is_a_tree_of_spans_and_servers_are_told_of_theirs() {
    let (collector, exports) = serve(|_| Vec::new());
    let (reward, scored) = serve(scores);
    let folder = tempfile::tempdir().unwrap();
    run(&folder, &reward, &["-q", "--traces", &collector]);

    let mut spans = BTreeMap::new();
    for (head, body) in exports.lock().unwrap().iter() {
        assert!(head[0].starts_with("POST /v1/traces "), "{}", head[0]);
        for of_resource in ExportTraceServiceRequest::decode(body.as_slice()).unwrap().resource_spans {
            let resource = of_resource.resource.unwrap().attributes;
            assert_eq!(attribute(&resource, "service.name").as_deref(), Some("audio-thinker-sandbox"));
            assert!(attribute(&resource, "service.instance.id").unwrap().starts_with("traced-"));
            for span in of_resource.scope_spans.into_iter().flat_map(|scope| scope.spans) {
                spans.insert(span.span_id.clone(), span);
            }
        }
    }
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for span in spans.values() {
        *counts.entry(path(&spans, span)).or_default() += 1;
    }
    for expected in [
        "step",
        "step/sample",
        "step/sample/load/loader/work",
        "step/sample/generate/sampler/work",
        "step/sample/judge",
        "step/sample/score/reward/format/work",
        "step/sample/score/reward/remote/work/POST reward server",
        "step/shape/shaper/work",
        "step/wait for turn",
        "step/train/optimizer/work",
        "step/record/recorder/work",
    ] {
        assert_eq!(counts.get(expected), Some(&3), "{expected}: {counts:#?}");
    }

    let mut steps: Vec<_> = spans
        .values()
        .filter(|span| span.name == "step")
        .map(|span| {
            ["arm", "seed", "step", "policy_version"].map(|name| attribute(&span.attributes, name).unwrap())
        })
        .collect();
    steps.sort();
    assert_eq!(steps, [["a", "3", "1", "0"], ["a", "3", "2", "1"], ["a", "3", "3", "2"]]);

    // Each request to the server names the span that it belongs to; the trial before the run belongs to none.
    let requests = scored.lock().unwrap();
    let told = requests
        .iter()
        .filter_map(|(head, _)| head.iter().find_map(|line| line.strip_prefix("traceparent: ")));
    let mut told: Vec<String> = told.map(str::to_owned).collect();
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let sent = spans.values().filter(|span| span.name == "POST reward server");
    let mut sent: Vec<String> =
        sent.map(|span| format!("00-{}-{}-01", hex(&span.trace_id), hex(&span.span_id))).collect();
    told.sort();
    sent.sort();
    assert_eq!((told.len(), &told), (3, &sent));
}

/// TRACE-1, TRACE-2.
#[test]
fn a_collector_that_is_gone_costs_one_warning_and_without_one_nothing_is_sent() {
    let (reward, scored) = serve(scores);
    let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let output = run(&folder, &reward, &["--traces", &format!("http://{gone}")]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(said.matches("traces can't be sent").count(), 1, "{said}");

    scored.lock().unwrap().clear();
    let folder = tempfile::tempdir().unwrap();
    run(&folder, &reward, &["-q"]);
    let requests = scored.lock().unwrap();
    assert!(requests.len() >= 3);
    assert!(requests.iter().all(|(head, _)| !head.iter().any(|line| line.starts_with("traceparent"))));
    let log =
        fs::read_dir(folder.path().join("runs")).unwrap().next().unwrap().unwrap().path().join("run.log");
    assert!(!fs::read_to_string(log).unwrap().contains("step{"), "the log has spans");
}
