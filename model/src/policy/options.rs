//! The settings that a policy is opened with.

use tch::{Device, Kind};

use crate::lora::Adapter;

/// The device, dtype and training mode of a policy. The default trains the language model of a checkpoint on the CPU.
#[derive(Debug, Clone, PartialEq)]
pub struct PolicyOptions {
    /// The device to run on, as returned by `device::resolve`.
    pub device: Device,
    /// The dtype of weights and activations. `None` chooses f32 on the CPU, and on a GPU bf16 if the checkpoint is
    /// stored in 16 bits, else f32.
    pub dtype: Option<Kind>,
    /// Whether the checkpoint is frozen. Without an adapter nothing trains, which is enough for a judge.
    pub frozen: bool,
    /// Whether the audio tower and the projector train together with the language model. With a fresh adapter, whether
    /// their layers may get adapters.
    pub train_audio_tower: bool,
    /// The adapter to train on the frozen checkpoint, if any.
    pub adapter: Option<Adapter>,
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
            frozen: false,
            train_audio_tower: false,
            adapter: None,
            gradient_checkpointing: None,
            from_scratch: None,
        }
    }
}
