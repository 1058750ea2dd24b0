//! Slots in which samplers and learners compute: the cores of a machine, which all arms share, or the GPU of one arm. Whoever
//! asks first computes first, as in `actors/workers/src/compute_slots.rs`.

use std::collections::VecDeque;

/// Who computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Who {
    Sampler,
    Learner,
}

/// A claim of an arm in one of its lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Claim {
    pub(crate) arm: usize,
    pub(crate) life: u64,
    pub(crate) who: Who,
}

/// A number of slots and a line of those who wait; with `None` there is always a slot.
pub(crate) struct Slots {
    count: Option<usize>,
    held: Vec<Claim>,
    waiting: VecDeque<Claim>,
}

impl Slots {
    pub(crate) fn new(count: Option<usize>) -> Self {
        Slots { count, held: Vec::new(), waiting: VecDeque::new() }
    }

    /// Whether the claim has a slot at once; else it waits.
    pub(crate) fn take(&mut self, claim: Claim) -> bool {
        let Some(count) = self.count else { return true };
        if self.held.len() < count {
            self.held.push(claim);
            return true;
        }
        self.waiting.push_back(claim);
        false
    }

    /// Gives a slot back; returns who has it now.
    pub(crate) fn give_back(&mut self, claim: Claim) -> Option<Claim> {
        self.count?;
        let place = self.held.iter().position(|held| *held == claim)?;
        self.held.swap_remove(place);
        let next = self.waiting.pop_front()?;
        self.held.push(next);
        Some(next)
    }

    /// Takes all claims of an arm back; returns who has their slots now.
    pub(crate) fn forget(&mut self, arm: usize) -> Vec<Claim> {
        self.waiting.retain(|claim| claim.arm != arm);
        let held: Vec<Claim> = self.held.iter().copied().filter(|claim| claim.arm == arm).collect();
        held.into_iter().filter_map(|claim| self.give_back(claim)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_go_round_in_the_order_of_the_claims() {
        let claim = |arm| Claim { arm, life: 0, who: Who::Sampler };
        let mut slots = Slots::new(Some(1));
        assert!(slots.take(claim(0)) && !slots.take(claim(1)) && !slots.take(claim(2)));
        assert_eq!(slots.give_back(claim(0)), Some(claim(1)));
        assert_eq!(slots.forget(1), [claim(2)]);
        assert_eq!(slots.give_back(claim(2)), None);
        let mut unlimited = Slots::new(None);
        assert!((0..9).all(|arm| unlimited.take(claim(arm))));
    }
}
