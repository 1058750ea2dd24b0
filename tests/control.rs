//! The control channel of real runs of a tiny random policy: what it shows and changes, and what it refuses while
//! the training continues undisturbed.

mod attacks;
mod formula_edits;
mod prometheus;
mod stale;
mod workbench;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ::control::{Bound, ControlFile, Serving};
use ::run::{RunArgs, RunOutcome, Running};
use records::{OwnedRunDir, RunDir};
use reqwest::{Method, RequestBuilder, StatusCode};
use rewards::RewardRegistry;
use runtime::RunEvent;
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use tokio::sync::{mpsc, watch};

/// A GRPO arm of a random policy: two groups of 2 completions a step.
const SCENARIO: &str = r#"
[run]
name = "controlled"
seeds = [3]
steps = 400
device = "cpu"
threads = 1

[policy]
from_scratch = true

[data.soundscapes]
train_clips = 6
heldout_clips = 3

[sampling]
group_size = 2
prompts_per_step = 2
max_new_tokens = 4

[rewards]
format = { kind = "format" }
accuracy = { kind = "accuracy" }

[shaping]
formula = "accuracy + w_format * format + w_bonus"
weights = { format = 0.5, bonus = 0.25 }

[eval]
every = 0
limit = 2

# Random weights never vary in their rewards.
[limits]
action = "ignore"

[[arm]]
name = "a"
"#;

/// A running run, its control channel and a client.
struct Live {
    folder: tempfile::TempDir,
    running: Running,
    serving: Serving,
    stop: watch::Sender<bool>,
    events: mpsc::UnboundedReceiver<RunEvent>,
    file: ControlFile,
    client: reqwest::Client,
}

impl Live {
    async fn start(scenario: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("test.toml");
        std::fs::write(&path, scenario).unwrap();
        let experiment = scenarios::load(&path, &[], &[], None).unwrap();
        let run_dir = RunDir::new(folder.path().join("run"));
        std::fs::create_dir_all(run_dir.path()).unwrap();
        let bound = Bound::bind(&experiment.control).unwrap().unwrap();
        let (events, heard) = mpsc::unbounded_channel();
        let (stop, stopping) = watch::channel(false);
        let args = RunArgs {
            experiment,
            run_dir: OwnedRunDir::claim(run_dir.clone()).unwrap(),
            registry: Arc::new(RewardRegistry::standard()),
            resume: false,
            audio_source: None,
            controlled: true,
            replay: None,
            ranks: None,
        };
        let running = ::run::start(args, events, stopping).await.unwrap();
        let serving = ::control::serve(running.handle.clone(), bound).await.unwrap();
        let file = ControlFile::read(&run_dir).unwrap();
        // The connection is not encrypted, but the client does not start without a provider.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        Live { folder, running, serving, stop, events: heard, file, client }
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("{}{path}", self.file.address)).bearer_auth(self.token())
    }

    async fn get(&self, path: &str) -> Value {
        let response = self.request(Method::GET, path).send().await.unwrap();
        assert_eq!(response.status(), StatusCode::OK, "{path}");
        response.json().await.unwrap()
    }

    async fn send(&self, method: Method, path: &str, body: &Value) -> (StatusCode, Value) {
        let response = self.request(method, path).json(body).send().await.unwrap();
        (response.status(), response.json().await.unwrap())
    }

    async fn post(&self, path: &str, body: Value) -> Value {
        let (status, answer) = self.send(Method::POST, path, &body).await;
        assert_eq!(status, StatusCode::OK, "{path}: {answer}");
        answer
    }

    /// Waits until a step is done.
    async fn step_taken(&mut self, wanted: u64) {
        while let Some(event) = self.events.recv().await {
            if matches!(event, RunEvent::StepDone { step, .. } if step >= wanted) {
                return;
            }
        }
        panic!("the run ended before step {wanted}");
    }

    fn token(&self) -> &str {
        self.file.token.expose_secret()
    }

    fn port(&self) -> u16 {
        self.file.address.rsplit(':').next().unwrap().parse().unwrap()
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(("127.0.0.1", self.port())).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        stream
    }

    /// Sends raw bytes; returns the status and the error of the answer.
    fn raw(&self, bytes: &[u8]) -> (u16, String) {
        let mut stream = self.connect();
        stream.write_all(bytes).unwrap();
        answer(&mut stream)
    }

    /// The head of a request, with `more` header lines.
    fn head(&self, line: &str, more: &str) -> Vec<u8> {
        format!(
            "{line} HTTP/1.1\r\nHost: 127.0.0.1:{}\r\nAuthorization: Bearer {}\r\n{more}\r\n",
            self.port(),
            self.token()
        )
        .into_bytes()
    }

    fn run_dir(&self) -> PathBuf {
        self.folder.path().join("run")
    }

    fn lines(&self, file: &str) -> Vec<Value> {
        let text = std::fs::read_to_string(self.run_dir().join("a/seed-3").join(file)).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Ends the run; returns its directory and how it ended.
    async fn end(self) -> (tempfile::TempDir, RunOutcome) {
        self.stop.send_replace(true);
        let outcome = self.running.end().await.unwrap();
        self.serving.end().await;
        (self.folder, outcome)
    }
}

