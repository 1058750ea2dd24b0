//! What a scenario says of a reward, from which it can be opened again and again.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use rewards::{
    ParserOptions, Question, RewardBatch, RewardError, RewardItem, RewardRegistry, Verdict, is_correct,
    parse_completion,
};
use scenarios::{RewardForm, RewardSpec};

use super::Scorer;
use crate::plugin::{HttpReward, ProcessReward};

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
        Ok(self.form()?.needs_verdict())
    }

    /// The longest it may take over a batch by its own time limits, if it has any.
    ///
    /// # Errors
    /// As [`RewardSource::open`].
    pub fn longest(&self) -> Result<Option<Duration>, String> {
        Ok(match self.form()? {
            RewardForm::Rust(_) => None,
            RewardForm::Process(plugin) => Some(ProcessReward::longest(&plugin)),
            RewardForm::Http(plugin) => Some(Duration::from_secs_f64(plugin.timeout_seconds)),
        })
    }

    /// Opens it. Cheap: a plug-in is started, and waited for when it is first asked, see [`Scorer::probe`]. Call it
    /// inside a runtime.
    ///
    /// # Errors
    /// One line: its kind is unknown, an option is unusable, or what it runs is not there.
    pub fn open(&self) -> Result<Scorer, String> {
        self.spec.check_files().map_err(|error| self.about(&error))?;
        Ok(match self.form()? {
            RewardForm::Rust(reward) => Scorer::Rust(Arc::new(Mutex::new(reward))),
            RewardForm::Process(plugin) => Scorer::Process(ProcessReward::open(&self.name, plugin)),
            RewardForm::Http(plugin) => Scorer::Http(HttpReward::open(&self.name, plugin)?),
        })
    }

    fn form(&self) -> Result<RewardForm, String> {
        self.spec.read(&self.registry).map_err(|error| self.about(&error))
    }

    fn about(&self, error: &RewardError) -> String {
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
            duration_seconds: Some(2.4),
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
