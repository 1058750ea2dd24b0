//! Downloads the clips that rows name by URL (`data.fetch`), before the first step.
//!
//! Each is written to the file in the cache folder under which its row knows it. What is there already is not fetched
//! again, so a fetch that was interrupted goes on where it was. A file gets its name when all of it is there and its header
//! is that of audio.
//!
//! - `FETCH-1` a clip that can't be fetched costs its rows only; each is named with its URL.
//! - `FETCH-2` nothing is fetched from the net unless `data.fetch` is true.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream;
use reqwest::{Client, Url};
use scenarios::RowCause;
use tokio::sync::watch;

use crate::source::Source;

/// Clips that are fetched at the same time.
const AT_ONCE: usize = 4;

/// Most redirects that are followed for a clip.
const MOST_REDIRECTS: usize = 5;

/// Attempts for a clip whose server fails or can't be reached.
const ATTEMPTS: usize = 2;

/// What a clip may take.
#[derive(Clone, Copy, Debug)]
pub struct FetchLimits {
    /// Most bytes of a clip.
    pub bytes: u64,
    /// Most time for a clip.
    pub time: Duration,
    /// Most time in which nothing arrives.
    pub silence: Duration,
    /// Pause before the second attempt.
    pub pause: Duration,
}

impl Default for FetchLimits {
    /// 1 GB and 10 minutes.
    fn default() -> Self {
        Self {
            bytes: 1_000_000_000,
            time: Duration::from_secs(600),
            silence: Duration::from_secs(30),
            pause: Duration::from_secs(1),
        }
    }
}

/// What became of the clips of some sources.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fetched {
    /// Clips that were fetched now.
    pub fetched: usize,
    /// Clips that were there already.
    pub present: usize,
    /// Clips that could not be fetched; their rows are left out.
    pub failed: usize,
}

/// Fetches the clips of sources that are not there, and leaves out the rows of those that can't be fetched. `fallback` is
/// the program of `audio.fallback`. When `stop` turns true, no further clip is fetched.
pub async fn fetch_clips(
    sources: &mut [&mut Source],
    fallback: Option<&Path>,
    limits: FetchLimits,
    stop: &watch::Receiver<bool>,
) -> Fetched {
    let named: BTreeMap<PathBuf, String> = sources
        .iter()
        .flat_map(|source| source.rows.remote())
        .map(|(path, url)| (path.to_owned(), url.to_owned()))
        .collect();
    let total = named.len();
    let missing: Vec<(PathBuf, String)> = named.into_iter().filter(|(path, _)| !path.is_file()).collect();
    let mut outcome = Fetched { present: total - missing.len(), ..Fetched::default() };
    if missing.is_empty() {
        return outcome;
    }
    tracing::info!("data.fetch: fetching {} clips, {} are there", missing.len(), outcome.present);
    let client = client(&missing, limits);
    let mut results = stream::iter(missing.into_iter().map(|(path, url)| {
        let client = &client;
        async move {
            let fetched = match client {
                _ if *stop.borrow() => return (path, None),
                Ok(client) => fetch(client, &url, &path, fallback, limits).await,
                Err(failed) => Err(failed.clone()),
            };
            (path, Some(fetched.map_err(|failed| format!("{}: {failed}", shown(&url)))))
        }
    }))
    .buffer_unordered(AT_ONCE);
    let mut failed: BTreeMap<PathBuf, String> = BTreeMap::new();
    while let Some((path, result)) = results.next().await {
        match result {
            Some(Ok(())) => outcome.fetched += 1,
            Some(Err(message)) => {
                failed.insert(path, message);
            }
            None => {}
        }
    }
    outcome.failed = failed.len();
    for source in sources {
        source.rows.exclude(|question| {
            let message = failed.get(&question.audio_path)?;
            Some((RowCause::AudioUnreadable, message.clone()))
        });
    }
    outcome
}

