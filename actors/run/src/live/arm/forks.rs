//! The forks of an arm: planned by whoever asks for one, made by its conductor.

use records::{ArmState, ConditionsRecord};
use scenarios::Experiment;

use super::LiveArm;
use crate::messages::ForkPoint;

impl LiveArm {
    /// The first step at which it can still be copied; `None` if it has ended. A paused arm has a checkpoint of the step
    /// that it pauses at.
    pub(crate) fn next_fork_step(&self) -> Option<u64> {
        let state = self.lock();
        match state.arm {
            ArmState::Paused { .. } => Some(self.step()),
            _ if state.arm.has_ended() => None,
            _ => Some(state.forks.next()),
        }
    }

    /// Has the arm copied at a step; false if it has gone past the step or has ended.
    pub(crate) fn plan_fork(&self, point: ForkPoint) -> bool {
        let mut state = self.lock();
        !state.arm.has_ended() && state.forks.add(point)
    }

    pub(crate) fn cancel_fork(&self, name: &str) {
        self.lock().forks.remove(name);
    }

    /// Whether a fork is to be made when `step` steps are taken. If not, none can be planned for this step from now on.
    pub(crate) fn forks_are_due(&self, step: u64) -> bool {
        self.lock().forks.are_due(step)
    }

    /// Makes the forks that are due; those of this step need its checkpoint. Returns which could not be made and why.
    pub(crate) async fn make_forks(&self, step: u64, experiment: &Experiment) -> Vec<String> {
        let due = self.lock().forks.take(step);
        let mut problems = Vec::new();
        for point in due {
            let what = format!("the fork `{}` of step {}", point.name, point.step);
            if let Err(error) = self.lineage.make(experiment, &self.id, point).await {
                problems.push(format!("{what} can't be made: {error}"));
            }
        }
        problems
    }

    /// The forks that the arm ended without.
    pub(crate) fn forks_left(&self) -> Vec<ForkPoint> {
        self.lock().forks.take_all()
    }

    /// The conditions that a fork begins with: with all changes that wait, or of an arm that has ended those that it ended with.
    /// `None` in arms that are not trained by rewards.
    pub(crate) fn conditions_of_fork(&self) -> Option<ConditionsRecord> {
        self.lock().sequence.latest()
    }
}
