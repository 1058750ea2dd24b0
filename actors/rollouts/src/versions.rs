//! The versions of the adapter: their names, folders, and when they are given up.
//!
//! - `ROLLOUT-4` a version is given up when newer ones have taken its place and nobody waits for its answers.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rand::Rng as _;
use sha2::{Digest, Sha256};
use tokio::sync::OnceCell;
use workers::Published;

use crate::problem::Problem;
use crate::scorer::{Scorer, Weights};

/// A version of the policy as the servers have it.
pub(crate) struct Version {
    pub(crate) number: u64,
    /// The adapter's name on the servers; `None` for the base alone.
    pub(crate) name: Option<String>,
    /// The folder that the servers load.
    pub(crate) folder: PathBuf,
    pub(crate) weights: Weights,
    /// The policy's own scores of the canary.
    pub(crate) expected: OnceCell<Vec<f32>>,
}

/// The versions that the servers have, oldest first.
pub(crate) struct Versions {
    folder: PathBuf,
    /// Tells arms apart that share a server.
    arm: String,
    /// Tells this start of the sampler apart from earlier ones, whose versions have other weights under the same numbers.
    start: String,
    has_adapter: bool,
    kept: usize,
    live: Mutex<Vec<Arc<Version>>>,
    /// One version is written at a time.
    writing: tokio::sync::Mutex<()>,
}

impl Versions {
    /// Those of an arm whose adapters are written below `folder`.
    pub(crate) fn new(folder: &Path, kept: usize, has_adapter: bool) -> Self {
        let folder = std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned());
        let hash = Sha256::digest(folder.as_os_str().as_encoded_bytes());
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        Versions {
            arm: hex(&hash[..4]),
            start: hex(&rand::rng().random::<[u8; 4]>()),
            folder,
            has_adapter,
            kept,
            live: Mutex::default(),
            writing: tokio::sync::Mutex::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Arc<Version>>> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the servers have, oldest first.
    pub(crate) fn live(&self) -> Vec<Arc<Version>> {
        self.lock().clone()
    }

    /// Whether an adapter of this name belongs to an earlier start of this arm.
    pub(crate) fn is_left_over(&self, name: &str) -> bool {
        let arm = format!("-{}-", self.arm);
        name.starts_with("policy-v") && name.contains(&arm) && !name.ends_with(&self.start)
    }

    /// The version of `newest`, which is written for the servers if they do not have it.
    pub(crate) async fn of(&self, newest: Published, scorer: &Scorer) -> Result<Arc<Version>, Problem> {
        let _writing = self.writing.lock().await;
        let number = newest.policy_version;
        if let Some(version) = self.lock().iter().find(|version| version.number == number) {
            return Ok(version.clone());
        }
        let name = self.has_adapter.then(|| format!("policy-v{number}-{}-{}", self.arm, self.start));
        let folder = self.folder.join(format!("v{number}-{}", self.start));
        let weights: Weights = Arc::new(Mutex::new(newest.trainable));
        if self.has_adapter {
            scorer.write(weights.clone(), folder.clone()).await?;
        }
        let version = Arc::new(Version { number, name, folder, weights, expected: OnceCell::new() });
        self.lock().push(version.clone());
        Ok(version)
    }

    /// Takes out those that are given up: nobody holds them, and there are `kept` newer ones.
    pub(crate) fn take_spent(&self) -> Vec<Arc<Version>> {
        let mut live = self.lock();
        let spare = live.len().saturating_sub(self.kept);
        let mut taken = Vec::new();
        let mut place = 0;
        live.retain(|version| {
            place += 1;
            let spent = place <= spare && Arc::strong_count(version) == 1;
            if spent {
                taken.push(version.clone());
            }
            !spent
        });
        taken
    }

    /// Takes out all.
    pub(crate) fn take_all(&self) -> Vec<Arc<Version>> {
        std::mem::take(&mut *self.lock())
    }

    /// Removes the folders of earlier starts, which no server has loaded any more.
    pub(crate) fn remove_left_over(&self) {
        let Ok(entries) = std::fs::read_dir(&self.folder) else { return };
        for entry in entries.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.starts_with('v') && !name.ends_with(&self.start) {
                // It is tried again at the next start.
                let _ = std::fs::remove_dir_all(entry.path());
            }
        }
    }

    /// Removes the folder of all versions, if it is empty.
    pub(crate) fn remove_if_empty(&self) {
        let _ = std::fs::remove_dir(&self.folder);
    }
}
