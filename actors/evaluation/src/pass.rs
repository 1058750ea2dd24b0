//! The ways in which a suite is asked: as it is, and changed by each control.
//!
//! - EVAL-1 every pass over a suite draws the same random numbers for the same question, so that two passes differ by the
//!   control alone.
//! - EVAL-2 a control never changes which choice is right.

use std::sync::Arc;

use rand::seq::SliceRandom;
use records::{Evaluation, FormatVersion};
use rewards::Question;
use rewards::matching::bare_choices;
use runtime::seed::{Purpose, generator};
use scenarios::{ArmConfig, Control, EvalConfig, PromptConfig, Questions};

/// One way of asking a suite.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pass {
    /// The suite's place in `eval.suites`.
    pub suite: usize,
    /// What is changed; `None` for the suite as it is.
    pub control: Option<Control>,
}

/// All passes of an evaluation: each suite as it is, then with every control.
pub fn passes(config: &EvalConfig, suites: usize) -> Vec<Pass> {
    let of_suite = |suite: usize| {
        let controls = config.controls.iter().copied().map(Some);
        std::iter::once(None).chain(controls).map(move |control| Pass { suite, control })
    };
    (0..suites).flat_map(of_suite).collect()
}

/// A question as a pass asks it.
#[derive(Clone, Debug)]
pub struct Ask {
    /// The question, with the clip and the choices that are used.
    pub question: Arc<Question>,
    /// The question's place in the suite, from 0.
    pub row: usize,
    /// Whether the pass asks it for the first time: `shuffled_choices` may ask it in several orders.
    pub first: bool,
}

impl Pass {
    /// The row of `eval.jsonl` of this pass over the suite of this name after `step` steps, with nothing counted yet.
    pub fn blank(self, suite: &str, config: &EvalConfig, step: u64) -> Evaluation {
        let columns = config.by.iter().map(|column| (column.clone(), Default::default()));
        Evaluation {
            format_version: FormatVersion::CURRENT,
            step,
            suite: suite.to_owned(),
            control: self.control,
            samples: config.samples as u64,
            by_column: columns.collect(),
            ..Evaluation::default()
        }
    }

    /// The questions of a suite as this pass puts them to an arm with these settings, in the order of the suite.
    pub fn asks(self, questions: &Questions, arm: &ArmConfig) -> Vec<Ask> {
        let repeats = if self.control == Some(Control::ShuffledChoices) { arm.eval.shuffles } else { 1 };
        let place = |place: usize| (place / repeats, place % repeats);
        (0..questions.len() * repeats)
            .map(place)
            .map(|(row, repeat)| self.ask(questions, row, repeat, arm))
            .collect()
    }

    fn ask(self, questions: &Questions, row: usize, repeat: usize, arm: &ArmConfig) -> Ask {
        let own = questions.at(row);
        let question = match self.control {
            Some(Control::OtherClip) => with_clip_of_another(questions, row, own),
            Some(Control::ShuffledChoices) => {
                Arc::new(shuffled(&own, arm.eval.seed, row as u64, repeat as u64))
            }
            None | Some(Control::Silence | Control::Noise | Control::NoAudio) => own,
        };
        Ask { question: presented(question, &arm.prompt), row, first: repeat == 0 }
    }
}

/// The question with the note whether its prompt shows letters: a letter alone earns a reward only then.
pub fn presented(question: Arc<Question>, prompt: &PromptConfig) -> Arc<Question> {
    if question.letters_shown || !prompt.shows_letters(&question) {
        return question;
    }
    Arc::new(Question { letters_shown: true, ..Question::clone(&question) })
}

/// The question with the clip of the first later row that has another one. It begins half-way through the suite, because
/// neighbouring rows are often about similar clips. A suite with a single clip keeps it.
fn with_clip_of_another(questions: &Questions, row: usize, question: Arc<Question>) -> Arc<Question> {
    let count = questions.len();
    let mut others = (0..count).map(|distance| questions.at((row + count / 2 + distance) % count));
    let Some(other) = others.find(|other| other.audio_path != question.audio_path) else {
        return question;
    };
    let audio_path = other.audio_path.clone();
    Arc::new(Question { audio_path, start: other.start, end: other.end, ..Question::clone(&question) })
}