/// A client for these clips, or why there is none.
fn client(clips: &[(PathBuf, String)], limits: FetchLimits) -> Result<Client, Failed> {
    // Fails if another part of the process has installed one already, which works too.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut builder = Client::builder()
        .connect_timeout(limits.silence)
        .read_timeout(limits.silence)
        .timeout(limits.time)
        .redirect(reqwest::redirect::Policy::limited(MOST_REDIRECTS))
        .user_agent(concat!("audio-thinker-sandbox/", env!("CARGO_PKG_VERSION")));
    let on_this_machine = |(_, url): &(PathBuf, String)| {
        let url = Url::parse(url).ok();
        let host = url.as_ref().and_then(|url| url.host_str());
        host.is_some_and(|host| matches!(host, "localhost" | "127.0.0.1" | "[::1]"))
    };
    if clips.iter().all(on_this_machine) {
        // Servers on this machine are not behind the proxy of the environment.
        builder = builder.no_proxy();
        if clips.iter().all(|(_, url)| url.starts_with("http://")) {
            // Without TLS no certificates are needed, and a minimal machine has none to load.
            builder = builder.tls_certs_only([]);
        }
    }
    builder
        .build()
        .map_err(|error| Failed::for_good(format!("the HTTP client can't be created: {}", chain(&error))))
}

/// An error with its causes, without the address.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}

/// A URL without what may be secret: credentials and the query.
fn shown(url: &str) -> String {
    let Ok(mut parsed) = Url::parse(url) else { return url.to_owned() };
    // These fail for URLs that have no place for credentials.
    let _ = parsed.set_username("");
    let _ = parsed.set_password(None);
    parsed.set_query(None);
    parsed.set_fragment(None);
    parsed.into()
}

/// Why an attempt failed, and whether another may succeed.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{problem}")]
struct Failed {
    problem: String,
    again: bool,
}

impl Failed {
    fn for_good(problem: impl Into<String>) -> Self {
        Failed { problem: problem.into(), again: false }
    }
}

impl From<reqwest::Error> for Failed {
    fn from(error: reqwest::Error) -> Self {
        let again = !error.is_redirect() && !error.is_builder();
        Failed { problem: chain(&error.without_url()), again }
    }
}

async fn fetch(
    client: &Client,
    url: &str,
    path: &Path,
    fallback: Option<&Path>,
    limits: FetchLimits,
) -> Result<(), Failed> {
    let mut attempt = 1;
    loop {
        match fetch_once(client, url, path, fallback, limits).await {
            Ok(()) => return Ok(()),
            Err(Failed { again: true, .. }) if attempt < ATTEMPTS => {
                attempt += 1;
                tokio::time::sleep(limits.pause).await;
            }
            Err(failed) => return Err(failed),
        }
    }
}

async fn fetch_once(
    client: &Client,
    url: &str,
    path: &Path,
    fallback: Option<&Path>,
    limits: FetchLimits,
) -> Result<(), Failed> {
    let mut response = client.get(url).send().await?;
    let status = response.status();
    if !status.is_success() {
        let problem = format!("the server answered {status}; correct the URL, or leave the row out");
        return Err(Failed { problem, again: status.is_server_error() });
    }
    let too_long = || {
        Failed::for_good(format!(
            "the clip is longer than {} bytes; fetch it by hand and write its path",
            limits.bytes
        ))
    };
    if response.content_length().is_some_and(|length| length > limits.bytes) {
        return Err(too_long());
    }
    let unwritable = |error: std::io::Error| {
        Failed::for_good(format!(
            "{} cannot be written: {error}; set AUDIO_THINKER_CACHE to a folder that can",
            path.display()
        ))
    };
    let folder = path.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder).map_err(unwritable)?;
    // It is removed when it is dropped without its name.
    let mut file = tempfile::Builder::new().prefix("unfinished-").tempfile_in(folder).map_err(unwritable)?;
    let mut length = 0;
    while let Some(chunk) = response.chunk().await? {
        length += chunk.len() as u64;
        if length > limits.bytes {
            return Err(too_long());
        }
        file.write_all(&chunk).map_err(unwritable)?;
    }
    let probed = file.path().to_owned();
    let fallback = fallback.map(Path::to_owned);
    let probe = tokio::task::spawn_blocking(move || audio::inspect(&probed, fallback.as_deref()));
    match probe.await {
        Ok(Ok(_)) => {}
        Ok(Err(error)) => {
            return Err(Failed::for_good(format!("what was fetched is no clip: {}", error.problem)));
        }
        Err(error) => return Err(Failed::for_good(format!("what was fetched can't be looked at: {error}"))),
    }
    file.persist(path).map_err(|error| unwritable(error.error))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_shown_without_its_secrets() {
        let url = "https://me:secret@example.org/a/b.wav?token=secret#secret";
        assert_eq!(shown(url), "https://example.org/a/b.wav");
        assert_eq!(shown("no url"), "no url");
    }
}
