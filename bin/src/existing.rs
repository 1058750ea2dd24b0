//! Run directories that the command line names.

use std::path::Path;

use records::RunDir;

use crate::failure::Failure;

/// The directory of an existing run, to resume or replay it.
pub(crate) fn existing_run_dir(dir: &Path) -> Result<RunDir, Failure> {
    let run_dir = RunDir::new(dir);
    if run_dir.scenario().is_file() {
        return Ok(run_dir);
    }
    let dir = dir.display();
    Err(Failure::Input(format!(
        "{dir}: not a run directory (no scenario.toml); name one such as runs/ablation-20250131-120000"
    )))
}
