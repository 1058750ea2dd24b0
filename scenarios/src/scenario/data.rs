//! `[data]`, `[loader]` and `[eval]`: which questions are asked, in training and in evaluation.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::dataset::DataSource;
use crate::formats::RowFilter;
use crate::soundscape::WorldConfig;

/// `[data]`: the training questions.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct DataConfig {
    /// `"builtin:soundscapes"`, or a dataset on disk: `{ format = "avqa", path = "train.jsonl", audio_root = "audio" }`.
    pub train: DataSource,
    /// Use only the first so many questions. Default: all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
    /// Leave out questions whose `question_relation` is `View` (AVQA's questions about what is seen).
    pub drop_view: bool,
    /// Leave out questions that speak of a colour.
    pub drop_color: bool,
    /// `[data.soundscapes]`: the built-in world, used by every `builtin:soundscapes`.
    pub soundscapes: WorldConfig,
}

impl DataConfig {
    /// The rows that training uses.
    pub fn row_filter(&self) -> RowFilter {
        RowFilter { limit: self.limit, drop_view: self.drop_view, drop_color: self.drop_color }
    }
}

/// `[loader]`: the pool that decodes audio.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct LoaderConfig {
    /// Decoding threads per arm.
    pub workers: usize,
    /// How several channels become one: the `first` alone (as the reference implementations do) or their `mean`.
    pub downmix: Downmix,
    /// Decoded clips kept in memory per arm; 0 keeps none.
    pub cache_clips: usize,
    /// Largest fraction of clips that may fail to load before the arm stops; 1 never stops for it.
    pub max_failed_fraction: f64,
}

impl Default for LoaderConfig {
    fn default() -> Self {
        Self { workers: 2, downmix: Downmix::First, cache_clips: 4096, max_failed_fraction: 1.0 }
    }
}

/// How several channels become one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Downmix {
    /// The first channel.
    #[default]
    First,
    /// The mean of all channels.
    Mean,
}

/// `[eval]`: questions held out from training.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct EvalConfig {
    /// Steps between evaluations; 0 evaluates at the end only. The end is always evaluated.
    pub every: u64,
    /// Also evaluate before the first step.
    pub at_start: bool,
    /// The sets: `"builtin:soundscapes"` (its held-out questions) or `{ name = "mmau", format = "mmau", path = "…" }`.
    pub suites: Vec<DataSource>,
    /// Use only the first so many questions of each set. Default: all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
    /// Temperature in evaluation; 0 is greedy.
    pub temperature: f64,
    /// Seed of the evaluation's sampling; the same for every arm and seed, so that they can be compared.
    pub seed: u64,
    /// Questions answered side by side.
    pub batch_prompts: usize,
}

impl Default for EvalConfig {
    fn default() -> Self {
        Self {
            every: 50,
            at_start: true,
            suites: vec![DataSource::default()],
            limit: None,
            temperature: 1.0,
            seed: 1,
            batch_prompts: 64,
        }
    }
}

impl EvalConfig {
    /// The rows of each suite that evaluation uses.
    pub fn row_filter(&self) -> RowFilter {
        RowFilter { limit: self.limit, ..RowFilter::default() }
    }
}
