//! Attempts and retries: from a request to its answer or the reason why there is none.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use rewards::JudgeFailure;
use tokio::sync::Semaphore;
use tracing::Instrument as _;
use tracing::field::Empty;

use crate::answer::{Answer, NoAnswer};
use crate::client::{Client, unused_proxy};
use crate::complaint::Complaint;
use crate::error::{ChatError, Failed};
use crate::limits::Limits;
use crate::models::Models;
use crate::request::{Reply, Request, count};
use crate::servers::{Server, Servers};
use crate::settings::Settings;

/// Longest delay between two attempts, unless the server asks for a longer one.
const MAX_DELAY: Duration = Duration::from_secs(30);

/// A client of one or several servers with the same model.
pub struct Chat {
    client: Client,
    servers: Servers,
    permits: Arc<Semaphore>,
    limits: Limits,
    settings: Settings,
}

/// What a server that answers says about its model.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// What stays the same as long as the server has the same model, as JSON; `None` if it lists no models.
    pub facts: Option<String>,
    /// Whether the server is llama.cpp, which constrains replies by a grammar.
    pub llama_cpp: bool,
}

impl Chat {
    /// Creates the client; no request is sent.
    ///
    /// Errors: [`ChatError::Setting`] if the variable with the API key or the address of the proxy is unusable.
    pub fn new(settings: Settings) -> Result<Self, ChatError> {
        Ok(Self {
            client: Client::new(&settings)?,
            servers: Servers::new(
                &settings.servers,
                Duration::from_secs_f64(settings.max_retry_after_seconds),
                settings.names,
            ),
            permits: Arc::new(Semaphore::new(settings.concurrency)),
            limits: Limits::new(settings.requests_per_minute, settings.tokens_per_minute),
            settings,
        })
    }

    /// The settings that it was created with.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Asks until there is an answer, the failure is permanent, or all attempts are used.
    ///
    /// Errors: the failure of the last attempt.
    pub async fn ask(&self, request: &mut impl Request) -> Result<Reply, Failed> {
        let (chars, reply_tokens) = request.size();
        let mut attempt = 0;
        loop {
            self.limits.wait(chars, reply_tokens).await;
            let Ok(permit) = self.permits.acquire().await else {
                unreachable!("the semaphore is never closed");
            };
            if let Err(failure) = request.permit() {
                return Err(Failed { failure, complaint: Complaint::default(), retry_after: None });
            }
            let body = request.body();
            let server = self.servers.choose().await;
            let answer = self.attempt(&server, &body, request.path()).await;
            drop(permit);
            let failed = match answer {
                Ok(answer) => {
                    self.servers.mark_ok(&server);
                    return Ok(Reply { answer, retries: u64::from(attempt) });
                }
                Err(failed) => failed,
            };
            if request.adapt(&failed) {
                continue;
            }
            if request.is_hopeless(&failed) {
                return Err(failed);
            }
            let wait = self.servers.mark_failed(&server, failed.failure.cause, failed.retry_after);
            if attempt >= self.settings.retries {
                return Err(failed);
            }
            if !self.servers.another_is_healthy(&server) {
                tokio::time::sleep(self.retry_delay(attempt, wait)).await;
            }
            attempt += 1;
            count(request.retries());
        }
    }

    /// The delay after attempt `attempt`: it doubles, up to half of it is subtracted at random, and it is at least `wait`,
    /// for which the server asks.
    fn retry_delay(&self, attempt: u32, wait: Option<Duration>) -> Duration {
        let doubled = self.settings.retry_pause_seconds * 2_f64.powi(attempt.min(20) as i32);
        let delay = doubled.min(MAX_DELAY.as_secs_f64()) * rand::random_range(0.5..=1.0);
        Duration::from_secs_f64(delay).max(wait.unwrap_or_default())
    }

    async fn attempt(&self, server: &Server, body: &serde_json::Value, path: &str) -> Result<Answer, Failed> {
        let _in_flight = server.in_flight();
        let at_server = |failure: JudgeFailure| JudgeFailure {
            message: format!("{}: {}", server.url, failure.message),
            ..failure
        };
        let span = traces::span!(
            "request",
            otel.kind = "client",
            otel.name = %format_args!("POST {path}"),
            server.address = %server.url,
            http.response.status_code = Empty,
            otel.status_code = Empty,
            otel.status_description = Empty,
        );
        let url = format!("{}{path}", server.url);
        let response = self.client.post(&url, body).instrument(span.clone()).await;
        match &response {
            Ok(response) => span.record("http.response.status_code", response.status.as_u16()),
            Err(failure) => span
                .record("otel.status_code", "ERROR")
                .record("otel.status_description", failure.message.as_str()),
        };
        let response = response.map_err(|failure| Failed {
            failure: at_server(failure),
            complaint: Complaint::default(),
            retry_after: None,
        })?;
        Answer::of(&response, self.settings.names.address).map_err(|NoAnswer { failure, complaint }| Failed {
            failure: at_server(failure),
            complaint,
            retry_after: response.retry_after,
        })
    }

    /// Finds out which servers answer and what they say about their model.
    ///
    /// Errors: [`ChatError::Server`] if none can be used.
    pub async fn probe(&self) -> Result<Vec<Told>, ChatError> {
        let probes = self.servers.all().iter().map(|server| self.probe_server(server));
        let outcomes = join_all(probes).await;
        if outcomes.iter().any(Result::is_ok) {
            return Ok(outcomes.into_iter().flatten().collect());
        }
        let rejected = outcomes.into_iter().find_map(|outcome| outcome.err().flatten());
        Err(ChatError::Server(rejected.unwrap_or_else(|| {
            let names = &self.settings.names;
            let addresses = self.settings.servers.join(", ");
            let proxy = unused_proxy(&self.settings)
                .filter(|_| !names.proxy.is_empty())
                .map(|variable| format!("; {variable} is not used unless {} = \"environment\"", names.proxy));
            let proxy = proxy.unwrap_or_default();
            format!("no server answers at {addresses}; start it, or correct {}{proxy}", names.address)
        })))
    }

    /// Checks that a server answers and accepts the key, and returns what it says about its model. Fails with the reason
    /// if the server answers but cannot be used, and without one if it does not answer, which is logged.
    async fn probe_server(&self, server: &Server) -> Result<Told, Option<String>> {
        let (url, names) = (&server.url, &self.settings.names);
        let whose = names.whose;
        let response = self.client.get(&format!("{url}/models")).await.map_err(|failure| {
            tracing::warn!("{whose} server {url} does not answer: {}", failure.message);
            None
        })?;
        match response.status.as_u16() {
            401 | 403 => {
                let key = match &self.settings.api_key_env {
                    Some(variable) => format!("the key in {variable}"),
                    None => format!(
                        "requests without a key; set {} to the name of the variable that holds it",
                        names.api_key_env
                    ),
                };
                return Err(Some(format!("{url} does not accept {key}")));
            }
            300..=399 => {
                let redirected = Answer::of(&response, names.address).err().map(|none| none.failure.message);
                return Err(redirected.map(|message| format!("{url} {message}")));
            }
            500..=599 => tracing::warn!("{whose} server {url} answered {} to /models", response.status),
            _ => {}
        }
        let Some(models) = Models::read(&response.text) else { return Ok(Told::default()) };
        let model = &self.settings.model;
        if !models.names().contains(&model.as_str()) {
            let listed = models.names().join(", ");
            tracing::warn!("{whose} server {url} does not list the model {model}; it lists {listed}");
        }
        Ok(Told { facts: Some(models.facts(model)), llama_cpp: models.are_of_llama_cpp() })
    }
}
