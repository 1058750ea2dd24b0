//! The HTTP client: JSON in and out, with the key and bounded answers.

use std::error::Error;
use std::time::Duration;

use reqwest::RequestBuilder;
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;

use crate::problem::Problem;

/// Longest answer that is read. A prompt's log-probabilities take about 100 bytes per token.
const MOST_BYTES: usize = 64 << 20;

/// Longest wait for a connection.
const CONNECT: Duration = Duration::from_secs(10);

/// Longest part of a server's message that is quoted.
const QUOTED: usize = 300;

/// Sends requests to the servers of an arm. Clones share their connections.
#[derive(Clone)]
pub(crate) struct Http {
    client: reqwest::Client,
    key: Option<SecretString>,
}

/// An answer, read to its end.
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// Null for a body that is not JSON.
    pub(crate) body: Value,
    /// The beginning of the body, in one line and without the key.
    pub(crate) said: String,
}

impl Answer {
    pub(crate) fn is_ok(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// The status and what the server said.
    pub(crate) fn complaint(&self) -> String {
        format!("status {}: {}", self.status, self.said)
    }
}

impl Http {
    /// Creates the client; no request is sent.
    ///
    /// Errors: One line: the variable of the key can't be used.
    pub(crate) fn new(api_key_env: Option<&str>, urls: &[String]) -> Result<Self, Problem> {
        // Fails if another part of the process has installed one already, which works too.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut builder = reqwest::Client::builder()
            .connect_timeout(CONNECT)
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .user_agent(concat!("audio-thinker-sandbox/", env!("CARGO_PKG_VERSION")));
        if urls.iter().all(|url| url.starts_with("http://")) {
            // Without TLS no certificates are needed, and a minimal machine has none to load.
            builder = builder.tls_certs_only([]);
        }
        let client = builder.build().map_err(|error| format!("[sampler] {}", chain(&error)))?;
        let key = api_key_env.map(key_in).transpose()?;
        Ok(Self { client, key })
    }

    /// Sends a JSON body and reads the answer. Fails with one line if there is none.
    pub(crate) async fn post(&self, url: &str, body: &Value, limit: Duration) -> Result<Answer, Problem> {
        self.exchange(self.client.post(url).json(body), limit).await
    }

    /// Reads a resource, as [`Self::post`].
    pub(crate) async fn get(&self, url: &str, limit: Duration) -> Result<Answer, Problem> {
        self.exchange(self.client.get(url), limit).await
    }

    async fn exchange(&self, mut request: RequestBuilder, limit: Duration) -> Result<Answer, Problem> {
        if let Some(key) = &self.key {
            request = request.bearer_auth(key.expose_secret());
        }
        let mut response = request.timeout(limit).send().await.map_err(|error| failed(&error, limit))?;
        let status = response.status().as_u16();
        let mut bytes = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| failed(&error, limit))? {
            bytes.extend_from_slice(&chunk);
            if bytes.len() > MOST_BYTES {
                return Err(format!("the answer is longer than {MOST_BYTES} bytes").into());
            }
        }
        let mut said: String = String::from_utf8_lossy(&bytes[..bytes.len().min(4 * QUOTED)]).into_owned();
        if let Some(key) = &self.key {
            said = said.replace(key.expose_secret(), "[key]");
        }
        let said = said.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(QUOTED).collect();
        Ok(Answer { status, body: serde_json::from_slice(&bytes).unwrap_or_default(), said })
    }
}

fn failed(error: &reqwest::Error, limit: Duration) -> String {
    match error.is_timeout() {
        true => format!("no answer within {} s", limit.as_secs_f64()),
        false => chain(error),
    }
}

/// Reads the key from an environment variable. Messages do not contain its value.
fn key_in(variable: &str) -> Result<SecretString, Problem> {
    let value = std::env::var(variable).map(|value| value.trim().to_owned()).unwrap_or_default();
    let usable = !value.is_empty() && value.bytes().all(|byte| (b'!'..=b'~').contains(&byte));
    match usable {
        true => Ok(value.into()),
        false => Err(format!(
            "the environment variable {variable} holds no API key; export it, or leave out sampler.api_key_env"
        )
        .into()),
    }
}

/// An error and its causes, in one line.
fn chain(error: &dyn Error) -> String {
    let mut line = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let text = error.to_string();
        if !line.contains(&text) {
            line.push_str(": ");
            line.push_str(&text);
        }
        cause = error.source();
    }
    line
}
