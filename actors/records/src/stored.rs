//! Which files of a run directory are kept in a store, and a view of them that a run can be resumed from although the run
//! goes on writing.
//!
//! Left out are `lock` and `control.json`, which are of this process (the second holds a token), drafts, `*.damaged`, and what
//! `sandbox export` makes again.
//!
//! - `STORE-1` the records of a snapshot are at least as long as its `status.json`, its checkpoints and its `control.sum.json` say:
//!   those are read first, and records only grow. A resume cuts records, and replaces the status before it does; a status that
//!   changed while the snapshot was made discards it.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::arm_file::ArmFile;
use crate::checksum::FileSum;
use crate::error::RecordsError;
use crate::files::replace_file;
use crate::format::FormatVersion;
use crate::manifest::Manifest;
use crate::run_dir::{ArmDir, RunDir};
use crate::status::Status;
use crate::sweep::SweepDir;

/// The content of `storage.json`: what a run directory is called in a store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StorageRecord {
    /// The format of the file.
    #[serde(default = "FormatVersion::unnamed")]
    pub format_version: FormatVersion,
    /// Tells the run from every other one that is uploaded to the same place.
    pub run: String,
    /// The folder of the store that has the run, such as `s3://bucket/audio/ablation-20260131-120000`.
    pub url: String,
}

impl StorageRecord {
    /// The record of a run directory; `None` if it was never uploaded.
    ///
    /// Errors: [`RecordsError::Read`] or [`RecordsError::Line`].
    pub fn read(run_dir: &RunDir) -> Result<Option<Self>, RecordsError> {
        let path = run_dir.storage();
        let text = match std::fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            text => text.map_err(RecordsError::reading(&path))?,
        };
        let expected = "the record of a store";
        serde_json::from_slice(&text).map(Some).map_err(|source| RecordsError::Line {
            path,
            line: 1,
            expected,
            source,
        })
    }

    /// Writes the record into a run directory.
    ///
    /// Errors: [`RecordsError::Write`].
    pub fn write(&self, run_dir: &RunDir) -> Result<(), RecordsError> {
        let json = serde_json::to_string_pretty(self).expect("text and numbers");
        replace_file(&run_dir.storage(), format!("{json}\n").as_bytes())
    }
}

/// A checkpoint whose files are open: it can be read to its end although the run removes it meanwhile.
#[derive(Debug)]
pub struct OpenCheckpoint {
    /// Its files by their paths below the run directory, the manifest last.
    pub files: Vec<(String, File, FileSum)>,
}

/// What a run directory holds at one moment, apart from its checkpoints. Paths are below the run directory, with `/`.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// Files that are replaced whole, with their content.
    pub replaced: Vec<(String, Vec<u8>)>,
    /// Files that only grow, with the length of their whole lines.
    pub grown: Vec<(String, u64)>,
}

/// A checkpoint of an arm by its place below the run directory.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct CheckpointPlace {
    /// The folder of the arm, `ARM/seed-SEED`.
    pub arm: String,
    /// Steps before it.
    pub step: u64,
}

impl CheckpointPlace {
    /// The checkpoint that a file belongs to, by its path below the run directory.
    pub fn of_file(path: &str) -> Option<Self> {
        let (arm, rest) = path.split_once("/checkpoints/")?;
        let step = rest.split_once('/')?.0.strip_prefix("step-")?.parse().ok()?;
        Some(CheckpointPlace { arm: arm.to_owned(), step })
    }
}

impl RunDir {
    /// What the run is called in the folder of a store: the name of its directory, behind that of its sweep if it is a task of one.
    pub fn stored_name(&self) -> String {
        let path = std::path::absolute(self.path()).unwrap_or_else(|_| self.path().to_owned());
        let name = |path: &Path| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let sweep = path.parent().and_then(Path::parent).map(SweepDir::new);
        match sweep.filter(|sweep| sweep.scenario().is_file()) {
            Some(sweep) => format!("{}/{}", name(sweep.path()), name(&path)),
            None => name(&path),
        }
    }

    /// The newest `keep` checkpoints of each arm, those of an arm from the newest on.
    ///
    /// Errors: [`RecordsError::Read`].
    pub fn stored_checkpoints(&self, keep: usize) -> Result<Vec<CheckpointPlace>, RecordsError> {
        let mut places = Vec::new();
        for dir in self.arm_dirs()? {
            let arm = below(self.path(), dir.path());
            let steps = dir.checkpoint_steps().into_iter().rev().take(keep);
            places.extend(steps.map(|step| CheckpointPlace { arm: arm.clone(), step }));
        }
        Ok(places)
    }

