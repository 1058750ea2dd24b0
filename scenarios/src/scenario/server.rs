//! `[eval.server]`: a server with OpenAI's API that answers in place of the policy.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A server that `sandbox eval` asks in place of the policy. The arm has `method = "none"`; its `[policy]` is not used.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ServerConfig {
    /// The server's address, up to and including `/v1`; must be set.
    pub url: String,
    /// The model's name on the server; must be set.
    pub model: String,
    /// Name of the environment variable that holds the API key. The key itself is never written to a file. Default: no key
    /// is sent.
    pub api_key_env: Option<String>,
    /// Most requests in flight at once; 1 to 100,000.
    pub concurrency: usize,
    /// Longest part of a clip that is sent, in seconds; above 0, at most 3,600. `loader.window` says which part.
    pub clip_seconds: f64,
    /// Longest wait for the whole reply to one request, in seconds; above 0, at most 86,400.
    pub timeout_seconds: f64,
    /// Further attempts after a time-out, a broken connection, status 429 or a 5xx; 0 to 100.
    pub retries: u32,
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            url: String::new(),
            model: String::new(),
            api_key_env: None,
            concurrency: 8,
            clip_seconds: 30.0,
            timeout_seconds: 600.0,
            retries: 4,
        }
    }
}
