//! The built-in worlds: data sets of clips and questions that are generated once per machine, in the cache folder, as audio
//! files and two files of rows in the AVQA format, which the AVQA reader reads.
//!
//! A [`World`] is named in a scenario, such as `builtin:spoken`; [`Worlds`] are the settings of all of them. [`sft_target`]
//! makes the completions on which a base model is fine-tuned, which may be flawed on purpose.
//!
//! - WORLD-1 the same settings give the same bytes, with any number of threads.
//! - WORLD-4 a world's folder is complete or absent.

use std::path::{Path, PathBuf};

use rewards::Question;

use crate::PromptStyle;
use crate::cache::cache_dir;
use crate::error::ScenarioError;
use crate::recorded::{self, RecordedConfig};
use crate::soundscape::{self, SoundscapesConfig};
use crate::spoken::{self, SpokenConfig};

pub(crate) mod encode;
pub(crate) mod files;
pub(crate) mod numbered;
pub(crate) mod rng;
pub(crate) mod sequence;
pub(crate) mod settings;
pub(crate) mod sound;
pub(crate) mod target;

pub use settings::{AudioFormat, Split};
pub use target::TargetKind;

/// A built-in world.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum World {
    /// Synthetic sounds.
    #[default]
    Soundscapes,
    /// Words spoken by espeak-ng.
    Spoken,
    /// Sounds from a folder of recordings.
    Recorded,
}

impl World {
    /// All worlds.
    pub const ALL: [World; 3] = [World::Soundscapes, World::Spoken, World::Recorded];

    /// Its name in scenarios, metrics and reports, such as `builtin:spoken`.
    pub fn name(self) -> &'static str {
        match self {
            World::Soundscapes => "builtin:soundscapes",
            World::Spoken => "builtin:spoken",
            World::Recorded => "builtin:recorded",
        }
    }

    /// The world with this name, if there is one.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|world| world.name() == name)
    }
}

/// The settings of all worlds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Worlds {
    /// `[data.soundscapes]`.
    pub soundscapes: SoundscapesConfig,
    /// `[data.spoken]`.
    pub spoken: SpokenConfig,
    /// `[data.recorded]`.
    pub recorded: RecordedConfig,
}

impl Worlds {
    /// The folder with the files of a world, `train.jsonl`, `heldout.jsonl` and `audio/`. They are generated if they are
    /// not in the cache.
    ///
    /// Errors: A setting is out of its range, what the world is made from is missing, or the cache cannot be written.
    pub fn prepare(&self, world: World) -> Result<PathBuf, ScenarioError> {
        self.prepare_in(&cache_dir(), world)
    }

    /// Like [`prepare`](Self::prepare), with another cache folder.
    ///
    /// Errors: The same as those of [`prepare`](Self::prepare).
    pub fn prepare_in(&self, cache: &Path, world: World) -> Result<PathBuf, ScenarioError> {
        match world {
            World::Soundscapes => soundscape::prepare_in(cache, &self.soundscapes),
            World::Spoken => spoken::prepare_in(cache, &self.spoken),
            World::Recorded => recorded::prepare_in(cache, &self.recorded),
        }
    }
}

/// The completion that is taught for a question; `None` if the question lacks the reasoning or the steps that the
/// target needs. The same arguments give the same text.
///
/// Only [`TargetKind::World`] depends on the style of the prompt: with `adaptive` it thinks with the probability of the
/// question's kind, with `think` always, and with `answer` never. Its answer is always right.
pub fn sft_target(
    question: &Question,
    target: TargetKind,
    worlds: &Worlds,
    style: PromptStyle,
    seed: u64,
) -> Option<String> {
    let kind = question.kind.as_deref().unwrap_or_default();
    match question.metadata.get("dataset_name").and_then(|name| name.as_str()) {
        Some(spoken::NAME) => numbered::sft_target(question, target, worlds.spoken.rates(kind), style, seed),
        Some(recorded::NAME) => {
            numbered::sft_target(question, target, worlds.recorded.rates(kind), style, seed)
        }
        _ => soundscape::sft_target(question, target, &worlds.soundscapes, style, seed),
    }
}
