//! The HTTP client: its API key, its proxy, and bounded responses.
//!
//! - `SECRET-J1` the key is in the `Authorization` header of requests to the servers and nowhere else: no
//!   redirect is followed, no proxy is used unless the settings name one, and no message of a server is passed on with
//!   the key in it.

use std::collections::BTreeSet;
use std::error::Error;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use reqwest::header::{CONTENT_ENCODING, HeaderMap, HeaderValue, LOCATION, RETRY_AFTER};
use reqwest::{NoProxy, Proxy, RequestBuilder, StatusCode, Url};
use rewards::{FailureCause, JudgeFailure};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;

use crate::error::ChatError;
use crate::settings::{Names, Settings};

/// Longest response body that is read.
const MAX_BODY_BYTES: usize = 4 << 20;

/// The value of the setting `proxy` that selects the proxy of the environment's variables.
const PROXY_OF_THE_ENVIRONMENT: &str = "environment";

/// The variables by which an environment names its proxies.
const PROXY_VARIABLES: [&str; 6] =
    ["HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"];

/// Sends requests to the servers of one client.
pub struct Client {
    http: reqwest::Client,
    key: Option<SecretString>,
    names: Names,
}

/// A server's response, read to its end.
pub struct Response {
    pub status: StatusCode,
    /// The delay that the server asks for.
    pub retry_after: Option<Duration>,
    /// The body. Bytes that are not UTF-8 are replaced, and so is the key.
    pub text: String,
    /// Whether the head announced the length of the body.
    pub announced: bool,
    /// Where the server redirects to, without a query, which may hold secrets.
    pub location: Option<String>,
}

impl Client {
    /// Creates the client; no request is sent.
    ///
    /// Errors: [`ChatError::Setting`] if the variable of the key or the proxy's address is unusable.
    pub fn new(settings: &Settings) -> Result<Self, ChatError> {
        // Fails if another part of the process has installed one already, which works too.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let (seconds, names) = (Duration::from_secs_f64, settings.names);
        let mut builder = reqwest::Client::builder()
            .connect_timeout(seconds(settings.connect_timeout_seconds))
            .read_timeout(seconds(settings.read_timeout_seconds))
            .timeout(seconds(settings.timeout_seconds))
            .pool_max_idle_per_host(settings.concurrency)
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("audio-thinker-sandbox/", env!("CARGO_PKG_VERSION")));
        builder = match settings.proxy.as_deref() {
            None => builder.no_proxy(),
            Some(PROXY_OF_THE_ENVIRONMENT) => builder,
            Some(address) => {
                let proxy = Proxy::all(address).map_err(|error| {
                    let problem = error_chain(&error);
                    ChatError::Setting(format!("{} is not an address of a proxy ({problem})", names.proxy))
                })?;
                // Servers on this machine are not behind the proxy.
                builder.proxy(proxy.no_proxy(NoProxy::from_string("localhost,127.0.0.0/8,::1")))
            }
        };
        let plain = |url: &String| url.starts_with("http://");
        if settings.servers.iter().chain(&settings.proxy).all(plain) {
            // Without TLS no certificates are needed, and a minimal machine has none to load.
            builder = builder.tls_certs_only([]);
        }
        let key = settings.api_key_env.as_deref().map(|variable| key_in(variable, names)).transpose()?;
        if key.is_some() {
            settings
                .servers
                .iter()
                .filter(|url| exposes_key(url))
                .for_each(|url| warn_of_plain_http(url, names));
        }
        let http = builder.build().map_err(|error| {
            let problem = error_chain(&error);
            ChatError::Setting(format!("{} HTTP client can't be created: {problem}", names.whose))
        })?;
        Ok(Self { http, key, names })
    }

    /// Sends a JSON body and reads the response.
    pub async fn post(&self, url: &str, body: &Value) -> Result<Response, JudgeFailure> {
        self.exchange(self.http.post(url).json(body)).await
    }

    /// Reads a resource.
    pub async fn get(&self, url: &str) -> Result<Response, JudgeFailure> {
        self.exchange(self.http.get(url)).await
    }

    async fn exchange(&self, mut request: RequestBuilder) -> Result<Response, JudgeFailure> {
        if let Some(traceparent) = traces::traceparent() {
            request = request.header("traceparent", traceparent);
        }
        if let Some(key) = &self.key {
            request = request.bearer_auth(key.expose_secret());
        }
        let mut response = request.send().await.map_err(request_failed)?;
        let mut bytes = Vec::new();
        let announced = response.content_length().is_some();
        while let Some(chunk) = response.chunk().await.map_err(request_failed)? {
            bytes.extend_from_slice(&chunk);
            if bytes.len() > MAX_BODY_BYTES {
                let message = format!("the response is longer than {MAX_BODY_BYTES} bytes");
                return Err(JudgeFailure::new(FailureCause::Malformed, message));
            }
        }
        let headers = response.headers();
        // reqwest decodes gzip and then takes this header out.
        if let Some(encoding) = headers.get(CONTENT_ENCODING).filter(|encoding| *encoding != "identity") {
            let encoding = encoding.to_str().unwrap_or("an unknown encoding");
            let message = format!("the response is compressed as {encoding}, which was not asked for");
            return Err(JudgeFailure::new(FailureCause::Malformed, message));
        }
        let location = headers.get(LOCATION).and_then(|to| target(response.url(), to));
        Ok(Response {
            status: response.status(),
            retry_after: retry_after(headers, SystemTime::now()),
            text: self.without_key(&String::from_utf8_lossy(&bytes)),
            announced,
            location,
        })
    }

    /// Replaces the key in a server's text: some servers repeat the key that they refuse.
    fn without_key(&self, text: &str) -> String {
        match &self.key {
            Some(key) => text.replace(key.expose_secret(), &format!("[{} key]", self.names.whose)),
            None => text.to_owned(),
        }
    }
}

