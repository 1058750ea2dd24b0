//! The `sandbox` command with one more reward, `[rewards.calm] kind = "calm"`.
//!
//! ```text
//! cargo run --release -p custom-reward -- examples/custom-reward/calm.toml
//! ```

mod calm;

use rewards::RewardRegistry;

fn main() {
    let mut registry = RewardRegistry::standard();
    registry.register("calm", |options| Ok(Box::new(calm::Calm::from_options(options)?)));
    sandbox::main_with(registry)
}
