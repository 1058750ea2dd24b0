//! The ways in which a suite is asked: as it is, and changed by each control.
//!
//! - EVAL-1 every pass over a suite draws the same random numbers for the same question, so that two passes differ by the
//!   control alone.
//! - EVAL-2 a control never changes which choice is right.

use std::sync::Arc;

use rand::seq::SliceRandom;
use rewards::Question;
use rewards::matching::bare_choices;
use runtime::seed::{Purpose, generator};
use scenarios::{Control, EvalConfig, Questions};

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
    /// The questions of a suite as this pass asks them, in the order of the suite and in batches of `eval.batch_prompts`.
    pub fn batches<'a>(
        self,
        questions: &'a Questions,
        config: &'a EvalConfig,
    ) -> impl Iterator<Item = Vec<Ask>> + 'a {
        let count = questions.len() * self.repeats(config);
        let size = config.batch_prompts.max(1);
        (0..count.div_ceil(size)).map(move |batch| {
            let places = batch * size..count.min((batch + 1) * size);
            places.map(|place| self.ask(questions, place, config)).collect()
        })
    }

    /// How many times the pass asks each question.
    fn repeats(self, config: &EvalConfig) -> usize {
        if self.control == Some(Control::ShuffledChoices) { config.shuffles } else { 1 }
    }

    fn ask(self, questions: &Questions, place: usize, config: &EvalConfig) -> Ask {
        let repeats = self.repeats(config);
        let (row, repeat) = (place / repeats, place % repeats);
        let own = questions.at(row);
        let question = match self.control {
            Some(Control::OtherClip) => with_clip_of_another(questions, row, own),
            Some(Control::ShuffledChoices) => {
                Arc::new(shuffled(&own, config.seed, row as u64, repeat as u64))
            }
            None | Some(Control::Silence | Control::Noise | Control::NoAudio) => own,
        };
        Ask { question, row, first: repeat == 0 }
    }
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
        let config = EvalConfig { batch_prompts: 4, ..EvalConfig::default() };
        let batches: Vec<Vec<Ask>> = pass.batches(&questions, &config).collect();
        assert_eq!(batches.iter().map(Vec::len).collect::<Vec<_>>(), [4, 2]);
        for ask in batches.concat() {
            let own = questions.at(ask.row);
            assert_ne!(ask.question.audio_path, own.audio_path);
            assert_eq!(ask.question.id, own.id, "the question stays");
        }
    }

    // EVAL-2
    #[test]
    fn shuffling_moves_the_right_choice_and_keeps_it_right() {
        let config = EvalConfig { shuffles: 50, ..EvalConfig::default() };
        let pass = Pass { suite: 0, control: Some(Control::ShuffledChoices) };
        let plain = question("a", &["dog", "cat", "owl", "cow"], "cat");
        let asks: Vec<Ask> = pass.batches(&Questions::from_iter([plain]), &config).flatten().collect();
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
        for ask in pass.batches(&Questions::from_iter([lettered]), &config).flatten() {
            let place =
                ask.question.choices.iter().position(|choice| *choice == ask.question.answer).unwrap();
            assert_eq!(ask.question.answer, ["A. cat", "B. cat", "C. cat"][place]);
        }
    }
}
