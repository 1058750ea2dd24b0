//! The integration tests, in one binary because linking libtorch is slow. The tests of the built
//! `sandbox` belong to `bin/`.

#![expect(clippy::unwrap_used, reason = "a failing test should panic")]

mod alarm_runs;
mod algorithm_runs;
mod algorithms;
mod control;
mod conventions;
mod goldens;
mod grpo_parity;
mod health;
mod judged_rewards;
mod judged_runs;
mod judges;
mod live;
mod local_judge;
mod lora_parity;
mod old_runs;
mod parts;
mod plugin_runs;
mod plugins;
mod policy;
mod prerequisites;
mod qwen2_5_omni_parity;
mod qwen2_audio_parity;
mod qwen3_parity;
mod reshape;
mod rollouts;
mod runs;
mod scripted_server;
mod scripted_vllm;
mod selection;
mod small_parity;
mod structure;
mod text_only_parity;
mod train_step_parity;
mod unusable_rows;
