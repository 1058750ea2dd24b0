//! What the fine-tuning targets of all worlds have in common: when they think, and how a completion is written.

use rewards::Question;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::rng::Rng;
use crate::PromptStyle;

/// The completion that supervised fine-tuning teaches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum TargetKind {
    /// The answer without thinking.
    #[default]
    Answer,
    /// Right reasoning, then the answer: the steps of a question of a built-in world, or the dataset's own chain of thought.
    Reasoning,
    /// A flawed mixture of both, for questions of a built-in world.
    World,
}

/// How often targets think, and how often that is flawed; probabilities.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rates {
    /// That an adaptive prompt's target thinks.
    pub(crate) think: f64,
    /// That thinking has a wrong step or a wrong conclusion.
    pub(crate) flaw: f64,
    /// That thinking repeats its conclusion.
    pub(crate) padding: f64,
}

impl Rates {
    /// Whether a target in this style thinks.
    pub(crate) fn thinks(&self, style: PromptStyle, rng: &mut Rng) -> bool {
        match style {
            PromptStyle::Adaptive => rng.chance(self.think),
            PromptStyle::Think => true,
            PromptStyle::Answer => false,
        }
    }

    /// The flaw of a target's thinking, if it has one.
    pub(crate) fn flaw(&self, rng: &mut Rng) -> Option<Flaw> {
        let flawed = rng.chance(self.flaw);
        flawed.then(|| if rng.chance(0.5) { Flaw::Step } else { Flaw::Conclusion })
    }

    /// How often thinking says its conclusion once more.
    pub(crate) fn repeats(&self, rng: &mut Rng) -> usize {
        if rng.chance(self.padding) { 1 + rng.below(3) } else { 0 }
    }
}

/// What is wrong with thinking.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flaw {
    /// One of the steps.
    Step,
    /// The conclusion, which differs from the answer.
    Conclusion,
}

/// A completion. `space` is what stands behind each opening tag.
pub(crate) fn completion(space: &str, think: Option<&str>, answer: &str) -> String {
    let think = think.map(|think| format!("<think>{space}{think}</think>")).unwrap_or_default();
    format!("{think}<answer>{space}{answer}</answer>")
}

/// A random one of `words` that differs from `word`; `word` itself if there is no other.
pub(crate) fn other(words: &[String], word: &str, rng: &mut Rng) -> String {
    let others: Vec<&String> = words.iter().filter(|other| *other != word).collect();
    rng.pick(&others).map_or_else(|| word.to_owned(), |other| other.to_string())
}

/// The answer or the right reasoning of a question; `None` for [`TargetKind::World`], which each world makes itself, and
/// without the reasoning that is needed. `steps` is the thinking that the question's steps make.
pub(crate) fn right(
    question: &Question,
    target: TargetKind,
    space: &str,
    steps: Option<String>,
) -> Option<String> {
    let answer = question.answer.as_str();
    match target {
        TargetKind::Answer => Some(completion(space, None, answer)),
        TargetKind::Reasoning => {
            let think = match steps {
                Some(steps) => steps,
                None => question.reasoning.as_deref()?.trim().to_owned(),
            };
            Some(completion(space, Some(&think), answer))
        }
        TargetKind::World => None,
    }
}
