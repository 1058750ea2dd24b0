//! The arms of a run as its scenario has them, which grow by forks while the run goes on.

use std::sync::OnceLock;

use ractor::ActorRef;
use records::{ArmId, RecordsError, RunDir, replace_file};
use scenarios::Experiment;
use tokio::sync::{Mutex, MutexGuard};

use crate::messages::{ForkPoint, MadeFork, RunMsg};

/// The scenario of a run and the way to its supervisor.
pub(crate) struct Lineage {
    run_dir: RunDir,
    /// Held while a fork is planned and while one is made, so that no fork is made that the stored scenario does not name.
    experiment: Mutex<Experiment>,
    run: OnceLock<ActorRef<RunMsg>>,
}

impl Lineage {
    pub(crate) fn new(run_dir: RunDir, experiment: Experiment) -> Self {
        Lineage { run_dir, experiment: Mutex::new(experiment), run: OnceLock::new() }
    }

    /// The run's supervisor, which begins forks.
    pub(crate) fn connect(&self, run: ActorRef<RunMsg>) {
        self.run.get_or_init(|| run);
    }

    /// The scenario, which nobody else changes while it is held.
    pub(crate) async fn hold(&self) -> MutexGuard<'_, Experiment> {
        self.experiment.lock().await
    }

    /// Replaces the stored scenario.
    ///
    /// Errors: [`RecordsError::Write`].
    pub(crate) fn store(&self, experiment: &Experiment) -> Result<(), RecordsError> {
        replace_file(&self.run_dir.scenario(), experiment.to_toml().as_bytes())
    }

    /// Copies `parent` as of its checkpoint at the point's step into the folder of the fork under the same seed, and has the run
    /// begin the fork.
    ///
    /// Errors: It could not be copied, of which the run is told too.
    pub(crate) async fn make(
        &self,
        experiment: &Experiment,
        parent: &ArmId,
        point: ForkPoint,
    ) -> Result<(), RecordsError> {
        let ForkPoint { step, name, by } = point;
        let Some(config) = experiment.arms.iter().find(|config| config.name == name) else { return Ok(()) };
        let id = ArmId::new(name, parent.seed);
        let (from, to) = (self.run_dir.arm(parent), self.run_dir.arm(&id));
        let copied = tokio::task::spawn_blocking(move || from.fork_to(step, &to)).await;
        let copied = copied.unwrap_or_else(|panicked| std::panic::resume_unwind(panicked.into_panic()));
        let made = MadeFork {
            config: config.clone(),
            forks: ForkPoint::all(experiment, &id),
            id,
            parent: parent.arm.clone(),
            step,
            by,
            failure: copied.as_ref().err().map(ToString::to_string),
        };
        if let Some(run) = self.run.get() {
            // The run may have ended.
            let _ = run.cast(RunMsg::Forked(Box::new(made)));
        }
        copied
    }
}
