//! The trial batch: two completions on which a reward is tried before the run has sampled any.

use std::sync::Arc;

use rewards::{ParserOptions, Question, Readings, RewardBatch, RewardItem, Verdict, parse_completion};

/// The trial batch: one prompt with a correct completion that thinks and a wrong one that does not.
pub fn sample_batch() -> Arc<RewardBatch> {
    let question = Arc::new(Question {
        id: "probe".into(),
        text: "Which sound comes first?".into(),
        choices: vec!["dog".into(), "bell".into()],
        answer: "dog".into(),
        audio_path: "probe.wav".into(),
        ..Question::default()
    });
    let item = |completion: &str, verdict| {
        let parsed = parse_completion(completion, &ParserOptions::default());
        RewardItem {
            question: question.clone(),
            group: 0,
            completion: completion.into(),
            readings: Readings::of(completion, &parsed, &question),
            parsed,
            completion_tokens: completion.split_whitespace().count(),
            completion_ids: (0..).take(completion.split_whitespace().count()).collect(),
            think_tokens: 0,
            truncated: false,
            duration_seconds: Some(2.4),
            verdict,
            graded: Vec::new(),
        }
    };
    let verdict = Verdict { consistency: Some(1.0), think_quality: Some(1.0), note: None };
    let items = vec![
        item("<think> a bark , then a bell </think> <answer> dog </answer>", Some(verdict)),
        item("<answer> bell </answer>", None),
    ];
    Arc::new(RewardBatch { step: 1, total_steps: 1, group_size: 2, microbatch: 0, max_new_tokens: 0, items })
}
