//! Audio features, audio-language models, sampling, losses, checkpoints.

pub mod audio;
pub mod loss;
pub mod optim;
