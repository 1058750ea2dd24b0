//! SECRET-5: no secret of a run is in a file or a stream of it. Plants secrets wherever a run takes them, runs the built
//! `sandbox` with all logging on, steers it, and searches everything that it wrote. A test of the package `sandbox` (see
//! bin/Cargo.toml), for which cargo builds that binary.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should panic")]

use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};

/// Planted secrets. Each has characters that look different in JSON, in an address and in base64.
const JUDGE_KEY: &str = "planted/judge+\"key\"&1";
const REWARD_KEY: &str = "planted/reward+\"key\"&2";
const PLUGIN_KEY: &str = "planted/plugin+\"key\"&3";
const FOREIGN_KEY: &str = "planted/foreign+\"key\"&4";
const PROXY_PASSWORD: &str = "planted-proxy-5";
const LITERAL: &str = "planted-literal-6";

/// How a secret can be spelt in a file.
fn spellings(secret: &str) -> Vec<String> {
    let json = json!(secret).to_string();
    let encoded = |safe: &str, upper: bool| {
        secret.bytes().fold(String::new(), |mut text, byte| {
            if byte.is_ascii_alphanumeric() || safe.as_bytes().contains(&byte) {
                text.push(char::from(byte));
            } else if upper {
                write!(text, "%{byte:02X}").unwrap();
            } else {
                write!(text, "%{byte:02x}").unwrap();
            }
            text
        })
    };
    let mut spellings = vec![
        secret.to_owned(),
        json.trim_matches('"').to_owned(),
        json!(json).to_string().trim_matches('"').to_owned(),
        secret.replace('"', "&quot;").replace('&', "&amp;"),
        secret.replace('&', "&amp;").replace('"', "&quot;"),
        encoded("-._~", true),
        encoded("-._~", false),
        encoded("-._~/", true),
        secret.bytes().fold(String::new(), |text, byte| format!("{text}{byte:02x}")),
        format!("{:?}", secret.as_bytes()).trim_matches(['[', ']']).to_owned(),
    ];
    // In base64, a secret within a longer text has one of three spellings. What depends on its neighbours is left out.
    for shift in 0..3 {
        let encoded = base64(&[&vec![0; shift], secret.as_bytes()].concat());
        let stable = &encoded[if shift == 0 { 0 } else { 4 }..encoded.len() / 4 * 4 - 4];
        spellings.push(stable.to_owned());
        spellings.push(stable.replace('+', "-").replace('/', "_"));
    }
    spellings
}

fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for part in bytes.chunks(3) {
        let three = part.iter().fold(0u32, |sum, byte| sum << 8 | u32::from(*byte)) << (8 * (3 - part.len()));
        (0..4).for_each(|at| text.push(char::from(LETTERS[(three >> (18 - 6 * at) & 63) as usize])));
    }
    text
}

/// Asserts that a text has none of the secrets in any spelling.
fn assert_clean(what: &str, text: &str, secrets: &[&str]) {
    for secret in secrets {
        for spelling in spellings(secret) {
            if let Some(at) = text.find(&spelling) {
                let from = text[..at].rfind('\n').map_or(0, |newline| newline + 1);
                let around: String = text[from..].chars().take(300).collect();
                panic!("{what} contains {secret} as {spelling}: {around}");
            }
        }
    }
}

/// All files below a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.push(path);
        }
    }
    found
}

/// Asserts that no file below a folder has a secret, except for files of this name. A running run may remove a file.
fn assert_files_clean(folder: &Path, secrets: &[&str], except: &str) {
    for path in files(folder) {
        if path.file_name().is_some_and(|name| name == except) {
            continue;
        }
        if let Ok(bytes) = fs::read(&path) {
            assert_clean(&path.display().to_string(), &String::from_utf8_lossy(&bytes), secrets);
        }
        assert_clean("a path", &path.display().to_string(), secrets);
    }
}

