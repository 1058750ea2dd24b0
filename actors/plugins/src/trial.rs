//! The trial of a scenario's plug-ins: each is started and scores one batch, in `sandbox check` and before a run.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use rewards::{RewardBatch, RewardRegistry};
use scenarios::{ArmConfig, DataSource, Experiment, PLUGIN_KINDS, RowFilter, Split};

use crate::error::PluginError;
use crate::protocol::Call;
use crate::sample::{batch_of_file, batch_of_world, sample_batch};
use crate::scored::Scored;
use crate::source::RewardSource;

/// Rows that are read of the data for the trial; the first may be unusable.
const FIRST_ROWS: usize = 100;

/// The result of trying one plug-in.
pub struct TriedReward {
    /// The reward's name in the formula.
    pub name: String,
    /// Names of the arms that use the reward with these settings.
    pub arms: Vec<String>,
    /// How the plug-in calls the user's code, if it says so.
    pub call: Option<Call>,
    /// The scores of the trial batch and the time in seconds, start included; or why the reward can't be used.
    pub outcome: Result<(Scored, f64), PluginError>,
    /// What the user should know although the reward can score, one line each.
    pub warnings: Vec<String>,
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
                self.call.as_ref().map_or(Ok(()), |call| write!(f, "; {call}"))?;
                self.warnings.iter().try_for_each(|warning| write!(f, "; warning: {warning}"))
            }
            Err(problem) => write!(f, "reward `{}` (arms {}): {problem}", self.name, self.arms.join(", ")),
        }
    }
}

/// Starts the plug-ins of all arms that train on rewards, concurrently, and has each score the trial batch. A plug-in
/// that several arms use with the same settings is tried once.
pub async fn try_plugins(experiment: &Experiment) -> Vec<TriedReward> {
    let mut wanted: BTreeMap<(String, String), Wanted> = BTreeMap::new();
    // Only plug-ins are tried, which no registry builds, so an empty one is enough.
    let registry = Arc::new(RewardRegistry::new());
    for arm in &experiment.arms {
        if arm.method != scenarios::Method::Grpo {
            continue;
        }
        for (name, spec) in &arm.rewards {
            if PLUGIN_KINDS.contains(&spec.kind.as_str()) {
                let key = (name.clone(), format!("{} {}", spec.kind, spec.options));
                let new = || Wanted {
                    source: RewardSource::new(name, spec.clone(), registry.clone()),
                    batch: trial_batch(arm),
                    arms: Vec::new(),
                };
                wanted.entry(key).or_insert_with(new).arms.push(arm.name.clone());
            }
        }
    }
    let trials: Vec<_> = wanted
        .into_values()
        .map(|Wanted { source, batch, arms }| {
            (source.name().to_owned(), arms, tokio::spawn(trial(source, batch)))
        })
        .collect();
    let mut tried = Vec::with_capacity(trials.len());
    for (name, arms, trial) in trials {
        let ended = trial.await.unwrap_or_else(|error| Err(PluginError::Trial(error.to_string())));
        let (outcome, call, warnings) = match ended {
            Ok(Trial { scored, seconds, call, warnings }) => (Ok((scored, seconds)), call, warnings),
            Err(error) => (Err(error), None, Vec::new()),
        };
        tried.push(TriedReward { name, arms, call, outcome, warnings });
    }
    tried
}

/// A plug-in that is to be tried.
struct Wanted {
    source: RewardSource,
    batch: Arc<RewardBatch>,
    arms: Vec<String>,
}

/// What a plug-in did in its trial.
struct Trial {
    scored: Scored,
    seconds: f64,
    call: Option<Call>,
    warnings: Vec<String>,
}

/// The trial batch of an arm: with the columns of the first row of its data, if there is one.
fn trial_batch(arm: &ArmConfig) -> Arc<RewardBatch> {
    let data = &arm.data;
    let filter = RowFilter { limit: Some(FIRST_ROWS), ..data.row_filter() };
    // What is wrong with the data is reported elsewhere.
    let rows = scenarios::open_dataset_filtered(&data.train, &data.worlds(), Split::Train, &filter).ok();
    match (&data.train, rows.and_then(|rows| rows.questions.get(0)).map(Arc::unwrap_or_clone)) {
        (DataSource::File(_), Some(first)) => batch_of_file(first),
        (DataSource::World(_), Some(first)) => batch_of_world(first),
        (_, None) => sample_batch(),
    }
}

async fn trial(source: RewardSource, batch: Arc<RewardBatch>) -> Result<Trial, PluginError> {
    let started = Instant::now();
    let mut scorer = source.open()?;
    let mut warnings: Vec<String> = scorer.warning().into_iter().collect();
    let scored = scorer.probe(batch).await;
    let seconds = started.elapsed().as_secs_f64();
    let call = scorer.call().cloned();
    scorer.close().await;
    let scored = scored?;
    warnings.extend(scored.warnings.iter().chain(&scored.failure).cloned());
    Ok(Trial { scored, seconds, call, warnings })
}
