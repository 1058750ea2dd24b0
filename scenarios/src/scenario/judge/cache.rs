//! `[judge.cache]`: the cache of verdicts.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `[judge.cache]`: the cache of verdicts. A verdict is reused if the completion, the judge with its settings and the
/// addresses of its servers are the same. Failures are not cached.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct JudgeCacheConfig {
    /// Whether verdicts are also kept on disk, for later runs and for other runs at the same time.
    pub disk: bool,
    /// Path of the file on disk; not together with `disk = false`. Default: `judge-verdicts.sqlite` in the cache folder.
    pub path: Option<PathBuf>,
    /// Largest number of verdicts kept in memory; at least 1.
    pub max_entries: usize,
    /// Largest size of the file, in MB; 1 to 1,000,000. The least recently used verdicts are deleted first.
    pub max_mb: u64,
}

impl Default for JudgeCacheConfig {
    fn default() -> Self {
        Self { disk: true, path: None, max_entries: 200_000, max_mb: 256 }
    }
}
