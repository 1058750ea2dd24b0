//! The frozen tensors of checkpoints, loaded once for all policies that are opened from them.
//!
//! The arms of an experiment mostly start from the same checkpoint and train a small part of it. The policies that are
//! opened through one [`Bases`] share the tensors that none of them changes, and the encodings of clips if no policy
//! changes the tower. What trains is loaded for each policy anew.
//!
//! - `BASE-1` Policies of the same files, device and dtype share every tensor that both keep frozen.
//! - `BASE-2` A base is freed with the last policy that uses it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::SystemTime;

use tch::{Device, Kind, Tensor};

use crate::checkpoint::Checkpoint;
use crate::clip_cache::ClipCache;
use crate::error::ModelError;

/// The checkpoints that a program has opened and still uses. Clones refer to the same ones.
#[derive(Clone, Default)]
pub struct Bases(Arc<Mutex<Opened>>);

type Opened = Vec<(Key, Weak<Base>)>;

/// What tensors must have in common to be shared.
#[derive(PartialEq)]
struct Key {
    /// Size and time of the last change of each file, so that a replaced checkpoint is read again.
    files: Vec<(PathBuf, u64, Option<SystemTime>)>,
    device: Device,
    kind: Kind,
}

impl Bases {
    /// Number of bases that some policy uses.
    #[cfg(test)]
    pub(crate) fn in_use(&self) -> usize {
        lock(&self.0).iter().filter(|(_, base)| base.strong_count() > 0).count()
    }

    /// The base of a checkpoint, empty if no policy uses it.
    pub(crate) fn of(&self, checkpoint: &Checkpoint, device: Device, kind: Kind) -> Arc<Base> {
        let Some(files) = checkpoint.files() else { return Arc::default() };
        let key = Key { files, device, kind };
        let mut bases = lock(&self.0);
        bases.retain(|(_, base)| base.strong_count() > 0);
        let known = bases.iter().find(|(other, _)| *other == key);
        if let Some(base) = known.and_then(|(_, base)| base.upgrade()) {
            return base;
        }
        let base = Arc::default();
        bases.push((key, Arc::downgrade(&base)));
        base
    }
}

/// The frozen tensors of one checkpoint on one device, each loaded when a policy first needs it.
#[derive(Default)]
pub(crate) struct Base {
    tensors: Mutex<BTreeMap<String, Tensor>>,
    /// Several projections in one tensor (PARAM-2), by the name of the first.
    joined: Mutex<BTreeMap<String, Tensor>>,
    /// The encodings of clips by the checkpoint's own tower.
    pub(crate) clips: Arc<ClipCache>,
}

impl Base {
    /// The tensor of this name, loaded by `load` if no policy has it yet.
    pub(crate) fn tensor(
        &self,
        name: &str,
        load: impl FnOnce() -> Result<Tensor, ModelError>,
    ) -> Result<Tensor, ModelError> {
        get_or_load(&self.tensors, name, load)
    }

    /// The tensor that joins several, made by `load` if no policy has it yet.
    pub(crate) fn joined(
        &self,
        first: &str,
        load: impl FnOnce() -> Result<Tensor, ModelError>,
    ) -> Result<Tensor, ModelError> {
        get_or_load(&self.joined, first, load)
    }
}

/// The lock is held while a tensor is loaded: a second policy that is opened at the same time waits for it.
fn get_or_load(
    tensors: &Mutex<BTreeMap<String, Tensor>>,
    name: &str,
    load: impl FnOnce() -> Result<Tensor, ModelError>,
) -> Result<Tensor, ModelError> {
    let mut tensors = lock(tensors);
    if let Some(tensor) = tensors.get(name) {
        return Ok(tensor.shallow_clone());
    }
    let tensor = load()?;
    tensors.insert(name.to_owned(), tensor.shallow_clone());
    Ok(tensor)
}

/// What a thread that panicked leaves behind is whole: tensors are inserted when they are loaded.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
