//! Tests of whole scenarios: what they are read into, and the message for each mistake.

mod ablation;
mod algorithms;
mod files;
mod judge;
mod meaning;
mod messages;
mod sampler;

use std::path::{Path, PathBuf};

use rewards::RewardRegistry;

use super::*;
use crate::dataset::DataSource;
use crate::error::ScenarioError;

fn read(text: &str) -> Result<Experiment, ScenarioError> {
    read_with(text, &[], &[])
}

fn read_with(text: &str, overrides: &[&str], arms: &[&str]) -> Result<Experiment, ScenarioError> {
    let owned = |list: &[&str]| list.iter().map(|&item| item.to_owned()).collect::<Vec<_>>();
    parse(text, Path::new("x.toml"), &owned(overrides), &owned(arms), None)
}

/// The message about a scenario with a mistake, from reading it or from checking what it refers to.
fn message(text: &str) -> String {
    message_with(text, &[], &[])
}

fn message_with(text: &str, overrides: &[&str], arms: &[&str]) -> String {
    let checked = read_with(text, overrides, arms)
        .and_then(|experiment| check(&experiment, &RewardRegistry::standard()).map(|()| experiment));
    let message = checked.expect_err("the scenario has a mistake").to_string();
    assert!(!message.contains('\n'), "one line: {message}");
    message
}

fn scenario_file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

const SCENARIO_FILES: [&str; 6] = [
    "ablation.toml",
    "ablation-seeds.toml",
    "factorial.toml",
    "smoke.toml",
    "collapse.toml",
    "pretrain.toml",
];

const TWO_ARMS: &str = r#"
[grpo]
lr = 2e-4
[rewards]
accuracy = { kind = "accuracy" }
format = { kind = "format" }
[shaping]
formula = "accuracy + w_format * format"
weights = { format = 0.5 }
[[arm]]
name = "low"
[[arm]]
name = "high"
steps = 7
grpo.lr = 3e-4
shaping.formula = "accuracy"
"#;
