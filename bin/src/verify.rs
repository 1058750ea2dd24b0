//! `sandbox verify`: holds a run directory against its checksums.

use records::Verified;

use crate::cli::VerifyOptions;
use crate::failure::Failure;
use crate::run::existing_run_dir;
use crate::streams::outln;

/// Prints one line per finding, and fails if there is any. Changes nothing.
pub fn verify(options: &VerifyOptions) -> Result<(), Failure> {
    let run_dir = existing_run_dir(&options.dir)?;
    let Verified { arms, checkpoints, findings } = records::verify(&run_dir).map_err(Failure::running)?;
    if options.json {
        outln!("{}", serde_json::json!({ "arms": arms, "checkpoints": checkpoints, "findings": findings }));
    } else {
        for finding in &findings {
            outln!("{finding}");
        }
    }
    let dir = run_dir.path().display();
    match findings.len() {
        0 if options.json => Ok(()),
        0 => {
            outln!("{dir}: whole; {arms} arms, {checkpoints} checkpoints");
            Ok(())
        }
        count => Err(Failure::Running(format!(
            "{dir}: {count} damaged; `sandbox --resume {dir} --repair` goes on from the newest checkpoints that are whole"
        ))),
    }
}
