//! Opening the arms of a run, as they are watched and changed: at its start, and for each fork later.

use std::path::PathBuf;
use std::sync::Arc;

use records::{
    Action, AlarmFiring, ArmDir, ArmId, CheckpointState, ConditionsRecord, JournalEntry, RunDir, arm_ids,
    changes_in_order,
};
use rewards::RewardRegistry;
use runtime::Watchers;
use scenarios::{ArmConfig, Experiment};

use crate::error::InputError;
use crate::lineage::Lineage;
use crate::live::{Journal, LiveArm, LiveArmArgs};
use crate::messages::ForkPoint;
use crate::replay::Replay;

/// What all arms of a run are opened with.
pub(crate) struct Opening {
    pub(crate) run_dir: RunDir,
    pub(crate) registry: Arc<RewardRegistry>,
    /// The folder that relative paths of new rewards start from.
    pub(crate) folder: PathBuf,
    pub(crate) journal: Journal,
    pub(crate) watchers: Watchers,
    pub(crate) lineage: Arc<Lineage>,
    /// Whether there is a control channel.
    pub(crate) controlled: bool,
    /// Go on from the newest checkpoints.
    pub(crate) resume: bool,
    /// The changes of an earlier run that are made again.
    pub(crate) changes: Vec<JournalEntry>,
    /// The recorded run to repeat.
    pub(crate) replay: Option<Replay>,
}

impl Opening {
    /// The arms that begin with the run, in the order in which they start. A fork begins with it only if its parent was
    /// copied before the run was resumed.
    ///
    /// Errors: as for [`Opening::arm`].
    pub(crate) fn all(&self, experiment: &Experiment) -> Result<Vec<Arc<LiveArm>>, InputError> {
        let mut arms = Vec::new();
        for id in arm_ids(experiment) {
            let Some(config) = experiment.arms.iter().find(|config| config.name == id.arm) else { continue };
            if config.fork.is_some() && !self.is_made(&id) {
                continue;
            }
            let mut forks = ForkPoint::all(experiment, &id);
            forks.retain(|fork| !self.is_made(&ArmId::new(fork.name.clone(), id.seed)));
            arms.push(self.arm(config, id.seed, forks)?);
        }
        Ok(arms)
    }

    /// Whether the folder of a fork is complete.
    fn is_made(&self, id: &ArmId) -> bool {
        self.resume && self.run_dir.arm(id).newest_checkpoint().is_some()
    }

    /// An arm that has not started, which is to be copied at `forks`.
    ///
    /// Errors: [`InputError`]: its checkpoint, a reward or its formula can't be used.
    pub(crate) fn arm(
        &self,
        config: &ArmConfig,
        seed: u64,
        forks: Vec<ForkPoint>,
    ) -> Result<Arc<LiveArm>, InputError> {
        let id = ArmId::new(config.name.clone(), seed);
        let checkpoint = self.checkpoint_state(config, &self.run_dir.arm(&id))?;
        let step = checkpoint.as_ref().map_or(0, |found| found.progress.step);
        // Where it begins, a fork has its own conditions and not those of the checkpoint, which are its parent's.
        let is_beginning = config.fork.as_ref().is_some_and(|fork| fork.step == step);
        // Before its first change an arm follows the scenario, which may have been edited since.
        let own = |found: &ConditionsRecord| found.version > 0 && !is_beginning;
        let resumed = checkpoint.and_then(|found| found.conditions).filter(own);
        let applied = resumed.as_ref().map_or(0, |found| found.version);
        let changes = changes_in_order(&self.changes, &id);
        Ok(Arc::new(LiveArm::new(LiveArmArgs {
            config: config.clone(),
            seed,
            registry: self.registry.clone(),
            folder: self.folder.clone(),
            journal: self.journal.clone(),
            watchers: self.watchers.clone(),
            lineage: self.lineage.clone(),
            controlled: self.controlled,
            resumed,
            step,
            repeats: changes.into_iter().filter(|entry| entry.version > applied).collect(),
            replayed_steps: self.replay.as_ref().map(|replay| replay.steps_of(&id)),
            forks,
            recorded_alarms: self.alarms_of(&id),
        })?))
    }

    /// The alarms of an arm that an earlier run journaled, each once.
    fn alarms_of(&self, id: &ArmId) -> Vec<AlarmFiring> {
        let entries = self.replay.as_ref().map_or(&self.changes, |replay| &replay.alarms);
        let went_off = |entry: &&JournalEntry| entry.id == *id && entry.action == Action::Alarm;
        entries.iter().filter(went_off).filter_map(|entry| entry.alarm.clone()).collect()
    }

    fn checkpoint_state(
        &self,
        config: &ArmConfig,
        dir: &ArmDir,
    ) -> Result<Option<CheckpointState>, InputError> {
        let resumes = self.resume || config.fork.is_some();
        Ok(if resumes { CheckpointState::newest(dir)? } else { None })
    }
}
