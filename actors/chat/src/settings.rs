//! What a client needs to know, and the words in which it speaks of it.

/// The settings of a [`Chat`](crate::Chat).
#[derive(Clone, Debug)]
pub struct Settings {
    /// The addresses of the servers, each up to and including `/v1`; at least one, all with the same model.
    pub servers: Vec<String>,
    /// The model's name on the servers.
    pub model: String,
    /// Name of the environment variable that holds the API key; `None` sends no key.
    pub api_key_env: Option<String>,
    /// Address of a proxy, or `environment` for that of the environment's variables; `None` uses no proxy.
    pub proxy: Option<String>,
    /// Most requests in flight at once.
    pub concurrency: usize,
    /// Most requests per minute; 0 sets no limit.
    pub requests_per_minute: u32,
    /// Most tokens per minute, prompt and reply, by estimate; 0 sets no limit.
    pub tokens_per_minute: u32,
    /// Longest wait for a connection, in seconds.
    pub connect_timeout_seconds: f64,
    /// Longest wait for a whole reply, in seconds.
    pub timeout_seconds: f64,
    /// Longest silence while a reply is read, in seconds.
    pub read_timeout_seconds: f64,
    /// Further attempts after a failure that may pass.
    pub retries: u32,
    /// Pause before the first of them, in seconds; it doubles with each.
    pub retry_pause_seconds: f64,
    /// Longest pause that a server gets by its `Retry-After` header, in seconds.
    pub max_retry_after_seconds: f64,
    /// What messages call these settings.
    pub names: Names,
}

impl Default for Settings {
    /// Settings for long replies, as to questions about a clip.
    fn default() -> Self {
        Self {
            servers: Vec::new(),
            model: String::new(),
            api_key_env: None,
            proxy: None,
            concurrency: 8,
            requests_per_minute: 0,
            tokens_per_minute: 0,
            connect_timeout_seconds: 5.0,
            timeout_seconds: 600.0,
            read_timeout_seconds: 600.0,
            retries: 4,
            retry_pause_seconds: 0.5,
            max_retry_after_seconds: 60.0,
            names: Names::OPTIONS,
        }
    }
}

/// What messages call the owner of a client and its settings, so that each names a key or an option that exists.
#[derive(Clone, Copy, Debug)]
pub struct Names {
    /// Whose server it is, such as `the judge's`.
    pub whose: &'static str,
    /// The setting with the address.
    pub address: &'static str,
    /// The setting with the name of the key's variable.
    pub api_key_env: &'static str,
    /// The setting with the proxy; empty if there is none.
    pub proxy: &'static str,
    /// The setting that bounds `Retry-After`; empty if there is none.
    pub max_retry_after: &'static str,
}

impl Names {
    /// Options of a command: `--server` and `--api-key-env`.
    pub const OPTIONS: Names = Names {
        whose: "the",
        address: "--server",
        api_key_env: "--api-key-env",
        proxy: "",
        max_retry_after: "",
    };
}
