//! `[data.recorded]`: the settings of the world of recordings.

use std::collections::BTreeMap;
use std::path::PathBuf;

use rewards::Difficulty;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::ScenarioError;
use crate::world::settings::{self, AudioFormat, Split};
use crate::world::target::Rates;

const SECTION: &str = "recorded";

/// A kind of question about recordings. All but `class` are about a clip of several sounds: medium with two or three of
/// them, hard with more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum RecordedKind {
    /// Which sound is heard, in a clip of one. Easy.
    Class,
    /// Which sound comes second.
    Second,
    /// Which sound comes last.
    Last,
    /// Which sound comes right after another.
    After,
    /// How many sounds are heard.
    Count,
    /// Which sound is heard twice.
    Twice,
}

impl RecordedKind {
    /// All kinds, in the order of their declaration.
    pub const ALL: [RecordedKind; 6] = [
        RecordedKind::Class,
        RecordedKind::Second,
        RecordedKind::Last,
        RecordedKind::After,
        RecordedKind::Count,
        RecordedKind::Twice,
    ];

    /// Name of the kind in scenarios and data files.
    pub fn name(self) -> &'static str {
        match self {
            RecordedKind::Class => "class",
            RecordedKind::Second => "second",
            RecordedKind::Last => "last",
            RecordedKind::After => "after",
            RecordedKind::Count => "count",
            RecordedKind::Twice => "twice",
        }
    }

    /// The difficulty of the question about a clip of so many sounds.
    pub fn difficulty(self, sounds: usize) -> Difficulty {
        match self {
            RecordedKind::Class => Difficulty::Easy,
            _ if sounds <= 3 => Difficulty::Medium,
            _ => Difficulty::Hard,
        }
    }
}

/// `[data.recorded]`: the settings of the world of recordings. Proportions are weights of 0 or more, of which at least one is
/// above 0; only their ratios matter, and an entry that is not named has weight 0.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RecordedConfig {
    /// The folder of the sounds, relative to the scenario's folder: one subfolder per class, named as the class, with its
    /// recordings in any audio format. `builtin:recorded` needs it. Of each class a fifth, and at least one, is held out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sounds: Option<PathBuf>,
    /// Seed of all clips and questions.
    pub seed: u64,
    /// Number of clips to train on; at least 1.
    pub train_clips: usize,
    /// Number of held-out clips, for evaluation; at least 1.
    pub heldout_clips: usize,
    /// Number of questions about each training clip; at least 1.
    pub train_questions_per_clip: usize,
    /// Number of questions about each held-out clip; at least 1.
    pub heldout_questions_per_clip: usize,
    /// Proportions of the kinds of training questions: `class`, `second`, `last`, `after`, `count` and `twice`.
    pub train_kinds: BTreeMap<RecordedKind, f64>,
    /// Proportions of the kinds of held-out questions.
    pub eval_kinds: BTreeMap<RecordedKind, f64>,
    /// Numbers of sounds of the clips with several, 2 to 5, equally likely; one that is listed twice is twice as likely.
    pub lengths: Vec<usize>,
    /// Longest part of a recording that is heard, in seconds, 0.1 to 10.
    pub longest: f64,
    /// Shortest and longest silence between two sounds, in seconds, 0 to 2.
    pub pauses: [f64; 2],
    /// Share of the clips with several sounds in which each sound begins before its predecessor ends; 0 to 1.
    pub overlap: f64,
    /// For each kind of question the probability that the `world` target of `[sft]` thinks, 0 to 1; 0.5 for kinds that are
    /// not named.
    pub think_rates: BTreeMap<RecordedKind, f64>,
    /// Fraction of the `world` targets with thinking that have a wrong sound in a step or a conclusion that differs from the
    /// answer; 0 to 1.
    pub flaw_rate: f64,
    /// Fraction of the `world` targets with thinking that repeat their conclusion one to three times; 0 to 1.
    pub padding_rate: f64,
    /// Proportions of the audio formats: `wav`, `wav24`, `wav_float` and `flac`.
    pub formats: BTreeMap<AudioFormat, f64>,
}

