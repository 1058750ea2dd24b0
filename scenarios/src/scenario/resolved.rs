//! Writes an [`Experiment`] as a scenario file with a value for every setting.

use serde::Serialize;
use sha2::{Digest as _, Sha256};
use toml::{Table as Values, Value};

use super::load::steps;
use super::schema::ARM_KEYS;
use super::{ArmConfig, Experiment, StorageConfig, TracesConfig, alarm, fork, merge};

impl Experiment {
    /// Names the resolved scenario: the beginning of its SHA-256, in hexadecimal digits.
    pub fn fingerprint(&self) -> String {
        Sha256::digest(self.to_toml().as_bytes()).iter().take(8).map(|byte| format!("{byte:02x}")).collect()
    }

    /// The resolved scenario: every setting of every arm, with those that all arms share in front of the arms.
    pub fn to_toml(&self) -> String {
        let mut arms: Vec<Values> = self.arms.iter().map(|arm| self.values_of(arm)).collect();
        let mut heads: Vec<String> = Vec::new();
        for arm in &mut arms {
            let keys = ARM_KEYS.iter().filter_map(|key| Some((*key, arm.remove(*key)?)));
            let written = keys.filter(|(key, value)| *key != "steps" || *value != steps(self.run.steps));
            let mut head: String = written.map(|(key, value)| format!("{key} = {value}\n")).collect();
            // An empty list is no section.
            if arm.get("alarm") == Some(&Value::Array(Vec::new())) {
                arm.remove("alarm");
                head.push_str("alarm = []\n");
            }
            heads.push(head);
        }
        let run = part("run", Value::Table(values(&self.run)));
        let control = part("control", Value::Table(values(&self.control)));
        let memory = values(&self.memory);
        // What is off unless a scenario names an address is written only if it does.
        let optional = |name, values: Values, used: bool| {
            if used { part(name, Value::Table(values)) } else { String::new() }
        };
        let tracking = values(&self.tracking);
        let used = !tracking.is_empty();
        let tracking = optional("tracking", tracking, used);
        let used = !memory.is_empty();
        let memory = optional("memory", memory, used);
        let storage = optional("storage", values(&self.storage), self.storage != StorageConfig::default());
        let traces = optional("traces", values(&self.traces), self.traces != TracesConfig::default());
        let design = self
            .design
            .as_ref()
            .map_or_else(String::new, |design| part("design", Value::Table(values(design))));
        let shared = merge::factor(&mut arms).to_string();
        let parts = [run, memory, control, tracking, storage, traces, design, shared];
        let mut parts: Vec<String> = parts.into_iter().filter(|part| !part.is_empty()).collect();
        for (head, rest) in heads.into_iter().zip(arms) {
            parts.push(format!("[[arm]]\n{head}"));
            // An arm has only sections left, so this writes [arm.SECTION] and no [arm].
            if !rest.is_empty() {
                parts.push(part("arm", Value::Table(rest)));
            }
        }
        let hypotheses = self.hypotheses.iter().map(|hypothesis| Value::Table(values(hypothesis))).collect();
        if !self.hypotheses.is_empty() {
            parts.push(part("hypothesis", Value::Array(hypotheses)));
        }
        parts.join("\n")
    }

    fn values_of(&self, arm: &ArmConfig) -> Values {
        let mut values = values(arm);
        fork::without_rewards(&mut values, arm, &self.arms);
        alarm::with_empty_list(&mut values, arm, &self.arms);
        values
    }
}

/// A configuration struct as a TOML table. Conversion does not fail, since these structs contain TOML's types only.
fn values(config: &impl Serialize) -> Values {
    Values::try_from(config).unwrap_or_default()
}

fn part(key: &str, value: Value) -> String {
    Values::from_iter([(key.to_owned(), value)]).to_string()
}
