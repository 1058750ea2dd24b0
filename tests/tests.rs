//! One binary for all integration tests: libtorch links slowly.

mod grpo_parity;
