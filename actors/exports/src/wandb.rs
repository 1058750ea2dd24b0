//! Runs of Weights & Biases, as its client writes them in offline mode: `wandb sync` uploads them, and nothing here needs a
//! network or an account.
//!
//! A run directory gets the folder that the client would have made, `wandb/offline-run-TIME-ID/run-ID.wandb`, one for each
//! arm under each seed. The id follows from the run, the arm and the seed, so that a run which is resumed and uploaded again
//! replaces itself.

mod log;
mod message;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use records::{ArmDir, ArmId, ArmState, RecordsError, RunDir};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use crate::curves::{Curves, Sink};
use crate::error::ExportError;
use log::Log;
use message::Record;

/// How a run is shown in Weights & Biases.
#[derive(Clone, Debug, Default)]
pub struct WandbRun {
    /// Name of the project under which Weights & Biases lists the runs.
    pub project: String,
    /// The user or team; `None` for the default of whoever uploads.
    pub entity: Option<String>,
    /// The settings of the arm, by which runs can be filtered and grouped.
    pub config: Map<String, Value>,
}

/// The file of one run.
#[derive(Debug)]
pub struct WandbFile {
    log: Log,
    /// Time of the first row, in seconds since 1970.
    start: f64,
    /// Time of the last row.
    last: f64,
    rows: u64,
}

impl WandbFile {
    /// Removes the file of the arm, if there is one, and writes a new one into the folder `wandb` of the run directory,
    /// with the curves of the arm so far.
    ///
    /// Errors: [`ExportError::Records`].
    pub fn rewrite(
        run_dir: &RunDir,
        id: &ArmId,
        arm: &ArmDir,
        run: &WandbRun,
    ) -> Result<Curves, ExportError> {
        let folder = run_dir.path().join("wandb");
        let group = run_dir.path().file_name().unwrap_or_default().to_string_lossy().into_owned();
        let wandb_id = run_id(&group, id);
        Curves::of_recorded(arm, |start| {
            let create = || {
                let path = fresh_path(&folder, &wandb_id, start)?;
                let mut file = WandbFile { log: Log::create(&path)?, start, last: start, rows: 0 };
                file.write(Record::Header)?;
                let name = format!("{}/seed-{}", id.arm, id.seed);
                file.write(Record::Run { id: &wandb_id, run, group: &group, name: &name, start })?;
                file.write(Record::StepMetric)?;
                file.write(Record::EveryMetric)?;
                Ok(file)
            };
            create().map_err(|error| RecordsError::writing(&folder)(error).into())
        })
    }

    fn write(&mut self, record: Record) -> io::Result<()> {
        self.log.append(&record)
    }
}

impl Sink for WandbFile {
    fn add(&mut self, step: u64, time: f64, numbers: &[(String, f64)]) -> Result<(), ExportError> {
        self.last = time;
        let mut items: Vec<(&str, Value)> =
            numbers.iter().map(|(name, number)| (name.as_str(), Value::from(*number))).collect();
        items.push(("step", step.into()));
        items.push(("_timestamp", time.into()));
        items.push(("_runtime", (time - self.start).max(0.0).into()));
        items.push(("_step", self.rows.into()));
        let written = self
            .write(Record::Summary(&items))
            .and_then(|()| self.write(Record::History { items: &items, row: self.rows }));
        self.rows += 1;
        Ok(written.map_err(RecordsError::writing(self.log.path()))?)
    }

    /// A run that does not say how it ended is shown as crashed.
    fn end(&mut self, state: &ArmState) -> Result<(), ExportError> {
        let seconds = (self.last - self.start).max(0.0) as u64;
        let code = u64::from(*state != ArmState::Done);
        let ended = self.write(Record::Exit { code, seconds });
        Ok(ended.map_err(RecordsError::writing(self.log.path()))?)
    }

    fn place(&self) -> String {
        self.log.path().display().to_string()
    }
}

/// The id of a run; Weights & Biases allows letters, digits and a few signs.
fn run_id(run: &str, id: &ArmId) -> String {
    let mut hash = Sha256::new();
    for part in [run, &id.arm, &id.seed.to_string()] {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    hash.finalize()[..8].iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The path of the run's file, in the folder that it had before if there is one. The file itself is removed, and so is the
/// mark that it was uploaded.
fn fresh_path(folder: &Path, id: &str, start: f64) -> io::Result<PathBuf> {
    fs::create_dir_all(folder)?;
    let end = format!("-{id}");
    let mut found = None;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with("offline-run-") && name.ends_with(&end) {
            found = Some(entry.path());
        }
    }
    let folder = found.unwrap_or_else(|| {
        let time = jiff::Timestamp::from_second(start as i64).unwrap_or_default();
        folder.join(format!("offline-run-{}-{id}", time.strftime("%Y%m%d_%H%M%S")))
    });
    fs::create_dir_all(&folder)?;
    let path = folder.join(format!("run-{id}.wandb"));
    for old in [path.clone(), path.with_extension("wandb.synced")] {
        match fs::remove_file(old) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(path)
}

#[cfg(test)]
mod tests {
    use records::RunDir;

    use super::*;
    use crate::fabricate;

    /// The records of a file, each as the numbers of its fields and their bytes.
    fn records(path: &Path) -> Vec<Vec<u8>> {
        log::tests::read(&fs::read(path).unwrap())
    }

    fn has(record: &[u8], text: &str) -> bool {
        record.windows(text.len()).any(|window| window == text.as_bytes())
    }

    #[test]
    fn a_run_has_its_settings_every_row_once_and_an_end() {
        let folder = tempfile::tempdir().unwrap();
        let run_dir = RunDir::new(folder.path().join("ablation-1"));
        let arm = fabricate::grpo_arm(&run_dir);
        let id = ArmId::new("grpo+atar", 7);
        let run = WandbRun {
            project: "audio".into(),
            entity: None,
            config: serde_json::json!({"grpo": {"lr": 0.5}}).as_object().unwrap().clone(),
        };
        let mut curves = WandbFile::rewrite(&run_dir, &id, &arm, &run).unwrap();
        curves.append_step(&fabricate::step(4)).unwrap();
        curves.append_step(&fabricate::step(5)).unwrap();
        let path = PathBuf::from(curves.place());
        curves.end(&ArmState::Done).unwrap();
        let found = records(&path);
        // Header, run, two metrics, a summary and a row for each of five steps and three evaluations, the end.
        assert_eq!(found.len(), 4 + 2 * 8 + 1);
        assert!(
            has(&found[1], "audio") && has(&found[1], "grpo+atar/seed-7") && has(&found[1], "{\"lr\":0.5}")
        );
        assert_eq!(found.iter().filter(|record| has(record, "train/reward")).count(), 2 * 5);
        assert_eq!(found.iter().filter(|record| has(record, "eval/mmau/accuracy")).count(), 2 * 3);

        // A resumed run is written into the same folder, and uploaded again.
        fs::write(path.with_extension("wandb.synced"), "").unwrap();
        let again = WandbFile::rewrite(&run_dir, &id, &arm, &run).unwrap();
        assert_eq!(PathBuf::from(again.place()), path);
        assert_eq!(records(&path).len(), 4 + 2 * 7);
        assert!(!path.with_extension("wandb.synced").exists());
        let other = WandbFile::rewrite(&run_dir, &ArmId::new("grpo+atar", 8), &arm, &run).unwrap();
        assert_ne!(PathBuf::from(other.place()), path);
    }
}