/// The question with its choices in another order. A choice that is written with its letter gets that of its new place.
fn shuffled(question: &Question, seed: u64, row: u64, shuffle: u64) -> Question {
    let full = &question.choices;
    let bare = bare_choices(question);
    let mut order: Vec<usize> = (0..full.len()).collect();
    order.shuffle(&mut generator(seed, Purpose::ChoiceOrder, &[row, shuffle]));
    let prefix = |place: usize| full[place].strip_suffix(bare[place]).unwrap_or_default();
    let choices = order.iter().enumerate().map(|(place, &from)| format!("{}{}", prefix(place), bare[from]));
    let choices: Vec<String> = choices.collect();
    let renamed = |answer: &String| {
        let from = full.iter().position(|choice| choice == answer);
        let place = from.and_then(|from| order.iter().position(|&other| other == from));
        place.map_or_else(|| answer.clone(), |place| choices[place].clone())
    };
    Question {
        answer: renamed(&question.answer),
        other_answers: question.other_answers.iter().map(renamed).collect(),
        choices,
        ..question.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn question(clip: &str, choices: &[&str], answer: &str) -> Arc<Question> {
        Arc::new(Question {
            id: clip.into(),
            audio_path: clip.into(),
            choices: choices.iter().map(|choice| (*choice).to_owned()).collect(),
            answer: answer.into(),
            ..Question::default()
        })
    }

    fn arm() -> ArmConfig {
        let text = "[[arm]]\nname = \"a\"\nmethod = \"none\"";
        let parsed = scenarios::scenario::parse(text, std::path::Path::new("x.toml"), &[], &[], None);
        parsed.unwrap().arms.remove(0)
    }

    #[test]
    fn every_suite_is_asked_as_it_is_first() {
        let config = EvalConfig { controls: vec![Control::Silence], ..EvalConfig::default() };
        let found: Vec<_> = passes(&config, 2).into_iter().map(|pass| (pass.suite, pass.control)).collect();
        let silence = Some(Control::Silence);
        assert_eq!(found, [(0, None), (0, silence), (1, None), (1, silence)]);
    }

    #[test]
    fn another_clip_is_never_the_own_one() {
        let clips = ["a", "a", "b", "a", "b", "c"];
        let questions: Questions = clips.iter().map(|clip| question(clip, &[], "x")).collect();
        let pass = Pass { suite: 0, control: Some(Control::OtherClip) };
        for ask in pass.asks(&questions, &arm()) {
            let own = questions.at(ask.row);
            assert_ne!(ask.question.audio_path, own.audio_path);
            assert_eq!(ask.question.id, own.id, "the question stays");
        }
    }

    // EVAL-2
    #[test]
    fn shuffling_moves_the_right_choice_and_keeps_it_right() {
        let mut arm = arm();
        arm.eval.shuffles = 50;
        let pass = Pass { suite: 0, control: Some(Control::ShuffledChoices) };
        let plain = question("a", &["dog", "cat", "owl", "cow"], "cat");
        let asks = pass.asks(&Questions::from_iter([plain]), &arm);
        assert_eq!(asks.len(), 50);
        let mut places = [0; 4];
        for ask in &asks {
            assert_eq!(ask.question.answer, "cat");
            let mut sorted = ask.question.choices.clone();
            sorted.sort();
            assert_eq!(sorted, ["cat", "cow", "dog", "owl"]);
            places[ask.question.choices.iter().position(|choice| choice == "cat").unwrap()] += 1;
        }
        assert!(places.iter().all(|&count| count > 3), "{places:?}");

        let lettered = question("a", &["A. dog", "B. cat", "C. owl"], "B. cat");
        for ask in pass.asks(&Questions::from_iter([lettered]), &arm) {
            let place =
                ask.question.choices.iter().position(|choice| *choice == ask.question.answer).unwrap();
            assert_eq!(ask.question.answer, ["A. cat", "B. cat", "C. cat"][place]);
        }
    }
}
