//! `[run]`, `[memory]`, `[control]`, `[tracking]`, `[storage]`, `[traces]`, `[supervision]` and `[checkpoint]`: how an experiment is run, apart from what it trains.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// `[run]`: settings of the whole experiment. They cannot be set per arm, except for `steps`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RunConfig {
    /// Name of the experiment; the run directory is `<out>/<name>-<time>`. It may have letters, digits and `+ - _ .`,
    /// at most 100 characters. Default: the name of the scenario file.
    pub name: String,
    /// Seeds of the runs, at least one, each different; every arm is run once per seed. `seed = 7` is short
    /// for `seeds = [7]`.
    pub seeds: Vec<u64>,
    /// Number of optimizer steps per arm and seed; at least 1. An arm may have its own `steps`.
    pub steps: u64,
    /// Device of the model: `auto` (a GPU if libtorch finds one, else the CPU), `cpu`, `cuda` or `cuda:N`.
    pub device: Device,
    /// Number of arms that are trained at the same time; 0 means one per core on the CPU and one on a GPU.
    pub parallel_arms: usize,
    /// Number of libtorch threads per arm; 0 divides the cores among the arms that are trained at the same time.
    pub threads: usize,
    /// Folder for the run directories, relative to the current folder.
    pub out: PathBuf,
}

impl Default for RunConfig {
    fn default() -> Self {
        Self {
            name: String::new(),
            seeds: vec![7],
            steps: 300,
            device: Device::Auto,
            parallel_arms: 0,
            threads: 0,
            out: PathBuf::from("runs"),
        }
    }
}

/// The device of a model, written `auto`, `cpu`, `cuda` (the first GPU) or `cuda:N`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Device {
    /// The first GPU if there is one, else the CPU.
    #[default]
    Auto,
    /// The CPU, even if there is a GPU.
    Cpu,
    /// The GPU with this index, from 0.
    Cuda(usize),
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Cpu => f.write_str("cpu"),
            Self::Cuda(index) => write!(f, "cuda:{index}"),
        }
    }
}

impl Serialize for Device {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Device {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let index = |text: &str| text.strip_prefix("cuda:").and_then(|index| index.parse().ok());
        match text.as_str() {
            "auto" => Ok(Self::Auto),
            "cpu" => Ok(Self::Cpu),
            "cuda" => Ok(Self::Cuda(0)),
            other => index(other).map(Self::Cuda).ok_or_else(|| {
                de::Error::invalid_value(de::Unexpected::Str(other), &r#""auto", "cpu" or "cuda:0""#)
            }),
        }
    }
}

impl JsonSchema for Device {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Device".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "The device of a model: `auto`, `cpu`, `cuda` (the first GPU) or `cuda:N`.",
            "type": "string",
            "pattern": "^(auto|cpu|cuda(:[0-9]+)?)$"
        })
    }
}

/// `[control]`: the live page and its API.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ControlConfig {
    /// Address and port to listen on, such as `"127.0.0.1:8080"`; only this machine can reach it unless `allow_remote`
    /// is set. Port 0 selects any free port. `"off"` turns the control channel off.
    pub listen: String,
    /// Whether `listen` may be an address that other machines can reach. Anyone with the token can then control the
    /// run, over an unencrypted connection.
    pub allow_remote: bool,
    /// Further host names in the page's address, such as `"gpu1.lan"` or, through a tunnel, `"localhost:9000"`;
    /// requests with other names are refused.
    pub hosts: Vec<String>,
    /// The environment variable that holds the token, of at least 32 characters, for programs such as Prometheus that are
    /// set up once for many runs. Without it each run has a random token.
    pub token_env: Option<String>,
}

impl Default for ControlConfig {
    fn default() -> Self {
        Self { listen: "127.0.0.1:0".to_owned(), allow_remote: false, hosts: Vec::new(), token_env: None }
    }
}

impl ControlConfig {
    /// The address to listen on; `None` for `"off"` and for a text that is no address.
    pub fn address(&self) -> Option<SocketAddr> {
        self.listen.parse().ok()
    }
}

/// `[tracking]`: the trackers that follow a run, besides the event files of TensorBoard, which every run writes. docs/exports.md
/// says what they get.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct TrackingConfig {
    /// Weights & Biases: the files of its offline mode in the run directory, which `wandb sync` uploads. Default: none.
    pub wandb: Option<WandbConfig>,
    /// An MLflow server, to which every row is sent while the run goes on. Default: none.
    pub mlflow: Option<MlflowConfig>,
}

/// `[tracking.wandb]`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct WandbConfig {
    /// The project; must be set.
    pub project: String,
    /// The user or team. Default: that of whoever uploads.
    pub entity: Option<String>,
}

