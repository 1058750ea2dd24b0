//! The recorder: the actor that writes the JSON-lines and status files of the run directory while arms run, one request
//! at a time. Checkpoints are written by the optimizer.
//!
//! - `RECORD-1` JSON-lines files are only appended to, a whole line at a time; other files are replaced whole. After a
//!   kill, at most the last line of a file is cut short, and opening it again removes that line.
//! - `RECORD-2` before it appends, the recorder makes sure that the run directory, its lock and the file are those that it
//!   knows, and that the file is as long as it left it. So records that somebody removes, replaces or cuts end the run with
//!   the file's name, and are not written on into a file that nobody will find.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use ractor::{Actor, ActorProcessingErr, ActorRef};
use records::{ArmFile, LockCheck, RecordSums, RecordsError, RunDir, RunningSum, keep_lines, replace_file};
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
    /// Wait until the records in this folder, an arm's relative to the run directory, are on the disk, and answer with
    /// their checksums.
    Seal(Request<PathBuf, Result<RecordSums, RecordsError>>),
}

/// The actor that appends lines to files and replaces files of a run directory.
pub struct Recorder;

/// Where the recorder writes.
#[derive(Clone)]
pub struct RecorderArgs {
    /// The run directory, which this process owns.
    pub run_dir: RunDir,
    /// Finds out whether it still does.
    pub lock: LockCheck,
}

/// What the recorder has written so far.
pub struct RecorderState {
    args: RecorderArgs,
    open: HashMap<PathBuf, Growing>,
    /// The folders that it has written to. One that disappears is not made again.
    folders: HashSet<PathBuf>,
}

/// A file that is open for appending, and the checksum of all that is in it.
struct Growing {
    file: File,
    sum: RunningSum,
}

impl Actor for Recorder {
    type Msg = RecorderMsg;
    type State = RecorderState;
    type Arguments = RecorderArgs;

    async fn pre_start(
        &self,
        _: ActorRef<RecorderMsg>,
        args: RecorderArgs,
    ) -> Result<RecorderState, ActorProcessingErr> {
        Ok(RecorderState { args, open: HashMap::new(), folders: HashSet::new() })
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
                    reply.send(state.append_all(&appended));
                }
            }
            RecorderMsg::Replace(request) => {
                if let Some(((file, content), reply)) = request.begin() {
                    reply.send(state.replace(&file, &content));
                }
            }
            RecorderMsg::Seal(request) => {
                if let Some((folder, reply)) = request.begin() {
                    reply.send(state.seal(&folder));
                }
            }
        }
        Ok(())
    }
}

impl RecorderState {
    /// Appends to all of the files or, if one fails, to none.
    fn append_all(&mut self, appended: &[Lines]) -> Result<(), RecordsError> {
        self.args.lock.confirm()?;
        let mut before = Vec::new();
        for lines in appended {
            let path = self.args.run_dir.path().join(&lines.file);
            let sum = self.open(&path)?.sum.clone();
            before.push((path, sum));
        }
        let appended = appended.iter().try_for_each(|lines| self.append(lines));
        appended.inspect_err(|_| self.take_back(before))
    }

    /// Cuts files back to what they were.
    fn take_back(&mut self, before: Vec<(PathBuf, RunningSum)>) {
        for (path, sum) in before {
            if let Some(growing) = self.open.get_mut(&path)
                && growing.file.set_len(sum.bytes()).is_ok()
            {
                growing.sum = sum;
            }
        }
    }

    fn append(&mut self, appended: &Lines) -> Result<(), RecordsError> {
        let path = self.args.run_dir.path().join(&appended.file);
        let mut text = String::with_capacity(appended.lines.iter().map(|line| line.len() + 1).sum());
        for line in &appended.lines {
            text.push_str(line);
            text.push('\n');
        }
        let growing = self.open(&path)?;
        growing.is_as_it_was_left(&path)?;
        growing.append(text.as_bytes()).map_err(RecordsError::writing(&path))?;
        let sum = growing.sum.clone();
        let run_dir = &self.args.run_dir;
        if path == run_dir.journal() { run_dir.seal_journal(&sum.sum()) } else { Ok(()) }
    }

    fn replace(&mut self, file: &Path, content: &str) -> Result<(), RecordsError> {
        self.args.lock.confirm()?;
        let path = self.args.run_dir.path().join(file);
        self.make_folder_of(&path)?;
        replace_file(&path, content.as_bytes())
    }

    fn seal(&mut self, folder: &Path) -> Result<RecordSums, RecordsError> {
        self.args.lock.confirm()?;
        let mut sums = BTreeMap::new();
        for name in ArmFile::ALL.map(ArmFile::name) {
            let path = self.args.run_dir.path().join(folder).join(name);
            if !self.open.contains_key(&path) && !path.exists() {
                continue;
            }
            let growing = self.open(&path)?;
            growing.is_as_it_was_left(&path)?;
            growing.file.sync_data().map_err(RecordsError::writing(&path))?;
            sums.insert(name.to_owned(), growing.sum.sum());
        }
        Ok(RecordSums(sums))
    }

    /// Opens a file for appending, unless it is open. An incomplete last line of a killed process is removed first.
    fn open(&mut self, path: &Path) -> Result<&mut Growing, RecordsError> {
        if !self.open.contains_key(path) {
            self.make_folder_of(path)?;
            keep_lines(path, |_| true)?;
            let open = || {
                let file = OpenOptions::new().create(true).append(true).open(path)?;
                Ok(Growing { file, sum: RunningSum::of_beginning(path, u64::MAX)? })
            };
            self.open.insert(path.to_owned(), open().map_err(RecordsError::writing(path))?);
        }
        Ok(self.open.get_mut(path).expect("just opened"))
    }

    /// Makes the folder of a file when it is first written to.
    fn make_folder_of(&mut self, path: &Path) -> Result<(), RecordsError> {
        let folder = path.parent().unwrap_or(path);
        if self.folders.contains(folder) {
            return if folder.is_dir() {
                Ok(())
            } else {
                Err(RecordsError::Gone { path: folder.to_owned() })
            };
        }
        std::fs::create_dir_all(folder).map_err(RecordsError::writing(folder))?;
        self.folders.insert(folder.to_owned());
        Ok(())
    }
}

impl Growing {
    /// Whether the file is still at `path` and has the length that it was left with (RECORD-2).
    fn is_as_it_was_left(&self, path: &Path) -> Result<(), RecordsError> {
        use std::os::unix::fs::MetadataExt;
        let gone = || RecordsError::Gone { path: path.to_owned() };
        let found = std::fs::metadata(path).map_err(|_| gone())?;
        let ours = self.file.metadata().map_err(|_| gone())?;
        if (found.dev(), found.ino()) != (ours.dev(), ours.ino()) {
            return Err(gone());
        }
        let (expected, found) = (self.sum.bytes(), found.len());
        if found == expected {
            return Ok(());
        }
        Err(RecordsError::Changed { path: path.to_owned(), expected, found })
    }

    /// Appends whole lines. If the disk is full, what was written of them is removed again.
    fn append(&mut self, lines: &[u8]) -> std::io::Result<()> {
        let written = self.file.write_all(lines);
        match &written {
            Ok(()) => self.sum.add(lines),
            // If this fails too, the incomplete line is removed when the file is opened again.
            Err(_) => drop(self.file.set_len(self.sum.bytes())),
        }
        written
    }
}
