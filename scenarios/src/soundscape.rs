//! The soundscape world: short clips of a few synthetic sounds, and questions about them that benefit from thinking to
//! different degrees. It is the default of a scenario.
//!
//! - WORLD-2 no held-out clip with three or more events has the event sequence of a training clip.
//! - WORLD-3 the events of a clip are complete and do not overlap; seven always fit.

mod clip;
mod config;
mod generate;
mod question;
mod target;

pub use clip::{CLIP_SECONDS, Sound};
pub use config::{Kind, SoundscapesConfig};
pub(crate) use generate::prepare_in;
pub(crate) use target::sft_target;
