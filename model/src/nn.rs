//! The layers that all parts of a model are made of: linear projections with adapters, and norms.
//!
//! Towers and decoders build them with a [`Builder`]. [`Linear`] and [`JoinedLinear`] are the only places where the
//! weights of a projection, and of its adapter, are applied.

mod builder;
mod linear;
mod lora;
mod norm;

pub(crate) use builder::Builder;
pub(crate) use linear::{JoinedLinear, Linear, Projection};
pub(crate) use norm::{LayerNorm, RmsNorm};
