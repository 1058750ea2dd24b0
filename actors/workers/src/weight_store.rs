//! The store of published weights: the optimizer publishes each new version, the sampler loads the newest.
//!
//! A published version is never modified, so a restarted sampler or optimizer continues from it (RESTART-1). All copies
//! of the policy share the frozen weights; only trained weights are copied.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use model::{Fingerprint, ModelError, Policy};
use tch::Tensor;

/// Tensors with their names in the checkpoint.
pub type NamedTensors = Vec<(String, Tensor)>;

/// One version of the trained weights.
pub struct Published {
    /// Number of training steps that led to this version; 0 before the first.
    pub policy_version: u64,
    /// The trained weights, of the adapter only with `policy.train = "lora"`.
    pub trainable: NamedTensors,
    /// AdamW's moments at that version; empty before the first step.
    pub optimizer: NamedTensors,
}

struct Stored {
    /// The policy before any training, from which all copies are made.
    origin: Policy,
    newest: Published,
}

/// The newest version of the weights, and the policy that they belong to. Clones refer to the same store.
#[derive(Clone)]
pub struct WeightStore(Arc<Mutex<Stored>>);

impl WeightStore {
    /// A store with `newest` as its first version. `origin` is the policy before any training.
    pub fn new(origin: Policy, newest: Published) -> Self {
        WeightStore(Arc::new(Mutex::new(Stored { origin, newest })))
    }

    fn lock(&self) -> MutexGuard<'_, Stored> {
        // Published versions are replaced whole, so a panic elsewhere leaves a usable one.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Copies the policy before any training, for sampling. Fails if libtorch can't copy the weights.
    pub fn replica(&self) -> Result<Policy, ModelError> {
        self.lock().origin.replica()
    }

    /// Returns the reference policy of the KL term: a copy from before any training, or the base model of an adapter.
    /// Fails if libtorch can't copy the weights.
    pub fn reference(&self) -> Result<Policy, ModelError> {
        self.lock().origin.reference()
    }

    /// Copies the policy before any training, to be trained. Fails if libtorch can't copy the weights.
    pub fn learner(&self) -> Result<Policy, ModelError> {
        self.lock().origin.learner()
    }

    /// The fingerprint of the policy before any training.
    pub(crate) fn fingerprint(&self) -> Fingerprint {
        self.lock().origin.fingerprint()
    }

    /// Replaces the newest version.
    pub fn publish(&self, newest: Published) {
        self.lock().newest = newest;
    }

    /// The number of the newest version.
    pub fn newest_version(&self) -> u64 {
        self.lock().newest.policy_version
    }

    /// The newest version. The tensors are handles, not copies.
    pub fn newest(&self) -> Published {
        self.lock().newest.handle()
    }

    /// The newest version, if it is not `policy_version`.
    pub fn newer_than(&self, policy_version: Option<u64>) -> Option<Published> {
        let stored = self.lock();
        (policy_version != Some(stored.newest.policy_version)).then(|| stored.newest.handle())
    }
}

impl Published {
    /// The version before any training of a replica, which gets its weights from elsewhere.
    pub fn before_training() -> Self {
        Published { policy_version: 0, trainable: Vec::new(), optimizer: Vec::new() }
    }

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
