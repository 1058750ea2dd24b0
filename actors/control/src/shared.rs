//! What all requests share, and how they find an arm or a file in it.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use axum::extract::{FromRequestParts, Path};
use axum::http::request::Parts;
use dashmap::DashMap;
use tokio::sync::Semaphore;

use super::clips::Clips;
use super::error::ApiError;
use super::hub::Hub;
use super::lines::{Follower, Lines};
use super::metrics::Columns;
use super::rollouts::Index;
use records::{ArmDir, ArmId};
use run::{ArmHandle, RunHandle};

/// Files read at once; more requests wait, so that reading never takes a core from the training for long.
const READERS: usize = 2;

/// Changes that may wait for their step boundary at once.
const CHANGES: usize = 64;

/// The run, and what the control channel keeps about it.
pub(super) struct Shared {
    pub run: RunHandle,
    pub hub: Hub,
    pub clips: Clips,
    pub openapi: serde_json::Value,
    /// Changes under way.
    pub changes: Semaphore,
    readers: Semaphore,
    files: DashMap<ArmId, Arc<ArmFiles>>,
}

/// The files of an arm that are followed.
pub(super) struct ArmFiles {
    metrics: RwLock<Follower<Columns>>,
    rollouts: RwLock<Follower<Index>>,
}

impl Shared {
    pub fn new(run: RunHandle, openapi: serde_json::Value) -> Self {
        Shared {
            run,
            hub: Hub::default(),
            clips: Clips::default(),
            openapi,
            changes: Semaphore::new(CHANGES),
            readers: Semaphore::new(READERS),
            files: DashMap::new(),
        }
    }

    /// Runs `read`, which may block, beside the runtime.
    pub async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce() -> Result<T, ApiError> + Send + 'static,
    ) -> Result<T, ApiError> {
        let _permit = self.readers.acquire().await;
        tokio::task::spawn_blocking(read)
            .await
            .unwrap_or_else(|error| Err(ApiError::failed(format!("reading failed: {error}"))))
    }

    /// The folder of an arm.
    pub fn arm_dir(&self, arm: &ArmHandle) -> ArmDir {
        self.run.run_dir().arm(arm.id())
    }

    /// The files of an arm.
    pub fn files(&self, arm: &ArmHandle) -> Arc<ArmFiles> {
        let key = arm.id().clone();
        let folder = self.arm_dir(arm);
        let files = || ArmFiles {
            metrics: RwLock::new(Follower::new(folder.metrics())),
            rollouts: RwLock::new(Follower::new(folder.rollouts())),
        };
        self.files.entry(key).or_insert_with(|| Arc::new(files())).clone()
    }
}

impl ArmFiles {
    /// Reads what is new in `metrics.jsonl`, and then asks it.
    pub fn metrics<T>(&self, ask: impl FnOnce(&Columns) -> Result<T, ApiError>) -> Result<T, ApiError> {
        advance_and_ask(&self.metrics, |follower| ask(follower.lines()))
    }

    /// Reads what is new in `rollouts.jsonl`, and then asks it.
    pub fn rollouts<T>(
        &self,
        ask: impl FnOnce(&Follower<Index>) -> Result<T, ApiError>,
    ) -> Result<T, ApiError> {
        advance_and_ask(&self.rollouts, ask)
    }
}

fn advance_and_ask<L: Lines, T>(
    follower: &RwLock<Follower<L>>,
    ask: impl FnOnce(&Follower<L>) -> Result<T, ApiError>,
) -> Result<T, ApiError> {
    let unreadable = |error| ApiError::failed(format!("the records cannot be read: {error}"));
    // A panic while reading leaves at worst a line out.
    follower.write().unwrap_or_else(PoisonError::into_inner).advance().map_err(unreadable)?;
    ask(&follower.read().unwrap_or_else(PoisonError::into_inner))
}

/// The arm that the path names.
pub(super) struct TheArm(pub ArmHandle);

impl FromRequestParts<Arc<Shared>> for TheArm {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, shared: &Arc<Shared>) -> Result<Self, ApiError> {
        let Path(names) = Path::<BTreeMap<String, String>>::from_request_parts(parts, shared)
            .await
            .map_err(|error| ApiError::bad(error.body_text()))?;
        let (arm, seed) = (&names["arm"], &names["seed"]);
        let found = seed.parse().ok().and_then(|seed| shared.run.arm(&ArmId::new(arm.clone(), seed)));
        found.map(TheArm).ok_or_else(|| no_arm(&shared.run, arm, seed))
    }
}

/// What is said of an arm that there is not.
pub(super) fn no_arm(run: &RunHandle, arm: &str, seed: &str) -> ApiError {
    let there: Vec<String> =
        run.arms().iter().map(|arm| format!("{}/{}", arm.id().arm, arm.id().seed)).collect();
    ApiError::not_found(format!(
        "there is no arm `{arm}` with seed {seed}; the arms are {}",
        there.join(", ")
    ))
}
