//! The run of one history: its scenario, its files, and what a change is in its terms.

use std::collections::BTreeSet;
use std::sync::Arc;

use rand::Rng;
use rand::rngs::StdRng;
use records::{ArmId, Change, OwnedRunDir, RunDir};
use rewards::{Reward, RewardBatch, RewardError, RewardRegistry};
use scenarios::{Experiment, RewardSpec};
use serde_json::Value;
use tokio::sync::mpsc;

use super::Fault;
use super::history::Pick;
use super::model::{Edit, Now};
use crate::RunHandle;
use crate::lineage::Lineage;
use crate::live::Requires;
use crate::plan::Plan;
use crate::replay::Replay;
use crate::run::{RunArgs, open};

/// Steps of a run.
pub(super) const STEPS: u64 = 12;

/// A reward whose score depends on the completion.
struct ByTokens;

impl Reward for ByTokens {
    fn score(&mut self, batch: &RewardBatch) -> Result<Vec<Option<f64>>, RewardError> {
        Ok(batch.items.iter().map(|item| Some(item.completion_tokens as f64)).collect())
    }
}

/// A reward that gives every completion the same score.
#[derive(serde::Serialize, serde::Deserialize, Default)]
#[serde(default)]
struct Constant {
    value: f64,
}

impl Reward for Constant {
    fn score(&mut self, batch: &RewardBatch) -> Result<Vec<Option<f64>>, RewardError> {
        Ok(vec![Some(self.value); batch.items.len()])
    }
}

fn registry() -> RewardRegistry {
    let mut registry = RewardRegistry::standard();
    registry.register("by-tokens", |_| Ok(Box::new(ByTokens)));
    registry.register("constant", |options| {
        Ok(Box::new(rewards::read_options::<Constant>("constant", options)?))
    });
    registry
}

/// The files and settings of one history.
pub(super) struct World {
    folder: tempfile::TempDir,
    pub(super) id: ArmId,
    pub(super) experiment: Experiment,
    registry: Arc<RewardRegistry>,
    pub(super) staleness: u64,
}

impl World {
    /// `arm` keeps the actors of histories that run at the same time apart.
    pub(super) fn new(arm: &str, rng: &mut StdRng) -> Self {
        let staleness = if rng.random_bool(0.3) { 2 } else { 0 };
        let every = [0, 2, 3, 5][rng.random_range(0..4)];
        World::with(arm, staleness, every, "")
    }

    /// With a checkpoint after each `every` steps, and with the sections `more`.
    pub(super) fn with(arm: &str, staleness: u64, every: u64, more: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let scenario = format!(
            r#"
            {more}
            [run]
            name = "history"
            seeds = [3]
            steps = {STEPS}
            device = "cpu"
            threads = 1
            [policy]
            from_scratch = true
            [data.soundscapes]
            train_clips = 2
            heldout_clips = 1
            [sampling]
            group_size = 2
            prompts_per_step = 1
            max_new_tokens = 4
            [grpo]
            max_staleness = {staleness}
            [rewards]
            noise = {{ kind = "by-tokens" }}
            bonus = {{ kind = "constant", value = 1.0 }}
            [shaping]
            formula = "{}"
            weights = {{ noise = 1.0 }}
            [eval]
            at_start = false
            every = 0
            [checkpoint]
            every = {every}
            keep = 2
            [[arm]]
            name = "{arm}"
            "#,
            formula(1, &BTreeSet::new())
        );
        let path = folder.path().join("history.toml");
        let experiment = scenarios::scenario::parse(&scenario, &path, &[], &[], None).unwrap();
        let registry = Arc::new(registry());
        World { folder, id: ArmId::new(arm, 3), experiment, registry, staleness }
    }

    pub(super) fn run_dir(&self, name: &str) -> RunDir {
        RunDir::new(self.folder.path().join(name))
    }

    pub(super) fn open(&self, name: &str, resume: bool, replay: Option<Replay>) -> Result<RunHandle, Fault> {
        let run_dir = self.run_dir(name);
        std::fs::create_dir_all(run_dir.path()).unwrap();
        if resume {
            records::refuse_damage(&run_dir, std::slice::from_ref(&self.id))
                .map_err(|error| error.to_string())?;
        }
        let args = RunArgs {
            experiment: self.experiment.clone(),
            run_dir: OwnedRunDir::claim(run_dir).map_err(|error| error.to_string())?,
            registry: self.registry.clone(),
            resume,
            audio_source: None,
            controlled: true,
            replay,
            ranks: None,
        };
        let plan = Plan {
            device: tch::Device::Cpu,
            side_by_side: 1,
            is_limited: false,
            threads: 1,
            cores: 1,
            launch: None,
        };
        let lineage = Arc::new(Lineage::new(args.run_dir.run_dir().clone(), args.experiment.clone()));
        Ok(open(&args, &plan, lineage, mpsc::unbounded_channel().0).map_err(|error| error.to_string())?)
    }

    /// The lines of a file of the arm, or of the run.
    pub(super) fn lines(&self, file: &std::path::Path) -> Vec<Value> {
        let text = std::fs::read_to_string(file).unwrap_or_default();
        text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }
}

pub(super) fn formula(factor: u32, extras: &BTreeSet<String>) -> String {
    let extras: String = extras.iter().map(|name| format!(" + {name}")).collect();
    format!("{factor} * bonus + w_noise * noise{extras}")
}

/// The change that a pick is at the moment, and what it requires.
pub(super) fn edit_of(pick: Pick, now: &Now) -> (Edit, Requires) {
    let factor: u32 = now.formula.split(' ').next().unwrap().parse().unwrap();
    let own = |name: &&String| !["noise", "bonus"].contains(&name.as_str());
    let mut extras: BTreeSet<String> = now.rewards.keys().filter(own).cloned().collect();
    let (mut edit, mut requires) = (Edit::default(), Requires::default());
    match pick {
        Pick::Noise(value) => {
            edit.weights.insert("noise".into(), value);
        }
        Pick::Factor(factor) => edit.formula = Some(formula(factor, &extras)),
        Pick::Bonus(value) => {
            edit.rewards.insert("bonus".into(), Some(value));
            requires.swapped.insert("bonus".into());
        }
        Pick::Extra(place, value, swap) => {
            let name = ["first", "second", "third"][place].to_owned();
            let there = extras.contains(&name);
            if there && swap {
                requires.swapped.insert(name.clone());
            } else if there {
                extras.remove(&name);
            } else {
                requires.added.insert(name.clone());
                extras.insert(name.clone());
            }
            edit.formula = Some(formula(factor, &extras));
            let stays = extras.contains(&name);
            edit.rewards.insert(name, stays.then_some(value));
        }
    }
    (edit, requires)
}

pub(super) fn change_of(edit: &Edit) -> Change {
    let spec = |value: f64| RewardSpec {
        kind: "constant".into(),
        options: [("value".to_owned(), toml::Value::Float(value))].into_iter().collect(),
    };
    let rewards = edit.rewards.iter().map(|(name, value)| (name.clone(), value.map(spec)));
    Change {
        weights: edit.weights.clone(),
        formula: edit.formula.clone(),
        rewards: rewards.collect(),
        ..Change::default()
    }
}
