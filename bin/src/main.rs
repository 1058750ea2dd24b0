//! The `sandbox` command with the rewards that come with it; see the library for one with rewards of your own.

use std::process::ExitCode;

fn main() -> ExitCode {
    sandbox::main_with(rewards::RewardRegistry::standard())
}
