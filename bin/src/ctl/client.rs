//! Finds a run that is going on, and asks it.

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use control::{CTL_AGENT, ControlFile};
use records::RunDir;
use reqwest::{
    Method, StatusCode, Url,
    blocking::{RequestBuilder, Response},
};
use serde_json::Value;

use crate::failure::Failure;

/// Where runs are looked for.
const RUNS: &str = "runs";

/// Longest wait for the run to take a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// A run that is going on.
pub struct Client {
    address: Url,
    token: String,
    client: reqwest::blocking::Client,
    pub run_dir: PathBuf,
}

impl Client {
    /// The run in `dir`, or the newest of the runs in it; without `dir`, the newest under `runs`.
    pub fn find(dir: Option<&Path>) -> Result<Self, Failure> {
        let within = dir.unwrap_or(Path::new(RUNS));
        let (run_dir, file) = match ControlFile::read(&RunDir::new(within)) {
            Some(file) if file.is_live() => (within.to_owned(), file),
            Some(file) => {
                let (dir, pid) = (within.display(), file.pid);
                return Err(Failure::Input(format!(
                    "{dir}: this run is not going on: its process {pid} was killed; go on with `sandbox --resume {dir}`"
                )));
            }
            None => newest(within).ok_or_else(|| none(within))?,
        };
        let broken = |error: String| Failure::Running(format!("{}: {error}", run_dir.display()));
        let address = Url::parse(&file.address).map_err(|error| broken(format!("control.json: {error}")))?;
        // Nothing here is encrypted, but the client wants to know who would. A second provider is refused, and no harm.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::blocking::Client::builder()
            .user_agent(agent())
            // A change is answered when its step has come.
            .timeout(None)
            .connect_timeout(CONNECT_TIMEOUT)
            .no_proxy()
            .build()
            .map_err(|error| broken(error.to_string()))?;
        Ok(Client { address, token: file.token, client, run_dir })
    }

    /// The arms of the run, in its order.
    pub fn arms(&self) -> Result<Vec<Arm>, Failure> {
        let mut state = self.get(&["api", "state"], &[])?;
        let arms = state["arms"].as_array_mut().map(std::mem::take).unwrap_or_default();
        Ok(arms.into_iter().map(Arm).collect())
    }

    /// Asks for something.
    pub fn get(&self, path: &[&str], query: &[(&str, String)]) -> Result<Value, Failure> {
        self.read(self.request(Method::GET, path, query)?)
    }

    /// Asks for something of an arm.
    pub fn get_of(&self, arm: &Arm, what: &str, query: &[(&str, String)]) -> Result<Value, Failure> {
        let answer = self.get(&["api", "arms", arm.name(), &arm.seed().to_string(), what], query);
        answer.map_err(|failure| failure.of(&arm.label()))
    }

    /// Has something done.
    pub fn post(&self, path: &[&str], body: &Value) -> Result<Value, Failure> {
        self.read(self.request(Method::POST, path, &[])?.json(body))
    }

    /// Follows what happens.
    pub fn events(&self) -> Result<Response, Failure> {
        self.send(self.request(Method::GET, &["api", "events"], &[])?)
    }

    fn request(
        &self,
        method: Method,
        path: &[&str],
        query: &[(&str, String)],
    ) -> Result<RequestBuilder, Failure> {
        let mut url = self.address.clone();
        match url.path_segments_mut() {
            Ok(mut segments) => drop(segments.clear().extend(path)),
            Err(()) => return Err(Failure::Running(format!("{}: not an address", self.address))),
        }
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        Ok(self.client.request(method, url).bearer_auth(&self.token))
    }

    fn read(&self, request: RequestBuilder) -> Result<Value, Failure> {
        self.send(request)?.json().map_err(|error| self.unreachable(&error))
    }

    fn send(&self, request: RequestBuilder) -> Result<Response, Failure> {
        let response = request.send().map_err(|error| self.unreachable(&error))?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let refusal: Value = response.json().unwrap_or_default();
        let error =
            refusal["error"].as_str().map_or_else(|| format!("the run answered {status}"), str::to_owned);
        Err(match status {
            StatusCode::BAD_REQUEST | StatusCode::NOT_FOUND => Failure::Input(error),
            _ => Failure::Running(error),
        })
    }

    fn unreachable(&self, error: &reqwest::Error) -> Failure {
        let mut cause: &dyn std::error::Error = error;
        while let Some(deeper) = cause.source() {
            cause = deeper;
        }
        Failure::Running(format!("{}: the run does not answer: {cause}", self.run_dir.display()))
    }
}

fn agent() -> String {
    format!("{CTL_AGENT}/{}", env!("CARGO_PKG_VERSION"))
}

/// The newest run in a folder that is going on.
fn newest(folder: &Path) -> Option<(PathBuf, ControlFile)> {
    let live = |dir: PathBuf| -> Option<(SystemTime, PathBuf, ControlFile)> {
        let run_dir = RunDir::new(&dir);
        let file = ControlFile::read(&run_dir).filter(ControlFile::is_live)?;
        let time = fs::metadata(run_dir.control()).and_then(|metadata| metadata.modified()).ok()?;
        Some((time, dir, file))
    };
    let dirs = fs::read_dir(folder).ok()?.filter_map(|entry| Some(entry.ok()?.path()));
    let (_, dir, file) = dirs.filter_map(live).max_by_key(|(time, ..)| *time)?;
    Some((dir, file))
}

fn none(folder: &Path) -> Failure {
    let dir = folder.display();
    Failure::Input(if RunDir::new(folder).scenario().is_file() {
        format!("{dir}: this run is not going on, or runs with --no-control")
    } else if folder.is_dir() {
        format!("{dir}: no run is going on in there; name one with --run DIR")
    } else {
        format!("{dir}: there is no such folder; name a run, or a folder of runs, with --run DIR")
    })
}

/// An arm, as the API shows it.
#[derive(Clone)]
pub struct Arm(pub Value);

impl Arm {
    pub fn name(&self) -> &str {
        self.0["arm"].as_str().unwrap_or_default()
    }

    pub fn seed(&self) -> u64 {
        self.0["seed"].as_u64().unwrap_or_default()
    }

    pub fn status(&self) -> &str {
        self.0["status"].as_str().unwrap_or_default()
    }

    pub fn has_ended(&self) -> bool {
        matches!(self.status(), "done" | "failed" | "stopped")
    }

    /// What rewards it; `None` for an arm that is not trained by rewards.
    pub fn conditions(&self) -> Option<&Value> {
        self.0.get("conditions").filter(|conditions| !conditions.is_null())
    }

    /// `grpo (seed 7)`.
    pub fn label(&self) -> String {
        Self::label_of(&self.0)
    }

    /// The same, of whatever names an arm.
    pub fn label_of(value: &Value) -> String {
        format!("{} (seed {})", value["arm"].as_str().unwrap_or_default(), value["seed"])
    }
}
