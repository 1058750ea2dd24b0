//! Why a command of `sandbox ctl` failed.

use std::error::Error;
use std::io;
use std::path::PathBuf;

use reqwest::StatusCode;
use scenarios::ScenarioError;

use crate::failure::Failure;

/// Why a command failed. One line each.
#[derive(Debug, thiserror::Error)]
pub enum CtlError {
    #[error(
        "{dir}: the run was killed (process {pid}); continue it with `sandbox --resume {dir}`",
        dir = dir.display()
    )]
    Killed { dir: PathBuf, pid: u32 },
    #[error("{}: this run has ended, or was started with --no-control", .0.display())]
    NotRunning(PathBuf),
    #[error("{}: no run is running in this folder; name another one with --run DIR", .0.display())]
    NoneRunning(PathBuf),
    #[error("{}: no such folder; name a run, or a folder of runs, with --run DIR", .0.display())]
    NoFolder(PathBuf),
    #[error("{}: control.json: `{address}` is not an address", dir.display())]
    Address { dir: PathBuf, address: String },
    #[error("cannot make an HTTP client: {0}")]
    Client(reqwest::Error),
    #[error("{}: the run does not answer: {}", dir.display(), root_cause(error))]
    NoAnswer { dir: PathBuf, error: reqwest::Error },
    #[error("{}: the connection to the run is lost", .0.display())]
    Lost(PathBuf),
    #[error("{message}")]
    Refused { status: StatusCode, message: String },
    #[error("{arm}: {error}")]
    OfArm { arm: String, error: Box<CtlError> },
    #[error("no arm matches --arm and --seed; the arms are {known}")]
    NoArm { known: String },
    #[error("none of these arms is trained by rewards")]
    NotRewarded,
    #[error("every arm has ended; `sandbox ctl state` lists them")]
    AllEnded,
    #[error("every arm that is trained by rewards has ended; `sandbox ctl state` lists all arms")]
    AllRewardedEnded,
    #[error("there is no reward `{0}` to swap; `sandbox ctl rewards` lists them, `sandbox ctl add` adds one")]
    NoReward(String),
    #[error("`{0}` is not a weight; write for example think=0.3")]
    Weight(String),
    #[error("`{0}` is not a setting; write for example grpo.lr=3e-5")]
    Setting(String),
    #[error("{arm} has no weight `{name}`; `sandbox ctl weights` lists them")]
    NoWeight { arm: String, name: String },
    #[error("{}: cannot be read: {error}", path.display())]
    File { path: PathBuf, error: io::Error },
    #[error("{0}")]
    Scenario(#[from] ScenarioError),
}

impl CtlError {
    /// Whether the input is at fault, which has exit code 2; all else has 1.
    fn is_input(&self) -> bool {
        match self {
            Self::Killed { .. }
            | Self::NotRunning(_)
            | Self::NoneRunning(_)
            | Self::NoFolder(_)
            | Self::NoArm { .. }
            | Self::NotRewarded
            | Self::NoReward(_)
            | Self::Weight(_)
            | Self::Setting(_)
            | Self::NoWeight { .. }
            | Self::File { .. }
            | Self::Scenario(_) => true,
            Self::Address { .. }
            | Self::Client(_)
            | Self::NoAnswer { .. }
            | Self::Lost(_)
            | Self::AllEnded
            | Self::AllRewardedEnded => false,
            Self::Refused { status, .. } => {
                matches!(*status, StatusCode::BAD_REQUEST | StatusCode::NOT_FOUND)
            }
            Self::OfArm { error, .. } => error.is_input(),
        }
    }
}

impl From<CtlError> for Failure {
    fn from(error: CtlError) -> Self {
        let message = error.to_string();
        if error.is_input() { Failure::Input(message) } else { Failure::Running(message) }
    }
}

/// The innermost cause, which names what the operating system refused.
fn root_cause(error: &reqwest::Error) -> String {
    let mut cause: &dyn Error = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.to_string()
}
