//! Thinking about a sequence in numbered steps: `first bread, second boat, third cat. second boat`. The form is the judge's,
//! see [`rewards::judge::numbered`]. Every word has a space in front of it, so that it is one token wherever it stands.

use rewards::{ORDINALS, Question};

use super::rng::Rng;
use super::target::{Flaw, Rates, TargetKind, completion, other, right};
use crate::PromptStyle;

/// What stands behind an opening tag.
const SPACE: &str = " ";

/// The steps of a sequence: each item behind its number.
pub(crate) fn steps(items: &[String]) -> Vec<String> {
    items.iter().zip(ORDINALS).map(|(item, ordinal)| format!("{ordinal} {item}")).collect()
}

/// The completion that is taught for a question with numbered steps and the column `conclusion`.
pub(crate) fn sft_target(
    question: &Question,
    target: TargetKind,
    rates: Rates,
    style: PromptStyle,
    seed: u64,
) -> Option<String> {
    let thinking = question.steps.clone().zip(conclusion(question));
    if target != TargetKind::World {
        let steps = thinking.map(|(steps, conclusion)| written_out(&steps, &conclusion));
        return right(question, target, SPACE, steps);
    }
    let (steps, conclusion) = thinking?;
    let mut rng = Rng::new(seed, &question.id);
    let think = rates.thinks(style, &mut rng).then(|| flawed(question, steps, conclusion, rates, &mut rng));
    Some(completion(SPACE, think.as_deref(), &question.answer))
}

fn conclusion(question: &Question) -> Option<String> {
    question.metadata.get("conclusion")?.as_str().map(str::to_owned)
}

fn written_out(steps: &[String], conclusion: &str) -> String {
    format!("{}. {conclusion}", steps.join(", "))
}

/// Thinking with at most one wrong word, in a step or as the conclusion, which is perhaps repeated.
fn flawed(
    question: &Question,
    mut steps: Vec<String>,
    mut conclusion: String,
    rates: Rates,
    rng: &mut Rng,
) -> String {
    match rates.flaw(rng) {
        Some(Flaw::Step) => {
            let at = rng.below(steps.len());
            // Words of the clip and of the choices, but no numbers.
            let mut words: Vec<String> = steps.iter().filter_map(|step| item(step)).collect();
            if words.contains(&question.answer) {
                words.extend(question.choices.iter().cloned());
            }
            words.sort();
            words.dedup();
            if let Some((ordinal, word)) = steps.get(at).and_then(|step| step.split_once(' ')) {
                steps[at] = format!("{ordinal} {}", other(&words, word, rng));
            }
        }
        Some(Flaw::Conclusion) => {
            let wrong = other(&question.choices, &question.answer, rng);
            // The answer is at one end: `second boat`, `boat twice`.
            conclusion = match conclusion.strip_suffix(&question.answer) {
                Some(before) => format!("{before}{wrong}"),
                None => conclusion.replacen(&question.answer, &wrong, 1),
            };
        }
        None => {}
    }
    let mut thinking = written_out(&steps, &conclusion);
    for _ in 0..rates.repeats(rng) {
        thinking = format!("{thinking}. {conclusion}");
    }
    thinking
}

