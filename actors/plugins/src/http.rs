//! A reward behind an HTTP server: each batch is one POST.
//!
//! If the server can't be reached or reports that it is busy (429, 502, 503, 504), the same request is repeated until
//! the batch's time limit. The delay between attempts doubles.

use std::collections::BTreeSet;
use std::time::Duration;

use records::MissingCause;
use reqwest::StatusCode;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use rewards::RewardBatch;
use scenarios::{HttpPlugin, ScenarioError};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::Value;
use tokio::time::{Instant, sleep, timeout};
use tracing::field::Empty;
use tracing::{Instrument as _, Span};

use crate::error::PluginError;
use crate::protocol::{self, PROTOCOL, PluginMessage};
use crate::scored::{Answer, Failure};

/// Longest response body that is read.
const MAX_RESPONSE_BYTES: usize = 64 << 20;
/// Delay before the second attempt.
const FIRST_DELAY: Duration = Duration::from_millis(100);

/// The client of one reward server.
pub struct HttpReward {
    name: String,
    plugin: HttpPlugin,
    client: reqwest::Client,
    /// What the headers carry. A server may repeat it in the answer, from which messages quote.
    secrets: Vec<SecretString>,
    /// Warnings of the server that were passed on.
    warned: BTreeSet<String>,
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
        let headers = headers(name, &plugin)?;
        if let Some(warning) = plain_http_warning(&plugin, &url) {
            tracing::warn!(reward = %name, "{warning}");
        }
        // Fails if another part of the process has installed it already; all install the same one.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut client = reqwest::Client::builder()
            .default_headers(headers)
            .user_agent(concat!("audio-thinker-sandbox/", env!("CARGO_PKG_VERSION")))
            // A redirect would send the headers, which may hold secrets, to another address.
            .redirect(reqwest::redirect::Policy::none())
            // Nor do they go to what HTTP_PROXY and the like name, which the user may not have thought of.
            .no_proxy();
        if let Some(address) = plugin.filled_proxy().map_err(|error| about(error.to_string()))? {
            // The address may contain a password, so the error is not shown.
            let proxy = reqwest::Proxy::all(address.expose_secret()).map_err(|_| {
                about(
                    "`proxy` is not a valid address; write one such as \"http://proxy.example:3128\"".into(),
                )
            })?;
            client = client.proxy(proxy);
        }
        if url.scheme() == "http" {
            // Without TLS no certificates are needed, and a minimal machine has none to load.
            client = client.tls_certs_only([]);
        }
        let client = client.build().map_err(|error| about(error.to_string()))?;
        let secrets = secrets(&plugin).map_err(|error| about(error.to_string()))?;
        Ok(HttpReward { name: name.to_owned(), plugin, client, secrets, warned: BTreeSet::new(), last_id: 0 })
    }

    /// Why the server's address does not protect the secrets that are sent to it, in one line.
    pub fn warning(&self) -> Option<String> {
        plain_http_warning(&self.plugin, &reqwest::Url::parse(&self.plugin.url).ok()?)
    }

    /// Scores a batch. The future may be dropped at any `.await`.
    pub async fn score(&mut self, batch: &RewardBatch) -> Result<Answer, Failure> {
        let mut answer = self
            .ask_until_answered(batch)
            .await
            .map_err(|failure| Failure { message: self.without_secrets(&failure.message), ..failure })?;
        let warnings = answer.warnings.iter().map(|warning| self.without_secrets(warning));
        let warnings: Vec<String> = warnings.collect();
        answer.warnings =
            warnings.into_iter().filter(|warning| self.warned.insert(warning.clone())).collect();
        Ok(answer)
    }

    /// A text without what the headers carry.
    fn without_secrets(&self, text: &str) -> String {
        self.secrets.iter().fold(text.to_owned(), |text, secret| text.replace(secret.expose_secret(), "…"))
    }

    async fn ask_until_answered(&mut self, batch: &RewardBatch) -> Result<Answer, Failure> {
        self.last_id += 1;
        let mut message = protocol::score(self.last_id, batch, &batch.items, &None);
        message.insert("protocol".into(), PROTOCOL.into());
        message.insert("name".into(), self.name.clone().into());
        message.insert("options".into(), serde_json::to_value(&self.plugin.options).unwrap_or_default());
        let body = Value::Object(message).to_string();
        let limit = Duration::from_secs_f64(self.plugin.timeout_seconds);
        let deadline = Instant::now() + limit;
        let mut delay = FIRST_DELAY;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let span = traces::span!(
                "request",
                otel.kind = "client",
                otel.name = "POST reward server",
                server.address = %self.plugin.url,
                http.response.status_code = Empty,
            );
            let asked = self.ask(&body, batch.items.len()).instrument(span);
            let failure = match timeout(left, asked).await {
                Ok(Ok(answer)) => return Ok(answer),
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

    async fn ask(&self, body: &str, items: usize) -> Result<Answer, AskError> {
        let url = &self.plugin.url;
        let unreachable = |error: reqwest::Error| {
            let message = format!("{url} could not be reached: {}", root_cause(&error.without_url()));
            AskError::Retry(Failure { cause: MissingCause::Unavailable, message })
        };
        let mut request =
            self.client.post(url).header("content-type", "application/json").body(body.to_owned());
        if let Some(traceparent) = traces::traceparent() {
            request = request.header("traceparent", traceparent);
        }
        let mut answer = request.send().await.map_err(unreachable)?;
        let status = answer.status();
        Span::current().record("http.response.status_code", status.as_u16());
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
            // A quote is shortened, which could leave a part of a secret.
            let message =
                format!("{url} answered {status}: {}", protocol::quote(&self.without_secrets(&text)));
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
            PluginMessage::Scores { scores, fields, .. } => {
                protocol::read_answer(scores, &fields, items).map_err(AskError::Fatal)
            }
            PluginMessage::Error { message, .. } => Err(AskError::Fatal(Failure {
                cause: MissingCause::Error,
                message: format!("{url}: {message}"),
            })),
            PluginMessage::Ready { .. } => Err(bad_answer("sent `ready` instead of scores".into())),
        }
    }
}