/// `[tracking.mlflow]`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct MlflowConfig {
    /// The address of the server, such as `"http://127.0.0.1:5000"`; must be set.
    pub url: String,
    /// The experiment, which is made if the server has none of this name. Default: the name of the run.
    pub experiment: Option<String>,
    /// Name of the environment variable that holds the server's token. The token itself is never written to a file.
    /// Default: none is sent.
    pub token_env: Option<String>,
}

/// `[storage]`: an S3-compatible store to which the run directory is uploaded while the run goes on. docs/storage.md says what is
/// uploaded and how a run is resumed from there.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct StorageConfig {
    /// Where runs are stored, such as `"s3://bucket/audio"`; a run is uploaded to a folder of it that has the name of its run
    /// directory. The credentials come from the environment (`AWS_ACCESS_KEY_ID` and the like). Default: nothing is uploaded.
    pub url: Option<String>,
    /// The address of a store other than Amazon's, such as `"http://127.0.0.1:9000"`. Default: `AWS_ENDPOINT_URL`, or Amazon's.
    pub endpoint: Option<String>,
    /// The region of the bucket. Default: `AWS_REGION`, or `us-east-1`.
    pub region: Option<String>,
    /// Pause between two uploads, in seconds; at least 1.
    pub every_seconds: f64,
    /// Number of the newest checkpoints of each arm and seed that are stored, at least 1; older ones are deleted from the store.
    pub keep_checkpoints: usize,
    /// Longest wait at the end of the run for the last uploads, in seconds. What is not uploaded by then is named, and the exit code
    /// is 3.
    pub wait_seconds: f64,
}

impl Default for StorageConfig {
    fn default() -> Self {
        Self {
            url: None,
            endpoint: None,
            region: None,
            every_seconds: 60.0,
            keep_checkpoints: 2,
            wait_seconds: 600.0,
        }
    }
}

/// `[memory]`: the memory of the device that all arms together may take. docs/gpu.md says what is planned.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct MemoryConfig {
    /// Memory in GiB, above 0: that of the GPU, or of the machine if arms train on the CPU. Before the run, `policy.gradient_checkpointing`
    /// where it is `"auto"`, `grpo.micro_batch_prompts`, `sampling.batch_prompts` and `eval.batch_prompts` are lowered until the estimate
    /// of `sandbox check` fits. Default: no limit, and these settings are left as they are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit_gib: Option<f64>,
}

/// `[traces]`: OpenTelemetry spans of every step. docs/traces.md says what they are.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct TracesConfig {
    /// The address of a collector that takes OTLP over HTTP, such as `"http://127.0.0.1:4318"`; `/v1/traces` is added to an address
    /// without a path. Default: no spans are made.
    pub endpoint: Option<String>,
}

/// `[supervision]`: how many failures an arm tolerates before it pauses or ends.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SupervisionConfig {
    /// Number of restarts that an actor may need within the window. After more, the arm pauses with the reason, or ends
    /// if there is no control channel to resume it.
    pub restarts: usize,
    /// Length of that window, in seconds; above 0.
    pub window_seconds: f64,
    /// Longest wait for an answer of an actor, in seconds; above 0.
    pub call_timeout_seconds: f64,
    /// Largest fraction of the completions of the last ten steps that may lack a reward because of missing scores, 0 to
    /// 1. Above it the arm pauses with the reason, or ends if there is no control channel to resume it.
    pub max_missing_fraction: f64,
    /// Longest trial of a reward that is added or swapped during the run, in seconds; above 0.
    pub probe_timeout_seconds: f64,
    /// How long an arm that paused because of failures waits to be resumed, in seconds; then it ends. 0 ends it at
    /// once. Without a control channel it does not wait.
    pub help_timeout_seconds: f64,
}

impl Default for SupervisionConfig {
    fn default() -> Self {
        Self {
            restarts: 5,
            window_seconds: 60.0,
            call_timeout_seconds: 600.0,
            max_missing_fraction: 0.5,
            probe_timeout_seconds: 60.0,
            help_timeout_seconds: 3600.0,
        }
    }
}

/// `[checkpoint]`: when the policy and the state of its optimizer are saved. They are always saved after the last step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct CheckpointConfig {
    /// Number of steps between checkpoints; 0 saves after the last step only.
    pub every: u64,
    /// Number of checkpoints kept per arm and seed, at least 1; older ones are deleted.
    pub keep: usize,
}

impl Default for CheckpointConfig {
    fn default() -> Self {
        Self { every: 100, keep: 2 }
    }
}
