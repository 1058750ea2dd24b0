//! `[sampler]`: what completions are sampled with, the sandbox's own decoder or vLLM servers. `docs/vllm.md` says how such
//! servers are started.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `[sampler]`: what completions are sampled with. The keys after `cuda_graphs` are used with `backend = "vllm"` only.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SamplerConfig {
    /// `own`: the sandbox samples from its own copy of the policy. `vllm`: servers of vLLM do, which share a disk with the
    /// sandbox; then `policy.train` is `lora`.
    pub backend: SamplerBackend,
    /// Whether the sandbox's own decoder replays each token's step on an NVIDIA GPU as one CUDA graph. Where that is not
    /// possible, it launches the operations one by one, with a warning. It has no effect on the CPU.
    pub cuda_graphs: bool,
    /// Addresses of the servers, such as `"http://127.0.0.1:8000"`, without `/v1`. All serve the same base as `policy.path`.
    pub urls: Vec<String>,
    /// The name of the base on the servers. Default: the first model of their list that is no adapter.
    pub model: Option<String>,
    /// Name of the environment variable that holds the API key. The key itself is never written to a file. Default: no key
    /// is sent.
    pub api_key_env: Option<String>,
    /// Most completions in flight over all servers; 1 to 100,000.
    pub concurrency: usize,
    /// Longest wait for the answer to one request, in seconds; above 0. Then it is asked of another server.
    pub timeout_seconds: f64,
    /// Most tokens that are drawn by one request, 0 to 1,000,000. A longer completion goes on in further requests, each with the
    /// prompt and the tokens so far. 0 draws a completion by one request.
    pub slice_tokens: usize,
    /// What becomes of completions that are being sampled when a new version of the policy is published; with
    /// `grpo.max_staleness` of 1 or more there are such. `finish` needs no slices, the others take up the new version between two of
    /// them.
    pub at_new_version: AtNewVersion,
    /// With slices and several servers: a completion moves to another server when a slice takes its server this many times as long
    /// as another one; 1 or more. 0 leaves it where it is.
    pub straggler_factor: f64,
    /// How long a step waits while no server answers, in seconds; above 0. Then the arm pauses.
    pub give_up_seconds: f64,
    /// How often a completion is asked again whose answer fails a check, such as a wrong number of audio tokens; 0 to 100.
    /// Then it is dropped with its group, and counted.
    pub retries: u32,
    /// The arm pauses if more than this fraction of a step's completions was dropped, 0 to 1.
    pub max_dropped_fraction: f64,
    /// A command that starts a server again that does not answer, run by `sh -c` with the address in `SANDBOX_SERVER_URL`.
    /// It ends once the server is starting. If its last line of output is an address, the server is there from then on.
    /// Default: the server is only asked again from time to time.
    pub restart: Option<String>,
    /// Largest difference between a server's log-probabilities of a prompt and the policy's own; above 0. Beyond it the arm
    /// pauses. Default: 0.001 for a policy in f32, 0.25 for one in bf16.
    pub canary_tolerance: Option<f64>,
    /// The arm pauses if the effective sample size of a step's importance ratios is below this fraction of its tokens, or a
    /// ratio is not finite; 0 to 1.
    pub min_effective_fraction: f64,
}

impl Default for SamplerConfig {
    fn default() -> Self {
        Self {
            backend: SamplerBackend::Own,
            cuda_graphs: true,
            urls: Vec::new(),
            model: None,
            api_key_env: None,
            concurrency: 64,
            timeout_seconds: 600.0,
            slice_tokens: 0,
            at_new_version: AtNewVersion::Finish,
            straggler_factor: 4.0,
            give_up_seconds: 300.0,
            retries: 3,
            max_dropped_fraction: 0.1,
            restart: None,
            canary_tolerance: None,
            min_effective_fraction: 0.5,
        }
    }
}

impl SamplerConfig {
    /// Whether the section is as if it were left out.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// Whether servers sample.
    pub fn has_servers(&self) -> bool {
        self.backend == SamplerBackend::Vllm
    }
}

/// What completions are sampled with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SamplerBackend {
    /// The sandbox's own decoder.
    #[default]
    Own,
    /// Servers of vLLM.
    Vllm,
}

/// What becomes of the completions in flight when a new version of the policy is published.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AtNewVersion {
    /// They end on the version that began them.
    #[default]
    Finish,
    /// They go on with the new version, from the tokens that they have: partial rollouts.
    Continue,
    /// Their tokens are thrown away, and they begin again with the new version.
    Discard,
}
