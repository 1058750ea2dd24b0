//! The `sandbox` command with the built-in rewards. The library's documentation shows how to add your own.

fn main() {
    sandbox::main_with(rewards::RewardRegistry::standard())
}
