//! A folder of an S3-compatible store, and the client that reads and writes it.

use std::sync::Arc;
use std::time::Duration;

use object_store::aws::AmazonS3Builder;
use object_store::client::{HttpClient, HttpConnector};
use object_store::path::Path;
use object_store::{BackoffConfig, ClientOptions, ObjectStore, RetryConfig};
use scenarios::StorageConfig;

use crate::error::StorageError;

/// Longest wait for a connection.
const CONNECT: Duration = Duration::from_secs(10);
/// Longest time of a request. A part of [`PART_BYTES`](crate::parts::PART_BYTES) needs 140 kB/s to be sent within it.
const REQUEST: Duration = Duration::from_secs(120);

/// A folder of a store, such as `s3://bucket/audio/ablation-20260131-120000`.
#[derive(Clone, Debug)]
pub struct Target {
    pub(crate) store: Arc<dyn ObjectStore>,
    pub(crate) folder: Path,
    url: String,
}

impl Target {
    /// The folder at `url`, with the endpoint and the region of `settings` and credentials of the environment.
    ///
    /// Errors: [`StorageError::Setting`].
    pub fn new(url: &str, settings: &StorageConfig) -> Result<Self, StorageError> {
        let wrong = |problem: String| {
            StorageError::Setting(format!("{url}: {problem}; write an address such as s3://bucket/folder"))
        };
        let rest = url.strip_prefix("s3://").ok_or_else(|| wrong("not an address of a store".into()))?;
        let (bucket, folder) = rest.split_once('/').unwrap_or((rest, ""));
        if bucket.is_empty() || bucket.contains(['@', '?', '#']) {
            return Err(wrong("names no bucket".into()));
        }
        let folder = Path::parse(folder.trim_end_matches('/')).map_err(|error| wrong(error.to_string()))?;
        let endpoint = settings.endpoint.clone().or_else(endpoint_of_the_environment);
        let is_plain = endpoint.as_deref().is_some_and(|endpoint| endpoint.starts_with("http://"));
        let mut builder = AmazonS3Builder::from_env()
            .with_bucket_name(bucket)
            .with_allow_http(is_plain)
            .with_http_connector(Connector { is_plain })
            .with_retry(retries());
        if let Some(endpoint) = endpoint {
            builder = builder.with_endpoint(endpoint);
        }
        if let Some(region) = &settings.region {
            builder = builder.with_region(region);
        }
        let store = builder.build().map_err(|error| StorageError::Setting(format!("{url}: {error}")))?;
        Ok(Self::of_store(Arc::new(store), folder, url))
    }

    /// A folder of another kind of store.
    pub(crate) fn of_store(store: Arc<dyn ObjectStore>, folder: Path, url: &str) -> Self {
        Target { store, folder, url: url.trim_end_matches('/').to_owned() }
    }

    /// The address.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// An object below the folder; `/` in `name` separates folders, all else is spelt so that a store takes it.
    pub(crate) fn object(&self, name: &str) -> Path {
        name.split('/').fold(self.folder.clone(), |path, part| path.join(part))
    }
}

/// A few attempts within a request. The uploader itself tries again for as long as the run lasts.
fn retries() -> RetryConfig {
    RetryConfig {
        backoff: BackoffConfig {
            init_backoff: Duration::from_millis(200),
            max_backoff: Duration::from_secs(5),
            base: 2.0,
        },
        max_retries: 3,
        retry_timeout: REQUEST,
    }
}

fn endpoint_of_the_environment() -> Option<String> {
    let names = ["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT"];
    names.iter().find_map(|name| std::env::var(name).ok()).filter(|endpoint| !endpoint.is_empty())
}

/// Makes the HTTP client as the rest of the project does.
#[derive(Debug)]
struct Connector {
    is_plain: bool,
}

impl HttpConnector for Connector {
    fn connect(&self, _: &ClientOptions) -> object_store::Result<HttpClient> {
        // Fails if another part of the process has installed one already, which works too.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut builder = reqwest::Client::builder()
            .connect_timeout(CONNECT)
            .timeout(REQUEST)
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("audio-thinker-sandbox/", env!("CARGO_PKG_VERSION")));
        if self.is_plain {
            // Without TLS no certificates are needed, and a minimal machine has none to load.
            builder = builder.tls_certs_only([]);
        }
        let client = builder
            .build()
            .map_err(|error| object_store::Error::Generic { store: "S3", source: Box::new(error) })?;
        Ok(HttpClient::new(client))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_names_a_bucket_and_a_folder() {
        let settings =
            StorageConfig { endpoint: Some("http://127.0.0.1:9".into()), ..StorageConfig::default() };
        let target = Target::new("s3://bucket/audio/a+b-1/", &settings).unwrap();
        assert_eq!(target.url(), "s3://bucket/audio/a+b-1");
        assert_eq!(target.object("files/x y/run.json").as_ref(), "audio/a+b-1/files/x y/run.json");
        for wrong in ["bucket/audio", "s3://", "s3:///x", "s3://b/../x", "https://b.s3.amazonaws.com/x"] {
            let error = Target::new(wrong, &settings).unwrap_err().to_string();
            assert!(error.contains("write an address such as s3://bucket/folder"), "{error}");
        }
    }
}
