//! The recorder: the only one who writes into the run directory while arms run.
//!
//! - `RECORD-1` JSON-lines files are only appended to, a whole line at a time; other files are replaced whole. After
//!   a kill, at most the last line of a file is cut short, and opening it again removes that line.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use ractor::{Actor, ActorProcessingErr, ActorRef};

use crate::slot::Request;

/// Lines for one file, relative to the run directory.
#[derive(Clone)]
pub struct Lines {
    /// The file.
    pub file: PathBuf,
    /// Each a JSON object without its newline.
    pub lines: Vec<String>,
}

/// Messages to the recorder.
pub enum RecorderMsg {
    /// Append these lines; answered when they are with the operating system.
    Append(Request<Vec<Lines>, Result<(), String>>),
    /// Replace a file whole.
    Replace(Request<(PathBuf, String), Result<(), String>>),
}

/// The actor.
pub struct Recorder;

/// The run directory and the files open in it.
pub struct RecorderState {
    run_dir: PathBuf,
    open: HashMap<PathBuf, File>,
}

impl Actor for Recorder {
    type Msg = RecorderMsg;
    type State = RecorderState;
    type Arguments = PathBuf;

    async fn pre_start(
        &self,
        _: ActorRef<RecorderMsg>,
        run_dir: PathBuf,
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
                    let path = state.run_dir.join(file);
                    reply.send(
                        replace_file(&path, content.as_bytes()).map_err(|error| cannot_write(&path, &error)),
                    );
                }
            }
        }
        Ok(())
    }
}

impl RecorderState {
    fn append(&mut self, appended: &Lines) -> Result<(), String> {
        let path = self.run_dir.join(&appended.file);
        let mut text = String::with_capacity(appended.lines.iter().map(|line| line.len() + 1).sum());
        for line in &appended.lines {
            text.push_str(line);
            text.push('\n');
        }
        self.file(&path)
            .and_then(|file| file.write_all(text.as_bytes()))
            .map_err(|error| cannot_write(&path, &error))
    }

    fn file(&mut self, path: &Path) -> std::io::Result<&mut File> {
        if !self.open.contains_key(path) {
            if let Some(folder) = path.parent() {
                std::fs::create_dir_all(folder)?;
            }
            keep_lines(path, |_| true)?;
            let file = OpenOptions::new().create(true).append(true).open(path)?;
            self.open.insert(path.to_owned(), file);
        }
        Ok(self.open.get_mut(path).expect("just opened"))
    }
}

fn cannot_write(path: &Path, error: &std::io::Error) -> String {
    format!("{}: can't write: {error}; free some space or choose another folder with --out", path.display())
}

/// Writes a file so that a reader sees the old content or the new, never a part.
///
/// # Errors
/// Whatever the file system says.
pub fn replace_file(path: &Path, content: &[u8]) -> std::io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder)?;
    let mut draft = tempfile::NamedTempFile::new_in(folder)?;
    draft.write_all(content)?;
    draft.persist(path).map_err(|error| error.error)?;
    Ok(())
}

/// Cuts a JSON-lines file after its last whole line that, with all before it, satisfies `keep`. A missing file is fine.
///
/// # Errors
/// Whatever the file system says.
pub fn keep_lines(path: &Path, keep: impl Fn(&str) -> bool) -> std::io::Result<()> {
    let mut file = match OpenOptions::new().read(true).write(true).open(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        file => file?,
    };
    let mut reader = BufReader::new(&mut file);
    let (mut kept, mut line) = (0, Vec::new());
    loop {
        line.clear();
        let length = reader.read_until(b'\n', &mut line)? as u64;
        if line.last() != Some(&b'\n') || !keep(&String::from_utf8_lossy(&line)) {
            break;
        }
        kept += length;
    }
    file.set_len(kept)?;
    file.seek(SeekFrom::Start(kept))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_half_written_line_is_removed_and_whole_ones_stay() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("metrics.jsonl");
        std::fs::write(&path, "{\"step\":1}\n{\"step\":2}\n{\"st").unwrap();
        keep_lines(&path, |_| true).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "{\"step\":1}\n{\"step\":2}\n");
        keep_lines(&path, |line| !line.contains('2')).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "{\"step\":1}\n");
    }
}
