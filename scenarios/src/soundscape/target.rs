//! What SFT teaches: plain answers, right reasoning, or the flawed mixture that reinforcement learning starts from.
//!
//! The mixture thinks at a rate of its own for each kind of question, unconnected with how hard the question is, and a
//! share of its thinking has a wrong step or concludes with another answer than it gives. Without the rates the first
//! token would carry no knowledge of the question, and training could only move one global bias.

use rewards::Question;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::clip::Sound;
use super::config::{Kind, WorldConfig};
use super::rng::Rng;
use crate::PromptStyle;

/// What SFT teaches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum TargetKind {
    /// The answer alone.
    #[default]
    Answer,
    /// The right steps, then the answer; for other data than soundscapes its written-out reasoning.
    Reasoning,
    /// The soundscape world's flawed mixture of both.
    World,
}

/// The completion that SFT teaches for `question`; `None` where the question lacks what the target needs: reasoning or
/// steps. The same arguments give the same text.
///
/// Only [`TargetKind::World`] heeds the prompt's style: under the adaptive prompt it thinks at the rate of the
/// question's kind, under `think` always, under `answer` never. Its answer is always right.
pub fn sft_target(
    question: &Question,
    target: TargetKind,
    world: &WorldConfig,
    style: PromptStyle,
    seed: u64,
) -> Option<String> {
    let answer = question.answer.as_str();
    match target {
        TargetKind::Answer => Some(completion(None, answer)),
        TargetKind::Reasoning => {
            let think = match &question.steps {
                Some(steps) => written_out(steps, answer),
                None => question.reasoning.as_deref()?.trim().to_owned(),
            };
            Some(completion(Some(&think), answer))
        }
        TargetKind::World => {
            let (kind, steps) = (Kind::from_name(question.kind.as_deref()?)?, question.steps.clone()?);
            let mut rng = Rng::new(seed, &question.id);
            let thinks = match style {
                PromptStyle::Adaptive => rng.chance(world.think_rate(kind)),
                PromptStyle::Think => true,
                PromptStyle::Answer => false,
            };
            let think = thinks.then(|| flawed(kind, steps, question, world.flaw_rate, &mut rng));
            Some(completion(think.as_deref(), answer))
        }
    }
}

fn completion(think: Option<&str>, answer: &str) -> String {
    let think = think.map(|think| format!("<think>{think}</think>")).unwrap_or_default();
    format!("{think}<answer>{answer}</answer>")
}

/// `beep 1 buzz 3 so 3`.
fn written_out(steps: &[String], conclusion: &str) -> String {
    format!("{} so {conclusion}", steps.join(" "))
}

/// The steps and a conclusion, with at most one flaw: a word of a step that is not the right one, or a conclusion that
/// is not the answer.
fn flawed(kind: Kind, mut steps: Vec<String>, question: &Question, rate: f64, rng: &mut Rng) -> String {
    let mut conclusion = question.answer.clone();
    if rng.chance(rate) {
        if rng.chance(0.5) {
            let at = rng.below(steps.len());
            if let Some(step) = steps.get_mut(at) {
                *step = wrong_step(kind, step, rng);
            }
        } else {
            conclusion = other(&question.choices, &conclusion, rng);
        }
    }
    written_out(&steps, &conclusion)
}

/// The step with its sound or its running value exchanged.
fn wrong_step(kind: Kind, step: &str, rng: &mut Rng) -> String {
    let (sound, value) = step.split_once(' ').unwrap_or((step, ""));
    if rng.chance(0.5) {
        let sounds = Sound::ALL.map(|sound| sound.name().to_owned());
        format!("{} {value}", other(&sounds, sound, rng))
    } else {
        format!("{sound} {}", other(&kind.values(), value, rng))
    }
}

