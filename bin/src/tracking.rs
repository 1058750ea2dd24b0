//! What follows a run from outside while it trains: the event files of TensorBoard, and the trackers of `[tracking]`.

pub(crate) mod mlflow;

use std::collections::HashMap;

use exports::{Curves, EventFile, ExportError, WandbFile, WandbRun};
use records::{ArmId, RunDir};
use runtime::RunEvent;
use scenarios::{ArmConfig, Experiment};
use serde_json::{Map, Value};

use crate::failure::Failure;
use mlflow::Mlflow;

/// The curves of the arms that have recorded something.
pub(crate) struct Tracking {
    run_dir: RunDir,
    experiment: Experiment,
    mlflow: Option<Mlflow>,
    arms: HashMap<ArmId, Vec<Followed>>,
}

/// One program's curves of an arm; `None` after a row could not be written.
struct Followed {
    program: Program,
    curves: Option<Curves>,
}

/// A program that shows curves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Program {
    Tensorboard,
    Wandb,
    Mlflow,
}

impl Program {
    fn name(self) -> &'static str {
        match self {
            Program::Tensorboard => "TensorBoard",
            Program::Wandb => "Weights & Biases",
            Program::Mlflow => "MLflow",
        }
    }
}

impl Tracking {
    /// Nothing is written or sent before the first row.
    ///
    /// Errors: the variable with MLflow's token is not set.
    pub(crate) fn of(run_dir: RunDir, experiment: &Experiment) -> Result<Self, Failure> {
        let mlflow = experiment.tracking.mlflow.as_ref();
        let mlflow = mlflow.map(|config| Mlflow::start(config, &experiment.run.name)).transpose()?;
        Ok(Tracking { run_dir, experiment: experiment.clone(), mlflow, arms: HashMap::new() })
    }

    /// Writes what an event adds. A file that can't be written costs that file only: the run goes on.
    pub(crate) fn write(&mut self, event: &RunEvent) {
        let (RunEvent::StepDone { id, .. } | RunEvent::EvalDone { id, .. } | RunEvent::ArmEnded { id, .. }) =
            event
        else {
            return;
        };
        if !self.arms.contains_key(id) {
            // An arm that recorded nothing has no curves, and a run directory that was removed is not made again.
            if matches!(event, RunEvent::ArmEnded { .. }) || !self.run_dir.scenario().is_file() {
                return;
            }
            let programs = self.programs();
            let opened = programs.into_iter().map(|program| {
                let curves = self.open(program, id).inspect_err(|error| warn(id, program, error)).ok();
                Followed { program, curves }
            });
            let opened = opened.collect();
            self.arms.insert(id.clone(), opened);
        }
        for followed in self.arms.get_mut(id).into_iter().flatten() {
            let Some(mut curves) = followed.curves.take() else { continue };
            let written = match event {
                RunEvent::StepDone { line, .. } => curves.append_step(line),
                RunEvent::EvalDone { line, .. } => curves.append_evaluation(line),
                RunEvent::ArmEnded { state, .. } => curves.end(state),
                _ => Ok(()),
            };
            match written {
                Ok(()) => followed.curves = Some(curves),
                Err(error) => warn(id, followed.program, &error),
            }
        }
    }

    /// Waits until MLflow has what was sent, or has been given up.
    pub(crate) fn finish(mut self) {
        self.arms.clear();
        if let Some(mlflow) = self.mlflow {
            mlflow.finish();
        }
    }

    fn programs(&self) -> Vec<Program> {
        let tracking = &self.experiment.tracking;
        let mut programs = vec![Program::Tensorboard];
        programs.extend(tracking.wandb.is_some().then_some(Program::Wandb));
        programs.extend(tracking.mlflow.is_some().then_some(Program::Mlflow));
        programs
    }

    /// Writes the curves of an arm so far, from its records, which a resumed arm has cut to its checkpoint.
    pub(crate) fn open(&self, program: Program, id: &ArmId) -> Result<Curves, ExportError> {
        let arm = self.run_dir.arm(id);
        match program {
            Program::Tensorboard => {
                EventFile::rewrite(&self.run_dir.path().join("tensorboard").join(id.folder()), &arm)
            }
            Program::Wandb => {
                let config = self.experiment.tracking.wandb.clone().unwrap_or_default();
                let (project, entity) = (config.project, config.entity);
                let run = WandbRun { project, entity, config: self.settings(id) };
                WandbFile::rewrite(&self.run_dir, id, &arm, &run)
            }
            Program::Mlflow => Curves::of_recorded(&arm, |start| {
                let run = self.run_dir.path().file_name().unwrap_or_default().to_string_lossy().into_owned();
                // `of` has started it if the scenario names it, and nobody opens what it does not name.
                let mlflow = self.mlflow.as_ref().ok_or(ExportError::NoStep)?;
                Ok(mlflow.begin(&run, id, &self.settings(id), start))
            }),
        }
    }

    /// The settings of an arm, by which trackers filter and group.
    fn settings(&self, id: &ArmId) -> Map<String, Value> {
        let named = |arms: &[ArmConfig]| arms.iter().find(|arm| arm.name == id.arm).cloned();
        // A fork that was made while the run goes on is in the stored scenario.
        let stored = || named(&scenarios::load(&self.run_dir.scenario(), &[], &[], None).ok()?.arms);
        let arm = named(&self.experiment.arms).or_else(stored);
        let mut settings = match serde_json::to_value(arm) {
            Ok(Value::Object(settings)) => settings,
            _ => Map::new(),
        };
        settings.remove("name");
        settings.insert("arm".into(), id.arm.clone().into());
        settings.insert("seed".into(), id.seed.into());
        settings.insert("scenario".into(), self.experiment.run.name.clone().into());
        settings
    }
}

fn warn(id: &ArmId, program: Program, error: &ExportError) {
    tracing::warn!(arm = %id.arm, seed = id.seed, "the curves for {} end here: {error}", program.name());
}
