//! `run.json`: claiming the folder of a run, and replacing the object when all parts are stored.
//!
//! Every write has the condition that the object is still the one that this process read or wrote last. A store that knows no
//! conditions is read before each write instead, which leaves a moment in which two processes can miss each other.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::TryStreamExt as _;
use object_store::{
    Error as ObjectError, ObjectStoreExt as _, PutMode, PutOptions, PutPayload, UpdateVersion,
};
use records::{FormatVersion, now};

use crate::error::StorageError;
use crate::parts::FILES;
use crate::stored_run::{StoredFile, StoredRun};
use crate::target::Target;
use crate::upload::Upload;

/// Reads `run.json` and its tag; `None` if there is none.
pub(crate) async fn read(target: &Target) -> Result<Option<(StoredRun, Option<String>)>, StorageError> {
    let failed = |error| StorageError::of(target.url(), error);
    let found = match target.store.get(&target.object(StoredRun::OBJECT)).await {
        Err(ObjectError::NotFound { .. }) => return Ok(None),
        found => found.map_err(failed)?,
    };
    let tag = found.meta.e_tag.clone();
    let text = found.bytes().await.map_err(failed)?;
    Ok(Some((StoredRun::of_text(&text, target)?, tag)))
}

impl Upload {
    /// Makes this process the writer of the folder (STORE-2). Does nothing if it is already.
    pub(crate) async fn claim(&mut self) -> Result<(), StorageError> {
        if self.claimed.is_some() {
            return Ok(());
        }
        let found = read(&self.target).await?;
        let files = match &found {
            Some((run, _)) if run.run != self.record.run => return Err(self.other_run(run)),
            Some((run, _)) => {
                if run.writer.id != self.writer.id {
                    let (writer, updated) = (&run.writer, &run.updated);
                    tracing::info!(
                        "{}: uploads go on from those of {writer}, the last at {updated}",
                        self.target.url()
                    );
                }
                run.files.clone()
            }
            None => BTreeMap::new(),
        };
        self.sent = self.listed().await?;
        self.replace(found, files).await
    }

    /// Replaces `run.json` when its files changed, and then removes what it names no more.
    pub(crate) async fn publish(&mut self, files: BTreeMap<String, StoredFile>) -> Result<(), StorageError> {
        if self.claimed.as_ref().is_none_or(|(run, _)| run.files != files) {
            self.replace(self.claimed.clone(), files).await?;
        }
        self.remove_unnamed().await;
        Ok(())
    }

    /// Replaces the object if it is still `before`. If it is one that this process wrote and lost the answer to, it is replaced too.
    async fn replace(
        &mut self,
        mut before: Option<(StoredRun, Option<String>)>,
        files: BTreeMap<String, StoredFile>,
    ) -> Result<(), StorageError> {
        for _ in 0..3 {
            let run = StoredRun {
                format_version: FormatVersion::CURRENT,
                run: self.record.run.clone(),
                name: self.record.url.rsplit('/').next().unwrap_or_default().to_owned(),
                writer: self.writer.clone(),
                generation: before.as_ref().map_or(0, |(run, _)| run.generation) + 1,
                updated: now(),
                files: files.clone(),
            };
            let mode = match &before {
                None => PutMode::Create,
                Some((_, tag)) => PutMode::Update(UpdateVersion { e_tag: tag.clone(), version: None }),
            };
            match self.put(&run, mode).await {
                Ok(tag) => {
                    self.claimed = Some((run, tag));
                    return Ok(());
                }
                Err(error) if knows_no_conditions(&error) => {
                    let tag = self.put_unconditionally(&run, before.as_ref().map(|(run, _)| run)).await?;
                    self.claimed = Some((run, tag));
                    return Ok(());
                }
                Err(ObjectError::AlreadyExists { .. } | ObjectError::Precondition { .. }) => {
                    before = read(&self.target).await?;
                    match &before {
                        Some((found, _)) if found.writer.id != self.writer.id => {
                            return Err(self.not_ours(found));
                        }
                        // The answer to this very write was lost.
                        Some((found, _))
                            if found.generation == run.generation && found.files == run.files =>
                        {
                            self.claimed = before;
                            return Ok(());
                        }
                        _ => {}
                    }
                }
                Err(error) => return Err(StorageError::of(self.target.url(), error)),
            }
        }
        let problem = "run.json changes whenever it is read".to_owned();
        Err(StorageError::Store { url: self.target.url().to_owned(), problem })
    }

