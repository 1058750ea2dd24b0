//! `[judge.cache]`: where verdicts are kept.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `[judge.cache]`: verdicts kept by what was judged, by whom and how; failures never are.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct JudgeCacheConfig {
    /// Whether verdicts are kept on disk for later runs and runs beside this one; in memory they are anyway.
    pub disk: bool,
    /// The file. Default: `judge-verdicts.sqlite` in the cache folder.
    pub path: Option<PathBuf>,
    /// Most verdicts kept in memory.
    pub max_entries: usize,
    /// Largest file, in MB; the verdicts that were not asked for longest go first.
    pub max_mb: u64,
}

impl Default for JudgeCacheConfig {
    fn default() -> Self {
        Self { disk: true, path: None, max_entries: 200_000, max_mb: 256 }
    }
}
