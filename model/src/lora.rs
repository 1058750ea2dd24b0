//! LoRA (<https://arxiv.org/abs/2106.09685>): low-rank adapters on linear layers, in the files of Hugging Face's PEFT.
//!
//! With an adapter, the base is frozen and shared by every replica of the policy, but for parts that train as a whole
//! ([`Trained`](crate::Trained)); only the adapter and these are trained, published and saved. `params.rs` holds an `AdapterSet` and hands its tensors to the linear layers, which compute `y
//! = W·x + scale · B·A·dropout(x)` (`nn/lora.rs`).
//!
//! - `LORA-1` `A` and `B` are f32 where they take gradients, whatever the dtype of the base, and are rounded to the
//!   dtype of the activations where they are applied. Updates too small for 16 bits are therefore not lost, and the
//!   multiplications are as fast as those of the base. (PEFT without autocast multiplies in f32. With a base in f32
//!   there is no difference.)
//! - `LORA-2` An adapter is applied beside the base and never merged into its tensors, because
//!   other replicas share them.
//! - `LORA-3` The tensors in an adapter's file determine which layers it is applied to. Opening fails if a
//!   tensor has no layer.
//! - `LORA-4` An adapter's file may hold the projector and the audio tower as a whole, PEFT's `modules_to_save`. They
//!   replace the base's in the policy; the reference keeps the base's.

mod config;
mod names;
mod peft;
mod set;
mod targets;

pub use config::{Adapter, LoraConfig, TargetModules};
pub(crate) use names::Naming;
pub use peft::check_adapter;
pub(crate) use set::AdapterSet;
pub(crate) use targets::Reach;
