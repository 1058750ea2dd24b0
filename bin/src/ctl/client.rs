//! Finds a running run, and sends requests to it.

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use control::{CTL_AGENT, ControlFile};
use records::RunDir;
use reqwest::{
    Method, Url,
    blocking::{RequestBuilder, Response},
    header::IF_MATCH,
};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Value, json};

use super::error::CtlError;

/// The folder of runs without `--run`.
const RUNS: &str = "runs";

/// Longest wait for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// A connection to the control channel of a run.
pub struct Client {
    address: Url,
    token: SecretString,
    client: reqwest::blocking::Client,
    pub run_dir: PathBuf,
}

impl Client {
    /// The run in `dir`, or the newest running run in that folder; without `dir`, the newest in `runs`.
    pub fn find(dir: Option<&Path>) -> Result<Self, CtlError> {
        let within = dir.unwrap_or(Path::new(RUNS));
        let (run_dir, file) = match ControlFile::read(&RunDir::new(within)) {
            Some(file) if file.is_live() => (within.to_owned(), file),
            Some(file) => return Err(CtlError::Killed { dir: within.to_owned(), pid: file.pid }),
            None => newest(within).ok_or_else(|| not_found(within))?,
        };
        let is_not_one = |_| CtlError::Address { dir: run_dir.clone(), address: file.address.clone() };
        let address = Url::parse(&file.address).map_err(is_not_one)?;
        // The connection is not encrypted, but the client does not start without a provider. Installing a second one
        // fails, which is harmless.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::blocking::Client::builder()
            .user_agent(format!("{CTL_AGENT}/{}", env!("CARGO_PKG_VERSION")))
            // A change is answered only when it is in force, which may take a whole step.
            .timeout(None)
            .connect_timeout(CONNECT_TIMEOUT)
            .no_proxy()
            // A run answers itself; a redirect would send the token elsewhere.
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(CtlError::Client)?;
        Ok(Client { address, token: file.token, client, run_dir })
    }

    /// The arms of the run, in its order.
    pub fn arms(&self) -> Result<Vec<Arm>, CtlError> {
        let mut state = self.get(&["api", "state"], &[])?;
        let arms = state["arms"].as_array_mut().map(std::mem::take).unwrap_or_default();
        Ok(arms.into_iter().map(Arm).collect())
    }

    pub fn get(&self, path: &[&str], query: &[(&str, String)]) -> Result<Value, CtlError> {
        self.read(self.request(Method::GET, path, query)?)
    }

    /// Gets a resource of an arm; an error names the arm.
    pub fn get_of(&self, arm: &Arm, what: &str, query: &[(&str, String)]) -> Result<Value, CtlError> {
        let answer = self.get(&["api", "arms", arm.name(), &arm.seed().to_string(), what], query);
        answer.map_err(|error| CtlError::OfArm { arm: arm.label(), error: Box::new(error) })
    }

    pub fn post(&self, path: &[&str], body: &Value) -> Result<Value, CtlError> {
        self.read(self.request(Method::POST, path, &[])?.json(body))
    }

    pub fn put(&self, path: &[&str], body: &Value) -> Result<Value, CtlError> {
        self.read(self.request(Method::PUT, path, &[])?.json(body))
    }

    pub fn delete(&self, path: &[&str]) -> Result<Value, CtlError> {
        self.read(self.request(Method::DELETE, path, &[])?)
    }

    /// Posts a change of conditions, made from the versions in `tag`.
    pub fn post_if(&self, path: &[&str], body: &Value, tag: Option<&str>) -> Result<Value, CtlError> {
        let request = self.request(Method::POST, path, &[])?.json(body);
        self.read(match tag {
            Some(tag) => request.header(IF_MATCH, tag),
            None => request,
        })
    }

    /// The stream of events.
    pub fn events(&self) -> Result<Response, CtlError> {
        self.send(self.request(Method::GET, &["api", "events"], &[])?)
    }

    fn request(
        &self,
        method: Method,
        path: &[&str],
        query: &[(&str, String)],
    ) -> Result<RequestBuilder, CtlError> {
        let mut url = self.address.clone();
        match url.path_segments_mut() {
            Ok(mut segments) => drop(segments.clear().extend(path)),
            Err(()) => {
                let (dir, address) = (self.run_dir.clone(), self.address.to_string());
                return Err(CtlError::Address { dir, address });
            }
        }
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        Ok(self.client.request(method, url).bearer_auth(self.token.expose_secret()))
    }

    fn read(&self, request: RequestBuilder) -> Result<Value, CtlError> {
        self.send(request)?.json().map_err(|error| self.no_answer(error))
    }

    fn send(&self, request: RequestBuilder) -> Result<Response, CtlError> {
        let response = request.send().map_err(|error| self.no_answer(error))?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let refusal: Value = response.json().unwrap_or_default();
        let message =
            refusal["error"].as_str().map_or_else(|| format!("the run answered {status}"), str::to_owned);
        Err(CtlError::Refused { status, message })
    }

    fn no_answer(&self, error: reqwest::Error) -> CtlError {
        CtlError::NoAnswer { dir: self.run_dir.clone(), error }
    }
}

/// The newest running run in a folder.
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

/// Why there is no running run in a folder.
fn not_found(folder: &Path) -> CtlError {
    let dir = folder.to_owned();
    if RunDir::new(folder).scenario().is_file() {
        CtlError::NotRunning(dir)
    } else if folder.is_dir() {
        CtlError::NoneRunning(dir)
    } else {
        CtlError::NoFolder(dir)
    }
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

    /// Its formula, weights and rewards; `None` for an arm that is not trained by rewards.
    pub fn conditions(&self) -> Option<&Value> {
        self.0.get("conditions").filter(|conditions| !conditions.is_null())
    }

    /// The version of its conditions.
    pub fn version(&self) -> Option<u64> {
        self.conditions()?.get("version")?.as_u64()
    }

    /// The value of a weight in the next step.
    pub fn weight(&self, name: &str) -> Option<f64> {
        self.conditions()?.get("weights")?.get(name)?.as_f64()
    }

    /// Its reward of this name.
    pub fn reward(&self, name: &str) -> Option<&Value> {
        self.conditions()?.get("rewards")?.get(name)
    }

    /// Its name and seed, as the API takes them in `arms`.
    pub fn selector(&self) -> Value {
        json!([self.name(), self.seed()])
    }

    /// Its name and seed, as in `grpo (seed 7)`.
    pub fn label(&self) -> String {
        Self::label_of(&self.0)
    }

    /// The label of the arm that a value names by `arm` and `seed`.
    pub fn label_of(value: &Value) -> String {
        format!("{} (seed {})", value["arm"].as_str().unwrap_or_default(), value["seed"])
    }
}
