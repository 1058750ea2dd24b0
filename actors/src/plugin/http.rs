//! A reward that is a server: each batch is posted to it.
//!
//! A server that is not there, or says that it is busy, is asked again until the batch's time is up; the waits double.

use std::time::Duration;

use reqwest::StatusCode;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use rewards::RewardBatch;
use scenarios::HttpPlugin;
use serde_json::Value;
use tokio::time::{Instant, sleep, timeout};

use super::protocol::{self, PROTOCOL, Said};
use crate::reward::{Cause, Failure};

/// The most that is read of an answer.
const LONGEST_ANSWER: usize = 64 << 20;
/// The first wait before asking again.
const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// The reward.
pub struct HttpReward {
    name: String,
    plugin: HttpPlugin,
    client: reqwest::Client,
    last_id: u64,
}

/// Why a request brought no scores.
enum Refusal {
    /// It may bring some a little later.
    ForNow(Failure),
    /// It will not.
    ForGood(Failure),
}

impl HttpReward {
    /// Nothing is sent yet.
    ///
    /// # Errors
    /// One line: a header, or the address, is unusable.
    pub fn open(name: &str, plugin: HttpPlugin) -> Result<Self, String> {
        let about = |problem: String| format!("[rewards.{name}]: {problem}");
        let url = reqwest::Url::parse(&plugin.url)
            .map_err(|error| about(format!("`url = \"{}\"` is no address ({error})", plugin.url)))?;
        let mut headers = HeaderMap::new();
        for (header, value) in plugin.filled_headers().map_err(|error| about(error.to_string()))? {
            let name = HeaderName::try_from(&header)
                .map_err(|_| about(format!("`{header}` cannot be the name of a header")))?;
            let mut value = HeaderValue::try_from(value).map_err(|_| {
                about(format!("the value of the header `{header}` has characters that it may not have"))
            })?;
            value.set_sensitive(true);
            headers.insert(name, value);
        }
        // Whoever comes first sets it; all of us set the same.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut client = reqwest::Client::builder()
            .default_headers(headers)
            .user_agent(concat!("audio-thinker-sandbox/", env!("CARGO_PKG_VERSION")))
            // The headers hold secrets that are for this address alone.
            .redirect(reqwest::redirect::Policy::none());
        if matches!(url.host_str(), Some("localhost" | "127.0.0.1" | "[::1]")) {
            client = client.no_proxy();
        }
        if url.scheme() == "http" {
            // Without TLS no certificates are needed, and a bare machine has none.
            client = client.tls_certs_only([]);
        }
        let client = client.build().map_err(|error| about(error.to_string()))?;
        Ok(HttpReward { name: name.to_owned(), plugin, client, last_id: 0 })
    }

    /// The scores of a batch. May be given up at any `.await`.
    pub async fn score(&mut self, batch: &RewardBatch) -> Result<Vec<Option<f64>>, Failure> {
        self.last_id += 1;
        let mut message = protocol::score(self.last_id, batch, &None);
        message.insert("protocol".into(), PROTOCOL.into());
        message.insert("name".into(), self.name.clone().into());
        message.insert("options".into(), serde_json::to_value(&self.plugin.options).unwrap_or_default());
        let body = Value::Object(message).to_string();
        let limit = Duration::from_secs_f64(self.plugin.timeout_seconds);
        let deadline = Instant::now() + limit;
        let mut pause = FIRST_PAUSE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let failure = match timeout(left, self.ask(&body)).await {
                Ok(Ok(scores)) => return Ok(scores),
                Ok(Err(Refusal::ForGood(failure))) => return Err(failure),
                Ok(Err(Refusal::ForNow(failure))) => failure,
                Err(_) => {
                    let message =
                        format!("{} gave no scores within {} s", self.plugin.url, limit.as_secs_f64());
                    return Err(Failure { cause: Cause::TimedOut, message });
                }
            };
            if Instant::now() + pause >= deadline {
                return Err(failure);
            }
            sleep(pause).await;
            pause *= 2;
        }
    }

    async fn ask(&self, body: &str) -> Result<Vec<Option<f64>>, Refusal> {
        let url = &self.plugin.url;
        let unreachable = |error: reqwest::Error| {
            let message = format!("{url} could not be reached: {}", root(&error.without_url()));
            Refusal::ForNow(Failure { cause: Cause::Unavailable, message })
        };
        let request = self.client.post(url).header("content-type", "application/json").body(body.to_owned());
        let mut answer = request.send().await.map_err(unreachable)?;
        let status = answer.status();
        let mut text = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(unreachable)? {
            if text.len() + chunk.len() > LONGEST_ANSWER {
                let message = format!("{url} answered with more than {} MB", LONGEST_ANSWER >> 20);
                return Err(Refusal::ForGood(Failure { cause: Cause::BadAnswer, message }));
            }
            text.extend_from_slice(&chunk);
        }
        let text = String::from_utf8_lossy(&text);
        if !status.is_success() {
            let message = format!("{url} answered {status}: {}", protocol::quote(&text));
            let failure = Failure { cause: Cause::Error, message };
            return Err(if is_for_now(status) {
                Refusal::ForNow(failure)
            } else {
                Refusal::ForGood(failure)
            });
        }
        let bad = |problem| {
            Refusal::ForGood(Failure { cause: Cause::BadAnswer, message: format!("{url} {problem}") })
        };
        match protocol::read_body(&text).map_err(bad)? {
            Said::Scores { id, .. } if id.is_some_and(|id| id != self.last_id) => {
                Err(bad(format!("answered another batch than the one posted, number {}", self.last_id)))
            }
            Said::Scores { scores, .. } => protocol::numbers(scores).map_err(Refusal::ForGood),
            Said::Error { message, .. } => {
                Err(Refusal::ForGood(Failure { cause: Cause::Error, message: format!("{url}: {message}") }))
            }
            Said::Ready { .. } => Err(bad("said that it is ready; a batch is answered with scores".into())),
        }
    }
}

fn is_for_now(status: StatusCode) -> bool {
    matches!(status.as_u16(), 429 | 502 | 503 | 504)
}

/// The innermost reason, which is the one that says something.
fn root(error: &reqwest::Error) -> String {
    let mut reason: &dyn std::error::Error = error;
    while let Some(source) = reason.source() {
        reason = source;
    }
    reason.to_string()
}
