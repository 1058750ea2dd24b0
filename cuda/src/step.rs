//! A list of launches and matrix products.

use crate::op::Op;

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
}