impl Default for RecordedConfig {
    fn default() -> Self {
        use RecordedKind::{After, Class, Count, Last, Second, Twice};
        let kinds: BTreeMap<RecordedKind, f64> =
            [(Class, 0.3), (Second, 0.15), (Last, 0.15), (After, 0.15), (Count, 0.1), (Twice, 0.15)].into();
        Self {
            sounds: None,
            seed: 7,
            train_clips: 600,
            heldout_clips: 150,
            train_questions_per_clip: 2,
            heldout_questions_per_clip: 1,
            train_kinds: kinds.clone(),
            eval_kinds: kinds,
            lengths: vec![2, 3, 4, 5],
            longest: 1.5,
            pauses: [0.1, 0.3],
            overlap: 0.0,
            think_rates: BTreeMap::new(),
            flaw_rate: 0.2,
            padding_rate: 0.0,
            formats: [(AudioFormat::Flac, 1.0)].into(),
        }
    }
}

impl RecordedConfig {
    /// How the `world` target thinks about questions of a kind.
    pub(crate) fn rates(&self, kind: &str) -> Rates {
        let kind = RecordedKind::ALL.into_iter().find(|known| known.name() == kind);
        let think = kind.and_then(|kind| self.think_rates.get(&kind)).copied().unwrap_or(0.5);
        Rates { think, flaw: self.flaw_rate, padding: self.padding_rate }
    }

    /// Checks that all settings are within their ranges.
    ///
    /// Errors: The first setting that is not.
    pub fn validate(&self) -> Result<(), ScenarioError> {
        settings::counts(
            SECTION,
            &[
                ("train_clips", self.train_clips),
                ("heldout_clips", self.heldout_clips),
                ("train_questions_per_clip", self.train_questions_per_clip),
                ("heldout_questions_per_clip", self.heldout_questions_per_clip),
            ],
        )?;
        settings::weights(SECTION, "train_kinds", &self.train_kinds)?;
        settings::weights(SECTION, "eval_kinds", &self.eval_kinds)?;
        let lengths = "write at least one length, each from 2 to 5 sounds";
        settings::lengths(SECTION, "lengths", &self.lengths, (2, 5), lengths)?;
        if !(0.1..=10.0).contains(&self.longest) {
            let problem = format!("is {}", self.longest);
            return Err(settings::out_of_range(SECTION, "longest", problem, "write seconds from 0.1 to 10"));
        }
        settings::weights(SECTION, "formats", &self.formats)?;
        let rates = self.think_rates.values().map(|rate| ("think_rates", *rate));
        let shares =
            [("flaw_rate", self.flaw_rate), ("padding_rate", self.padding_rate), ("overlap", self.overlap)];
        settings::probabilities(SECTION, rates.chain(shares))?;
        let seconds = "write two numbers of seconds in order, from 0 to 2";
        settings::range(SECTION, "pauses", self.pauses, (0.0, 2.0), seconds)
    }

    pub(super) fn kinds(&self, split: Split) -> &BTreeMap<RecordedKind, f64> {
        match split {
            Split::Train => &self.train_kinds,
            Split::Heldout => &self.eval_kinds,
        }
    }

    pub(super) fn questions_per_clip(&self, split: Split) -> usize {
        match split {
            Split::Train => self.train_questions_per_clip,
            Split::Heldout => self.heldout_questions_per_clip,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_out_of_range_are_refused() {
        RecordedConfig::default().validate().unwrap();
        for (text, problem) in [
            ("heldout_clips = 0", "heldout_clips is 0; write at least 1"),
            ("lengths = [1]", "lengths has 1; write at least one length, each from 2 to 5 sounds"),
            ("longest = 0", "longest is 0; write seconds from 0.1 to 10"),
            ("overlap = 2", "overlap has 2; write a probability, from 0 to 1"),
        ] {
            let error = toml::from_str::<RecordedConfig>(text).unwrap().validate().unwrap_err();
            assert_eq!(error.to_string(), format!("[data.recorded] {problem}"));
        }
    }
}
