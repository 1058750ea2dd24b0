//! What a scenario says of a reward, from which it can be opened again and again.

use std::sync::{Arc, Mutex};

use rewards::{
    ParserOptions, Question, RewardBatch, RewardItem, RewardRegistry, Verdict, is_correct, parse_completion,
};
use scenarios::RewardSpec;

use super::Scorer;

/// A reward that is not opened yet.
#[derive(Clone)]
pub struct RewardSource {
    name: String,
    spec: RewardSpec,
    registry: Arc<RewardRegistry>,
}

impl RewardSource {
    /// The reward that the formula calls `name`.
    pub fn new(name: &str, spec: RewardSpec, registry: Arc<RewardRegistry>) -> Self {
        RewardSource { name: name.to_owned(), spec, registry }
    }

    /// What the formula calls it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What the scenario says of it.
    pub fn spec(&self) -> &RewardSpec {
        &self.spec
    }

    /// Whether the judge is to be asked before it scores.
    ///
    /// # Errors
    /// As [`RewardSource::open`].
    pub fn needs_verdict(&self) -> Result<bool, String> {
        let reward = self.registry.build(&self.spec.kind, &self.spec.options).map_err(|e| self.line(e))?;
        Ok(reward.needs_verdict())
    }

    /// Opens it. Cheap; what it takes to be ready shows when it first scores, see [`Scorer::probe`].
    ///
    /// # Errors
    /// One line: its kind is unknown, or an option is unusable.
    pub fn open(&self) -> Result<Scorer, String> {
        let reward = self.registry.build(&self.spec.kind, &self.spec.options).map_err(|e| self.line(e))?;
        Ok(Scorer::Rust(Arc::new(Mutex::new(reward))))
    }

    fn line(&self, error: impl std::fmt::Display) -> String {
        format!("[rewards.{}]: {error}", self.name)
    }
}

/// A batch to try a reward out on: one prompt, a completion that thinks and is right, one that does not and is wrong.
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
            correct: is_correct(&parsed, &question),
            parsed,
            completion_tokens: completion.split_whitespace().count(),
            truncated: false,
            verdict,
        }
    };
    let verdict = Verdict { consistency: Some(1.0), think_quality: Some(1.0), note: None };
    let items = vec![
        item("<think> a bark , then a bell </think> <answer> dog </answer>", Some(verdict)),
        item("<answer> bell </answer>", None),
    ];
    Arc::new(RewardBatch { step: 1, total_steps: 1, group_size: 2, microbatch: 0, items })
}
