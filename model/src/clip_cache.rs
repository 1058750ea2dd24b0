//! A cache of encoded clips.
//!
//! With a frozen audio tower, the sampler, the reference and the learner need the same encodings of the same clips in
//! every step. Their networks share one cache. The projector, which may train, is applied to what is in it: a small part
//! of the work.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tch::Tensor;

use crate::error::ModelError;
use audio::LogMel;

/// Most elements in the cache: 256 MB of f32, 36 minutes of audio for a 7B model, or a whole tiny data set. When it is
/// full, the oldest clips are evicted. Clips that nothing else references are evicted before that.
const LIMIT: usize = 1 << 26;

/// Encodings by clip. A clip is identified by the address of its allocation.
#[derive(Default)]
pub(crate) struct ClipCache {
    entries: Mutex<Entries>,
}

#[derive(Default)]
struct Entries {
    /// The weak reference keeps the allocation, so that the address cannot be reused for another clip.
    by_address: HashMap<usize, (Weak<LogMel>, Tensor)>,
    oldest_first: VecDeque<usize>,
    /// Elements in all cached tensors.
    elements: usize,
}

impl ClipCache {
    /// The encoding of a clip, computed by `encode` if it is not in the cache.
    ///
    /// Shapes: → `[audio tokens, tower width]`, in the model's dtype, without gradients
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

    /// Empties the cache, after the tower has changed.
    pub(crate) fn clear(&self) {
        *self.lock() = Entries::default();
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Entries> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entries {
    fn insert(&mut self, address: usize, clip: Weak<LogMel>, features: Tensor) {
        self.elements += features.numel();
        if let Some((_, old)) = self.by_address.insert(address, (clip, features)) {
            self.elements -= old.numel();
        } else {
            self.oldest_first.push_back(address);
        }
        while let Some(oldest) = self.oldest_first.front() {
            let gone = self.by_address.get(oldest).is_none_or(|(clip, _)| clip.strong_count() == 0);
            if !gone && self.elements <= LIMIT {
                break;
            }
            if let Some((_, features)) = self.by_address.remove(oldest) {
                self.elements -= features.numel();
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
        Arc::new(LogMel {
            values: Vec::new(),
            n_mels: 0,
            frames: 0,
            valid_frames: 0,
            truncated: false,
            samples: None,
        })
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
    fn clips_without_other_references_are_evicted() {
        let cache = ClipCache::default();
        let features = || Tensor::zeros([2, 3], (Kind::Float, Device::Cpu));
        let _ = cache.get(&clip(), |_| Ok(features())).unwrap();
        let held = clip();
        let _ = cache.get(&held, |_| Ok(features())).unwrap();
        assert_eq!(cache.lock().by_address.len(), 1);
        assert_eq!(cache.lock().elements, 6);
    }

    #[test]
    fn oldest_clips_are_evicted_when_the_cache_is_full() {
        let cache = ClipCache::default();
        let clips = [clip(), clip(), clip()];
        for clip in &clips {
            // The expanded tensor has many elements but takes no memory.
            let features =
                Tensor::zeros([1, 1], (Kind::Float, Device::Cpu)).expand([1, LIMIT as i64 / 2], false);
            let _ = cache.get(clip, |_| Ok(features)).unwrap();
        }
        let held = cache.lock().by_address.keys().copied().collect::<Vec<_>>();
        assert_eq!(held.len(), 2);
        assert!(!held.contains(&(Arc::as_ptr(&clips[0]) as usize)));
    }
}
