//! The clips of a prompt on the wire: each by itself, since what is shared in one process can't be in another.

use std::sync::Arc;

use audio::LogMel;
use serde::{Deserialize, Deserializer, Serializer};

pub(super) fn serialize<S: Serializer>(clips: &[Arc<LogMel>], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(clips.iter().map(Arc::as_ref))
}

pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Arc<LogMel>>, D::Error> {
    Ok(Vec::<LogMel>::deserialize(deserializer)?.into_iter().map(Arc::new).collect())
}
