//! A reward behind an HTTP server: each batch is one POST.
//!
//! If the server can't be reached or reports that it is busy (429, 502, 503, 504), the same request is repeated until
//! the batch's time limit. The delay between attempts doubles.

use std::time::Duration;

use records::MissingCause;
use reqwest::StatusCode;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use rewards::RewardBatch;
use scenarios::HttpPlugin;
use serde_json::Value;
use tokio::time::{Instant, sleep, timeout};

use crate::error::PluginError;
use crate::protocol::{self, PROTOCOL, PluginMessage};
use crate::scored::Failure;

/// Longest response body that is read.
const MAX_RESPONSE_BYTES: usize = 64 << 20;
/// Delay before the second attempt.
const FIRST_DELAY: Duration = Duration::from_millis(100);

/// The client of one reward server.
pub struct HttpReward {
    name: String,
    plugin: HttpPlugin,
    client: reqwest::Client,
    last_id: u64,
}

/// Why a request returned no scores.
enum AskError {
    /// The same request may succeed later.
    Retry(Failure),
    /// The same request would fail again.
    Fatal(Failure),
}

impl HttpReward {
    /// Creates the client; no request is sent before the first batch. Fails with [`PluginError::Http`] if the address
    /// or a header is unusable.
    pub fn open(name: &str, plugin: HttpPlugin) -> Result<Self, PluginError> {
        let about = |problem: String| PluginError::Http { name: name.to_owned(), problem };
        let url = reqwest::Url::parse(&plugin.url)
            .map_err(|error| about(format!("`url = \"{}\"` is not a valid address ({error})", plugin.url)))?;
        let mut headers = HeaderMap::new();
        for (header, value) in plugin.filled_headers().map_err(|error| about(error.to_string()))? {
            let name = HeaderName::try_from(&header)
                .map_err(|_| about(format!("`{header}` is not a valid header name")))?;
            let mut value = HeaderValue::try_from(value).map_err(|_| {
                about(format!("the value of the header `{header}` has characters that are not allowed"))
            })?;
            value.set_sensitive(true);
            headers.insert(name, value);
        }
        // Fails if another part of the process has installed it already; all install the same one.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut client = reqwest::Client::builder()
            .default_headers(headers)
            .user_agent(concat!("audio-thinker-sandbox/", env!("CARGO_PKG_VERSION")))
            // A redirect would send the headers, which may hold secrets, to another address.
            .redirect(reqwest::redirect::Policy::none());
        if matches!(url.host_str(), Some("localhost" | "127.0.0.1" | "[::1]")) {
            client = client.no_proxy();
        }
        if url.scheme() == "http" {
            // Without TLS no certificates are needed, and a minimal machine has none to load.
            client = client.tls_certs_only([]);
        }
        let client = client.build().map_err(|error| about(error.to_string()))?;
        Ok(HttpReward { name: name.to_owned(), plugin, client, last_id: 0 })
    }

    /// Scores a batch. The future may be dropped at any `.await`.
    pub async fn score(&mut self, batch: &RewardBatch) -> Result<Vec<Option<f64>>, Failure> {
        self.last_id += 1;
        let mut message = protocol::score(self.last_id, batch, &None);
        message.insert("protocol".into(), PROTOCOL.into());
        message.insert("name".into(), self.name.clone().into());
        message.insert("options".into(), serde_json::to_value(&self.plugin.options).unwrap_or_default());
        let body = Value::Object(message).to_string();
        let limit = Duration::from_secs_f64(self.plugin.timeout_seconds);
        let deadline = Instant::now() + limit;
        let mut delay = FIRST_DELAY;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let failure = match timeout(left, self.ask(&body)).await {
                Ok(Ok(scores)) => return Ok(scores),
                Ok(Err(AskError::Fatal(failure))) => return Err(failure),
                Ok(Err(AskError::Retry(failure))) => failure,
                Err(_) => {
                    let message =
                        format!("{} gave no scores within {} s", self.plugin.url, limit.as_secs_f64());
                    return Err(Failure { cause: MissingCause::TimedOut, message });
                }
            };
            if Instant::now() + delay >= deadline {
                return Err(failure);
            }
            sleep(delay).await;
            delay *= 2;
        }
    }

    async fn ask(&self, body: &str) -> Result<Vec<Option<f64>>, AskError> {
        let url = &self.plugin.url;
        let unreachable = |error: reqwest::Error| {
            let message = format!("{url} could not be reached: {}", root_cause(&error.without_url()));
            AskError::Retry(Failure { cause: MissingCause::Unavailable, message })
        };
        let request = self.client.post(url).header("content-type", "application/json").body(body.to_owned());
        let mut answer = request.send().await.map_err(unreachable)?;
        let status = answer.status();
        let mut text = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(unreachable)? {
            if text.len() + chunk.len() > MAX_RESPONSE_BYTES {
                let message = format!("{url} answered with more than {} MB", MAX_RESPONSE_BYTES >> 20);
                return Err(AskError::Fatal(Failure { cause: MissingCause::BadAnswer, message }));
            }
            text.extend_from_slice(&chunk);
        }
        let text = String::from_utf8_lossy(&text);
        if !status.is_success() {
            let message = format!("{url} answered {status}: {}", protocol::quote(&text));
            let failure = Failure { cause: MissingCause::Error, message };
            return Err(if is_retryable(status) {
                AskError::Retry(failure)
            } else {
                AskError::Fatal(failure)
            });
        }
        let bad_answer = |problem: String| {
            AskError::Fatal(Failure { cause: MissingCause::BadAnswer, message: format!("{url} {problem}") })
        };
        match protocol::parse_body(&text).map_err(|error| bad_answer(error.to_string()))? {
            PluginMessage::Scores { id, .. } if id.is_some_and(|id| id != self.last_id) => {
                Err(bad_answer(format!("answered a different batch; the posted one has id {}", self.last_id)))
            }
            PluginMessage::Scores { scores, .. } => protocol::parse_scores(scores).map_err(AskError::Fatal),
            PluginMessage::Error { message, .. } => Err(AskError::Fatal(Failure {
                cause: MissingCause::Error,
                message: format!("{url}: {message}"),
            })),
            PluginMessage::Ready { .. } => Err(bad_answer("sent `ready` instead of scores".into())),
        }
    }
}

fn is_retryable(status: StatusCode) -> bool {
    matches!(status.as_u16(), 429 | 502 | 503 | 504)
}

/// The innermost error of the chain, such as `Connection refused`; the outer ones only repeat that the request failed.
fn root_cause(error: &reqwest::Error) -> String {
    let mut reason: &dyn std::error::Error = error;
    while let Some(source) = reason.source() {
        reason = source;
    }
    reason.to_string()
}
