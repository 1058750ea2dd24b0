//! `[data]`, `[loader]` and `[eval]`: the questions of training and evaluation, and the decoding of their audio.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::server::ServerConfig;
use crate::dataset::DataSource;
use crate::formats::RowFilter;
use crate::recorded::RecordedConfig;
use crate::soundscape::SoundscapesConfig;
use crate::spoken::SpokenConfig;
use crate::world::Worlds;

/// `[data]`: the questions to train on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct DataConfig {
    /// The training set: `"builtin:soundscapes"`, `"builtin:spoken"`, `"builtin:recorded"`, or a file such as `{ format = "avqa", path = "train.jsonl",
    /// audio_root = "audio" }`.
    pub train: DataSource,
    /// Use only the first questions, up to this number; at least 1. Default: all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
    /// Exclude questions whose `question_relation` is `View`: AVQA's questions about what is seen.
    pub drop_view: bool,
    /// Exclude questions that contain `color` or `colour`.
    pub drop_color: bool,
    /// Whether clips that rows name by an `http://` or `https://` URL are downloaded into the cache folder before the first
    /// step, those of the suites of `[eval]` too. Without it such rows cannot be used.
    pub fetch: bool,
    /// Which of the training rows to keep: `"needs-audio"` leaves out those that the policy, before it is trained, answers
    /// rightly without their clips. Default: all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub filter: Option<DataFilter>,
    /// Largest fraction of the training rows that may be unusable, 0 to 1; above it the arm ends. Such rows are left out
    /// and listed in `data-problems.jsonl`: a gold answer that is no choice, a clip that can't be read or has no sound, a
    /// prompt longer than the model's context, and so on. 1 never ends the arm.
    pub max_unusable_fraction: f64,
    /// `[data.soundscapes]`: the settings of the soundscape world, which every `builtin:soundscapes` uses.
    pub soundscapes: SoundscapesConfig,
    /// `[data.spoken]`: the settings of the world of words spoken by espeak-ng, which every `builtin:spoken` uses.
    pub spoken: SpokenConfig,
    /// `[data.recorded]`: the settings of the world of recordings, which every `builtin:recorded` uses.
    pub recorded: RecordedConfig,
}

/// Which of the training rows to keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum DataFilter {
    /// Those that the policy answers wrongly without their clips.
    NeedsAudio,
}

impl Default for DataConfig {
    fn default() -> Self {
        Self {
            train: DataSource::default(),
            limit: None,
            drop_view: false,
            drop_color: false,
            fetch: false,
            filter: None,
            max_unusable_fraction: 0.5,
            soundscapes: SoundscapesConfig::default(),
            spoken: SpokenConfig::default(),
            recorded: RecordedConfig::default(),
        }
    }
}

impl DataConfig {
    /// The settings of all built-in worlds.
    pub fn worlds(&self) -> Worlds {
        Worlds {
            soundscapes: self.soundscapes.clone(),
            spoken: self.spoken.clone(),
            recorded: self.recorded.clone(),
        }
    }

    /// Selects the rows of the training set.
    pub fn row_filter(&self) -> RowFilter {
        RowFilter {
            limit: self.limit,
            drop_view: self.drop_view,
            drop_color: self.drop_color,
            fetch: self.fetch,
        }
    }
}

/// `[loader]`: the threads that decode audio.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct LoaderConfig {
    /// Number of decoding threads per arm; at least 1.
    pub workers: usize,
    /// How several channels are turned into one: `first` (or `left`) takes the first channel, as the reference
    /// implementations do; `right` the second; `mean` averages all, as librosa does; `itu` weighs the channels of
    /// surround sound after ITU-R BS.775.
    pub downmix: Downmix,
    /// Which part of a clip longer than the model's audio window is heard: `first`, `center`, or `random`, which draws
    /// another part in each training step and the same one in every evaluation; `rollouts.jsonl` records where it begins.
    /// `all` hears the whole clip: up to 32 windows, one after another, each of which is a clip of its own in the prompt.
    pub window: AudioWindow,
    /// Number of decoded clips kept in memory per arm; 0 keeps none.
    pub cache_clips: usize,
    /// Most memory that the features of these clips may take per arm, in MB (10⁶ bytes).
    pub cache_mb: usize,
    /// A folder in which the features of clips are kept for the next run; several runs may share it. Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cache_dir: Option<std::path::PathBuf>,
    /// Most room that this folder may take, in MB (10⁶ bytes); the oldest files are removed. At least 1.
    pub cache_dir_mb: usize,
    /// Largest fraction of clips that may fail to load, 0 to 1; above it the arm stops. 1 never stops it.
    pub max_failed_fraction: f64,
}

