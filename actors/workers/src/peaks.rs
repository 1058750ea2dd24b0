//! The memory of the device in the phases of a training step.

use model::memory::take_peak;
use tch::Device;

/// The most memory of a GPU in each phase, in bytes; `None` for a phase that there was not, and on the CPU. See [`take_peak`]
/// for what is counted.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct PhaseMemory {
    /// The forward passes of the policy, with those of the reference.
    pub forward: Option<u64>,
    /// The backward passes.
    pub backward: Option<u64>,
    /// The update of the weights.
    pub optimizer: Option<u64>,
}

/// Measures the phases of a step.
pub(crate) struct Peaks {
    device: Device,
    found: PhaseMemory,
}

impl Peaks {
    /// Begins with what is in use now.
    pub(crate) fn begin(device: Device) -> Self {
        let _ = take_peak(device);
        Peaks { device, found: PhaseMemory::default() }
    }

    pub(crate) fn forward_ended(&mut self) {
        self.found.forward = self.found.forward.max(take_peak(self.device));
    }

    pub(crate) fn backward_ended(&mut self) {
        self.found.backward = self.found.backward.max(take_peak(self.device));
    }

    pub(crate) fn optimizer_ended(&mut self) {
        self.found.optimizer = self.found.optimizer.max(take_peak(self.device));
    }

    pub(crate) fn found(&self) -> PhaseMemory {
        self.found
    }
}
