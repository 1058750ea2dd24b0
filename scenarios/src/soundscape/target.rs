//! The completions of supervised fine-tuning for soundscape questions, among them the flawed mixture from which the base
//! policy for reinforcement learning is trained.
//!
//! In the mixture, the probability of thinking differs between kinds of questions but not between difficulties. Without
//! these differences the first token would not depend on the question, and reinforcement learning could only move one
//! global bias. The thinking has three flaws, one for each reward that may mend it: a wrong step mostly leads to a wrong
//! answer, which the accuracy reward notices; a conclusion that differs from the answer is seen by the consistency reward
//! alone, and a conclusion that is repeated by the think reward alone.

use rewards::Question;

use super::clip::Sound;
use super::config::{Kind, SoundscapesConfig};
use crate::PromptStyle;
use crate::world::rng::Rng;
use crate::world::target::{Flaw, Rates, TargetKind, completion, other, right};

/// The completion that is taught for a question; `None` if the question lacks the reasoning or the steps that the
/// target needs. The same arguments give the same text.
pub(crate) fn sft_target(
    question: &Question,
    target: TargetKind,
    world: &SoundscapesConfig,
    style: PromptStyle,
    seed: u64,
) -> Option<String> {
    let answer = question.answer.as_str();
    if target != TargetKind::World {
        let steps = question.steps.as_ref().map(|steps| written_out(steps, answer));
        return right(question, target, "", steps);
    }
    let (kind, steps) = (Kind::from_name(question.kind.as_deref()?)?, question.steps.clone()?);
    let rates = Rates { think: world.think_rate(kind), flaw: world.flaw_rate, padding: world.padding_rate };
    let mut rng = Rng::new(seed, &question.id);
    let think = rates.thinks(style, &mut rng).then(|| flawed(kind, steps, question, rates, &mut rng));
    Some(completion("", think.as_deref(), answer))
}

/// Steps and conclusion as thinking, such as `beep 1 buzz 3 so 3`.
fn written_out(steps: &[String], conclusion: &str) -> String {
    format!("{} so {conclusion}", steps.join(" "))
}

/// Thinking with at most one wrong word, in a step or as the conclusion, which is perhaps repeated.
fn flawed(kind: Kind, mut steps: Vec<String>, question: &Question, rates: Rates, rng: &mut Rng) -> String {
    let mut conclusion = question.answer.clone();
    match rates.flaw(rng) {
        Some(Flaw::Step) => {
            let at = rng.below(steps.len());
            if let Some(step) = steps.get_mut(at) {
                *step = wrong_step(kind, step, rng);
            }
        }
        Some(Flaw::Conclusion) => conclusion = other(&question.choices, &conclusion, rng),
        None => {}
    }
    let mut thinking = written_out(&steps, &conclusion);
    for _ in 0..rates.repeats(rng) {
        thinking = format!("{thinking} so {conclusion}");
    }
    thinking
}

/// The step with another sound or another running value.
fn wrong_step(kind: Kind, step: &str, rng: &mut Rng) -> String {
    let (sound, value) = step.split_once(' ').unwrap_or((step, ""));
    if rng.chance(0.5) {
        let sounds = Sound::ALL.map(|sound| sound.name().to_owned());
        format!("{} {value}", other(&sounds, sound, rng))
    } else {
        format!("{sound} {}", other(&kind.values(), value, rng))
    }
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
            ..Question::default()
        }
    }

    fn target(question: &Question, kind: TargetKind, style: PromptStyle) -> Option<String> {
        sft_target(question, kind, &SoundscapesConfig::default(), style, 5)
    }

    #[test]
    fn answers_and_reasoning_are_written_in_the_two_forms() {
        let question = question(0, Kind::Walk);
        let text = |kind| target(&question, kind, PromptStyle::Adaptive).unwrap();
        assert_eq!(text(TargetKind::Answer), "<answer>3</answer>");
        assert_eq!(text(TargetKind::Reasoning), "<think>beep 1 buzz 3 so 3</think><answer>3</answer>");
    }

    #[test]
    fn reasoning_of_other_data_is_its_own_chain_of_thought() {
        let mut question = Question { steps: None, kind: None, ..question(0, Kind::Walk) };
        assert_eq!(target(&question, TargetKind::Reasoning, PromptStyle::Think), None);
        question.reasoning = Some("A dog barks.\n".into());
        let text = target(&question, TargetKind::Reasoning, PromptStyle::Think);
        assert_eq!(text.as_deref(), Some("<think>A dog barks.</think><answer>3</answer>"));
        assert_eq!(
            target(&question, TargetKind::World, PromptStyle::Think),
            None,
            "no steps that could be flawed"
        );
    }

    #[test]
    fn the_mixture_thinks_as_the_style_of_the_prompt_demands() {
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
    fn padding_repeats_the_conclusion_and_lowers_the_quality_alone() {
        let world = SoundscapesConfig { flaw_rate: 0.0, padding_rate: 0.5, ..SoundscapesConfig::default() };
        let mut times = [0usize; 4];
        for id in 0..2000 {
            let question = question(id, Kind::Walk);
            let text = sft_target(&question, TargetKind::World, &world, PromptStyle::Think, 5).unwrap();
            let think = text.strip_prefix("<think>").unwrap().split_once("</think>").unwrap().0;
            let padding = think.strip_prefix("beep 1 buzz 3 so 3").unwrap();
            let repeated = padding.matches(" so 3").count();
            assert_eq!(padding, " so 3".repeat(repeated));
            times[repeated] += 1;
            let request = rewards::JudgeRequest {
                question: question.into(),
                think: think.to_owned(),
                answer: "3".into(),
            };
            let verdict = rewards::Judge::judge(&rewards::RulesJudge, &request);
            // Two right steps of as many as are written.
            let quality = (2.0 / (2 + repeated) as f64 * 10.0).round() / 10.0;
            assert_eq!((verdict.consistency, verdict.think_quality), (Some(1.0), Some(quality)), "{text}");
        }
        // 1000 without, and a third of the others for each number: standard deviations 22 and √(2000·⅙·⅚) = 17.
        assert!(times[0].abs_diff(1000) < 90, "{times:?}");
        assert!(times[1..].iter().all(|&count| count.abs_diff(333) < 70), "{times:?}");
    }

    #[test]
    fn targets_depend_on_the_seed_and_the_question_only() {
        let texts = |seed| -> Vec<_> {
            let world = SoundscapesConfig::default();
            let text = |id| {
                sft_target(&question(id, Kind::Walk), TargetKind::World, &world, PromptStyle::Adaptive, seed)
            };
            (0..40).map(text).collect()
        };
        assert_eq!(texts(1), texts(1));
        assert_ne!(texts(1), texts(2));
    }
}
