//! `[data.spoken]`: the settings of the world of spoken words.

use std::collections::BTreeMap;

use rewards::Difficulty;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::ScenarioError;
use crate::world::settings::{self, AudioFormat, Split};
use crate::world::target::Rates;

const SECTION: &str = "spoken";

/// A kind of question about spoken words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum SpokenKind {
    /// Which word is said, in a clip of one word. Easy.
    Word,
    /// Which of three words is said second. Medium.
    Second,
    /// Which word is said at a place of the clip. Hard, as all that follow.
    Ordinal,
    /// Which word comes right after another.
    After,
    /// Which word is said twice.
    Twice,
    /// How many words begin with a letter.
    Begins,
    /// Which word has the most letters.
    Longest,
}

impl SpokenKind {
    /// All kinds, in the order of their declaration.
    pub const ALL: [SpokenKind; 7] = [
        SpokenKind::Word,
        SpokenKind::Second,
        SpokenKind::Ordinal,
        SpokenKind::After,
        SpokenKind::Twice,
        SpokenKind::Begins,
        SpokenKind::Longest,
    ];

    /// Name of the kind in scenarios and data files.
    pub fn name(self) -> &'static str {
        match self {
            SpokenKind::Word => "word",
            SpokenKind::Second => "second",
            SpokenKind::Ordinal => "ordinal",
            SpokenKind::After => "after",
            SpokenKind::Twice => "twice",
            SpokenKind::Begins => "begins",
            SpokenKind::Longest => "longest",
        }
    }

    /// The difficulty of its questions.
    pub fn difficulty(self) -> Difficulty {
        match self {
            SpokenKind::Word => Difficulty::Easy,
            SpokenKind::Second => Difficulty::Medium,
            _ => Difficulty::Hard,
        }
    }
}

/// Whether something of a held-out clip occurs in training.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Known {
    /// It occurs in training.
    Trained,
    /// It does not.
    Heldout,
}

impl Known {
    /// Its name in scenarios and data files.
    pub fn name(self) -> &'static str {
        match self {
            Known::Trained => "trained",
            Known::Heldout => "heldout",
        }
    }
}

/// `[data.spoken]`: the settings of the world of words spoken by espeak-ng. Proportions are weights of 0 or more, of which at
/// least one is above 0; only their ratios matter, and an entry that is not named has weight 0.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SpokenConfig {
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
    /// Proportions of the kinds of training questions: `word`, `second`, `ordinal`, `after`, `twice`, `begins` and
    /// `longest`. By default a fifth is easy (`word`), a fifth medium (`second`), and the rest hard.
    pub train_kinds: BTreeMap<SpokenKind, f64>,
    /// Proportions of the kinds of held-out questions. By default a third each is easy, medium and hard.
    pub eval_kinds: BTreeMap<SpokenKind, f64>,
    /// Numbers of words of the training clips with hard questions, 4 to 9, equally likely; one that is listed twice is
    /// twice as likely.
    pub train_lengths: Vec<usize>,
    /// The same for held-out clips. Clips with a length that is none of `train_lengths` count as held out in the column
    /// `lengths`.
    pub eval_lengths: Vec<usize>,
    /// Proportions of held-out clips whose words are `trained` and `heldout`. About 15 % of all words are held out.
    pub eval_words: BTreeMap<Known, f64>,
    /// Proportions of held-out clips whose voice is `trained` and `heldout`. Two of eight voices are held out.
    pub eval_voices: BTreeMap<Known, f64>,
    /// Proportions of held-out questions whose wording is `trained` and `heldout`. One wording of each kind is held out.
    pub eval_wordings: BTreeMap<Known, f64>,
    /// For each kind of question the probability that the `world` target of `[sft]` thinks, 0 to 1; 0.5 for kinds that
    /// are not named. By default the hard kinds differ, so that the base policy can learn when to think.
    pub think_rates: BTreeMap<SpokenKind, f64>,
    /// Fraction of the `world` targets with thinking that have a wrong word in a step or a conclusion that differs from the
    /// answer; 0 to 1.
    pub flaw_rate: f64,
    /// Fraction of the `world` targets with thinking that repeat their conclusion one to three times; 0 to 1.
    pub padding_rate: f64,
    /// Shortest and longest pause between two words, in seconds, 0 to 2.
    pub pauses: [f64; 2],
    /// Share of clips with white noise; 0 to 1.
    pub noise: f64,
    /// Smallest and largest signal-to-noise ratio of these clips in dB, -20 to 60.
    pub snr: [f64; 2],
    /// Share of clips with the reverberation of a room; 0 to 1.
    pub room: f64,
    /// Share of clips that sound as over a telephone, 300 to 3400 Hz; 0 to 1.
    pub telephone: f64,
    /// Share of clips whose words and choices are near-homophones, such as `boat`, `boot`, `beat` and `bit`; 0 to 1.
    pub near_homophones: f64,
    /// Proportions of the audio formats: `wav`, `wav24`, `wav_float` and `flac`.
    pub formats: BTreeMap<AudioFormat, f64>,
}