/// The name of a variable that names a proxy, if one is set and the setting `proxy` is not.
pub fn unused_proxy(settings: &Settings) -> Option<&'static str> {
    let set = |name: &&str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    PROXY_VARIABLES.into_iter().find(set).filter(|_| settings.proxy.is_none())
}

/// Reads the key from an environment variable. Messages do not contain its value.
fn key_in(variable: &str, names: Names) -> Result<SecretString, ChatError> {
    let problem = |what: &str| {
        ChatError::Setting(format!(
            "the environment variable {variable} {what}; export it, or leave out {}",
            names.api_key_env
        ))
    };
    let value = match std::env::var(variable) {
        Ok(value) => SecretString::from(value),
        Err(std::env::VarError::NotPresent) => return Err(problem("is not set")),
        Err(std::env::VarError::NotUnicode(_)) => return Err(problem("is not text")),
    };
    // A key that was read from a file often ends with a line break.
    let key = SecretString::from(value.expose_secret().trim());
    if key.expose_secret().is_empty() {
        return Err(problem("is empty"));
    }
    if HeaderValue::from_str(key.expose_secret()).is_err() {
        return Err(problem("has characters that no key has, such as a line break"));
    }
    Ok(key)
}

/// Whether requests to this address, with their key, can be read on their way: they are not encrypted and leave the
/// machine.
fn exposes_key(url: &str) -> bool {
    let Ok(url) = Url::parse(url) else { return false };
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    let local = host == "localhost"
        || host.ends_with(".localhost")
        || host.parse::<IpAddr>().is_ok_and(|address| address.to_canonical().is_loopback());
    url.scheme() == "http" && !local
}

/// Warns once per address and process.
fn warn_of_plain_http(url: &str, names: Names) {
    static WARNED: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
    if WARNED.lock().unwrap_or_else(PoisonError::into_inner).insert(url.to_owned()) {
        tracing::warn!(
            "{} key is sent to {url} without encryption, so whoever is on the way can read it; use https://, \
             or a tunnel to 127.0.0.1",
            names.whose
        );
    }
}

/// The delay in the `Retry-After` header: a number of seconds or a date. One in the past or below 0 is `None`.
fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let value = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let delay = match value.parse::<f64>() {
        // More seconds than a Duration can hold are bounded later, like all long delays.
        Ok(seconds) if seconds > 0.0 => Some(Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)),
        Ok(_) => None,
        Err(_) => httpdate::parse_http_date(value).ok().and_then(|date| date.duration_since(now).ok()),
    };
    if delay.is_none() {
        tracing::info!("a server sent `Retry-After: {value}`, which is no time to come and is not used");
    }
    delay
}

/// The address that a redirect names, without its query and without credentials.
fn target(from: &Url, location: &HeaderValue) -> Option<String> {
    let mut to = from.join(location.to_str().ok()?).ok()?;
    to.set_query(None);
    to.set_fragment(None);
    // Fails for an address that has none.
    let _ = (to.set_username(""), to.set_password(None));
    Some(to.into())
}

fn request_failed(error: reqwest::Error) -> JudgeFailure {
    let cause = if error.is_timeout() { FailureCause::Timeout } else { FailureCause::Connection };
    JudgeFailure::new(cause, error_chain(&error))
}

/// An error and its causes, in one line.
fn error_chain(error: &dyn Error) -> String {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_delay_is_a_number_of_seconds_or_a_date() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
        let delay = |value: &'static str| {
            let headers = [(RETRY_AFTER, HeaderValue::from_static(value))].into_iter().collect();
            retry_after(&headers, now)
        };
        for (value, seconds) in [
            ("7", Some(7.0)),
            (" 0.5 ", Some(0.5)),
            ("3600", Some(3_600.0)),
            // 8:49:37 is the time in `now`.
            ("Sun, 06 Nov 1994 08:50:37 GMT", Some(60.0)),
            ("Sun, 06 Nov 1994 08:48:37 GMT", None),
            ("-5", None),
            ("0", None),
            ("NaN", None),
            ("soon", None),
            ("", None),
        ] {
            assert_eq!(delay(value), seconds.map(Duration::from_secs_f64), "{value}");
        }
        assert_eq!(delay("1e300"), Some(Duration::MAX));
        assert_eq!(delay("inf"), Some(Duration::MAX));
        assert_eq!(retry_after(&HeaderMap::new(), now), None);
    }

    #[test]
    fn a_key_is_exposed_by_plain_http_to_other_machines_only() {
        for (url, exposed) in [
            ("http://gpu1:8000/v1", true),
            ("http://10.0.0.7/v1", true),
            ("http://[fe80::1]/v1", true),
            ("http://localhost.example.org/v1", true),
            ("https://gpu1/v1", false),
            ("http://localhost:8000/v1", false),
            ("http://127.0.0.2:8000/v1", false),
            ("http://[::1]:8000/v1", false),
            ("http://[::ffff:127.0.0.1]:8000/v1", false),
        ] {
            assert_eq!(exposes_key(url), exposed, "{url}");
        }
    }

    #[test]
    fn the_target_of_a_redirect_is_named_without_secrets() {
        let from = Url::parse("http://a/v1/chat/completions").unwrap();
        let to = |location: &'static str| target(&from, &HeaderValue::from_static(location));
        assert_eq!(to("https://u:p@b/v1?token=x#y").as_deref(), Some("https://b/v1"));
        assert_eq!(to("/v2/").as_deref(), Some("http://a/v2/"));
    }
}