/// Reads an answer from a connection; returns its status and its error.
fn answer(stream: &mut TcpStream) -> (u16, String) {
    let mut text = Vec::new();
    let mut chunk = [0; 4096];
    loop {
        match stream.read(&mut chunk) {
            Ok(0) | Err(_) => break,
            Ok(length) => text.extend(&chunk[..length]),
        }
        // A stream of events does not end; its head is enough.
        if text.starts_with(b"HTTP/1.1 200") {
            break;
        }
    }
    let text = String::from_utf8_lossy(&text);
    let status = text.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    let body = text.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    let error =
        serde_json::from_str::<Value>(body).ok().and_then(|body| Some(body["error"].as_str()?.to_owned()));
    (status, error.unwrap_or_default())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_weight_changed_over_http_shows_in_the_next_step_and_in_the_journal() {
    let mut live = Live::start(SCENARIO).await;
    live.step_taken(2).await;
    let arm = "/api/arms/a/3";
    assert_eq!(live.get(&format!("{arm}/weights")).await, json!({"bonus": 0.25, "format": 0.5}));
    let (status, applied) = live.send(Method::PUT, &format!("{arm}/weights"), &json!({"bonus": 7.0})).await;
    assert_eq!(status, StatusCode::OK, "{applied}");
    let (version, first) = (applied["version"].as_u64().unwrap(), applied["step"].as_u64().unwrap());
    assert_eq!(version, 1);
    live.step_taken(first + 1).await;

    let rollouts = live.lines("rollouts.jsonl");
    for rollout in rollouts.iter().filter(|rollout| rollout["phase"] == "train") {
        let changed = rollout["step"].as_u64().unwrap() >= first;
        assert_eq!(rollout["weights_version"], u64::from(changed), "{rollout}");
        let score = |name: &str| rollout["components"][name].as_f64().unwrap();
        let bonus = if changed { 7.0 } else { 0.25 };
        // accuracy + w_format * format + w_bonus
        let expected = score("accuracy") + 0.5 * score("format") + bonus;
        assert!((rollout["reward"].as_f64().unwrap() - expected).abs() < 1e-9, "{rollout}");
    }
    let entries = live.get("/api/journal").await["entries"].clone();
    assert_eq!(entries.as_array().unwrap().len(), 1);
    assert_eq!((&entries[0]["by"], &entries[0]["step"]), (&json!("api"), &applied["step"]));
    assert_eq!(entries[0]["change"]["weights"], json!({"bonus": 7.0}));
    assert_eq!(entries[0]["from"]["weights"], json!({"bonus": 0.25}));
    live.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_is_watched_paused_stepped_saved_and_stopped_over_http() {
    let mut live = Live::start(SCENARIO).await;
    live.step_taken(1).await;
    let mut stream = live.request(Method::GET, "/api/events").send().await.unwrap();
    assert_eq!(stream.headers()["content-type"], "text/event-stream");
    live.post("/api/pause", json!({"reason": "to look at it"})).await;
    let mut received = String::new();
    while !received.contains("\"status\":\"paused\"") {
        received += &String::from_utf8_lossy(&stream.chunk().await.unwrap().unwrap());
    }
    assert!(received.contains("event: state\n") && received.contains("event: change\n"), "{received}");

    let state = live.get("/api/state").await;
    assert_eq!((&state["protocol"], &state["run"]["status"]), (&json!(1), &json!("paused")));
    assert_eq!(state["arms"][0]["reason"], "to look at it");
    let before = state["arms"][0]["step"].as_u64().unwrap();
    // While it is paused a change is in force at once.
    let change = json!({"formula": "accuracy + w_extra * brief", "weights": {"extra": 0.1}, "rewards": {"brief": {"kind": "format"}}});
    let applied = live.post("/api/arms/a/3/change", change).await;
    assert_eq!(applied, json!({"version": 1, "step": before + 1}));
    let rewards = live.get("/api/arms/a/3/rewards").await;
    let brief = json!({
        "kind": "format", "generation": 1, "form": "rust", "toml": "kind = \"format\"\n", "in_formula": true,
    });
    assert_eq!(rewards["brief"], brief);
    // A reward may be given as TOML.
    let wrong = live.send(Method::PUT, "/api/arms/a/3/rewards/brief", &json!("kind = accuracy")).await;
    assert_eq!((wrong.0, &wrong.1["line"]), (StatusCode::BAD_REQUEST, &json!(1)), "{}", wrong.1);
    assert!(wrong.1["error"].as_str().unwrap().contains("[rewards.brief], line 1, column 8"), "{}", wrong.1);
    let toml = json!({"rewards": {"brief": "[rewards.brief]\nkind = \"accuracy\""}});
    let applied = live.post("/api/arms/a/3/change", toml).await;
    assert_eq!(applied, json!({"version": 2, "step": before + 1}));
    let formats = json!("kind = \"format\"");
    let (status, applied) = live.send(Method::PUT, "/api/arms/a/3/rewards/brief", &formats).await;
    assert_eq!((status, applied), (StatusCode::OK, json!({"version": 3, "step": before + 1})));
    let checked = live.post("/api/arms/a/3/formula/check", json!({"formula": "accuracy + brif"})).await;
    assert_eq!((&checked["ok"], &checked["place"]), (&json!(false), &json!(11)), "{checked}");

    live.post("/api/arms/a/3/step", json!({"n": 2})).await;
    live.step_taken(before + 2).await;
    let folder =
        live.post("/api/arms/a/3/checkpoint", json!({})).await["folder"].as_str().unwrap().to_owned();
    assert!(PathBuf::from(&folder).join("model.safetensors").is_file(), "{folder}");
    let table = live.get(&format!("/api/arms/a/3/metrics?from={}&fields=components", before + 1)).await;
    assert_eq!(
        table["columns"],
        json!(["step", "components.accuracy", "components.format", "components.brief"])
    );
    assert_eq!((&table["total"], &table["rows"][1][0]), (&json!(2), &json!(before + 2)));

    let actors = live.get("/api/arms/a/3/actors").await["actors"].clone();
    let names: Vec<&str> =
        actors.as_array().unwrap().iter().map(|actor| actor["name"].as_str().unwrap()).collect();
    for name in ["loader", "sampler", "judge", "reward/brief", "shaper", "optimizer", "recorder"] {
        assert!(names.contains(&name), "{names:?}");
    }
    live.post("/api/stop", json!({"arms": [["a", 3]]})).await;
    let outcome = live.running.end().await.unwrap();
    assert_eq!(outcome.arms[0].step, before + 2);
    live.serving.end().await;
    while let Some(chunk) = stream.chunk().await.unwrap() {
        received += &String::from_utf8_lossy(&chunk);
    }
    assert!(received.contains("event: end\ndata: {\"run\":{\"status\":\"ended\"}}"), "{received}");
    assert!(!live.folder.path().join("run/control.json").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn completions_are_found_and_their_clips_played_in_parts() {
    let mut live = Live::start(SCENARIO).await;
    live.step_taken(2).await;
    live.post("/api/pause", json!({})).await;
    let page = live.get("/api/arms/a/3/rollouts?phase=train&step=2&sort=components.accuracy&limit=3").await;
    assert_eq!((&page["total"], page["rollouts"].as_array().unwrap().len()), (&json!(4), 3));
    let rollout = &page["rollouts"][0];
    let path = format!("/api/audio/{}", rollout["audio"].as_str().unwrap());
    let whole = std::fs::read(rollout["audio_path"].as_str().unwrap()).unwrap();
    let clip = live.request(Method::GET, &path).send().await.unwrap();
    assert!(clip.headers()["content-type"].to_str().unwrap().starts_with("audio/"), "{:?}", clip.headers());
    assert_eq!(clip.bytes().await.unwrap(), whole);
    let part = live.request(Method::GET, &path).header("range", "bytes=4-9").send().await.unwrap();
    assert_eq!(part.status(), StatusCode::PARTIAL_CONTENT);
    assert_eq!(part.headers()["content-range"], format!("bytes 4-9/{}", whole.len()).as_str());
    assert_eq!(part.bytes().await.unwrap(), whole[4..10]);
    live.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_model_hears_of_a_clip_is_served_as_sound_and_as_a_picture() {
    let mut live = Live::start(SCENARIO).await;
    live.step_taken(2).await;
    live.post("/api/pause", json!({})).await;
    let page = live.get("/api/arms/a/3/rollouts?phase=train&step=2&limit=1").await;
    let rollout = &page["rollouts"][0];
    let file = std::path::Path::new(rollout["audio_path"].as_str().unwrap());
    let (id, expected) =
        (rollout["audio"].as_str().unwrap(), audio::load(file, &Default::default()).unwrap());
    let wav = live.request(Method::GET, &format!("/api/clips/{id}/heard.wav")).send().await.unwrap();
    assert_eq!(
        (wav.status(), wav.headers()["content-type"].to_str().unwrap()),
        (StatusCode::OK, "audio/wav")
    );
    let heard =
        audio::load_bytes("heard.wav".as_ref(), wav.bytes().await.unwrap().to_vec(), &Default::default());
    // A soundscape is mono and as long as the window of the tiny policy, so that all of it is heard.
    assert_eq!(heard.unwrap().samples, expected.samples);
    let png = live.request(Method::GET, &format!("/api/clips/{id}/mel.png")).send().await.unwrap();
    assert_eq!(
        (png.status(), png.headers()["content-type"].to_str().unwrap()),
        (StatusCode::OK, "image/png")
    );
    assert!(png.bytes().await.unwrap().starts_with(b"\x89PNG\r\n\x1a\n"));
    live.end().await;
}

/// Requests every route of the document, with the parameters it describes.
#[tokio::test(flavor = "multi_thread")]
async fn every_route_of_the_document_is_there_and_wants_the_token() {
    let live = Live::start(SCENARIO).await;
    let document = live.get("/api/openapi.json").await;
    let mut routes = 0;
    for (path, methods) in document["paths"].as_object().unwrap() {
        let concrete =
            path.replace("{arm}", "a").replace("{seed}", "3").replace("{name}", "x").replace("{id}", "x");
        for (method, operation) in methods.as_object().unwrap() {
            routes += 1;
            let method = Method::from_bytes(method.to_uppercase().as_bytes()).unwrap();
            assert!(operation["summary"].as_str().is_some_and(|summary| !summary.is_empty()), "{path}");
            let url = format!("{}{concrete}", live.file.address);
            let unknown = live.client.request(method.clone(), &url).send().await.unwrap();
            assert_eq!(unknown.status(), StatusCode::UNAUTHORIZED, "{method} {path}");
            let of_clip = path.contains("{id}");
            if path == "/api/answers" {
                // There is such a route; it wants a question.
                let (status, _) = live.send(method, &concrete, &json!(null)).await;
                assert_eq!(status, StatusCode::BAD_REQUEST);
            } else if method == Method::GET && !of_clip {
                let known = live.request(method, &concrete).send().await.unwrap();
                assert_eq!(known.status(), StatusCode::OK, "{path}");
            } else if !of_clip && method != Method::DELETE {
                // There is such a route; it refuses the body.
                let (status, _) = live.send(method, &concrete, &json!({"nonsense": []})).await;
                assert_ne!(status, StatusCode::NOT_FOUND, "{path}");
                assert_ne!(status, StatusCode::METHOD_NOT_ALLOWED, "{path}");
            }
        }
    }
    assert!(routes >= 30, "{routes}");
    // Every schema that is referred to is defined.
    let text = document.to_string();
    for pointer in text.split("\"$ref\":\"#").skip(1).map(|rest| rest.split('"').next().unwrap()) {
        assert!(document.pointer(pointer).is_some(), "{pointer}");
    }
    live.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_requests_are_refused_in_one_line_and_the_training_goes_on_as_without_them() {
    const COMPARED: usize = 60;
    let scenario = SCENARIO.replace("steps = 400", "steps = 100000");
    // The same run without any request.
    let mut quiet = Live::start(&scenario).await;
    quiet.step_taken(COMPARED as u64).await;
    let expected = timeless(&quiet.lines("metrics.jsonl")[..COMPARED]);
    quiet.end().await;

    let mut live = Live::start(&scenario).await;
    live.step_taken(1).await;
    let live = tokio::task::spawn_blocking(move || {
        refuse_strangers(&live);
        refuse_bodies(&live);
        refuse_formulas_and_paths(&live);
        live
    })
    .await
    .unwrap();
    let mut live = tokio::task::spawn_blocking(move || {
        refuse_crowds(&live);
        live
    })
    .await
    .unwrap();
    if live.lines("metrics.jsonl").len() < COMPARED {
        live.step_taken(COMPARED as u64).await;
    }
    assert_eq!(timeless(&live.lines("metrics.jsonl")[..COMPARED]), expected);
    assert_eq!(live.get("/api/journal").await["entries"], json!([]));
    live.end().await;
}

fn timeless(lines: &[Value]) -> Vec<Value> {
    let mut lines = lines.to_vec();
    for line in &mut lines {
        let fields = line.as_object_mut().unwrap();
        fields.retain(|name, _| !name.ends_with("_seconds") && !name.ends_with("_per_second"));
    }
    lines
}

/// Asserts that an answer is a refusal with this status and one line that contains `words`.
fn assert_refused((status, error): (u16, String), expected: u16, words: &str) {
    assert_eq!(status, expected, "{error}");
    assert!(error.contains(words) && error.lines().count() == 1, "{error:?}");
}

fn refuse_strangers(live: &Live) {
    let (port, token) = (live.port(), live.token());
    let ask = |host: &str, more: &str| {
        live.raw(format!("GET /api/state HTTP/1.1\r\nHost: {host}\r\n{more}\r\n").as_bytes())
    };
    let ours = format!("127.0.0.1:{port}");
    let bearer = format!("Authorization: Bearer {token}\r\n");
    assert_refused(ask(&ours, ""), 401, "the token is missing");
    assert_refused(ask(&ours, "Authorization: Bearer 0000\r\n"), 401, "not the token of this run");
    assert_refused(
        ask(&ours, &format!("Authorization: Basic {token}\r\n")),
        401,
        "not the token of this run",
    );
    assert_refused(ask(&format!("evil.example:{port}"), &bearer), 403, "control.hosts");
    assert_refused(ask("127.0.0.1", &bearer), 403, "control.hosts");
    for origin in ["http://evil.example", "null", "http://127.0.0.1:1"] {
        assert_refused(ask(&ours, &format!("{bearer}Origin: {origin}\r\n")), 403, "another origin");
    }
    let (status, _) = live.raw(format!("GET / HTTP/1.1\r\nHost: evil.example:{port}\r\n\r\n").as_bytes());
    assert_eq!(status, 403, "foreign host names do not get the page either");
    let (status, _) = live.raw(
        format!("OPTIONS /api/weights HTTP/1.1\r\nHost: {ours}\r\nOrigin: http://{ours}\r\n\r\n").as_bytes(),
    );
    assert_eq!(status, 401, "preflight requests are not answered");
}

fn refuse_bodies(live: &Live) {
    // An announced gigabyte is refused before it is sent.
    let announced = live.head("PUT /api/arms/a/3/weights", "Content-Length: 1073741824\r\n");
    assert_refused(live.raw(&announced), 413, "256 KiB");
    // An endless chunked body is refused once it is too long.
    let mut stream = live.connect();
    stream.write_all(&live.head("PUT /api/arms/a/3/weights", "Transfer-Encoding: chunked\r\n")).unwrap();
    let chunk = format!("10000\r\n{}\r\n", " ".repeat(0x10000));
    // The server refuses it on the way and does not read the rest.
    for _ in 0..16 {
        if stream.write_all(chunk.as_bytes()).is_err() {
            break;
        }
    }
    assert_refused(answer(&mut stream), 413, "256 KiB");
    let put = |body: &str| {
        let more = format!("Content-Length: {}\r\nConnection: close\r\n", body.len());
        live.raw(&[live.head("PUT /api/arms/a/3/weights", &more), body.as_bytes().to_vec()].concat())
    };
    for body in ["{", "[]", "{\"format\": \"much\"}", &"[".repeat(100_000), "{\"format\": 1e999}", "\u{0}"] {
        assert_refused(put(body), 400, "");
    }
    // Heads that are too long are refused with a reason on every route.
    for length in [64 * 1024, 100_000, 200_000] {
        let long = format!("X: {}\r\n", "x".repeat(length));
        assert_refused(live.raw(&live.head("GET /api/state", &long)), 431, "64 KiB");
        let many = format!("X: {}\r\n", "x".repeat(3_990)).repeat(length / 4_000 + 1);
        assert_refused(live.raw(&live.head("PUT /api/arms/a/3/weights", &many)), 431, "64 KiB");
    }
    let fits = format!("X: {}\r\nConnection: close\r\n", "x".repeat(60_000));
    assert_eq!(live.raw(&live.head("GET /api/state", &fits)).0, 200);
    // A head that never ends, and one that is far too long.
    let mut slow = live.connect();
    slow.write_all(b"GET /api/state HTTP/1.1\r\nHost: 127.").unwrap();
    let long =
        format!("GET / HTTP/1.1\r\nHost: 127.0.0.1:{}\r\nX: {}\r\n\r\n", live.port(), "x".repeat(600_000));
    let mut stream = live.connect();
    // The server may refuse it before all of it is written.
    let _ = stream.write_all(long.as_bytes());
    assert_eq!(answer(&mut stream).0, 431);
    let mut rest = Vec::new();
    // The connection is closed without a usable answer.
    let closed = slow.read_to_end(&mut rest);
    assert!(closed.is_ok(), "{closed:?}");
}

fn refuse_formulas_and_paths(live: &Live) {
    let put = |formula: &str| {
        let body = json!({ "formula": formula }).to_string();
        let more = format!("Content-Length: {}\r\nConnection: close\r\n", body.len());
        live.raw(&[live.head("PUT /api/arms/a/3/formula", &more), body.into_bytes()].concat())
    };
    assert_refused(put(&"1+".repeat(5_000)), 400, "at most 2000 are allowed");
    let deep = format!("{}1{}", "(".repeat(900), ")".repeat(900));
    assert_refused(put(&deep), 400, "nested deeper");
    assert_refused(put("accuracy + format; drop"), 400, "column");
    let ask = |path: &str| live.raw(&live.head(&format!("GET {path}"), "Connection: close\r\n"));
    for id in [
        "..%2f..%2fetc%2fpasswd",
        "clip-0",
        "clip-0%2f..%2f..",
        "%2fetc%2fpasswd",
        "clip-18446744073709551616",
    ] {
        for path in [
            format!("/api/audio/{id}"),
            format!("/api/clips/{id}/heard.wav"),
            format!("/api/clips/{id}/mel.png"),
        ] {
            assert_refused(ask(&path), 404, "clip");
        }
    }
    assert_refused(ask("/api/audio/../../../../etc/passwd"), 404, "nothing at");
    assert_refused(ask("/../Cargo.toml"), 404, "nothing at");
    assert_refused(ask("/api/arms/..%2f..%2f/3/evals"), 404, "no arm");
    assert_refused(ask("/api/arms/a/-1/metrics"), 404, "no arm");
    assert_refused(ask("/api/arms/a/3/rollouts?sort=secret"), 400, "cannot sort by");
    assert_refused(ask("/api/arms/a/3/rollouts?limit=many"), 400, "limit");
    assert_refused(ask(&format!("/api/arms/a/3/rollouts?q={}", "a".repeat(30_000))), 400, "200 characters");
}

/// Of a thousand subscribers 64 get events; the others are told at once that there are too many.
fn refuse_crowds(live: &Live) {
    let events = live.head("GET /api/events", "");
    let mut streams = Vec::new();
    let (mut accepted, mut refused) = (0, 0);
    for _ in 0..1_000 {
        let mut stream = live.connect();
        stream.write_all(&events).unwrap();
        match answer(&mut stream) {
            (200, _) => {
                accepted += 1;
                streams.push(stream);
            }
            (503, error) => {
                assert!(error.contains("64 clients"), "{error}");
                refused += 1;
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!((accepted, refused), (64, 936));
    // Idle connections make room for one that has the token.
    let idle: Vec<TcpStream> = (0..300).map(|_| live.connect()).collect();
    let (status, error) = live.raw(&live.head("GET /api/state", "Connection: close\r\n"));
    assert_eq!(status, 200, "{error}");
    drop((idle, streams));
}