impl Default for SpokenConfig {
    fn default() -> Self {
        use SpokenKind::{After, Begins, Longest, Ordinal, Second, Twice, Word};
        let even = || [(Known::Trained, 1.0), (Known::Heldout, 1.0)].into();
        Self {
            seed: 7,
            train_clips: 1200,
            heldout_clips: 300,
            train_questions_per_clip: 2,
            heldout_questions_per_clip: 1,
            train_kinds: [
                (Word, 0.2),
                (Second, 0.2),
                (Ordinal, 0.2),
                (After, 0.15),
                (Twice, 0.15),
                (Begins, 0.05),
                (Longest, 0.05),
            ]
            .into(),
            eval_kinds: [
                (Word, 0.3),
                (Second, 0.3),
                (Ordinal, 0.1),
                (After, 0.075),
                (Twice, 0.075),
                (Begins, 0.025),
                (Longest, 0.025),
            ]
            .into(),
            train_lengths: vec![4, 5, 6],
            eval_lengths: vec![4, 5, 6, 7],
            eval_words: even(),
            eval_voices: even(),
            eval_wordings: even(),
            // Over the hard kinds 0.2·0.5 + 0.15·0.4 + 0.15·0.6 + 0.05·0.65 + 0.05·0.35 = 0.3, half of their 0.6.
            think_rates: [
                (Word, 0.5),
                (Second, 0.5),
                (Ordinal, 0.5),
                (After, 0.4),
                (Twice, 0.6),
                (Begins, 0.65),
                (Longest, 0.35),
            ]
            .into(),
            flaw_rate: 0.2,
            padding_rate: 0.0,
            pauses: [0.15, 0.3],
            noise: 0.0,
            snr: [10.0, 30.0],
            room: 0.0,
            telephone: 0.0,
            near_homophones: 0.0,
            formats: [(AudioFormat::Flac, 1.0)].into(),
        }
    }
}

impl SpokenConfig {
    /// How the `world` target thinks about questions of a kind.
    pub(crate) fn rates(&self, kind: &str) -> Rates {
        let kind = SpokenKind::ALL.into_iter().find(|known| known.name() == kind);
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
        let lengths = "write at least one length, each from 4 to 9 words";
        settings::lengths(SECTION, "train_lengths", &self.train_lengths, (4, 9), lengths)?;
        settings::lengths(SECTION, "eval_lengths", &self.eval_lengths, (4, 9), lengths)?;
        settings::weights(SECTION, "eval_words", &self.eval_words)?;
        settings::weights(SECTION, "eval_voices", &self.eval_voices)?;
        settings::weights(SECTION, "eval_wordings", &self.eval_wordings)?;
        settings::weights(SECTION, "formats", &self.formats)?;
        let rates = self.think_rates.values().map(|rate| ("think_rates", *rate));
        let shares = [
            ("flaw_rate", self.flaw_rate),
            ("padding_rate", self.padding_rate),
            ("noise", self.noise),
            ("room", self.room),
            ("telephone", self.telephone),
            ("near_homophones", self.near_homophones),
        ];
        settings::probabilities(SECTION, rates.chain(shares))?;
        let seconds = "write two numbers of seconds in order, from 0 to 2";
        settings::range(SECTION, "pauses", self.pauses, (0.0, 2.0), seconds)?;
        let decibels = "write two numbers of dB in order, from -20 to 60";
        settings::range(SECTION, "snr", self.snr, (-20.0, 60.0), decibels)
    }

    pub(super) fn kinds(&self, split: Split) -> &BTreeMap<SpokenKind, f64> {
        match split {
            Split::Train => &self.train_kinds,
            Split::Heldout => &self.eval_kinds,
        }
    }

    pub(super) fn lengths(&self, split: Split) -> &[usize] {
        match split {
            Split::Train => &self.train_lengths,
            Split::Heldout => &self.eval_lengths,
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
    fn the_defaults_are_within_their_ranges_and_think_as_often_about_each_difficulty() {
        let config = SpokenConfig::default();
        config.validate().unwrap();
        for weights in [&config.train_kinds, &config.eval_kinds] {
            let hard = |kind: &SpokenKind| kind.difficulty() == Difficulty::Hard;
            let total: f64 = weights.iter().filter(|(kind, _)| hard(kind)).map(|(_, weight)| weight).sum();
            let thinking: f64 = weights
                .iter()
                .filter(|(kind, _)| hard(kind))
                .map(|(kind, weight)| weight * config.rates(kind.name()).think)
                .sum();
            assert!((thinking / total - 0.5).abs() < 1e-12, "{}", thinking / total);
        }
    }

    #[test]
    fn settings_out_of_range_are_refused() {
        for (text, problem) in [
            ("train_clips = 0", "train_clips is 0; write at least 1"),
            ("noise = 1.5", "noise has 1.5; write a probability, from 0 to 1"),
            (
                "train_lengths = []",
                "train_lengths is an empty list; write at least one length, each from 4 to 9 words",
            ),
            ("eval_lengths = [3]", "eval_lengths has 3; write at least one length, each from 4 to 9 words"),
            (
                "pauses = [0.3, 0.1]",
                "pauses is [0.3, 0.1]; write two numbers of seconds in order, from 0 to 2",
            ),
            ("snr = [0, 99]", "snr is [0, 99]; write two numbers of dB in order, from -20 to 60"),
            ("[eval_words]\ntrained = 0", "eval_words has no weight above 0; give at least one"),
        ] {
            let error = toml::from_str::<SpokenConfig>(text).unwrap().validate().unwrap_err();
            assert_eq!(error.to_string(), format!("[data.spoken] {problem}"));
        }
        let message = |text| toml::from_str::<SpokenConfig>(text).unwrap_err().to_string();
        assert!(message("clips = 3").contains("unknown field `clips`"));
        assert!(message("[train_kinds]\nword2 = 1").contains("unknown variant `word2`"));
    }
}
