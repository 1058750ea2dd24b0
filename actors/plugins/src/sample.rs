//! The trial batch: two completions on which a reward is tried before the run has sampled any.

use std::sync::Arc;

use rewards::{ParserOptions, Question, Readings, RewardBatch, RewardItem, Verdict, parse_completion};

/// The trial batch: one prompt with a correct completion that thinks and a wrong one that does not.
pub fn sample_batch() -> Arc<RewardBatch> {
    batch_of(probe())
}

/// The trial batch for rewards that train on `first`, the first row of a data file: of its question, so that a reward gets the
/// columns and the kind of answers that it will get in training.
pub(crate) fn batch_of_file(first: Question) -> Arc<RewardBatch> {
    batch_of(first)
}

/// The trial batch for rewards that train on a built-in world: [`sample_batch`] with the columns of its first row.
pub(crate) fn batch_of_world(first: Question) -> Arc<RewardBatch> {
    batch_of(Question { metadata: first.metadata, ..probe() })
}

fn probe() -> Question {
    Question {
        id: "probe".into(),
        text: "Which sound comes first?".into(),
        choices: vec!["dog".into(), "bell".into()],
        answer: "dog".into(),
        audio_path: "probe.wav".into(),
        ..Question::default()
    }
}

fn batch_of(question: Question) -> Arc<RewardBatch> {
    let wrong = question.choices.iter().find(|choice| !question.is_answer(choice));
    let wrong = wrong.map_or_else(|| "unknown".to_owned(), Clone::clone);
    let question = Arc::new(question);
    let item = |completion: String, verdict| {
        let parsed = parse_completion(&completion, &ParserOptions::default());
        let words = completion.split_whitespace().count();
        RewardItem {
            question: question.clone(),
            group: 0,
            readings: Readings::of(&completion, &parsed, &question),
            parsed,
            completion,
            // Words stand in for tokens.
            completion_tokens: words,
            completion_ids: (0..).take(words).collect(),
            think_tokens: 0,
            truncated: false,
            duration_seconds: Some(2.4),
            verdict,
            graded: Vec::new(),
        }
    };
    let verdict = Verdict { consistency: Some(1.0), think_quality: Some(1.0), note: None };
    let items = vec![
        item(
            format!("<think> a bark , then a bell </think> <answer> {} </answer>", question.answer),
            Some(verdict),
        ),
        item(format!("<answer> {wrong} </answer>"), None),
    ];
    Arc::new(RewardBatch { step: 1, total_steps: 1, group_size: 2, microbatch: 0, max_new_tokens: 0, items })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trial_has_one_right_and_one_wrong_answer_to_the_question_it_is_made_of() {
        let answers = |batch: &RewardBatch| -> Vec<(String, bool)> {
            let answer = |item: &RewardItem| (item.parsed.answer.clone().unwrap(), item.readings.strict);
            batch.items.iter().map(answer).collect()
        };
        assert_eq!(answers(&sample_batch()), [("dog".to_owned(), true), ("bell".to_owned(), false)]);
        let row = Question {
            choices: vec!["3".into(), "5".into()],
            answer: "5".into(),
            metadata: [("unit".to_owned(), "beats".into())].into_iter().collect(),
            ..Question::default()
        };
        assert_eq!(answers(&batch_of_file(row.clone())), [("5".to_owned(), true), ("3".to_owned(), false)]);
        let world = batch_of_world(row.clone());
        assert_eq!(answers(&world)[0].0, "dog");
        assert_eq!(world.items[0].question.metadata, row.metadata);
        let open = Question { choices: Vec::new(), ..row };
        assert_eq!(answers(&batch_of_file(open))[1], ("unknown".to_owned(), false));
    }
}
