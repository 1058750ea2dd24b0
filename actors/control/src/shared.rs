//! The state that all requests share: the run, the event hub and the followed files.

use std::sync::{Arc, PoisonError, RwLock};

use dashmap::DashMap;
use tokio::sync::Semaphore;

use super::clips::Clips;
use super::columns::Columns;
use super::error::ApiError;
use super::event_hub::EventHub;
use super::heard::HeardClips;
use super::held_out::HeldOut;
use super::lines::{Follower, Lines};
use super::rollouts::Index;
use records::{ArmDir, ArmId};
use run::{ArmHandle, RunHandle};

/// Requests that may read files at once; further ones wait, so that reading leaves the cores to the training.
const READERS: usize = 2;

/// Changes that may wait for their step boundary at once; further ones are refused.
const CHANGES: usize = 64;

/// The run, and the state the control channel keeps about it.
pub(super) struct Shared {
    pub run: RunHandle,
    pub hub: EventHub,
    pub clips: Clips,
    pub heard: HeardClips,
    pub openapi: serde_json::Value,
    /// A permit for each change that waits for its step boundary.
    pub changes: Semaphore,
    readers: Semaphore,
    files: DashMap<ArmId, Arc<ArmFiles>>,
}

/// The followed files of an arm.
pub(super) struct ArmFiles {
    metrics: RwLock<Follower<Columns>>,
    rollouts: RwLock<Follower<Index>>,
    held_out: RwLock<Follower<HeldOut>>,
}

impl Shared {
    pub fn new(run: RunHandle, openapi: serde_json::Value) -> Self {
        Shared {
            run,
            hub: EventHub::default(),
            clips: Clips::default(),
            heard: HeardClips::default(),
            openapi,
            changes: Semaphore::new(CHANGES),
            readers: Semaphore::new(READERS),
            files: DashMap::new(),
        }
    }

    /// Runs `read` on a thread that may block.
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

    pub fn files(&self, arm: &ArmHandle) -> Arc<ArmFiles> {
        let key = arm.id().clone();
        let folder = self.arm_dir(arm);
        let files = || ArmFiles {
            metrics: RwLock::new(Follower::new(folder.metrics())),
            rollouts: RwLock::new(Follower::new(folder.rollouts())),
            held_out: RwLock::new(Follower::new(folder.evaluations())),
        };
        self.files.entry(key).or_insert_with(|| Arc::new(files())).clone()
    }
}

impl ArmFiles {
    /// Reads the new lines of `metrics.jsonl`, then calls `ask` with its columns.
    pub fn metrics<T>(&self, ask: impl FnOnce(&Columns) -> Result<T, ApiError>) -> Result<T, ApiError> {
        advance_and_ask(&self.metrics, |follower| ask(follower.lines()))
    }

    /// Reads the new lines of `metrics.jsonl` and `eval.jsonl`, then calls `ask` with their columns.
    pub fn curves<T>(
        &self,
        ask: impl FnOnce(&Columns, &HeldOut) -> Result<T, ApiError>,
    ) -> Result<T, ApiError> {
        self.metrics(|columns| advance_and_ask(&self.held_out, |follower| ask(columns, follower.lines())))
    }

    /// Reads the new lines of `rollouts.jsonl`, then calls `ask` with its index.
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
    // A panic during an earlier read has at worst lost one line of the index.
    follower.write().unwrap_or_else(PoisonError::into_inner).advance().map_err(unreadable)?;
    ask(&follower.read().unwrap_or_else(PoisonError::into_inner))
}
