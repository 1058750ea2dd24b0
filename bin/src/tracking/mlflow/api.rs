//! The requests of MLflow's REST API 2.0 that are needed.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use reqwest::blocking::{Client, RequestBuilder};
use reqwest::{StatusCode, Url};
use scenarios::MlflowConfig;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Serialize;
use serde_json::{Value, json};

use crate::failure::Failure;

/// Most metrics of a request; the server's limit.
pub(super) const BATCH: usize = 1000;

/// Most parameters of a request, and the longest that all versions of the server take; the server's limits.
const PARAMS: usize = 100;
const LONGEST_PARAM: usize = 500;

/// The tag by which a run is found again.
const TAG: &str = "sandbox.arm";

/// Longest wait for the answer to a request.
const TIMEOUT: Duration = Duration::from_secs(30);

/// An arm under a seed, as a run of MLflow.
pub(super) struct Run {
    /// Run directory, arm and seed.
    pub(super) name: String,
    pub(super) params: BTreeMap<String, String>,
    /// In seconds since 1970.
    pub(super) start: f64,
}

/// One value of a metric.
#[derive(Serialize)]
pub(super) struct Metric {
    key: String,
    value: f64,
    /// In milliseconds since 1970.
    timestamp: u64,
    step: u64,
}

impl Metric {
    pub(super) fn new(name: &str, value: f64, time: f64, step: u64) -> Self {
        Metric { key: allowed(name), value, timestamp: milliseconds(time), step }
    }

    pub(super) fn key(&self) -> &str {
        &self.key
    }

    pub(super) fn step(&self) -> u64 {
        self.step
    }
}

/// How a run ended.
#[derive(Clone, Copy)]
pub(super) enum Status {
    Finished,
    Failed,
    Killed,
}

#[derive(Debug, thiserror::Error)]
pub(super) enum ApiError {
    #[error("tracking.mlflow.url = \"{url}\" is not an address: {error}")]
    Address { url: String, error: <Url as std::str::FromStr>::Err },
    #[error("MLflow at {url} can't be reached: {error}")]
    Unreachable { url: String, error: reqwest::Error },
    #[error("MLflow at {url} answers {path} with {status}: {message}")]
    Answer { url: String, path: &'static str, status: StatusCode, message: String },
    #[error("MLflow at {url} answers {path} without `{missing}`; is it the address of an MLflow server?")]
    Incomplete { url: String, path: &'static str, missing: &'static str },
}

impl ApiError {
    /// Whether asking again would change nothing.
    pub(super) fn is_refusal(&self) -> bool {
        match self {
            ApiError::Unreachable { .. } => false,
            ApiError::Answer { status, .. } => {
                status.is_client_error()
                    && ![StatusCode::REQUEST_TIMEOUT, StatusCode::TOO_MANY_REQUESTS].contains(status)
            }
            ApiError::Address { .. } | ApiError::Incomplete { .. } => true,
        }
    }

    fn is_missing(&self) -> bool {
        matches!(self, ApiError::Answer { status, .. } if *status == StatusCode::NOT_FOUND)
    }
}

/// A server, and the experiment in it.
pub(super) struct Api {
    client: Client,
    url: String,
    token: Option<SecretString>,
    experiment: String,
    /// The id of the experiment, once it is known.
    id: Option<String>,
}

impl Api {
    pub(super) fn new(config: &MlflowConfig, experiment: String) -> Result<Self, Failure> {
        let token = config.token_env.as_deref().map(|variable| {
            let token = std::env::var(variable).ok().filter(|token| !token.trim().is_empty());
            token.map(|token| SecretString::from(token.trim())).ok_or_else(|| {
                Failure::Input(format!(
                    "the environment variable {variable} is not set; export it, or leave out tracking.mlflow.token_env"
                ))
            })
        });
        let token = token.transpose()?;
        if token.is_some() && config.url.starts_with("http://") && !is_near(&config.url) {
            tracing::warn!(
                "MLflow's token is sent to {} without encryption, so whoever is on the way can read it; use https://",
                config.url
            );
        }
        // Fails if another part of the process has installed one already, which works too.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut builder = Client::builder()
            .user_agent(concat!("audio-thinker-sandbox/", env!("CARGO_PKG_VERSION")))
            .timeout(TIMEOUT)
            .no_proxy()
            // A redirect would send the token elsewhere.
            .redirect(reqwest::redirect::Policy::none());
        if config.url.starts_with("http://") {
            // Without TLS no certificates are needed, and a minimal machine has none to load.
            builder = builder.tls_certs_only([]);
        }
        let client = builder.build().map_err(|error| {
            Failure::Running(format!("the HTTP client for MLflow can't be created: {error}"))
        })?;
        Ok(Api { client, url: config.url.trim_end_matches('/').to_owned(), token, experiment, id: None })
    }

    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// The id of the run, and the last step of each of its metrics. A run that the server has is running again.
    pub(super) fn find_or_create(&mut self, run: &Run) -> Result<(String, BTreeMap<String, u64>), ApiError> {
        let experiment = self.experiment()?;
        let name = run.name.replace(['\'', '"', '`', '\\'], "_");
        let search = "runs/search";
        let filter = format!("tags.`{TAG}` = '{name}'");
        let found =
            self.post(search, &json!({"experiment_ids": [&experiment], "filter": filter, "max_results": 1}))?;
        if let Some(found) = found["runs"].get(0) {
            let id = self.text(search, "run_id", &found["info"]["run_id"])?;
            self.post("runs/update", &json!({"run_id": &id, "status": "RUNNING"}))?;
            let metrics = found["data"]["metrics"].as_array().cloned().unwrap_or_default();
            let last = metrics.iter().filter_map(|metric| {
                // A step is a number, or a text with one.
                let step = &metric["step"];
                let step = step.as_u64().or_else(|| step.as_str()?.parse().ok())?;
                Some((metric["key"].as_str()?.to_owned(), step))
            });
            return Ok((id, last.collect()));
        }
        let create = "runs/create";
        let tags = json!([{"key": TAG, "value": &name}]);
        let start_time = milliseconds(run.start);
        let created = self.post(
            create,
            &json!({"experiment_id": &experiment, "run_name": &run.name, "start_time": start_time, "tags": tags}),
        )?;
        let id = self.text(create, "run_id", &created["run"]["info"]["run_id"])?;
        let params: Vec<Value> = run
            .params
            .iter()
            .map(|(key, value)| json!({"key": allowed(key), "value": shortened(value)}))
            .collect();
        for some in params.chunks(PARAMS) {
            self.post("runs/log-batch", &json!({"run_id": &id, "params": some}))?;
        }
        Ok((id, BTreeMap::new()))
    }

