//! `[run]`, `[control]`, `[supervision]` and `[checkpoint]`: how an experiment is run, whatever it trains.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// `[run]`: the experiment as a whole. It cannot be set per arm, except `steps`, which an arm may state for itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RunConfig {
    /// Name of the experiment; the run directory is `<out>/<name>-<time>`. Default: the scenario file's name.
    pub name: String,
    /// Every arm is run once per seed. `seed = 7` is short for `seeds = [7]`.
    pub seeds: Vec<u64>,
    /// Optimizer steps per arm and seed.
    pub steps: u64,
    /// Where tensors live: `auto` (a GPU if libtorch sees one, else the CPU), `cpu` or `cuda:N`.
    pub device: Device,
    /// Arms trained side by side; 0 chooses: one per core on the CPU, one on a GPU.
    pub parallel_arms: usize,
    /// libtorch threads per arm; 0 chooses: the cores shared out between the arms that run side by side.
    pub threads: usize,
    /// Folder that receives the run directories, relative to the current directory.
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

/// The device of a run, written `auto`, `cpu`, `cuda` (the first GPU) or `cuda:N`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Device {
    /// The first GPU if there is one, else the CPU.
    #[default]
    Auto,
    /// The CPU.
    Cpu,
    /// The GPU with this index.
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
        json_schema!({ "type": "string", "pattern": "^(auto|cpu|cuda(:[0-9]+)?)$" })
    }
}

/// `[control]`: the live page and its API.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ControlConfig {
    /// Address to listen on, of this machine only; port 0 takes any free port, `"off"` listens nowhere.
    pub listen: String,
    /// Let `listen` be an address that other machines can reach. Whoever has the token then steers the run from
    /// there, over a connection that is not encrypted.
    pub allow_remote: bool,
    /// Further names under which the page is opened, such as `"gpu1.lan"` or, through a tunnel, `"localhost:9000"`.
    pub hosts: Vec<String>,
}

impl Default for ControlConfig {
    fn default() -> Self {
        Self { listen: "127.0.0.1:0".to_owned(), allow_remote: false, hosts: Vec::new() }
    }
}

impl ControlConfig {
    /// The address to listen on; `None` with `"off"`, or for what is no address.
    pub fn address(&self) -> Option<SocketAddr> {
        self.listen.parse().ok()
    }
}

/// `[supervision]`: how much may fail before an arm gives up.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SupervisionConfig {
    /// Restarts an actor may use up within the window before the arm pauses with the reason, or ends where
    /// nobody can resume it.
    pub restarts: usize,
    /// Length of that window, in seconds.
    pub window_seconds: f64,
    /// Longest wait for any one answer from an actor, in seconds.
    pub call_timeout_seconds: f64,
    /// Largest fraction of the completions of ten steps that may be left without a reward, since scores are missing,
    /// before the arm pauses with the reason, or ends where nobody can resume it.
    pub max_missing_fraction: f64,
    /// Longest trial of a reward that is put in while the run goes on, in seconds.
    pub probe_timeout_seconds: f64,
    /// How long an arm that can't go on by itself waits for somebody to help it, in seconds, before it ends; 0 ends it
    /// at once. Where there is no control channel it does not wait.
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

/// `[checkpoint]`: when the policy and the optimizer's state are saved. The last step is always saved.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct CheckpointConfig {
    /// Steps between checkpoints; 0 saves at the end only.
    pub every: u64,
    /// Checkpoints kept per arm and seed; older ones are deleted.
    pub keep: usize,
}

impl Default for CheckpointConfig {
    fn default() -> Self {
        Self { every: 100, keep: 2 }
    }
}