    /// The folders of all arms, `ARM/seed-SEED`.
    ///
    /// Errors: [`RecordsError::Read`].
    pub fn arm_folders(&self) -> Result<Vec<String>, RecordsError> {
        Ok(self.arm_dirs()?.iter().map(|dir| below(self.path(), dir.path())).collect())
    }

    /// Opens all files of a checkpoint; `None` if it was removed, or has no manifest, as those of older versions.
    ///
    /// Errors: [`RecordsError::Read`].
    pub fn open_checkpoint(&self, place: &CheckpointPlace) -> Result<Option<OpenCheckpoint>, RecordsError> {
        let folder = ArmDir::new(self.path().join(&place.arm)).checkpoint(place.step);
        let Ok(Some(manifest)) = Manifest::read(&folder) else { return Ok(None) };
        let path = folder.join(Manifest::FILE);
        let Some(own) = existing(&path, FileSum::of_file(&path))? else { return Ok(None) };
        let all = manifest.files().chain([(Manifest::FILE, &own)]);
        let mut files = Vec::new();
        for (name, sum) in all {
            let path = folder.join(name);
            let Some(file) = existing(&path, File::open(&path))? else { return Ok(None) };
            files.push((below(self.path(), &path), file, sum.clone()));
        }
        Ok(Some(OpenCheckpoint { files }))
    }

    /// What the directory holds now, of these arms only (`ARM/seed-SEED`). `None` if an arm's status changed meanwhile: then a
    /// resume may have cut its records, and the snapshot has to be made again (STORE-1).
    ///
    /// Errors: [`RecordsError::Read`].
    pub fn snapshot(&self, arms: &[String]) -> Result<Option<Snapshot>, RecordsError> {
        let mut snapshot = Snapshot::default();
        let dirs: Vec<ArmDir> = arms.iter().map(|arm| ArmDir::new(self.path().join(arm))).collect();
        let mut statuses = Vec::new();
        for dir in &dirs {
            let status = read(&dir.status())?;
            if let Some(content) = &status {
                snapshot.replaced.push((below(self.path(), &dir.status()), content.clone()));
            }
            statuses.push(status);
        }
        let mut replaced = vec![
            self.journal_sum(),
            self.scenario(),
            self.environment(),
            self.summary_json(),
            self.summary_markdown(),
            self.report(),
        ];
        let mut grown = vec![self.journal(), self.bookmarks(), self.judge_spent(), self.log()];
        for dir in &dirs {
            replaced.push(dir.replay());
            replaced.extend(dir.all_predictions()?);
            grown.extend(ArmFile::ALL.map(|file| dir.file(file)));
            grown.push(dir.evaluation_draft());
        }
        for path in replaced {
            snapshot.replaced.extend(read(&path)?.map(|content| (below(self.path(), &path), content)));
        }
        for path in grown {
            let length = existing(&path, whole_lines(&path))?;
            snapshot.grown.extend(length.map(|length| (below(self.path(), &path), length)));
        }
        for (dir, before) in dirs.iter().zip(&statuses) {
            if read(&dir.status())? != *before || !self.covers(&snapshot, dir, before.as_deref()) {
                return Ok(None);
            }
        }
        Ok(Some(snapshot))
    }

    /// Whether the records of a snapshot are as long as the arm's status says.
    fn covers(&self, snapshot: &Snapshot, dir: &ArmDir, status: Option<&[u8]>) -> bool {
        let status = status.and_then(|status| serde_json::from_slice::<Status>(status).ok());
        let Some(sums) = status.and_then(|status| status.records) else { return true };
        let is_covered = |file: ArmFile| {
            let path = below(self.path(), &dir.file(file));
            let found = snapshot.grown.iter().find(|(grown, _)| *grown == path);
            sums.of(file).bytes <= found.map_or(0, |(_, length)| *length)
        };
        ArmFile::ALL.into_iter().all(is_covered)
    }
}

/// A path below a folder as a store spells it.
fn below(folder: &Path, path: &Path) -> String {
    let path = path.strip_prefix(folder).unwrap_or(path);
    let parts: Vec<_> = path.components().map(|part| part.as_os_str().to_string_lossy()).collect();
    parts.join("/")
}

