//! The step of a whole decoder, from the ids of the last tokens to those of the next.
//!
//! [`Decoder::new`] allocates the state of a generation and the scratch memory and records the step; weights and caches are
//! the caller's and must stay in place. A generation is: fill the caches and the [`State`], then [`Decoder::run`] once
//! (which also loads what cuBLAS loads on first use), [`Decoder::capture`], and [`Decoder::replay`] for every further token.
#![expect(
    unsafe_code,
    reason = "the caller's addresses can't be checked; what they must be is said at each function"
)]

mod record;
mod shape;
mod state;

use crate::error::GpuError;
use crate::gpu::{Gpu, Graph};
use crate::step::Step;
pub use shape::{Adapter, Layer, Projection, Shape, Weights};
use state::Scratch;
pub use state::State;

/// A decoder's step and its state.
pub struct Decoder {
    gpu: Gpu,
    shape: Shape,
    step: Step,
    state: State,
    /// Kept for the step.
    _scratch: Scratch,
    graph: Option<Graph>,
}

impl Decoder {
    /// Allocates the state and records the step.
    ///
    /// Errors: [`GpuError::Shape`] if the kernels can't run these sizes; a failed allocation.
    pub fn new(gpu: &Gpu, shape: Shape, weights: &Weights, eos: &[i64]) -> Result<Decoder, GpuError> {
        check(gpu, &shape)?;
        let adapters =
            weights.layers.iter().flat_map(Layer::projections).filter_map(|part| part.adapter.as_ref());
        let ranks = adapters.map(Adapter::width).max().unwrap_or(0);
        let (state, scratch) = (State::new(gpu, &shape, eos)?, Scratch::new(gpu, &shape, ranks)?);
        let step = record::record(&shape, &state, &scratch, weights, eos.len() as u32);
        step.check(shape.format, shape.head_width)?;
        Ok(Decoder { gpu: gpu.clone(), shape, step, state, _scratch: scratch, graph: None })
    }

    /// The state, to be filled before a generation and read after it.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// The sizes.
    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    /// The recorded step: for its number of launches.
    pub fn step(&self) -> &Step {
        &self.step
    }

    /// Runs the step, launch by launch, without waiting for it.
    ///
    /// # Safety
    /// The addresses of [`Weights`] are valid for their shapes until the device has finished, and nothing else writes
    /// to them meanwhile.
    pub unsafe fn run(&self) -> Result<(), GpuError> {
        // SAFETY: as the caller promises; the other addresses are the decoder's own.
        unsafe { self.gpu.run(&self.step) }
    }

    /// Captures the step as a graph. Nothing is run. Returns the number of the graph's nodes.
    ///
    /// # Safety
    /// As [`Decoder::run`], for as long as the graph is replayed.
    pub unsafe fn capture(&mut self) -> Result<usize, GpuError> {
        // SAFETY: as for `run`.
        let graph = unsafe { self.gpu.capture(&self.step) }?;
        Ok(self.graph.insert(graph).nodes())
    }

    /// Runs the captured step, or the step launch by launch if it has not been captured, without waiting for it.
    ///
    /// # Safety
    /// As [`Decoder::run`].
    pub unsafe fn replay(&self) -> Result<(), GpuError> {
        match &self.graph {
            // SAFETY: as for `run`.
            Some(graph) => unsafe { graph.replay() },
            // SAFETY: as for `run`.
            None => unsafe { self.run() },
        }
    }
}

/// What no kernel checks by itself.
fn check(gpu: &Gpu, shape: &Shape) -> Result<(), GpuError> {
    let wrong = |what, found: u32, needed: String| Err(GpuError::Shape { what, found: found.into(), needed });
    if shape.head_width != gpu.head_width() {
        return wrong(
            "the width of a head",
            shape.head_width,
            format!("the kernels are for {}", gpu.head_width()),
        );
    }
    if shape.format != gpu.format() {
        let needed = format!("the kernels are for {:?}", gpu.format());
        return wrong("the size of an element in bytes", shape.format.bytes() as u32, needed);
    }
    if shape.columns < shape.rows() {
        return wrong("the number of completions", shape.columns, format!("there are {} rows", shape.rows()));
    }
    if shape.key_heads == 0 {
        return wrong("the number of key heads", 0, "it must be above 0".to_owned());
    }
    Ok(())
}