    async fn put(&self, run: &StoredRun, mode: PutMode) -> Result<Option<String>, ObjectError> {
        let payload = PutPayload::from(run.to_text().into_bytes());
        let object = self.target.object(StoredRun::OBJECT);
        let put = self.target.store.put_opts(&object, payload, PutOptions::from(mode)).await;
        put.map(|result| result.e_tag)
    }

    async fn put_unconditionally(
        &mut self,
        run: &StoredRun,
        before: Option<&StoredRun>,
    ) -> Result<Option<String>, StorageError> {
        if self.said.insert("conditions".to_owned()) {
            tracing::warn!(
                "{}: this store knows no conditional writes; see to it that only one process uploads to this folder",
                self.target.url()
            );
        }
        let found = read(&self.target).await?.map(|(run, _)| run);
        match &found {
            Some(found) if Some(found) != before => return Err(self.not_ours(found)),
            _ => {}
        }
        let put = self.put(run, PutMode::Overwrite).await;
        put.map_err(|error| StorageError::of(self.target.url(), error))
    }

    /// Removes `run.json` if this process claimed the folder and has uploaded nothing.
    pub(crate) async fn remove_if_empty(&mut self) {
        if self.claimed.as_ref().is_some_and(|(run, _)| run.generation == 1 && run.files.is_empty()) {
            // An empty run that stays costs nothing.
            let _ = self.target.store.delete(&self.target.object(StoredRun::OBJECT)).await;
        }
    }

    fn not_ours(&self, found: &StoredRun) -> StorageError {
        if found.run != self.record.run {
            return self.other_run(found);
        }
        let writer = Box::new(found.writer.clone());
        StorageError::TakenOver { url: self.target.url().to_owned(), writer }
    }

    fn other_run(&self, found: &StoredRun) -> StorageError {
        StorageError::OtherRun {
            url: self.target.url().to_owned(),
            run: found.name.clone(),
            writer: Box::new(found.writer.clone()),
        }
    }

    /// All objects of parts in the folder, by their names below it.
    async fn listed(&self) -> Result<BTreeSet<String>, StorageError> {
        let folder = self.target.object(FILES);
        let objects = self.target.store.list(Some(&folder));
        let names = objects.try_filter_map(|object| {
            let below = object.location.prefix_match(&self.target.folder);
            let name =
                below.map(|parts| parts.map(|part| part.as_ref().to_owned()).collect::<Vec<_>>().join("/"));
            async move { Ok(name) }
        });
        names.try_collect().await.map_err(|error| StorageError::of(self.target.url(), error))
    }

    /// Removes the parts that `run.json` names no more, also those of a process that was killed before it named them. The
    /// folder is this process's, so nobody names them any more. A part that stays costs space only.
    async fn remove_unnamed(&mut self) {
        let Some((run, _)) = &self.claimed else { return };
        let named: BTreeSet<&String> =
            run.files.values().flat_map(|file| &file.parts).map(|part| &part.object).collect();
        let unnamed: Vec<String> =
            self.sent.iter().filter(|object| !named.contains(object)).cloned().collect();
        for object in unnamed {
            match self.target.store.delete(&self.target.object(&object)).await {
                Ok(()) | Err(ObjectError::NotFound { .. }) => {
                    self.sent.remove(&object);
                }
                Err(error) => {
                    let error = StorageError::of(self.target.url(), error);
                    if self.said.insert("delete".to_owned()) {
                        tracing::warn!(
                            "old parts can't be removed from the store, which costs space only: {error}"
                        );
                    }
                    return;
                }
            }
        }
    }
}

/// Whether a store answers a condition with 501.
fn knows_no_conditions(error: &ObjectError) -> bool {
    match error {
        ObjectError::NotImplemented { .. } | ObjectError::NotSupported { .. } => true,
        ObjectError::Generic { source, .. } => {
            let text = source.to_string();
            text.contains("501 Not Implemented") || text.contains("<Code>NotImplemented</Code>")
        }
        _ => false,
    }
}
