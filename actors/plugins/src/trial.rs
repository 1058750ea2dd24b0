//! The trial of a scenario's plug-ins: each is started and scores one batch, in `sandbox check` and before a run.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use rewards::RewardRegistry;
use scenarios::{Experiment, PLUGIN_KINDS};

use crate::error::PluginError;
use crate::sample::sample_batch;
use crate::scored::Scored;
use crate::source::RewardSource;

/// The result of trying one plug-in.
pub struct TriedReward {
    /// The reward's name in the formula.
    pub name: String,
    /// Names of the arms that use the reward with these settings.
    pub arms: Vec<String>,
    /// The scores of [`sample_batch`] and the time in seconds, start included; or why the reward can't be used.
    pub outcome: Result<(Scored, f64), PluginError>,
    /// What the user should know although the reward can score.
    pub warning: Option<String>,
}

impl fmt::Display for TriedReward {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.outcome {
            Ok((scored, seconds)) => {
                let score =
                    |score: &Option<f64>| score.map_or_else(|| "none".into(), |score| format!("{score:.3}"));
                let scores: Vec<String> = scored.scores.iter().map(score).collect();
                write!(
                    f,
                    "reward `{}` answered after {seconds:.1} s; two trial completions score {}",
                    self.name,
                    scores.join(" and ")
                )?;
                self.warning.as_ref().map_or(Ok(()), |warning| write!(f, "; warning: {warning}"))
            }
            Err(problem) => write!(f, "reward `{}` (arms {}): {problem}", self.name, self.arms.join(", ")),
        }
    }
}

/// Starts the plug-ins of all arms that train on rewards, concurrently, and has each score the trial batch. A plug-in
/// that several arms use with the same settings is tried once.
pub async fn try_plugins(experiment: &Experiment) -> Vec<TriedReward> {
    let mut wanted: BTreeMap<(String, String), (RewardSource, Vec<String>)> = BTreeMap::new();
    // Only plug-ins are tried, which no registry builds, so an empty one is enough.
    let registry = Arc::new(RewardRegistry::new());
    for arm in &experiment.arms {
        if arm.method != scenarios::Method::Grpo {
            continue;
        }
        for (name, spec) in &arm.rewards {
            if PLUGIN_KINDS.contains(&spec.kind.as_str()) {
                let key = (name.clone(), format!("{} {}", spec.kind, spec.options));
                let source = || RewardSource::new(name, spec.clone(), registry.clone());
                wanted.entry(key).or_insert_with(|| (source(), Vec::new())).1.push(arm.name.clone());
            }
        }
    }
    let trials: Vec<_> = wanted
        .into_values()
        .map(|(source, arms)| (source.name().to_owned(), arms, tokio::spawn(trial(source))))
        .collect();
    let mut tried = Vec::with_capacity(trials.len());
    for (name, arms, trial) in trials {
        let ended = trial.await.unwrap_or_else(|error| Err(PluginError::Trial(error.to_string())));
        let (outcome, warning) = match ended {
            Ok((scored, seconds, warning)) => (Ok((scored, seconds)), warning),
            Err(error) => (Err(error), None),
        };
        tried.push(TriedReward { name, arms, outcome, warning });
    }
    tried
}

async fn trial(source: RewardSource) -> Result<(Scored, f64, Option<String>), PluginError> {
    let started = Instant::now();
    let mut scorer = source.open()?;
    let warning = scorer.warning();
    let scored = scorer.probe(sample_batch()).await;
    let seconds = started.elapsed().as_secs_f64();
    scorer.close().await;
    Ok((scored?, seconds, warning))
}
