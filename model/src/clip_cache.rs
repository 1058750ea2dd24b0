//! Features of clips that were encoded before.
//!
//! With a frozen audio tower the sampler, the reference and the learner need the same features of the same clips, step
//! after step; they share one of these.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tch::Tensor;

use crate::audio::LogMel;
use crate::error::ModelError;

/// Numbers kept before the oldest clips go (those nobody holds any more go first): 256 MB of f32, 36 whole minutes for a 7B model, or a whole tiny data set.
const LIMIT: usize = 1 << 26;

/// Features by clip; a clip is known by its allocation.
#[derive(Default)]
pub(crate) struct ClipCache {
    entries: Mutex<Entries>,
}

#[derive(Default)]
struct Entries {
    /// A weak reference keeps the address from being used again, so that an address stands for one clip.
    by_address: HashMap<usize, (Weak<LogMel>, Tensor)>,
    oldest_first: VecDeque<usize>,
    numbers: usize,
}

impl ClipCache {
    /// The clip's features, from `encode` if they are not here yet.
    pub(crate) fn get(
        &self,
        clip: &Arc<LogMel>,
        encode: impl FnOnce(&LogMel) -> Result<Tensor, ModelError>,
    ) -> Result<Tensor, ModelError> {
        let address = Arc::as_ptr(clip) as usize;
        if let Some((_, features)) = self.lock().by_address.get(&address) {
            return Ok(features.shallow_clone());
        }
        let features = encode(clip)?;
        self.lock().insert(address, Arc::downgrade(clip), features.shallow_clone());
        Ok(features)
    }

    /// Forgets everything: the tower has changed.
    pub(crate) fn clear(&self) {
        *self.lock() = Entries::default();
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Entries> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entries {
    fn insert(&mut self, address: usize, clip: Weak<LogMel>, features: Tensor) {
        self.numbers += features.numel();
        if let Some((_, old)) = self.by_address.insert(address, (clip, features)) {
            self.numbers -= old.numel();
        } else {
            self.oldest_first.push_back(address);
        }
        while let Some(oldest) = self.oldest_first.front() {
            let gone = self.by_address.get(oldest).is_none_or(|(clip, _)| clip.strong_count() == 0);
            if !gone && self.numbers <= LIMIT {
                break;
            }
            if let Some((_, features)) = self.by_address.remove(oldest) {
                self.numbers -= features.numel();
            }
            self.oldest_first.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::{Device, Kind};

    fn clip() -> Arc<LogMel> {
        Arc::new(LogMel { values: Vec::new(), n_mels: 0, frames: 0, valid_frames: 0, truncated: false })
    }

    #[test]
    fn clip_is_encoded_once_until_the_cache_is_cleared() {
        let (cache, clip, mut encoded) = (ClipCache::default(), clip(), 0);
        let mut get = |cache: &ClipCache| {
            let encode = |_: &LogMel| {
                encoded += 1;
                Ok(Tensor::zeros([2, 3], (Kind::Float, Device::Cpu)))
            };
            let _ = cache.get(&clip, encode).unwrap();
            encoded
        };
        assert_eq!((get(&cache), get(&cache)), (1, 1));
        cache.clear();
        assert_eq!(get(&cache), 2);
    }

    #[test]
    fn clips_nobody_holds_leave() {
        let cache = ClipCache::default();
        let features = || Tensor::zeros([2, 3], (Kind::Float, Device::Cpu));
        let _ = cache.get(&clip(), |_| Ok(features())).unwrap();
        let held = clip();
        let _ = cache.get(&held, |_| Ok(features())).unwrap();
        assert_eq!(cache.lock().by_address.len(), 1);
        assert_eq!(cache.lock().numbers, 6);
    }

    #[test]
    fn oldest_clips_leave_when_the_cache_is_full() {
        let cache = ClipCache::default();
        let clips = [clip(), clip(), clip()];
        for clip in &clips {
            // Expanded: the numbers count, the memory does not exist.
            let features =
                Tensor::zeros([1, 1], (Kind::Float, Device::Cpu)).expand([1, LIMIT as i64 / 2], false);
            let _ = cache.get(clip, |_| Ok(features)).unwrap();
        }
        let held = cache.lock().by_address.keys().copied().collect::<Vec<_>>();
        assert_eq!(held.len(), 2);
        assert!(!held.contains(&(Arc::as_ptr(&clips[0]) as usize)));
    }
}