/// What was read of a file, or `None` if there is no such file.
fn existing<T>(path: &Path, outcome: io::Result<T>) -> Result<Option<T>, RecordsError> {
    match outcome {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        outcome => outcome.map(Some).map_err(RecordsError::reading(path)),
    }
}

fn read(path: &PathBuf) -> Result<Option<Vec<u8>>, RecordsError> {
    existing(path, std::fs::read(path))
}

/// The length of a file up to and with its last newline.
fn whole_lines(path: &Path) -> io::Result<u64> {
    let mut file = File::open(path)?;
    let mut end = file.metadata()?.len();
    let mut block = Vec::new();
    while end > 0 {
        let start = end.saturating_sub(1 << 16);
        block.resize((end - start) as usize, 0);
        file.seek(SeekFrom::Start(start))?;
        file.read_exact(&mut block)?;
        if let Some(last) = block.iter().rposition(|byte| *byte == b'\n') {
            return Ok(start + last as u64 + 1);
        }
        end = start;
    }
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_a_checkpoint_names_its_arm_and_step() {
        let place = CheckpointPlace::of_file("a+b/seed-7/checkpoints/step-000300/adapter/x.safetensors");
        assert_eq!(place, Some(CheckpointPlace { arm: "a+b/seed-7".into(), step: 300 }));
        assert_eq!(CheckpointPlace::of_file("a/seed-7/checkpoints/step-000300.draft/x"), None);
        assert_eq!(CheckpointPlace::of_file("a/seed-7/metrics.jsonl"), None);
    }

    #[test]
    fn the_incomplete_last_line_is_not_part_of_a_snapshot() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rows.jsonl");
        let long = "x".repeat(100_000);
        for (text, whole) in
            [("", 0), ("{", 0), ("1\n2\n", 4), ("1\n2\n3", 4), (&format!("1\n{long}")[..], 2)]
        {
            std::fs::write(&path, text).unwrap();
            assert_eq!(whole_lines(&path).unwrap(), whole, "{}", text.len());
        }
    }

    #[test]
    fn a_snapshot_leaves_out_the_token_and_the_lock() {
        // STORE-1: and it has what a resume reads.
        let folder = tempfile::tempdir().unwrap();
        let run_dir = RunDir::new(folder.path());
        for path in [run_dir.lock(), run_dir.control(), run_dir.scenario(), run_dir.journal(), run_dir.log()]
        {
            std::fs::write(path, "x\n").unwrap();
        }
        let arm = run_dir.path().join("a/seed-1");
        std::fs::create_dir_all(&arm).unwrap();
        std::fs::write(arm.join("metrics.jsonl"), "{}\n{}\n").unwrap();
        let snapshot = run_dir.snapshot(&["a/seed-1".to_owned()]).unwrap().unwrap();
        let replaced: Vec<&str> = snapshot.replaced.iter().map(|(path, _)| path.as_str()).collect();
        assert_eq!(replaced, ["scenario.toml"]);
        let grown = [("control.jsonl".to_owned(), 2), ("run.log".to_owned(), 2)];
        let of_arm = ("a/seed-1/metrics.jsonl".to_owned(), 6);
        assert_eq!(snapshot.grown, [grown[0].clone(), grown[1].clone(), of_arm]);
    }

    #[test]
    fn records_that_are_shorter_than_the_status_says_are_no_snapshot() {
        // STORE-1.
        let folder = tempfile::tempdir().unwrap();
        let run_dir = RunDir::new(folder.path());
        let arm = run_dir.path().join("a/seed-1");
        std::fs::create_dir_all(&arm).unwrap();
        let status = r#"{"arm":"a","seed":1,"method":"grpo","status":"running","step":2,"total_steps":4,
            "checkpoint":null,"groups":{},"wall_seconds":1.0,
            "records":{"metrics.jsonl":{"bytes":6,"sha256":"00"}}}"#;
        assert!(
            serde_json::from_str::<Status>(status).is_ok(),
            "{:?}",
            serde_json::from_str::<Status>(status)
        );
        std::fs::write(arm.join("status.json"), status).unwrap();
        let arms = ["a/seed-1".to_owned()];
        std::fs::write(arm.join("metrics.jsonl"), "{}\n").unwrap();
        assert!(run_dir.snapshot(&arms).unwrap().is_none());
        std::fs::write(arm.join("metrics.jsonl"), "{}\n{}\n").unwrap();
        assert!(run_dir.snapshot(&arms).unwrap().is_some());
    }
}