/// The headers of every request, with environment variables filled in. They are marked as sensitive, so that debug output
/// hides them.
fn headers(name: &str, plugin: &HttpPlugin) -> Result<HeaderMap, PluginError> {
    let about = |problem: String| PluginError::Http { name: name.to_owned(), problem };
    let mut headers = HeaderMap::new();
    for (header, value) in plugin.filled_headers().map_err(|error| about(error.to_string()))? {
        let name = HeaderName::try_from(&header)
            .map_err(|_| about(format!("`{header}` is not a valid header name")))?;
        let mut value = HeaderValue::try_from(value.expose_secret()).map_err(|_| {
            about(format!("the value of the header `{header}` has characters that are not allowed"))
        })?;
        value.set_sensitive(true);
        headers.insert(name, value);
    }
    Ok(headers)
}

/// What the headers carry, and each word of it, since `Bearer` comes before a token.
fn secrets(plugin: &HttpPlugin) -> Result<Vec<SecretString>, ScenarioError> {
    let filled = plugin.filled_headers()?;
    let carrying = filled.iter().filter(|(name, _)| plugin.carries_secret(name));
    let words = carrying.flat_map(|(_, value)| {
        let value = value.expose_secret();
        [value].into_iter().chain(value.split_whitespace())
    });
    // A short word such as the name of a scheme would tear other words of a message.
    Ok(words.filter(|word| word.len() >= 8).map(SecretString::from).collect())
}

/// The warning about secrets that are sent without encryption to another machine.
fn plain_http_warning(plugin: &HttpPlugin, url: &reqwest::Url) -> Option<String> {
    let host = url.host_str()?;
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let is_local = bare == "localhost"
        || bare.ends_with(".localhost")
        || bare.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback());
    let unprotected = url.scheme() == "http"
        && !is_local
        && plugin.headers.keys().any(|header| plugin.carries_secret(header));
    unprotected.then(|| {
        format!(
            "the headers of this reward carry a secret to {host} without encryption; use an https:// address"
        )
    })
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

#[cfg(test)]
mod tests {
    use super::*;

    fn open(url: &str, options: &str) -> Result<HttpReward, PluginError> {
        let plugin = toml::from_str(&format!("url = '{url}'\n{options}")).unwrap();
        HttpReward::open("mine", plugin)
    }

    #[test]
    fn secret_4_a_secret_over_plain_http_to_another_machine_is_warned_about() {
        let secret = "headers = { authorization = 'Bearer ${PATH}' }";
        let warning = |url: &str, options: &str| open(url, options).unwrap().warning();
        let said = warning("http://scores.example:8000/x", secret).unwrap();
        assert!(said.contains("to scores.example without encryption; use an https:// address"), "{said}");
        assert!(
            warning("http://10.0.0.7/x", secret).is_some()
                && warning("http://[2001:db8::1]/x", secret).is_some()
        );
        for url in ["http://127.0.0.2/x", "http://localhost:1/x", "http://[::1]/x"] {
            assert_eq!(warning(url, secret), None, "{url}");
        }
        assert_eq!(warning("http://scores.example/x", "headers = { accept = '*/*' }"), None);
    }

    #[test]
    fn secret_2_no_message_contains_the_proxys_password_or_what_a_header_carries() {
        let error =
            open("http://127.0.0.1:1/", "proxy = 'http://me:hunter2@[oops'").err().unwrap().to_string();
        assert!(error.contains("`proxy` is not a valid address") && !error.contains("hunter2"), "{error}");
        let carried = std::env::var("PATH").unwrap();
        let reward = open("http://127.0.0.1:1/", "headers = { x-key = 'Bearer ${PATH}' }").unwrap();
        assert_eq!(reward.without_secrets(&format!("bad key Bearer {carried}!")), "bad key …!");
        assert_eq!(reward.without_secrets(&format!("bad key {carried}!")), "bad key …!");
    }
}
