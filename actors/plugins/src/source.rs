//! The configuration of a reward, from which it is opened at the start and again after each failure.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use rewards::{JudgeTask, RewardError, RewardRegistry};
use scenarios::{RewardForm, RewardSpec};

use crate::error::PluginError;
use crate::http::HttpReward;
use crate::process::ProcessReward;
use crate::processes::Processes;
use crate::scorer::Scorer;

/// The configuration of one reward: `[rewards.NAME]` of the scenario, and the registry that builds rewards in Rust.
#[derive(Clone)]
pub struct RewardSource {
    name: String,
    spec: RewardSpec,
    registry: Arc<RewardRegistry>,
}

impl RewardSource {
    /// The source of the reward that the formula calls `name`. Nothing is checked before [`RewardSource::open`].
    pub fn new(name: &str, spec: RewardSpec, registry: Arc<RewardRegistry>) -> Self {
        RewardSource { name: name.to_owned(), spec, registry }
    }

    /// The reward's name in the formula.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The reward's kind and options, with paths resolved against the scenario's folder.
    pub fn spec(&self) -> &RewardSpec {
        &self.spec
    }

    /// Whether the reward needs the judge's verdicts, so that the judge is asked before it scores. Fails like
    /// [`RewardSource::open`] if the kind or an option is invalid.
    pub fn needs_verdict(&self) -> Result<bool, PluginError> {
        Ok(self.form()?.needs_verdict())
    }

    /// What else the reward has the judge asked for before it scores. Fails like [`RewardSource::open`] if the kind or an
    /// option is invalid.
    pub fn judge_task(&self) -> Result<Option<JudgeTask>, PluginError> {
        Ok(match self.form()? {
            RewardForm::Rust(reward) => reward.judge_task(),
            RewardForm::Process(_) | RewardForm::Http(_) => None,
        })
    }

    /// The longest time that a batch can take by the plug-in's own time limits; `None` for a reward in Rust, which has
    /// no limit of its own. Fails like [`RewardSource::open`] if the kind or an option is invalid.
    pub fn max_batch_time(&self) -> Result<Option<Duration>, PluginError> {
        Ok(match self.form()? {
            RewardForm::Rust(_) => None,
            RewardForm::Process(plugin) => Some(ProcessReward::max_batch_time(&plugin)),
            RewardForm::Http(plugin) => Some(Duration::from_secs_f64(plugin.timeout_seconds)),
        })
    }

    /// Opens the reward. This returns at once: a child process is started, but only the first batch waits until it is
    /// ready. Must be called inside a tokio runtime.
    ///
    /// Errors: [`PluginError::Reward`] if the kind is unknown, an option is unusable, or the program or file is
    /// missing; [`PluginError::Http`] if the address or a header is unusable.
    pub fn open(&self) -> Result<Scorer, PluginError> {
        self.spec.check_files().map_err(|error| self.named(error))?;
        Ok(match self.form()? {
            RewardForm::Rust(reward) => Scorer::Rust(Arc::new(Mutex::new(reward))),
            RewardForm::Process(plugin) => Scorer::Process(Processes::open(&self.name, &plugin)),
            RewardForm::Http(plugin) => Scorer::Http(HttpReward::open(&self.name, plugin)?),
        })
    }

    fn form(&self) -> Result<RewardForm, PluginError> {
        self.spec.read(&self.registry).map_err(|error| self.named(error))
    }

    fn named(&self, source: RewardError) -> PluginError {
        PluginError::Reward { name: self.name.clone(), source }
    }
}
