//! `[data.soundscapes]`: the settings of the soundscape world.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::ScenarioError;
use crate::world::settings::{self, AudioFormat, Split};

const SECTION: &str = "soundscapes";

/// A kind of question. Its difficulty depends on the clip too, see `Kind::difficulty`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Which sound comes first. Easy.
    First,
    /// Whether the first sound is a tone, a sweep or noise. Easy.
    Opening,
    /// Which sound comes last. Medium; easy with up to three events.
    Last,
    /// How many sounds there are. Medium; easy with up to three events.
    Count,
    /// The sum of the sounds' values modulo 5. Hard; medium with two events.
    Walk,
    /// The final position of a dial from 0 to 4 that each sound turns. Hard; medium with two events.
    Dial,
}

/// `[data.soundscapes]`: the settings of the soundscape world. Proportions are weights of 0 or more, of which at least
/// one is above 0; only their ratios matter, and an entry that is not named has weight 0.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SoundscapesConfig {
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
    /// Proportions of the kinds of training questions: `first`, `opening`, `last`, `count`, `walk` and `dial`. By
    /// default half of the questions are hard.
    pub train_kinds: BTreeMap<Kind, f64>,
    /// Proportions of the kinds of held-out questions. By default a third each is easy, medium and hard.
    pub eval_kinds: BTreeMap<Kind, f64>,
    /// For each kind of question the probability that the `world` target of `[sft]` thinks, 0 to 1; 0.5 for kinds that
    /// are not named. By default the kinds differ, so that the base policy can learn when to think, but the averages
    /// over easy, medium and hard questions are the same.
    pub think_rates: BTreeMap<Kind, f64>,
    /// Fraction of the `world` targets with thinking that have a wrong step or a conclusion that differs from the
    /// answer; 0 to 1.
    pub flaw_rate: f64,
    /// Fraction of the `world` targets with thinking that repeat their conclusion one to three times; 0 to 1. The answer
    /// stays right and the conclusion fits, so that only the quality of the thinking is lower.
    pub padding_rate: f64,
    /// Proportions of the audio formats: `wav`, `wav24`, `wav_float` and `flac`.
    pub formats: BTreeMap<AudioFormat, f64>,
}

impl Default for SoundscapesConfig {
    fn default() -> Self {
        use Kind::{Count, First, Last, Opening, Walk};
        Self {
            seed: 7,
            train_clips: 1500,
            heldout_clips: 200,
            train_questions_per_clip: 6,
            heldout_questions_per_clip: 3,
            // A walk over two events is not hard, so 0.6 · 5/6 = 1/2 of the questions are.
            train_kinds: [(First, 0.1), (Opening, 0.1), (Last, 0.1), (Count, 0.1), (Walk, 0.6)].into(),
            // Easy 0.2 + 0.4 · 2/6, medium 0.4 · 4/6 + 0.4 · 1/6, hard 0.4 · 5/6: a third each.
            eval_kinds: [(First, 0.1), (Opening, 0.1), (Last, 0.2), (Count, 0.2), (Walk, 0.4)].into(),
            think_rates: [(First, 0.35), (Opening, 0.65), (Last, 0.6), (Count, 0.4), (Walk, 0.5)].into(),
            flaw_rate: 0.35,
            padding_rate: 0.0,
            formats: [
                (AudioFormat::Wav, 4.0),
                (AudioFormat::Flac, 4.0),
                (AudioFormat::Wav24, 1.0),
                (AudioFormat::WavFloat, 1.0),
            ]
            .into(),
        }
    }
}

impl SoundscapesConfig {
    /// The probability that the `world` target thinks about a question of this kind.
    pub fn think_rate(&self, kind: Kind) -> f64 {
        self.think_rates.get(&kind).copied().unwrap_or(0.5)
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
        settings::weights(SECTION, "formats", &self.formats)?;
        let rates = self.think_rates.values().map(|rate| ("think_rates", *rate));
        let flaws = [("flaw_rate", self.flaw_rate), ("padding_rate", self.padding_rate)];
        settings::probabilities(SECTION, rates.chain(flaws))
    }

    pub(super) fn clips(&self, split: Split) -> usize {
        match split {
            Split::Train => self.train_clips,
            Split::Heldout => self.heldout_clips,
        }
    }

    pub(super) fn questions_per_clip(&self, split: Split) -> usize {
        match split {
            Split::Train => self.train_questions_per_clip,
            Split::Heldout => self.heldout_questions_per_clip,
        }
    }

    pub(super) fn kinds(&self, split: Split) -> &BTreeMap<Kind, f64> {
        match split {
            Split::Train => &self.train_kinds,
            Split::Heldout => &self.eval_kinds,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_within_their_ranges() {
        SoundscapesConfig::default().validate().unwrap();
    }

    #[test]
    fn named_kinds_replace_all_defaults() {
        let world: SoundscapesConfig = toml::from_str("[train_kinds]\nwalk = 1").unwrap();
        assert_eq!(world.train_kinds, [(Kind::Walk, 1.0)].into());
        assert_eq!(world.eval_kinds, SoundscapesConfig::default().eval_kinds);
    }

    #[test]
    fn unknown_keys_and_kinds_are_errors() {
        let message = |text| toml::from_str::<SoundscapesConfig>(text).unwrap_err().to_string();
        assert!(message("clips = 3").contains("unknown field `clips`"), "{}", message("clips = 3"));
        assert!(message("[train_kinds]\nwalks = 1").contains("unknown variant `walks`"));
    }

    #[test]
    fn settings_out_of_range_are_refused() {
        for (text, problem) in [
            ("train_clips = 0", "train_clips is 0; write at least 1"),
            ("flaw_rate = 1.5", "flaw_rate has 1.5; write a probability, from 0 to 1"),
            ("padding_rate = -0.1", "padding_rate has -0.1; write a probability, from 0 to 1"),
            ("[train_kinds]\nwalk = -1", "train_kinds has the weight -1; write 0 or more"),
            ("[formats]\nwav = 0", "formats has no weight above 0; give at least one"),
        ] {
            let error = toml::from_str::<SoundscapesConfig>(text).unwrap().validate().unwrap_err();
            assert_eq!(error.to_string(), format!("[data.soundscapes] {problem}"));
        }
    }

    #[test]
    fn think_rates_average_to_the_same_for_each_difficulty() {
        // Over two to seven events: `last` and `count` are easy in 2 cases of 6, `walk` is medium in 1 of 6.
        let world = SoundscapesConfig::default();
        let part = |kind| world.eval_kinds[&kind];
        let mean = |parts: &[(Kind, f64)]| {
            let total: f64 = parts.iter().map(|(kind, share)| part(*kind) * share).sum();
            parts.iter().map(|(kind, share)| part(*kind) * share * world.think_rate(*kind)).sum::<f64>()
                / total
        };
        let third = 2.0 / 6.0;
        let easy =
            mean(&[(Kind::First, 1.0), (Kind::Opening, 1.0), (Kind::Last, third), (Kind::Count, third)]);
        let medium = [(Kind::Last, 1.0 - third), (Kind::Count, 1.0 - third), (Kind::Walk, 0.5 * third)];
        let hard = mean(&[(Kind::Walk, 1.0)]);
        for rate in [easy, mean(&medium), hard] {
            assert!((rate - 0.5).abs() < 1e-12, "{rate}");
        }
    }
}
