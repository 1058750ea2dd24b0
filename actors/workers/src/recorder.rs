//! The recorder: the actor that writes the JSON-lines and status files of the run directory while arms run, one request
//! at a time. Checkpoints are written by the optimizer.
//!
//! - `RECORD-1` JSON-lines files are only appended to, a whole line at a time; other files are replaced whole. After a
//!   kill, at most the last line of a file is cut short, and opening it again removes that line.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use ractor::{Actor, ActorProcessingErr, ActorRef};
use records::{RecordsError, RunDir, keep_lines, replace_file};
use runtime::Request;

/// Lines to append to one file of the run directory.
#[derive(Clone)]
pub struct Lines {
    /// Path of the file, relative to the run directory.
    pub file: PathBuf,
    /// JSON objects, each without its newline.
    pub lines: Vec<String>,
}

/// Messages to the recorder.
pub enum RecorderMsg {
    /// Append these lines. The answer comes after the write, but without waiting for the disk (no `fsync`).
    Append(Request<Vec<Lines>, Result<(), RecordsError>>),
    /// Replace the file at this path, relative to the run directory, by this content.
    Replace(Request<(PathBuf, String), Result<(), RecordsError>>),
}

/// The actor that appends lines to files and replaces files of a run directory.
pub struct Recorder;

/// The run directory, and the files that are open for appending, by path.
pub struct RecorderState {
    run_dir: RunDir,
    open: HashMap<PathBuf, File>,
}

impl Actor for Recorder {
    type Msg = RecorderMsg;
    type State = RecorderState;
    type Arguments = RunDir;

    async fn pre_start(
        &self,
        _: ActorRef<RecorderMsg>,
        run_dir: RunDir,
    ) -> Result<RecorderState, ActorProcessingErr> {
        Ok(RecorderState { run_dir, open: HashMap::new() })
    }

    async fn handle(
        &self,
        _: ActorRef<RecorderMsg>,
        message: RecorderMsg,
        state: &mut RecorderState,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            RecorderMsg::Append(request) => {
                if let Some((appended, reply)) = request.begin() {
                    reply.send(appended.iter().try_for_each(|lines| state.append(lines)));
                }
            }
            RecorderMsg::Replace(request) => {
                if let Some(((file, content), reply)) = request.begin() {
                    reply.send(replace_file(&state.run_dir.path().join(file), content.as_bytes()));
                }
            }
        }
        Ok(())
    }
}

impl RecorderState {
    fn append(&mut self, appended: &Lines) -> Result<(), RecordsError> {
        let path = self.run_dir.path().join(&appended.file);
        let mut text = String::with_capacity(appended.lines.iter().map(|line| line.len() + 1).sum());
        for line in &appended.lines {
            text.push_str(line);
            text.push('\n');
        }
        self.file(&path)?.write_all(text.as_bytes()).map_err(RecordsError::writing(&path))
    }

    /// Opens a file for appending, unless it is open. An incomplete last line of a killed process is removed first.
    fn file(&mut self, path: &Path) -> Result<&mut File, RecordsError> {
        if !self.open.contains_key(path) {
            if let Some(folder) = path.parent() {
                std::fs::create_dir_all(folder).map_err(RecordsError::writing(folder))?;
            }
            keep_lines(path, |_| true)?;
            let opened = OpenOptions::new().create(true).append(true).open(path);
            self.open.insert(path.to_owned(), opened.map_err(RecordsError::writing(path))?);
        }
        Ok(self.open.get_mut(path).expect("just opened"))
    }
}
