//! One binary for all integration tests: libtorch links slowly.

mod audio_files;
mod grpo_parity;
mod mel_parity;
mod policy;
mod qwen2_audio_parity;
mod runs;
