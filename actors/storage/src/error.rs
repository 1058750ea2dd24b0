//! What can go wrong between a run directory and a store.

use std::path::PathBuf;

use object_store::Error as ObjectError;
use records::{Finding, RecordsError};

use crate::writer::Writer;

/// Why something could not be uploaded or fetched. Each is one line.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// An address or a setting can't be used.
    #[error("{0}")]
    Setting(String),
    /// The store did not do what it was asked; another attempt may succeed.
    #[error("{url}: {problem}")]
    Store {
        /// The folder of the store, or the object.
        url: String,
        /// What it answered.
        problem: String,
    },
    /// The store refuses the request, or has no such bucket: attempts fail until somebody changes that.
    #[error("{url}: {problem}; {}", advice())]
    Refused {
        /// The folder of the store.
        url: String,
        /// What it answered.
        problem: String,
    },
    /// The folder of the store has another run.
    #[error(
        "{url}: has the run {run} of {writer} already; set another storage.url, or remove that run from the store"
    )]
    OtherRun {
        /// The folder of the store.
        url: String,
        /// The name of the run directory that is there.
        run: String,
        /// Who uploaded it.
        writer: Box<Writer>,
    },
    /// Another process uploads the same run.
    #[error(
        "{url}: {writer} uploads this run now, so it was resumed there; this process uploads nothing more"
    )]
    TakenOver {
        /// The folder of the store.
        url: String,
        /// The process that does.
        writer: Box<Writer>,
    },
    /// There is no run at an address.
    #[error(
        "{url}: no run is stored there (no run.json); name the folder of a run, such as s3://bucket/audio/ablation-20260131-120000"
    )]
    NoRun {
        /// The address.
        url: String,
    },
    /// The first upload of a run was cut.
    #[error("{url}: this run ended before anything of it was uploaded; start it anew")]
    Nothing {
        /// The folder of the store.
        url: String,
    },
    /// What was fetched is not what was uploaded.
    #[error("{url}: {path} {problem}")]
    Damaged {
        /// The folder of the store.
        url: String,
        /// The path below the run directory.
        path: String,
        /// How it differs.
        problem: String,
    },
    /// A fetched run directory does not fit its own checksums.
    #[error("{url}: {first}; {count} places of the fetched run are damaged, and it was left in {}", dir.display())]
    Unverified {
        /// The folder of the store.
        url: String,
        /// What was found first.
        first: Box<Finding>,
        /// Number of findings.
        count: usize,
        /// Where the fetched files are.
        dir: PathBuf,
    },
    /// A file changed while it was uploaded, as when a resume cuts the records.
    #[error("{path}: changed while it was uploaded")]
    Changed {
        /// The path below the run directory.
        path: String,
    },
    /// A file could not be read or written.
    #[error(transparent)]
    Records(#[from] RecordsError),
}

impl StorageError {
    /// The error of a request about `url`.
    pub(crate) fn of(url: &str, error: ObjectError) -> Self {
        let refused = matches!(
            error,
            ObjectError::PermissionDenied { .. }
                | ObjectError::Unauthenticated { .. }
                | ObjectError::NotFound { .. }
        );
        let url = url.to_owned();
        let problem = in_one_line(&error);
        if refused { StorageError::Refused { url, problem } } else { StorageError::Store { url, problem } }
    }

    /// Whether the process may go on trying.
    pub(crate) fn is_final(&self) -> bool {
        match self {
            StorageError::OtherRun { .. }
            | StorageError::TakenOver { .. }
            | StorageError::Setting(_)
            | StorageError::NoRun { .. }
            | StorageError::Nothing { .. } => true,
            StorageError::Store { .. }
            | StorageError::Refused { .. }
            | StorageError::Damaged { .. }
            | StorageError::Unverified { .. }
            | StorageError::Changed { .. }
            | StorageError::Records(_) => false,
        }
    }

    /// Whether a run should not begin with it: somebody has to change a setting first.
    pub fn is_of_input(&self) -> bool {
        self.is_final() || matches!(self, StorageError::Refused { .. })
    }
}

/// An error of the store with its causes, without the line breaks of the XML that it may quote.
fn in_one_line(error: &ObjectError) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    let mut line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if let Some((end, _)) = line.char_indices().nth(400) {
        line.truncate(end);
        line.push('…');
    }
    line
}

fn advice() -> &'static str {
    let given = ["AWS_ACCESS_KEY_ID", "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_CONTAINER_CREDENTIALS_FULL_URI"];
    if given.iter().any(|name| std::env::var_os(name).is_some()) {
        "check the bucket, its region and the credentials in the environment"
    } else {
        "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY in the environment"
    }
}
