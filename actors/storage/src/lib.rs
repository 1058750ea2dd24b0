//! Run directories in an S3-compatible store. An [`Uploader`] copies what a run has written to a [`Target`], on a thread of its own,
//! while the run goes on; [`fetch()`] makes the directory again on another machine, which resumes it. `docs/storage.md` describes
//! the layout of the store for users.
//!
//! Files are stored as [`Part`]s, objects that never change. One object, `run.json`, says which parts a run consists of
//! ([`StoredRun`]); it is replaced when all of them are there, under the condition that nobody else has replaced it.
//!
//! - `STORE-1` what `run.json` names can be resumed, whenever the uploader was killed or the connection was lost. The snapshot is
//!   made by [`records::RunDir::snapshot`].
//! - `STORE-2` two runs never share a folder of a store, and a run that was resumed elsewhere is not written on by the process
//!   before: the second is refused, and the first one stops uploading, each with the name of the other.
//! - `STORE-3` nothing that the store does delays or ends the run. Failed uploads are tried again until the run ends, and for as
//!   long as `storage.wait_seconds` after that.
//! - `STORE-4` every part is checked against its checksum when it is fetched, and the run directory against its own.
//! - `STORE-5` a file that grows is not uploaded anew: a byte is sent at most as often as its file doubles, plus once.

#![warn(missing_docs)]

mod error;
mod fetch;
mod parts;
mod pass;
mod pointer;
mod stored_run;
mod target;
#[cfg(test)]
mod tests;
mod upload;
mod uploader;
mod writer;

pub use error::StorageError;
pub use fetch::{Fetched, fetch, look};
pub use parts::Part;
pub use stored_run::{StoredFile, StoredRun};
pub use target::Target;
pub use uploader::{Ended, Missing, Uploader, upload_once};
pub use writer::Writer;
