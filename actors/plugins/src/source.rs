//! What a scenario says of a reward, from which it can be opened again and again.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use rewards::{RewardError, RewardRegistry};
use scenarios::{RewardForm, RewardSpec};

use crate::error::PluginError;
use crate::http::HttpReward;
use crate::process::ProcessReward;
use crate::scorer::Scorer;

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
    pub fn needs_verdict(&self) -> Result<bool, PluginError> {
        Ok(self.form()?.needs_verdict())
    }

    /// The longest it may take over a batch by its own time limits, if it has any.
    ///
    /// # Errors
    /// As [`RewardSource::open`].
    pub fn longest(&self) -> Result<Option<Duration>, PluginError> {
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
    pub fn open(&self) -> Result<Scorer, PluginError> {
        self.spec.check_files().map_err(|error| self.about(error))?;
        Ok(match self.form()? {
            RewardForm::Rust(reward) => Scorer::Rust(Arc::new(Mutex::new(reward))),
            RewardForm::Process(plugin) => Scorer::Process(ProcessReward::open(&self.name, plugin)),
            RewardForm::Http(plugin) => Scorer::Http(HttpReward::open(&self.name, plugin)?),
        })
    }

    fn form(&self) -> Result<RewardForm, PluginError> {
        self.spec.read(&self.registry).map_err(|error| self.about(error))
    }

    fn about(&self, source: RewardError) -> PluginError {
        PluginError::Reward { name: self.name.clone(), source }
    }
}
