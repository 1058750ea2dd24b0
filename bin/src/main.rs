//! The `sandbox` command with the built-in rewards. The library's documentation shows how to add your own.

use std::process::ExitCode;

fn main() -> ExitCode {
    sandbox::main_with(rewards::RewardRegistry::standard())
}
