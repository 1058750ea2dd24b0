//! One upload of what a run directory holds now: the newest checkpoints, then the records, then `run.json`.

use std::collections::{BTreeMap, BTreeSet};

use records::{CheckpointPlace, FileSum, Snapshot};

use crate::error::StorageError;
use crate::stored_run::StoredFile;
use crate::upload::{Content, Upload};

/// Attempts to make a snapshot between two changes of an arm's status.
const SNAPSHOTS: usize = 20;

/// What a store has of a run, file by file.
type Files = BTreeMap<String, StoredFile>;

impl Upload {
    /// Uploads what is new of the newest `keep` checkpoints of each arm and of everything else (STORE-1).
    pub(crate) async fn pass(&mut self, keep: usize) -> Result<(), StorageError> {
        self.claim().await?;
        let stored = self.stored();
        let (places, mut files) = self.send_checkpoints(keep, &stored).await?;
        // Only arms whose checkpoints were looked at: the records of a fork that began since would lack the checkpoint with
        // which it begins.
        let arms = self.arms(&places)?;
        let snapshot = self.snapshot(&arms)?;
        files.extend(self.send_records(&snapshot, &stored).await?);
        self.publish(files).await
    }

    /// Sends the newest checkpoints, and returns all that are to be kept with their places.
    async fn send_checkpoints(
        &mut self,
        keep: usize,
        stored: &Files,
    ) -> Result<(Vec<CheckpointPlace>, Files), StorageError> {
        let (mut places, mut files) = (Vec::new(), Files::new());
        for place in self.run_dir.stored_checkpoints(keep)? {
            let Some(open) = self.run_dir.open_checkpoint(&place)? else { continue };
            let mut whole = Files::new();
            for (path, file, sum) in &open.files {
                match self.send_whole(path, Content::File(file), sum, stored.get(path)).await {
                    Ok(sent) => drop(whole.insert(path.clone(), sent)),
                    // Its files are open, so this is no removal: the bytes are not those of the manifest.
                    Err(StorageError::Changed { path }) => {
                        if self.said.insert(path.clone()) {
                            tracing::warn!(
                                "{path}: is not what its manifest says, so this checkpoint is not uploaded"
                            );
                        }
                        whole.clear();
                        break;
                    }
                    Err(error) => return Err(error),
                }
            }
            if !whole.is_empty() {
                files.extend(whole);
                places.push(place);
            }
        }
        let kept = kept_in_the_store(&places, stored, keep);
        files.extend(
            stored
                .iter()
                .filter(|(path, _)| CheckpointPlace::of_file(path).is_some_and(|place| kept.contains(&place)))
                .map(|(path, file)| (path.clone(), file.clone())),
        );
        Ok((places, files))
    }

    /// The folders of the arms that have a checkpoint in the store, or none yet.
    fn arms(&self, uploaded: &[CheckpointPlace]) -> Result<Vec<String>, StorageError> {
        let with_checkpoints: BTreeSet<String> =
            self.run_dir.stored_checkpoints(1)?.into_iter().map(|place| place.arm).collect();
        let uploaded: BTreeSet<&String> = uploaded.iter().map(|place| &place.arm).collect();
        let mut arms = self.run_dir.arm_folders()?;
        arms.retain(|arm| uploaded.contains(arm) || !with_checkpoints.contains(arm));
        Ok(arms)
    }

    fn snapshot(&self, arms: &[String]) -> Result<Snapshot, StorageError> {
        for _ in 0..SNAPSHOTS {
            if let Some(snapshot) = self.run_dir.snapshot(arms)? {
                return Ok(snapshot);
            }
        }
        Err(StorageError::Changed { path: "status.json".to_owned() })
    }