    pub(super) fn log(&self, id: &str, metrics: &[Metric]) -> Result<(), ApiError> {
        self.post("runs/log-batch", &json!({"run_id": id, "metrics": metrics})).map(drop)
    }

    pub(super) fn end(&self, id: &str, status: Status) -> Result<(), ApiError> {
        let status = match status {
            Status::Finished => "FINISHED",
            Status::Failed => "FAILED",
            Status::Killed => "KILLED",
        };
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let end_time = milliseconds(now.as_secs_f64());
        self.post("runs/update", &json!({"run_id": id, "status": status, "end_time": end_time})).map(drop)
    }

    /// The id of the experiment, which is made if there is none of its name.
    fn experiment(&mut self) -> Result<String, ApiError> {
        if let Some(id) = &self.id {
            return Ok(id.clone());
        }
        let id = match self.experiment_by_name() {
            Err(error) if error.is_missing() => {
                let create = "experiments/create";
                match self.post(create, &json!({"name": &self.experiment})) {
                    Ok(created) => self.text(create, "experiment_id", &created["experiment_id"])?,
                    // Another run has made it meanwhile, or it was deleted, which the first answer says.
                    Err(error) => self.experiment_by_name().map_err(|_| error)?,
                }
            }
            found => found?,
        };
        self.id = Some(id.clone());
        Ok(id)
    }

    fn experiment_by_name(&self) -> Result<String, ApiError> {
        let path = "experiments/get-by-name";
        let address = Url::parse_with_params(&self.address(path), [("experiment_name", &self.experiment)]);
        let address = address.map_err(|error| ApiError::Address { url: self.url.clone(), error })?;
        let found = self.exchange(path, self.client.get(address))?;
        self.text(path, "experiment_id", &found["experiment"]["experiment_id"])
    }

    fn address(&self, path: &str) -> String {
        format!("{}/api/2.0/mlflow/{path}", self.url)
    }

    fn post(&self, path: &'static str, body: &Value) -> Result<Value, ApiError> {
        self.exchange(path, self.client.post(self.address(path)).json(body))
    }

    fn exchange(&self, path: &'static str, mut request: RequestBuilder) -> Result<Value, ApiError> {
        if let Some(token) = &self.token {
            request = request.bearer_auth(token.expose_secret());
        }
        let unreachable = |error| ApiError::Unreachable { url: self.url.clone(), error };
        let answer = request.send().map_err(unreachable)?;
        let (status, text) = (answer.status(), answer.text().map_err(unreachable)?);
        let value: Value = serde_json::from_str(&text).unwrap_or_default();
        if status.is_success() {
            return Ok(value);
        }
        let message = value["message"].as_str().unwrap_or(&text);
        let mut message: String = message.lines().next().unwrap_or_default().chars().take(300).collect();
        if let Some(token) = &self.token {
            message = message.replace(token.expose_secret(), "[token]");
        }
        Err(ApiError::Answer { url: self.url.clone(), path, status, message })
    }

    fn text(&self, path: &'static str, missing: &'static str, value: &Value) -> Result<String, ApiError> {
        let incomplete = || ApiError::Incomplete { url: self.url.clone(), path, missing };
        value.as_str().map(str::to_owned).ok_or_else(incomplete)
    }
}

/// The name with an underscore for each character that MLflow does not allow in the names of metrics and parameters.
fn allowed(name: &str) -> String {
    name.chars().map(|c| if c.is_alphanumeric() || "_-. /".contains(c) { c } else { '_' }).collect()
}

fn shortened(value: &str) -> String {
    if value.chars().count() <= LONGEST_PARAM {
        return value.to_owned();
    }
    value.chars().take(LONGEST_PARAM - 1).chain(['…']).collect()
}

fn milliseconds(seconds: f64) -> u64 {
    (seconds * 1e3) as u64
}

/// Whether the server is on this machine.
fn is_near(url: &str) -> bool {
    let host = Url::parse(url).ok().and_then(|url| url.host_str().map(str::to_owned)).unwrap_or_default();
    let host = host.trim_matches(['[', ']']);
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}
