//! A list of launches and matrix products.

use crate::error::GpuError;
use crate::kernels;
use crate::op::{Format, Op};

/// What the device does for one token of every row, in order.
#[derive(Debug, Clone, Default)]
pub struct Step {
    ops: Vec<Op>,
}

impl Step {
    /// An empty step.
    pub fn new() -> Step {
        Step::default()
    }

    /// Appends an operation.
    pub fn push(&mut self, op: Op) {
        self.ops.push(op);
    }

    /// All operations, in order.
    pub fn ops(&self) -> &[Op] {
        &self.ops
    }

    /// Number of launches, matrix products included.
    pub fn launches(&self) -> usize {
        self.ops.len()
    }

    /// Whether the kernels can run all operations.
    ///
    /// Errors: [`GpuError::Shape`] for the first that they can't.
    pub fn check(&self, format: Format, head_width: u32) -> Result<(), GpuError> {
        self.ops.iter().try_for_each(|op| kernels::launch(op, format, head_width).map(|_| ()))
    }
}