    /// Sends the files of a snapshot.
    async fn send_records(&mut self, snapshot: &Snapshot, stored: &Files) -> Result<Files, StorageError> {
        let mut files = Files::new();
        for (path, length) in &snapshot.grown {
            let sent = self.send_grown(path, *length, stored.get(path)).await?;
            files.insert(path.clone(), sent);
        }
        for (path, content) in &snapshot.replaced {
            let sum = FileSum::of(content);
            let sent = self.send_whole(path, Content::Bytes(content), &sum, stored.get(path)).await?;
            files.insert(path.clone(), sent);
        }
        Ok(files)
    }

    /// What the store lacks of the run directory, in bytes by file.
    pub(crate) fn missing(&self, keep: usize) -> Result<Vec<(String, u64)>, StorageError> {
        let stored = self.stored();
        let mut missing = Vec::new();
        let mut note = |path: &str, sum: &FileSum| {
            let same = stored.get(path).is_some_and(|file| file.sha256.as_ref() == Some(&sum.sha256));
            if !same {
                missing.push((path.to_owned(), sum.bytes));
            }
        };
        for place in self.run_dir.stored_checkpoints(keep)? {
            for (path, _, sum) in
                self.run_dir.open_checkpoint(&place)?.into_iter().flat_map(|open| open.files)
            {
                note(&path, &sum);
            }
        }
        let snapshot = self.snapshot(&self.run_dir.arm_folders()?)?;
        snapshot.replaced.iter().for_each(|(path, content)| note(path, &FileSum::of(content)));
        for (path, length) in &snapshot.grown {
            // The log may have a line about the last upload, which that one can't have.
            if self.run_dir.path().join(path) == self.run_dir.log() && stored.contains_key(path) {
                continue;
            }
            let behind = length.saturating_sub(stored.get(path).map_or(0, StoredFile::bytes));
            if behind > 0 || !stored.contains_key(path) {
                missing.push((path.clone(), behind));
            }
        }
        Ok(missing)
    }
}

/// The checkpoints that stay in the store although the run has removed them: of each arm the newest `keep` that are older than one
/// that is there now. After a repair, later ones are of steps that are taken again.
fn kept_in_the_store(places: &[CheckpointPlace], stored: &Files, keep: usize) -> BTreeSet<CheckpointPlace> {
    let in_store: BTreeSet<CheckpointPlace> =
        stored.keys().filter_map(|path| CheckpointPlace::of_file(path)).collect();
    let arms: BTreeSet<&String> = places.iter().map(|place| &place.arm).collect();
    let mut kept = BTreeSet::new();
    for arm in arms {
        let now: BTreeSet<u64> =
            places.iter().filter(|place| place.arm == *arm).map(|place| place.step).collect();
        let newest = now.last().copied().unwrap_or_default();
        let older = in_store.iter().filter(|place| place.arm == *arm && place.step < newest);
        let older = older.filter(|place| !now.contains(&place.step)).rev();
        kept.extend(older.take(keep.saturating_sub(now.len())).cloned());
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(step: u64) -> CheckpointPlace {
        CheckpointPlace { arm: "a/seed-1".into(), step }
    }

    #[test]
    fn a_checkpoint_that_the_run_removed_stays_while_there_are_too_few_newer_ones() {
        let stored = [100, 200, 300, 500].map(|step| {
            (format!("a/seed-1/checkpoints/step-{step:06}/manifest.json"), StoredFile::default())
        });
        let stored = Files::from(stored);
        let kept = |now: &[u64], keep| -> Vec<u64> {
            let now: Vec<_> = now.iter().map(|step| place(*step)).collect();
            kept_in_the_store(&now, &stored, keep).into_iter().map(|place| place.step).collect()
        };
        assert_eq!(kept(&[400], 3), [200, 300], "500 is of steps that a repair takes again");
        assert_eq!(kept(&[400, 300], 3), [200]);
        assert_eq!(kept(&[600, 700], 2), [0; 0]);
        assert_eq!(kept(&[], 2), [0; 0], "the arm began again");
    }
}
