//! Sending the files of a run directory as parts. What was sent and is not yet named by `run.json` is remembered, so that it is not
//! sent again after a connection was lost.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::os::unix::fs::FileExt;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use object_store::{ObjectStoreExt as _, PutPayload};
use records::{FileSum, RecordsError, RunDir, RunningSum, StorageRecord};

use crate::error::StorageError;
use crate::parts::{PART_BYTES, Part, parts_that_stay};
use crate::stored_run::{StoredFile, StoredRun};
use crate::target::Target;
use crate::writer::Writer;

/// Most parts of a file that are sent at the same time.
const AT_ONCE: usize = 4;

/// The upload of a run directory by this process.
pub(crate) struct Upload {
    pub(crate) run_dir: RunDir,
    pub(crate) target: Target,
    pub(crate) record: StorageRecord,
    pub(crate) writer: Writer,
    /// `run.json` as this process wrote it last, and its tag; none before the folder was claimed.
    pub(crate) claimed: Option<(StoredRun, Option<String>)>,
    /// Objects of parts that are in the store.
    pub(crate) sent: BTreeSet<String>,
    /// Grown files whose stored parts were compared with the file since this process began.
    compared: BTreeSet<String>,
    /// Bytes sent so far.
    pub(crate) bytes_sent: u64,
    /// What was said already, so that it is said once.
    pub(crate) said: BTreeSet<String>,
}

/// Where the bytes of a file are.
pub(crate) enum Content<'a> {
    Bytes(&'a [u8]),
    File(&'a File),
}

impl Content<'_> {
    /// `length` bytes from `offset` on.
    fn read(&self, path: &str, offset: u64, length: u64) -> Result<Vec<u8>, StorageError> {
        let changed = || StorageError::Changed { path: path.to_owned() };
        match self {
            Content::Bytes(bytes) => {
                let range = offset as usize..(offset + length) as usize;
                bytes.get(range).map(<[u8]>::to_vec).ok_or_else(changed)
            }
            Content::File(file) => {
                let mut bytes = vec![0; length as usize];
                file.read_exact_at(&mut bytes, offset).map_err(|_| changed())?;
                Ok(bytes)
            }
        }
    }
}

impl Upload {
    pub(crate) fn new(run_dir: RunDir, target: Target, record: StorageRecord) -> Self {
        Upload {
            run_dir,
            target,
            record,
            writer: Writer::of_this_process(),
            claimed: None,
            sent: BTreeSet::new(),
            compared: BTreeSet::new(),
            bytes_sent: 0,
            said: BTreeSet::new(),
        }
    }

    /// The files that `run.json` names.
    pub(crate) fn stored(&self) -> BTreeMap<String, StoredFile> {
        self.claimed.as_ref().map(|(run, _)| run.files.clone()).unwrap_or_default()
    }

    /// Sends a file that is whole, unless it is stored already.
    pub(crate) async fn send_whole(
        &mut self,
        path: &str,
        content: Content<'_>,
        sum: &FileSum,
        stored: Option<&StoredFile>,
    ) -> Result<StoredFile, StorageError> {
        if let Some(stored) = stored
            && stored.sha256.as_ref() == Some(&sum.sha256)
            && stored.bytes() == sum.bytes
        {
            return Ok(stored.clone());
        }
        let mut running = RunningSum::default();
        let parts = self.send_range(path, &content, 0, sum.bytes, &mut running).await?;
        if running.sum() != *sum {
            return Err(StorageError::Changed { path: path.to_owned() });
        }
        Ok(StoredFile { sha256: Some(sum.sha256.clone()), parts })
    }

    /// Sends what a file has grown by, up to `length` bytes.
    pub(crate) async fn send_grown(
        &mut self,
        path: &str,
        length: u64,
        stored: Option<&StoredFile>,
    ) -> Result<StoredFile, StorageError> {
        let full = self.run_dir.path().join(path);
        let file = File::open(&full).map_err(|source| RecordsError::Read { path: full, source })?;
        let content = Content::File(&file);
        let mut parts = stored.map(|stored| stored.parts.clone()).unwrap_or_default();
        let same = self.parts_that_fit(path, &content, &parts, length)?;
        parts.truncate(same);
        let stay = parts_that_stay(&parts, length);
        parts.truncate(stay);
        let start = parts.iter().map(|part| part.bytes).sum();
        let mut running = RunningSum::default();
        parts.extend(self.send_range(path, &content, start, length, &mut running).await?);
        self.compared.insert(path.to_owned());
        Ok(StoredFile { sha256: None, parts })
    }

    /// How many of the stored parts are still the beginning of the file. A resume cuts records and writes other ones behind the
    /// cut. All parts are compared once, and later the last one, which any cut and other rows change.
    fn parts_that_fit(
        &self,
        path: &str,
        content: &Content<'_>,
        parts: &[Part],
        length: u64,
    ) -> Result<usize, StorageError> {
        let stored: u64 = parts.iter().map(|part| part.bytes).sum();
        let mut from = if self.compared.contains(path) { parts.len().saturating_sub(1) } else { 0 };
        let fits = |index: usize, offset: u64| -> Result<bool, StorageError> {
            let part = &parts[index];
            let inside = offset + part.bytes <= length;
            Ok(inside && FileSum::of(&content.read(path, offset, part.bytes)?).sha256 == part.sha256)
        };
        let offset_of = |index: usize| parts[..index].iter().map(|part| part.bytes).sum::<u64>();
        if from > 0 && (stored > length || !fits(from, offset_of(from))?) {
            from = 0;
        }
        for index in from..parts.len() {
            if !fits(index, offset_of(index))? {
                return Ok(index);
            }
        }
        Ok(parts.len())
    }

    /// Sends a range of a file as parts, and adds its bytes to `running`.
    async fn send_range(
        &mut self,
        path: &str,
        content: &Content<'_>,
        start: u64,
        end: u64,
        running: &mut RunningSum,
    ) -> Result<Vec<Part>, StorageError> {
        let (mut parts, mut pending) = (Vec::new(), FuturesUnordered::new());
        let mut offset = start;
        while offset < end {
            let length = PART_BYTES.min(end - offset);
            let bytes = content.read(path, offset, length)?;
            running.add(&bytes);
            let part = Part::new(path, offset, FileSum::of(&bytes), &self.writer);
            offset += length;
            if !self.sent.contains(&part.object) {
                pending.push(send(self.target.clone(), part.clone(), bytes));
            }
            parts.push(part);
            if pending.len() >= AT_ONCE
                && let Some(sent) = pending.next().await
            {
                self.note_sent(sent)?;
            }
        }
        while let Some(sent) = pending.next().await {
            self.note_sent(sent)?;
        }
        Ok(parts)
    }

    fn note_sent(&mut self, sent: Result<Part, StorageError>) -> Result<(), StorageError> {
        let part = sent?;
        self.bytes_sent += part.bytes;
        self.sent.insert(part.object);
        Ok(())
    }
}

async fn send(target: Target, part: Part, bytes: Vec<u8>) -> Result<Part, StorageError> {
    let put = target.store.put(&target.object(&part.object), PutPayload::from(bytes)).await;
    put.map_err(|error| StorageError::of(target.url(), error))?;
    Ok(part)
}
