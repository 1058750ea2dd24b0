//! How servers are used: the keys of `[sampler]` and what follows from the arm.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Is told in one line what happened to a server.
pub type Notify = Arc<dyn Fn(String) + Send + Sync>;

/// What becomes of the completions in flight when a new version is published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AtNewVersion {
    /// They end on the version that began them.
    Finish,
    /// They go on with the new version from the tokens that they have.
    Continue,
    /// They begin again with the new version.
    Discard,
}

/// How an arm uses its servers.
#[derive(Clone)]
pub struct Settings {
    /// The servers' addresses, without `/v1`.
    pub urls: Vec<String>,
    /// The base's name on the servers; `None` for the first model of their list that is no adapter.
    pub model: Option<String>,
    /// The environment variable with the API key.
    pub api_key_env: Option<String>,
    /// Most completions in flight over all servers.
    pub concurrency: usize,
    /// Longest wait for the answer to a request.
    pub timeout: Duration,
    /// Most tokens per request; 0 is no limit.
    pub slice_tokens: usize,
    /// What becomes of completions between two slices, when there is a newer version.
    pub at_new_version: AtNewVersion,
    /// How many times as slow as another server one must be for its completions to move; 0 for never.
    pub straggler_factor: f64,
    /// Longest wait while no server can be used.
    pub give_up: Duration,
    /// Further attempts after an answer that fails a check.
    pub retries: u32,
    /// Largest fraction of the completions of a request that may be dropped.
    pub max_dropped_fraction: f64,
    /// The command that starts a server again.
    pub restart: Option<String>,
    /// Largest difference between log-probabilities of a server and of the policy; `None` for that of the policy's dtype.
    pub canary_tolerance: Option<f64>,
    /// Versions that stay loaded.
    pub kept_versions: usize,
    /// The folder in which adapters are written for the servers, which read it under the same path.
    pub adapters: PathBuf,
    /// Is told what happens to the servers.
    pub notify: Notify,
}
