//! The event files of a run, `RUN/tensorboard/ARM/seed-N`, which grow while it trains.

use std::collections::HashMap;

use exports::{EventFile, ExportError};
use records::{ArmId, RunDir};
use runtime::RunEvent;

/// The event files of the arms that have recorded something.
pub(crate) struct EventFiles {
    run_dir: RunDir,
    /// By arm; `None` after an event could not be written.
    files: HashMap<ArmId, Option<EventFile>>,
}

impl EventFiles {
    pub(crate) fn of(run_dir: RunDir) -> Self {
        EventFiles { run_dir, files: HashMap::new() }
    }

    /// Writes what an event adds. A file that can't be written costs that file only: the run goes on.
    pub(crate) fn write(&mut self, event: &RunEvent) {
        let (RunEvent::StepDone { id, .. } | RunEvent::EvalDone { id, .. }) = event else { return };
        let run_dir = &self.run_dir;
        // At its first event, the file is written anew from the records, which a resumed arm has cut to its checkpoint.
        let file = self.files.entry(id.clone()).or_insert_with(|| {
            // A run directory that was removed is not made again.
            let opened = run_dir.scenario().is_file().then(|| open(run_dir, id))?;
            opened.inspect_err(|error| warn(id, error)).ok()
        });
        let Some(events) = file else { return };
        let written = match event {
            RunEvent::StepDone { line, .. } => events.append_step(line),
            RunEvent::EvalDone { line, .. } => events.append_evaluation(line),
            _ => Ok(()),
        };
        if let Err(error) = written {
            warn(id, &error);
            *file = None;
        }
    }
}

/// Writes the event file of an arm from its records.
pub(crate) fn open(run_dir: &RunDir, id: &ArmId) -> Result<EventFile, ExportError> {
    EventFile::rewrite(&run_dir.path().join("tensorboard").join(id.folder()), &run_dir.arm(id))
}

fn warn(id: &ArmId, error: &ExportError) {
    tracing::warn!(arm = %id.arm, seed = id.seed, "the event file for TensorBoard ends here: {error}");
}
