//! Audio features, audio-language models, sampling, losses, checkpoints.