/// Starts a server that is both the judge and a reward. It answers until the test ends, and repeats the request's head in
/// every fifth answer to the reward, as a failure. Returns its port.
fn serve() -> u16 {
    let listener = TcpListener::bind("0.0.0.0:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        let scored = AtomicUsize::new(0);
        for stream in listener.incoming() {
            // The client may have gone.
            let _ = answer(stream.unwrap(), &scored);
        }
    });
    port
}

fn answer(stream: TcpStream, scored: &AtomicUsize) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    let (mut head, mut line) = (String::new(), String::new());
    while stream.read_line(&mut line)? > 2 {
        head.push_str(&line);
        line.clear();
    }
    let length =
        head.lines().find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    stream.read_exact(&mut body)?;
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    let is_reward = head.starts_with("POST /score");
    let key = if is_reward { REWARD_KEY } else { JUDGE_KEY };
    assert!(head.to_lowercase().contains(&format!("authorization: bearer {key}").to_lowercase()), "{head}");
    let scores: Vec<usize> = (0..body["items"].as_array().map_or(0, Vec::len)).collect();
    let (status, answer) = if is_reward && scored.fetch_add(1, Ordering::SeqCst) % 5 == 2 {
        (500, format!("{{\"error\": \"a request like this fails\"}}\n{head}"))
    } else if is_reward {
        (200, json!({ "scores": scores }).to_string())
    } else if head.starts_with("GET") {
        (200, json!({ "data": [{ "id": "stub" }] }).to_string())
    } else {
        let message = json!({ "role": "assistant", "content": r#"{"consistent": 1, "quality": 0.5}"# });
        let choice = json!({ "index": 0, "message": message, "finish_reason": "stop" });
        let usage = json!({ "prompt_tokens": 1, "completion_tokens": 1 });
        (200, json!({ "choices": [choice], "usage": usage }).to_string())
    };
    let length = answer.len();
    let stream = stream.get_mut();
    write!(stream, "HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n")?;
    write!(stream, "connection: close\r\n\r\n{answer}")
}

fn sandbox(dir: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sandbox"));
    command.current_dir(dir).env("RUST_LOG", "trace").env("AUDIO_THINKER_CACHE", dir.join("cache"));
    command.env("JUDGE_KEY", JUDGE_KEY).env("REWARD_KEY", REWARD_KEY).env("PLUGIN_KEY", PLUGIN_KEY);
    command.env("FOREIGN_API_KEY", FOREIGN_KEY);
    for name in ["http_proxy", "HTTP_PROXY", "https_proxy", "all_proxy"] {
        command.env(name, format!("http://me:{PROXY_PASSWORD}@127.0.0.1:9"));
    }
    command
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// What a command wrote to both streams.
fn said(output: &Output) -> String {
    text(&output.stdout) + &text(&output.stderr)
}

/// A scenario with a judge, a reward server and a Python reward, all with a secret of their own.
fn write_scenario(dir: &Path) {
    let port = serve();
    // 127.0.0.2 is this machine too, but only its name says so: a proxy of the environment must not get its requests.
    let scenario = format!(
        r#"
[run]
name = "planted"
seeds = [3]
steps = 100000
device = "cpu"
threads = 1

[data.soundscapes]
train_clips = 6
heldout_clips = 3

[prompt]
style = "think"

[sampling]
group_size = 3
prompts_per_step = 2
max_new_tokens = 48

[judge]
kind = "openai"
base_url = "http://127.0.0.1:{port}/v1"
model = "stub"
api_key_env = "JUDGE_KEY"

[rewards]
think = {{ kind = "think" }}
server = {{ kind = "http", url = "http://127.0.0.2:{port}/score", headers = {{ authorization = "Bearer ${{REWARD_KEY}}" }} }}
python = {{ kind = "python", file = "reward.py", env = ["PLUGIN_KEY"] }}

[shaping]
formula = "think + python + w_server * server"
weights = {{ server = 0.1 }}

[supervision]
max_missing_fraction = 1.0

[eval]
every = 0

[checkpoint]
every = 2

[[arm]]
name = "a"
"#
    );
    fs::write(dir.join("planted.toml"), scenario).unwrap();
    let reward = r#"
import json, os
with open("seen.json", "w") as file:
    json.dump({"names": sorted(os.environ), "length": len(os.environ["PLUGIN_KEY"])}, file)

def reward(completions, **columns):
    return [len(completion) / 100 for completion in completions]
"#;
    fs::write(dir.join("reward.py"), reward).unwrap();
}

/// A running run, which is killed if the test fails.
struct Run {
    child: Child,
    stderr: std::thread::JoinHandle<String>,
    page: String,
}

impl Drop for Run {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn start(dir: &Path) -> Run {
    let mut child = sandbox(dir)
        .arg("planted.toml")
        .stdout(fs::File::create(dir.join("stdout.txt")).unwrap())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
    let mut before = String::new();
    let page = lines.by_ref().find_map(|line| {
        let page = line.strip_prefix("live page: ").map(str::to_owned);
        if page.is_none() {
            before += &format!("{line}\n");
        }
        page
    });
    let page = page.unwrap_or_else(|| panic!("the run did not start: {before}"));
    let stderr = std::thread::spawn(move || lines.fold(before, |text, line| text + &line + "\n"));
    Run { child, stderr, page }
}

/// The answer to a GET request of the control channel.
fn get(address: &str, path: &str, token: Option<&str>) -> String {
    let host = address.strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(host).unwrap();
    let token = token.map_or(String::new(), |token| format!("Authorization: Bearer {token}\r\n"));
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {host}\r\n{token}Connection: close\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

#[test]
fn secret_5_no_file_and_no_stream_of_a_run_contains_a_secret() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    write_scenario(dir);
    let mut secrets = vec![JUDGE_KEY, REWARD_KEY, PLUGIN_KEY, FOREIGN_KEY, PROXY_PASSWORD, LITERAL];
    for arguments in [&["check", "planted.toml"][..], &["planted.toml", "--dry-run"]] {
        let output = sandbox(dir).args(arguments).output().unwrap();
        assert!(output.status.success(), "{}", said(&output));
        assert_clean(arguments[0], &said(&output), &secrets);
    }
    let mut run = start(dir);
    let run_dir = fs::read_dir(dir.join("runs")).unwrap().next().unwrap().unwrap().path();
    let control: Value = serde_json::from_slice(&fs::read(run_dir.join("control.json")).unwrap()).unwrap();
    let (address, token) = (control["address"].as_str().unwrap(), control["token"].as_str().unwrap());
    assert_eq!(run.page, format!("{address}/#{token}"));
    secrets.push(token);

    steer(dir, &secrets);
    for path in ["/", "/app.js", "/style.css", "/api/openapi.json", "/nothing"] {
        assert_clean(path, &get(address, path, None), &secrets);
    }
    for path in [
        "state",
        "openapi.json",
        "journal",
        "actors",
        "arms/a/3/conditions",
        "arms/a/3/rewards",
        "arms/a/3/rollouts",
    ] {
        assert_clean(path, &get(address, &format!("/api/{path}"), Some(token)), &secrets);
    }
    assert!(get(address, "/api/state", Some("0000")).starts_with("HTTP/1.1 401"));
    assert_files_clean(&run_dir, &secrets, "control.json");

    let output = sandbox(dir).args(["ctl", "stop"]).output().unwrap();
    assert!(output.status.success(), "{}", said(&output));
    run.child.wait().unwrap();
    let stderr = std::mem::replace(&mut run.stderr, std::thread::spawn(String::new)).join().unwrap();
    assert!(stderr.contains("answered 500"), "the reward server repeated its key: {stderr}");
    assert_clean("standard error", &stderr, &secrets);
    for arguments in [&["report"][..], &["replay"], &["ctl", "state", "--run"]] {
        let output = sandbox(dir).args(arguments).arg(&run_dir).output().unwrap();
        assert_clean(arguments[0], &said(&output), &secrets);
    }
    // The scenario, both run directories, what was printed to standard output, and the cache with its verdicts.
    assert_files_clean(dir, &secrets, "");
    check_child(dir);
}

/// Changes the run by `sandbox ctl`, also in ways that are refused.
fn steer(dir: &Path, secrets: &[&str]) {
    let reward = "kind = \"python\"\nfile = \"reward.py\"\nenv = [\"PLUGIN_KEY\"]\n";
    fs::write(dir.join("same.toml"), reward).unwrap();
    // Outside the searched folder, because it contains a secret.
    let literal = tempfile::tempdir().unwrap();
    let refused = literal.path().join("literal.toml");
    let header = format!("headers = {{ authorization = \"Bearer {LITERAL}\" }}");
    fs::write(&refused, format!("kind = \"http\"\nurl = \"http://127.0.0.1:9\"\n{header}\n")).unwrap();
    let refused = refused.to_str().unwrap();
    for (arguments, good) in [
        (&["state"][..], true),
        (&["swap", "python", "same.toml"], true),
        (&["swap", "server", refused], false),
        (&["--json", "rewards"], true),
        (&["--json", "journal"], true),
        (&["actors"], true),
    ] {
        let output = sandbox(dir).arg("ctl").args(arguments).output().unwrap();
        assert_eq!(output.status.success(), good, "{arguments:?}: {}", said(&output));
        assert_clean(arguments[0], &said(&output), secrets);
    }
}

/// Asserts that the Python reward saw its own secret, and no variable beside the allowed ones.
fn check_child(dir: &Path) {
    let seen: Value = serde_json::from_slice(&fs::read(dir.join("seen.json")).unwrap()).unwrap();
    assert_eq!(seen["length"].as_u64(), Some(PLUGIN_KEY.len() as u64));
    let allowed = [
        "CUDA_VISIBLE_DEVICES",
        "HOME",
        "LANG",
        "LANGUAGE",
        "PATH",
        "PLUGIN_KEY",
        "PYTHONPATH",
        "PYTHONSAFEPATH",
        "TMPDIR",
        "TZ",
    ];
    for name in seen["names"].as_array().unwrap() {
        let name = name.as_str().unwrap();
        // A `python3` that is a shell script, as pyenv's, sets these for itself.
        let of_shell = ["OLDPWD", "PWD", "SHLVL", "_"].contains(&name) || name.contains("PYENV_");
        let inherited = allowed.contains(&name) || name.starts_with("LC_") || of_shell;
        assert!(inherited, "a child process inherits {name}");
    }
}

#[test]
fn secret_2_a_secret_in_set_is_refused_without_being_repeated() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    write_scenario(dir);
    for set in [
        "judge.api_key={}",
        "judge.api_key_env={}",
        "judge.api_kye={}",
        "rewards.server.headers.authorization=Bearer {}",
        "rewards.server.headers.x-api-key={}",
        "rewards.server.url=http://me:{}@127.0.0.1",
        "rewards.server.proxy=http://me:{}@127.0.0.1",
        "rewards.python.env={ HF_TOKEN = \"{}\" }",
        "rewards.python.env=[\"HF_TOKEN={}\"]",
        "rewards.python.options={ password = \"{}\" }",
        "rewards.python.timeout_seconds=sk-0123456789-{}",
        "{}",
    ] {
        let set = set.replace("{}", LITERAL);
        for arguments in [&["planted.toml", "--set", &set][..], &["planted.toml", "--dry-run", "--set", &set]]
        {
            let output = sandbox(dir).args(arguments).output().unwrap();
            let said = said(&output);
            assert_eq!(output.status.code(), Some(2), "{set}: {said}");
            assert_eq!(said.trim_end().lines().count(), 1, "{said}");
            assert_clean(&set, &said, &[LITERAL]);
        }
    }
    assert!(!dir.join("runs").exists());
}
