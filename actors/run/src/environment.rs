//! What a run was made with: the resolved scenario and the environment, written before the first step.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::recorder::replace_file;
use crate::run::{Plan, RunArgs};

/// Writes `scenario.toml` and `environment.json`.
///
/// Errors: One line that names the file.
pub(crate) fn write(args: &RunArgs, plan: &Plan) -> Result<(), String> {
    let scenario = args.experiment.to_toml();
    put(&args.run_dir.join("scenario.toml"), scenario.as_bytes())?;
    let environment = json!({
        "version": env!("CARGO_PKG_VERSION"),
        "scenario": args.experiment.path,
        "scenario_folder": scenario_folder(args),
        "arguments": std::env::args().collect::<Vec<_>>(),
        "device": format!("{:?}", plan.device),
        "arms_side_by_side": plan.side_by_side,
        "threads_per_arm": plan.threads,
        "cores": std::thread::available_parallelism().map_or(1, usize::from),
        "operating_system": std::env::consts::OS,
        "architecture": std::env::consts::ARCH,
        "process_id": std::process::id(),
    });
    put(&args.run_dir.join("environment.json"), format!("{environment:#}\n").as_bytes())
}

/// The folder that relative paths of the scenario, and of rewards put in later, start from. A run that is resumed or
/// replayed by the scenario.toml of a run directory keeps the one of the scenario it was made from.
pub(crate) fn scenario_folder(args: &RunArgs) -> PathBuf {
    let folder = args.experiment.path.parent().unwrap_or(Path::new(""));
    let folder = std::path::absolute(if folder.as_os_str().is_empty() { Path::new(".") } else { folder });
    let folder = folder.unwrap_or_default();
    let recorded = || {
        let text = std::fs::read(folder.join("environment.json")).ok()?;
        let environment: Value = serde_json::from_slice(&text).ok()?;
        Some(PathBuf::from(environment.get("scenario_folder")?.as_str()?))
    };
    recorded().unwrap_or(folder)
}

fn put(path: &Path, content: &[u8]) -> Result<(), String> {
    replace_file(path, content).map_err(|error| {
        format!("{}: can't write: {error}; choose a folder that can be written to with --out", path.display())
    })
}
