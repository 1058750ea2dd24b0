//! `environment.json`: the machine and the arguments of a run.

use std::path::{Path, PathBuf};

use scenarios::Experiment;
use serde::{Deserialize, Serialize};

use crate::error::RecordsError;
use crate::files::replace_file;
use crate::format::FormatVersion;
use crate::run_dir::RunDir;

/// The content of `environment.json`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Environment {
    /// The format of the run directory; also says how its `scenario.toml` is read.
    #[serde(default = "FormatVersion::unnamed")]
    pub format_version: FormatVersion,
    /// The sandbox's own version.
    pub version: String,
    /// The scenario file as it was given.
    pub scenario: PathBuf,
    /// The folder that relative paths of rewards start from, absolute.
    pub scenario_folder: Option<PathBuf>,
    /// The command line, the program's name first, without secrets.
    pub arguments: Vec<String>,
    /// Where tensors are: `Cpu` or `Cuda(0)`.
    pub device: String,
    /// Arms that train at the same time.
    pub arms_side_by_side: usize,
    /// libtorch threads of each of them; 0 leaves the choice to libtorch.
    pub threads_per_arm: Option<usize>,
    /// CPU cores of the machine.
    pub cores: usize,
    /// As `std::env::consts::OS` names it, such as `linux`.
    pub operating_system: String,
    /// As `std::env::consts::ARCH` names it, such as `x86_64`.
    pub architecture: String,
    /// The process that trains.
    pub process_id: u32,
    /// The launch that started the process as rank 0 of several, by which a launcher's restart finds the run again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub launch: Option<String>,
    /// SHA-256 of the scenario's hypotheses when the run began ([`scenarios::hypotheses_hash`]).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hypotheses_sha256: Option<String>,
}

impl Environment {
    /// The environment of this process, for a run of `experiment` whose arms go one after the other. `device` is where
    /// tensors are, or `server`.
    pub fn of(experiment: &Experiment, device: impl Into<String>) -> Self {
        Environment {
            format_version: FormatVersion::CURRENT,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            scenario: experiment.path.clone(),
            scenario_folder: Some(Environment::scenario_folder(&experiment.path)),
            arguments: scenarios::storable_arguments(std::env::args()),
            device: device.into(),
            arms_side_by_side: 1,
            threads_per_arm: None,
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            operating_system: std::env::consts::OS.to_owned(),
            architecture: std::env::consts::ARCH.to_owned(),
            process_id: std::process::id(),
            launch: None,
            hypotheses_sha256: scenarios::hypotheses_hash(&experiment.hypotheses),
        }
    }

    /// The environment of a recorded run; `None` if it can't be read.
    pub fn read(run_dir: &RunDir) -> Option<Self> {
        serde_json::from_slice(&std::fs::read(run_dir.environment()).ok()?).ok()
    }

    /// Writes `environment.json` into the run directory. In a run that is resumed, the hypotheses stay those of its beginning.
    ///
    /// Errors: [`RecordsError::Write`].
    pub fn write(&self, run_dir: &RunDir) -> Result<(), RecordsError> {
        let mut environment = self.clone();
        if let Some(earlier) = Environment::read(run_dir) {
            environment.hypotheses_sha256 = earlier.hypotheses_sha256;
        }
        let json = serde_json::to_string_pretty(&environment).expect("text and numbers");
        replace_file(&run_dir.environment(), format!("{json}\n").as_bytes())
    }

    /// The folder that the relative paths of a scenario start from: the scenario's own folder, or, for the
    /// `scenario.toml` of a run directory, the folder of the scenario that run was made from.
    pub fn scenario_folder(scenario: &Path) -> PathBuf {
        let folder = scenario.parent().filter(|folder| !folder.as_os_str().is_empty());
        let folder = std::path::absolute(folder.unwrap_or(Path::new("."))).unwrap_or_default();
        let recorded = Environment::read(&RunDir::new(&folder));
        recorded.and_then(|recorded| recorded.scenario_folder).unwrap_or(folder)
    }
}