/// One of `words` that is not `word`; `word` itself where there is no other.
fn other(words: &[String], word: &str, rng: &mut Rng) -> String {
    let others: Vec<&String> = words.iter().filter(|other| *other != word).collect();
    rng.pick(&others).map_or_else(|| word.to_owned(), |other| other.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn question(id: usize, kind: Kind) -> Question {
        Question {
            id: format!("q{id}"),
            text: kind.wording().into(),
            choices: ["0", "3", "1", "4"].map(str::to_owned).to_vec(),
            answer: "3".into(),
            audio_path: "a.wav".into(),
            difficulty: Some(rewards::Difficulty::Hard),
            kind: Some(kind.name().into()),
            steps: Some(vec!["beep 1".into(), "buzz 3".into()]),
            reasoning: None,
            metadata: serde_json::Map::new(),
        }
    }

    fn target(question: &Question, kind: TargetKind, style: PromptStyle) -> Option<String> {
        sft_target(question, kind, &WorldConfig::default(), style, 5)
    }

    #[test]
    fn answers_and_reasoning_are_written_in_the_two_forms() {
        let question = question(0, Kind::Walk);
        let text = |kind| target(&question, kind, PromptStyle::Adaptive).unwrap();
        assert_eq!(text(TargetKind::Answer), "<answer>3</answer>");
        assert_eq!(text(TargetKind::Reasoning), "<think>beep 1 buzz 3 so 3</think><answer>3</answer>");
    }

    #[test]
    fn reasoning_of_other_data_is_what_its_rows_say() {
        let mut question = Question { steps: None, kind: None, ..question(0, Kind::Walk) };
        assert_eq!(target(&question, TargetKind::Reasoning, PromptStyle::Think), None);
        question.reasoning = Some("A dog barks.\n".into());
        let text = target(&question, TargetKind::Reasoning, PromptStyle::Think);
        assert_eq!(text.as_deref(), Some("<think>A dog barks.</think><answer>3</answer>"));
        assert_eq!(target(&question, TargetKind::World, PromptStyle::Think), None, "no steps to spoil");
    }

    #[test]
    fn the_mixture_thinks_as_the_prompt_s_style_asks() {
        let thinks = |kind, style| {
            let texts = (0..2000).filter_map(|id| target(&question(id, kind), TargetKind::World, style));
            texts.filter(|text| text.starts_with("<think>")).count()
        };
        assert_eq!(thinks(Kind::Walk, PromptStyle::Think), 2000);
        assert_eq!(thinks(Kind::Walk, PromptStyle::Answer), 0);
        // Rates .4 and .6 of 2000, standard deviation √(2000·.24) = 22.
        assert!(thinks(Kind::Count, PromptStyle::Adaptive).abs_diff(800) < 90);
        assert!(thinks(Kind::Last, PromptStyle::Adaptive).abs_diff(1200) < 90);
    }

    #[test]
    fn a_flawed_target_has_one_wrong_word_and_the_right_answer() {
        let (mut wrong_steps, mut wrong_conclusions) = (0usize, 0usize);
        for id in 0..2000 {
            let text = target(&question(id, Kind::Walk), TargetKind::World, PromptStyle::Think).unwrap();
            let think =
                text.strip_prefix("<think>").unwrap().strip_suffix("</think><answer>3</answer>").unwrap();
            let right = ["beep", "1", "buzz", "3", "so", "3"];
            let words: Vec<&str> = think.split(' ').collect();
            assert_eq!(words.len(), right.len());
            let wrong: Vec<usize> = (0..6).filter(|&at| words[at] != right[at]).collect();
            match wrong[..] {
                [] => {}
                [5] => wrong_conclusions += 1,
                [0..=3] => wrong_steps += 1,
                _ => panic!("{text}"),
            }
        }
        // 2000 · 0.35 / 2 = 350 of each, standard deviation √(2000·.175·.825) = 17.
        assert!(wrong_steps.abs_diff(350) < 70 && wrong_conclusions.abs_diff(350) < 70);
    }

    #[test]
    fn targets_depend_on_the_seed_and_the_question_alone() {
        let texts = |seed| -> Vec<_> {
            let world = WorldConfig::default();
            let text = |id| {
                sft_target(&question(id, Kind::Walk), TargetKind::World, &world, PromptStyle::Adaptive, seed)
            };
            (0..40).map(text).collect()
        };
        assert_eq!(texts(1), texts(1));
        assert_ne!(texts(1), texts(2));
    }
}
