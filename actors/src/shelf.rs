//! The shelf of published weights: the optimizer puts each new version on it, the sampler takes the newest.
//!
//! What lies on the shelf is never written to again, so that a restarted sampler or optimizer goes on from it
//! (RESTART-1). The frozen weights are shared by all; only what is trained is copied.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use model::{ModelError, Policy};
use tch::Tensor;

/// Named tensors.
pub type NamedTensors = Vec<(String, Tensor)>;

/// One published version.
pub struct Published {
    /// Optimizer steps that made it.
    pub policy_version: u64,
    /// The trained weights.
    pub trainable: NamedTensors,
    /// The optimizer's moments at that version.
    pub optimizer: NamedTensors,
}

struct Shelved {
    origin: Policy,
    newest: Published,
}

/// A handle to the shelf; clones are handles to the same one.
#[derive(Clone)]
pub struct Shelf(Arc<Mutex<Shelved>>);

impl Shelf {
    /// A shelf whose origin, the policy before any training, is `origin`.
    pub fn new(origin: Policy, newest: Published) -> Self {
        Shelf(Arc::new(Mutex::new(Shelved { origin, newest })))
    }

    fn lock(&self) -> MutexGuard<'_, Shelved> {
        // Published versions are replaced whole, so a panic elsewhere leaves a usable one.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A copy of the policy before any training, for sampling.
    ///
    /// # Errors
    /// If libtorch can't copy the weights.
    pub fn replica(&self) -> Result<Policy, ModelError> {
        self.lock().origin.replica()
    }

    /// What the policy is compared with: a copy from before any training, or the base of an adapter.
    ///
    /// # Errors
    /// If libtorch can't copy the weights.
    pub fn reference(&self) -> Result<Policy, ModelError> {
        self.lock().origin.reference()
    }

    /// A copy of the policy before any training, to be trained.
    ///
    /// # Errors
    /// If libtorch can't copy the weights.
    pub fn learner(&self) -> Result<Policy, ModelError> {
        self.lock().origin.learner()
    }

    /// Puts a new version on the shelf.
    pub fn publish(&self, newest: Published) {
        self.lock().newest = newest;
    }

    /// The newest version. The tensors are handles, not copies.
    pub fn newest(&self) -> Published {
        self.lock().newest.handle()
    }

    /// The newest version, if it is not `policy_version`.
    pub fn newer_than(&self, policy_version: Option<u64>) -> Option<Published> {
        let shelved = self.lock();
        (policy_version != Some(shelved.newest.policy_version)).then(|| shelved.newest.handle())
    }
}

impl Published {
    fn handle(&self) -> Self {
        Published {
            policy_version: self.policy_version,
            trainable: handles(&self.trainable),
            optimizer: handles(&self.optimizer),
        }
    }
}

fn handles(tensors: &NamedTensors) -> NamedTensors {
    tensors.iter().map(|(name, tensor)| (name.clone(), tensor.shallow_clone())).collect()
}
