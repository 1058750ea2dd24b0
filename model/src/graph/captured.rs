//! A step that has been captured for a batch of one shape.

use cuda::decoder::{Decoder, Shape, Weights};
use cuda::{Gpu, RawStream};

use crate::error::GraphError;

/// libtorch's stream.
pub(super) const LIBTORCH: RawStream = RawStream(std::ptr::null_mut());

/// A captured step with the addresses that are in it.
pub(super) struct Captured {
    pub(super) decoder: Decoder,
    pub(super) weights: Weights,
    /// The ids at which a row finishes.
    pub(super) eos: Vec<i64>,
    /// Kernels of the step.
    pub(super) launches: usize,
}

impl Captured {
    /// Runs the step once, so that everything is loaded, and captures it. The caches may hold anything: all rows of a new
    /// decoder have finished, and are left out.
    #[expect(
        unsafe_code,
        reason = "the kernels get addresses of tensors, whose lifetime the compiler can't follow"
    )]
    pub(super) fn new(
        gpu: &Gpu,
        shape: Shape,
        weights: Weights,
        eos: &[i64],
    ) -> Result<Captured, GraphError> {
        let mut decoder = Decoder::new(gpu, shape, &weights, eos)?;
        // SAFETY: null is libtorch's stream. The addresses are of the model's tensors and of the caches, in the layouts
        // that `Shape` and `Weights` describe; both outlive the session that runs the step, and a session with
        // other addresses captures another (GRAPH-2).
        let launches = unsafe {
            gpu.wait_for(LIBTORCH)?;
            decoder.run()?;
            decoder.capture()?
        };
        Ok(Captured { decoder, weights, eos: eos.to_vec(), launches })
    }

    pub(super) fn shape(&self) -> &Shape {
        self.decoder.shape()
    }
}