/// The item of a step, without its number.
fn item(step: &str) -> Option<String> {
    step.split_once(' ').map(|(_, item)| item.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const RIGHT: &str = "first bread, second boat, third cat. second boat";

    fn question(id: usize) -> Question {
        Question {
            id: format!("q{id}"),
            choices: ["cat", "boat", "bread", "river"].map(str::to_owned).to_vec(),
            answer: "boat".into(),
            steps: Some(steps(&["bread", "boat", "cat"].map(str::to_owned))),
            metadata: serde_json::json!({"conclusion": "second boat"}).as_object().unwrap().clone(),
            ..Question::default()
        }
    }

    fn target(id: usize, kind: TargetKind, [think, flaw, padding]: [f64; 3], style: PromptStyle) -> String {
        sft_target(&question(id), kind, Rates { think, flaw, padding }, style, 5).unwrap()
    }

    #[test]
    fn every_word_has_a_space_in_front_of_it() {
        let text = |kind| target(0, kind, [1.0, 0.0, 0.0], PromptStyle::Adaptive);
        assert_eq!(text(TargetKind::Answer), "<answer> boat</answer>");
        assert_eq!(text(TargetKind::Reasoning), format!("<think> {RIGHT}</think><answer> boat</answer>"));
        assert_eq!(text(TargetKind::World), text(TargetKind::Reasoning));
    }

    #[test]
    fn adaptive_prompts_think_at_the_rate_of_the_kind_and_the_others_always_or_never() {
        let thinks = |style| {
            let texts = (0..2000).map(|id| target(id, TargetKind::World, [0.3, 0.2, 0.0], style));
            texts.filter(|text| text.starts_with("<think>")).count()
        };
        assert_eq!((thinks(PromptStyle::Think), thinks(PromptStyle::Answer)), (2000, 0));
        // 600, standard deviation √(2000·.3·.7) = 20.
        assert!(thinks(PromptStyle::Adaptive).abs_diff(600) < 80);
    }

    /// The verdict of the rules about a completion.
    fn judged(text: &str) -> (Option<f64>, Option<f64>) {
        let (think, answer) = text.strip_prefix("<think>").unwrap().split_once("</think><answer>").unwrap();
        let answer = answer.strip_suffix("</answer>").unwrap().to_owned();
        let request = rewards::JudgeRequest { question: question(0).into(), think: think.into(), answer };
        let verdict = rewards::Judge::judge(&rewards::RulesJudge, &request);
        (verdict.consistency, verdict.think_quality)
    }

    #[test]
    fn the_rules_see_each_flaw() {
        let mut seen = std::collections::BTreeMap::new();
        for id in 0..2000 {
            let text = target(id, TargetKind::World, [1.0, 0.4, 0.0], PromptStyle::Think);
            assert!(text.ends_with("<answer> boat</answer>"), "{text}");
            let (consistency, quality) = judged(&text);
            *seen.entry((consistency == Some(1.0), (quality.unwrap() * 10.0) as u8)).or_insert(0_usize) += 1;
        }
        // Right; two of three steps right; the conclusion differs from the answer.
        let kinds: Vec<_> = seen.keys().copied().collect();
        assert_eq!(kinds, [(false, 10), (true, 7), (true, 10)], "{seen:?}");
        // 400 of each flaw, standard deviation √(2000·.2·.8) = 18.
        assert!(seen[&(false, 10)].abs_diff(400) < 72 && seen[&(true, 7)].abs_diff(400) < 72, "{seen:?}");
    }

    #[test]
    fn padding_repeats_the_conclusion_and_lowers_the_quality_alone() {
        for id in 0..100 {
            let text = target(id, TargetKind::World, [1.0, 0.0, 1.0], PromptStyle::Think);
            let repeats = text.matches(". second boat").count() - 1;
            // Three right steps of as many as are written.
            let quality = (30.0 / (3 + repeats) as f64).round() / 10.0;
            assert_eq!(judged(&text), (Some(1.0), Some(quality)), "{text}");
            assert!((1..=3).contains(&repeats));
        }
    }

    #[test]
    fn numbers_are_no_items_of_a_wrong_step() {
        let counted = Question {
            choices: ["one", "two"].map(str::to_owned).to_vec(),
            answer: "two".into(),
            metadata: serde_json::json!({"conclusion": "two"}).as_object().unwrap().clone(),
            ..question(0)
        };
        for seed in 0..200 {
            let rates = Rates { think: 1.0, flaw: 1.0, padding: 0.0 };
            let text = sft_target(&counted, TargetKind::World, rates, PromptStyle::Think, seed).unwrap();
            let steps = text.split_once(". ").unwrap().0;
            assert!(!steps.contains("one") && !steps.contains("two"), "{text}");
        }
    }
}
