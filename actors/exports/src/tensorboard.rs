//! Event files, which TensorBoard reads: the curves of one arm under one seed as scalars.
//!
//! TensorBoard shows all event files of a folder as one run, so a folder should be the arm's alone. A resumed arm repeats the
//! steps after its checkpoint; [`EventFile::rewrite`] therefore writes the file anew from the records, which end at the
//! checkpoint by then (EXPORT-1).

mod event;
mod record;

use std::fs;
use std::io;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use records::{ArmDir, ArmState, RecordsError};

use crate::appended::Appended;
use crate::curves::{Curves, Sink};
use crate::error::ExportError;
use event::Content;

/// How the name of an event file begins; TensorBoard looks for `tfevents` in names, and reads them in their order.
const PREFIX: &str = "events.out.tfevents.";

/// An event file that events are appended to.
#[derive(Debug)]
pub struct EventFile(Appended);

impl EventFile {
    /// Removes the event files of the folder, which is made if it is missing, and writes a new one with the curves of the
    /// arm so far.
    ///
    /// Errors: [`ExportError::Records`].
    pub fn rewrite(folder: &Path, arm: &ArmDir) -> Result<Curves, ExportError> {
        Curves::of_recorded(arm, |time| {
            EventFile::create(folder, time).map_err(|error| RecordsError::writing(folder)(error).into())
        })
    }

    fn create(folder: &Path, time: f64) -> io::Result<EventFile> {
        fs::create_dir_all(folder)?;
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            if entry.file_name().to_string_lossy().starts_with(PREFIX) {
                fs::remove_file(entry.path())?;
            }
        }
        // A name of its own for each rewrite: under the same name, an open TensorBoard would read on from where it was.
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let path = folder.join(format!("{PREFIX}{:010}.{:09}", now.as_secs(), now.subsec_nanos()));
        let mut events = EventFile(Appended::create(&path)?);
        events.write(&event::encoded(time, 0, Content::FileVersion))?;
        events.write(&event::encoded(time, 0, Content::SessionStart))?;
        Ok(events)
    }

    /// Writes an event at once, so that TensorBoard sees it and a kill can tear the last event only.
    fn write(&mut self, event: &[u8]) -> io::Result<()> {
        self.0.append(&record::framed(event))
    }
}

impl Sink for EventFile {
    fn add(&mut self, step: u64, time: f64, numbers: &[(String, f64)]) -> Result<(), ExportError> {
        let event = event::encoded(time, step, Content::Scalars(numbers));
        Ok(self.write(&event).map_err(RecordsError::writing(self.0.path()))?)
    }

    fn end(&mut self, _: &ArmState) -> Result<(), ExportError> {
        Ok(())
    }

    fn place(&self) -> String {
        self.0.path().display().to_string()
    }
}

#[cfg(test)]
mod tests;
