//! Counting answers into the rows of `eval.jsonl` and `rollouts.jsonl`.

use std::collections::BTreeMap;

use records::{DataProblem, Evaluation, Rollout, Tally};
use rewards::matching::named_choice;
use rewards::readings::answer_of;
use rewards::{Mode, RewardItem};
use serde::{Deserialize, Serialize};

/// What one pass over a suite has counted so far.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Tallies {
    /// The row of `eval.jsonl`.
    pub evaluation: Evaluation,
    /// The rows of `rollouts.jsonl`.
    pub rollouts: Vec<Rollout>,
    /// Questions that turned out to be unusable.
    pub problems: Vec<DataProblem>,
}

/// All completions of one question, with their rows of `rollouts.jsonl`.
pub struct Answered {
    /// The completions as rewards see them; at least one, all of the same question.
    pub items: Vec<RewardItem>,
    /// Their rows.
    pub rollouts: Vec<Rollout>,
    /// Whether the question is counted for the first time: with several orders of its choices it is asked repeatedly.
    pub first: bool,
}

impl Tallies {
    /// Counts the answers to one question.
    pub fn count(&mut self, answered: Answered) {
        let evaluation = &mut self.evaluation;
        let Some(first) = answered.items.first() else { return };
        evaluation.asked += u64::from(answered.first);
        if answered.items.len() > 1 {
            evaluation.pass_at_k += u64::from(answered.items.iter().any(|item| item.readings.strict));
            evaluation.majority_at_k += majority(&answered.items);
        }
        let question = first.question.clone();
        for item in &answered.items {
            add(&mut evaluation.overall, item);
            if let Some(difficulty) = question.difficulty {
                add(evaluation.by_difficulty.entry(difficulty.to_string()).or_default(), item);
            }
            if let Some(kind) = &question.kind {
                add(evaluation.by_kind.entry(kind.clone()).or_default(), item);
            }
            for (column, groups) in &mut evaluation.by_column {
                let value = question.metadata.get(column).and_then(|value| value.as_str());
                if let Some(value) = value.filter(|value| !value.is_empty()) {
                    add(groups.entry(value.to_owned()).or_default(), item);
                }
            }
        }
        self.rollouts.extend(answered.rollouts);
    }

    /// Adds what a later batch of the same pass counted.
    pub fn merge(&mut self, later: Tallies) {
        self.evaluation.merge(later.evaluation);
        self.rollouts.extend(later.rollouts);
        self.problems.extend(later.problems);
    }
}

fn add(tally: &mut Tally, item: &RewardItem) {
    let one = |holds: bool| u64::from(holds);
    let readings = &item.readings;
    tally.n += 1;
    tally.correct += one(readings.strict);
    tally.correct_official += one(readings.official == Some(true));
    tally.official_n += one(readings.official.is_some());
    tally.correct_lenient += one(readings.lenient);
    tally.think += one(item.parsed.mode == Mode::Think);
    tally.well_formed += one(item.parsed.well_formed);
    tally.truncated += one(item.truncated);
    tally.completion_tokens += item.completion_tokens as u64;
    if named_choice(answer_of(&item.completion, &item.parsed), &item.question).is_some() {
        tally.named_choice += 1;
        tally.chance_sum += 1.0 / item.question.choices.len() as f64;
    }
    if let Some(consistency) = item.verdict.as_ref().and_then(|verdict| verdict.consistency) {
        tally.consistency_sum += consistency;
        tally.consistency_n += 1;
    }
    if let Some(quality) = item.verdict.as_ref().and_then(|verdict| verdict.think_quality) {
        tally.think_quality_sum += quality;
        tally.think_quality_n += 1;
    }
}

/// maj@k of one question: 1 if the answer that most completions give is right. Answers that share the first place count
/// by their share.
fn majority(items: &[RewardItem]) -> f64 {
    let mut votes: BTreeMap<String, (usize, bool)> = BTreeMap::new();
    for item in items {
        let answer = answer_of(&item.completion, &item.parsed);
        let choice = named_choice(answer, &item.question);
        let vote =
            choice.map_or_else(|| answer.to_lowercase(), |choice| item.question.choices[choice].clone());
        let counted = votes.entry(vote).or_insert((0, false));
        counted.0 += 1;
        counted.1 |= item.readings.strict;
    }
    let most = votes.values().map(|(count, _)| *count).max().unwrap_or_default();
    let first: Vec<bool> =
        votes.values().filter(|(count, _)| *count == most).map(|(_, right)| *right).collect();
    first.iter().filter(|right| **right).count() as f64 / first.len().max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use rewards::{ParserOptions, Question, Readings, parse_completion};

    fn items(answers: &[&str]) -> Vec<RewardItem> {
        let question = std::sync::Arc::new(Question {
            choices: vec!["dog".into(), "cat".into(), "owl".into(), "cow".into()],
            answer: "dog".into(),
            metadata: [("category".to_owned(), "animals".into())].into_iter().collect(),
            ..Question::default()
        });
        let item = |answer: &&str| {
            let completion = format!("<answer>{answer}</answer>");
            let parsed = parse_completion(&completion, &ParserOptions::default());
            RewardItem {
                question: question.clone(),
                group: 0,
                readings: Readings::of(&completion, &parsed, &question),
                parsed,
                completion,
                completion_tokens: 3,
                completion_ids: Vec::new(),
                think_tokens: 0,
                truncated: false,
                duration_seconds: None,
                verdict: None,
                graded: Vec::new(),
            }
        };
        answers.iter().map(item).collect()
    }

    fn counted(groups: &[&[&str]]) -> Evaluation {
        let mut tallies = Tallies::default();
        tallies.evaluation.by_column.insert("category".into(), BTreeMap::new());
        for answers in groups {
            tallies.count(Answered { items: items(answers), rollouts: Vec::new(), first: true });
        }
        tallies.evaluation
    }

    #[test]
    fn several_samples_of_a_question_give_mean_pass_and_majority_at_k() {
        let evaluation = counted(&[&["dog", "cat", "A"], &["cat", "dog", "cat"], &["owl", "dog", "cat"]]);
        assert_eq!((evaluation.asked, evaluation.overall.n, evaluation.overall.correct), (3, 9, 4));
        assert_eq!(evaluation.pass_at_k, 3);
        // The first question is right, the second wrong, and in the third one of three answers in the first place is right.
        assert!((evaluation.majority_at_k - 4.0 / 3.0).abs() < 1e-12, "{}", evaluation.majority_at_k);
        assert_eq!(evaluation.by_column["category"]["animals"].n, 9);
        assert_eq!(evaluation.overall.named_choice, 9);
        assert!((evaluation.overall.chance_sum - 9.0 / 4.0).abs() < 1e-12);
    }

    #[test]
    fn a_single_sample_has_no_pass_and_no_majority() {
        let evaluation = counted(&[&["dog"], &["cat"]]);
        assert_eq!((evaluation.asked, evaluation.overall.correct, evaluation.pass_at_k), (2, 1, 0));
    }

    #[test]
    fn batches_add_up_to_the_whole() {
        let whole = counted(&[&["dog", "cat"], &["cat", "cat"], &["A", "dog"]]);
        let mut merged = counted(&[&["dog", "cat"]]);
        merged.merge(counted(&[&["cat", "cat"], &["A", "dog"]]));
        assert_eq!(serde_json::to_value(&merged).unwrap(), serde_json::to_value(&whole).unwrap());
    }
}
