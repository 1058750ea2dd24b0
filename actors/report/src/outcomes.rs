//! What became of each question in the latest evaluation: the answers of all seeds, from which a [`Panel`] of any metric is
//! made.

use std::collections::{BTreeMap, BTreeSet};

use rewards::Mode;
use scenarios::Metric;
use serde::Deserialize;
use statistics::Panel;

/// A metric of all questions, or of those of one difficulty.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Measure {
    pub(crate) metric: Metric,
    pub(crate) difficulty: Option<String>,
}

impl Measure {
    pub(crate) fn overall(metric: Metric) -> Self {
        Measure { metric, difficulty: None }
    }

    /// Its name in tables, such as `accuracy (hard)`.
    pub(crate) fn name(&self) -> String {
        let metric = self.metric.name();
        match &self.difficulty {
            Some(difficulty) => format!("{metric} ({difficulty})"),
            None => metric.to_owned(),
        }
    }

    /// The unit of differences.
    pub(crate) fn unit(&self) -> &'static str {
        if self.metric == Metric::Length { "tokens" } else { "points" }
    }

    /// How many of that unit a difference of 1 is.
    pub(crate) fn factor(&self) -> f64 {
        if self.metric == Metric::Length { 1.0 } else { 100.0 }
    }
}

/// The fields of an evaluation's row of `rollouts.jsonl` that metrics are made of.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Outcome {
    #[serde(default)]
    id: String,
    #[serde(default)]
    audio_path: Option<String>,
    #[serde(default)]
    difficulty: Option<String>,
    #[serde(default)]
    mode: Option<Mode>,
    #[serde(default)]
    correct: bool,
    #[serde(default)]
    well_formed: bool,
    #[serde(default)]
    consistency: Option<f64>,
    #[serde(default)]
    think_quality: Option<f64>,
    #[serde(default)]
    tokens: Option<f64>,
    #[serde(default)]
    question: String,
    #[serde(default)]
    choices: Vec<String>,
    #[serde(default)]
    answer_gold: String,
}

/// The outcomes of one suite, by seed.
#[derive(Clone, Debug, Default)]
pub(crate) struct Outcomes {
    by_seed: BTreeMap<u64, Vec<Outcome>>,
}

impl Outcomes {
    pub(crate) fn add(&mut self, seed: u64, outcomes: &[Outcome]) {
        self.by_seed.entry(seed).or_default().extend(outcomes.iter().cloned());
    }

    /// The id of each answer's question, and what is asked under it: the question, its choices and the right answer.
    pub(crate) fn asked(&self) -> impl Iterator<Item = (&str, (&str, &[String], &str))> {
        self.by_seed.values().flatten().map(|outcome| (outcome.id.as_str(), outcome.asked()))
    }

    /// Number of questions, each counted once.
    pub(crate) fn questions(&self) -> usize {
        let ids = self.by_seed.values().flatten().map(|outcome| outcome.id.as_str());
        ids.collect::<BTreeSet<_>>().len()
    }

    /// Number of answers.
    pub(crate) fn answers(&self) -> u64 {
        self.by_seed.values().map(|outcomes| outcomes.len() as u64).sum()
    }

    /// The values of a metric by question and seed.
    pub(crate) fn panel(&self, measure: &Measure) -> Panel {
        let mut panel = Panel::default();
        for (&seed, outcomes) in &self.by_seed {
            for outcome in outcomes {
                if measure.difficulty.is_some() && outcome.difficulty != measure.difficulty {
                    continue;
                }
                let (sum, count) = outcome.value(measure.metric);
                panel.add(&outcome.id, outcome.clip(), seed, sum, count);
            }
        }
        panel
    }
}

impl Outcome {
    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    pub(crate) fn difficulty(&self) -> Option<&str> {
        self.difficulty.as_deref()
    }

    pub(crate) fn is_correct(&self) -> bool {
        self.correct
    }

    /// What questions about one clip have in common; a question without a clip stands alone.
    fn clip(&self) -> &str {
        self.audio_path.as_deref().filter(|path| !path.is_empty()).unwrap_or(&self.id)
    }

    fn asked(&self) -> (&str, &[String], &str) {
        (&self.question, &self.choices, &self.answer_gold)
    }

    /// What the answer adds to the sum and to the number of a metric's values.
    fn value(&self, metric: Metric) -> (f64, f64) {
        let share = |holds: bool| (f64::from(u8::from(holds)), 1.0);
        let judged = |value: Option<f64>| value.map_or((0.0, 0.0), |value| (value, 1.0));
        match metric {
            Metric::Accuracy => share(self.correct),
            Metric::Consistency => judged(self.consistency),
            Metric::ThinkQuality => judged(self.think_quality),
            Metric::ThinkRate => share(self.mode == Some(Mode::Think)),
            Metric::Format => share(self.well_formed),
            Metric::Length => judged(self.tokens),
        }
    }
}
