//! The settings that a policy is opened with.

use tch::{Device, Kind};

use crate::lora::Adapter;
use crate::parts::Trained;

/// The device, dtype and training mode of a policy. The default trains the language model of a checkpoint on the CPU.
#[derive(Debug, Clone, PartialEq)]
pub struct PolicyOptions {
    /// The device to run on, as returned by `device::resolve`.
    pub device: Device,
    /// The dtype of weights and activations. `None` chooses f32 on the CPU, and on a GPU bf16 if the checkpoint is
    /// stored in 16 bits, else f32.
    pub dtype: Option<Kind>,
    /// The parts of the checkpoint that train as a whole. With an adapter the decoder does not.
    pub trained: Trained,
    /// The adapter to train, if any.
    pub adapter: Option<Adapter>,
    /// Whether layers of the audio tower and the projector may get a fresh adapter.
    pub adapt_tower: bool,
    /// Whether only the inputs of the layers are kept between forward and backward pass, and the rest is
    /// computed again: a third more work in a fraction of the memory. `None` does so on a GPU, and for models
    /// of width 1024 or more.
    pub gradient_checkpointing: Option<bool>,
    /// The seed to draw random weights with, instead of reading a checkpoint.
    pub from_scratch: Option<u64>,
}

impl Default for PolicyOptions {
    fn default() -> Self {
        PolicyOptions {
            device: Device::Cpu,
            dtype: None,
            trained: Trained::DECODER,
            adapter: None,
            adapt_tower: false,
            gradient_checkpointing: None,
            from_scratch: None,
        }
    }
}