impl Default for LoaderConfig {
    fn default() -> Self {
        Self {
            workers: 2,
            downmix: Downmix::First,
            window: AudioWindow::First,
            cache_clips: 4096,
            cache_mb: 4096,
            cache_dir: None,
            cache_dir_mb: 20_000,
            max_failed_fraction: 1.0,
        }
    }
}

/// `[audio]`: formats that the sandbox does not decode itself.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct AudioConfig {
    /// A program that decodes them as ffmpeg does: `"ffmpeg"`, or its path. It is started for each such clip, without a
    /// shell, and is given at most 60 seconds. Default: none; such clips are unreadable.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fallback: Option<std::path::PathBuf>,
}

/// How several channels are turned into one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Downmix {
    /// Take the first channel.
    #[default]
    #[serde(alias = "left")]
    First,
    /// Take the second channel.
    Right,
    /// Take the average of all channels.
    Mean,
    /// Weigh the channels after ITU-R BS.775.
    Itu,
}

/// Which part of a clip that is longer than the model's audio window is heard.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AudioWindow {
    /// The beginning.
    #[default]
    First,
    /// The middle.
    Center,
    /// A part drawn at random.
    Random,
    /// All of it, in windows one after another.
    All,
}

/// `[eval]`: evaluation on questions that are held out from training.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct EvalConfig {
    /// Number of steps between evaluations; 0 evaluates after the last step only. The last step is always evaluated.
    pub every: u64,
    /// Whether to evaluate before the first step too.
    pub at_start: bool,
    /// The sets of questions: a built-in world such as `"builtin:soundscapes"` (its held-out questions), or files such as `{ name = "mmau",
    /// format = "mmau", path = "…" }`. Their names must differ.
    pub suites: Vec<DataSource>,
    /// Use only the first questions of each set, up to this number; at least 1. Default: all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
    /// Sampling temperature in evaluation, 0 or more; 0 decodes greedily.
    pub temperature: f64,
    /// Seed of the sampling in evaluation. It does not depend on arm or run seed, so that their results are comparable.
    pub seed: u64,
    /// Number of questions that are answered in one batch; at least 1.
    pub batch_prompts: usize,
    /// What each suite is asked with besides, to tell how much of its accuracy needs hearing: `silence` or `noise` in place
    /// of a clip, `other_clip` (the clip of another row), `no_audio`, `shuffled_choices`. Each is evaluated and recorded like
    /// a suite of its own.
    pub controls: Vec<Control>,
    /// Completions per question; at least 1. With more than one, `eval.jsonl` has mean@k, pass@k and maj@k.
    pub samples: usize,
    /// Orders of the choices in which `shuffled_choices` asks each question; at least 1.
    pub shuffles: usize,
    /// Further columns of the data by whose values answers are counted, such as `["category", "modality"]`.
    pub by: Vec<String>,
    /// `[eval.server]`: a server with OpenAI's API that answers in place of the policy, in `sandbox eval` only.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "ServerConfig")]
    pub server: Option<ServerConfig>,
}

/// A change of a suite that takes away what its questions are about, or the order that a policy may have learnt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Control {
    /// Silence of the clip's length.
    Silence,
    /// White noise of the clip's length.
    Noise,
    /// The clip of another row.
    OtherClip,
    /// No clip, and no place for one in the prompt.
    NoAudio,
    /// The choices in another order.
    ShuffledChoices,
}

impl Control {
    /// All controls.
    pub const ALL: [Control; 5] =
        [Control::Silence, Control::Noise, Control::OtherClip, Control::NoAudio, Control::ShuffledChoices];

    /// Its name in scenarios and records.
    pub fn name(self) -> &'static str {
        match self {
            Control::Silence => "silence",
            Control::Noise => "noise",
            Control::OtherClip => "other_clip",
            Control::NoAudio => "no_audio",
            Control::ShuffledChoices => "shuffled_choices",
        }
    }

    /// Whether a policy that answers by hearing should fail with it.
    pub fn takes_away_hearing(self) -> bool {
        self != Control::ShuffledChoices
    }
}

impl std::fmt::Display for Control {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
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
            controls: Vec::new(),
            samples: 1,
            shuffles: 1,
            by: Vec::new(),
            server: None,
        }
    }
}
