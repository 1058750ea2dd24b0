//! Sends a JSON document to an address: the evidence of an alarm.

use std::time::Duration;

use serde_json::Value;

use crate::error::PluginError;

/// The longest that a webhook may take to answer.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Sends `document` by POST to `url`. Errors do not name the address, which may contain a key.
///
/// Errors: [`PluginError::Webhook`]: no answer within 10 s, or one that is no success.
pub async fn post_webhook(url: &str, document: &Value) -> Result<(), PluginError> {
    // Fails if another part of the process has installed it already; all install the same one.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut client = reqwest::Client::builder()
        .user_agent(concat!("audio-thinker-sandbox/", env!("CARGO_PKG_VERSION")))
        .redirect(reqwest::redirect::Policy::none())
        .timeout(TIMEOUT);
    if url.starts_with("http://") {
        // Without TLS no certificates are needed, and a minimal machine has none to load.
        client = client.tls_certs_only([]);
    }
    let client = client.build().map_err(|error| PluginError::Webhook(error.without_url().to_string()))?;
    let answer = client.post(url).json(document).send().await;
    let answer = answer.map_err(|error| {
        let problem = match error.is_timeout() {
            true => format!("it did not answer within {} s", TIMEOUT.as_secs()),
            false => format!("it can't be reached ({})", error.without_url()),
        };
        PluginError::Webhook(problem)
    })?;
    match answer.status() {
        status if status.is_success() => Ok(()),
        status => Err(PluginError::Webhook(format!("it answered with {status}"))),
    }
}
