//! Where an arm is to be copied into forks, and how far it has come with that.

use crate::messages::ForkPoint;

/// The forks that an arm still has to make.
pub(super) struct ForkPoints {
    waiting: Vec<ForkPoint>,
    /// The first step at which a fork can be added.
    next: u64,
}

impl ForkPoints {
    /// Of an arm that begins after `step` steps.
    pub(super) fn new(waiting: Vec<ForkPoint>, step: u64) -> Self {
        ForkPoints { waiting, next: step }
    }

    /// The first step at which a fork can be added.
    pub(super) fn next(&self) -> u64 {
        self.next
    }

    /// Adds a fork; false if the arm has gone past that step.
    pub(super) fn add(&mut self, point: ForkPoint) -> bool {
        let fits = point.step >= self.next;
        if fits {
            self.waiting.push(point);
        }
        fits
    }

    /// Takes back a fork that was added.
    pub(super) fn remove(&mut self, name: &str) {
        self.waiting.retain(|point| point.name != name);
    }

    /// Whether a fork is to be made when `step` steps are taken. If not, the arm goes past this step.
    pub(super) fn are_due(&mut self, step: u64) -> bool {
        let due = self.waiting.iter().any(|point| point.step <= step);
        if !due {
            self.next = step + 1;
        }
        due
    }

    /// The forks to be made when `step` steps are taken, those that were to be made before included. The arm goes past
    /// this step.
    pub(super) fn take(&mut self, step: u64) -> Vec<ForkPoint> {
        self.next = step + 1;
        self.waiting.extract_if(.., |point| point.step <= step).collect()
    }

    /// The forks that are left when the arm has ended.
    pub(super) fn take_all(&mut self) -> Vec<ForkPoint> {
        std::mem::take(&mut self.waiting)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(step: u64, name: &str) -> ForkPoint {
        ForkPoint { step, name: name.into(), by: "ctl".into() }
    }

    #[test]
    fn a_fork_is_made_at_its_step_or_refused() {
        let mut forks = ForkPoints::new(vec![point(2, "declared")], 0);
        assert!(!forks.are_due(0) && !forks.are_due(1));
        assert!(!forks.add(point(1, "late")), "step 1 has passed");
        assert!(forks.add(point(2, "now")) && forks.add(point(5, "later")));
        assert!(forks.are_due(2));
        assert!(forks.add(point(2, "while it is due")), "until they are made");
        let names: Vec<String> = forks.take(2).into_iter().map(|point| point.name).collect();
        assert_eq!(names, ["declared", "now", "while it is due"]);
        assert!(!forks.are_due(2) && !forks.add(point(2, "late")));
        forks.remove("later");
        assert!(!forks.are_due(5) && forks.take_all().is_empty());
    }
}
