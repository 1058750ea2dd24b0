//! What a run was made with: the resolved scenario and the environment, written before the first step.

use std::path::Path;

use serde_json::json;

use crate::recorder::replace_file;
use crate::run::RunArgs;

/// Writes `scenario.toml` and `environment.json`.
///
/// # Errors
/// One line that names the file.
pub fn write(args: &RunArgs, device: tch::Device) -> Result<(), String> {
    let scenario = args.experiment.to_toml();
    put(&args.run_dir.join("scenario.toml"), scenario.as_bytes())?;
    let environment = json!({
        "version": env!("CARGO_PKG_VERSION"),
        "scenario": args.experiment.path,
        "arguments": std::env::args().collect::<Vec<_>>(),
        "device": format!("{device:?}"),
        "cores": std::thread::available_parallelism().map_or(1, usize::from),
        "operating_system": std::env::consts::OS,
        "architecture": std::env::consts::ARCH,
        "process_id": std::process::id(),
    });
    put(&args.run_dir.join("environment.json"), format!("{environment:#}\n").as_bytes())
}

fn put(path: &Path, content: &[u8]) -> Result<(), String> {
    replace_file(path, content).map_err(|error| {
        format!("{}: can't write: {error}; choose a folder that can be written to with --out", path.display())
    })
}
