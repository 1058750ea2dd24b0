//! Settings that may be changed while an arm is trained.
//!
//! They are those that every step reads anew and on which nothing depends that is made when the arm starts, such as the data,
//! the prompts, or which weights are held in memory. Other settings can be changed in a fork.

use std::collections::BTreeMap;

use serde_json::Value as Json;
use toml::{Table as Values, Value};

use super::tree::Node;
use super::words::name_advice;
use super::{ArmConfig, de, ranges};
use crate::error::{Place, ScenarioError};

/// The settings of a GRPO arm that may be changed while it is trained, by their dotted names.
pub const LIVE_SETTINGS: [&str; 32] = [
    "grpo.advantages",
    "grpo.clip",
    "grpo.clip_high",
    "grpo.covariance",
    "grpo.covariance_fraction",
    "grpo.covariance_kl_coef",
    "grpo.covariance_range",
    "grpo.delta",
    "grpo.entropy_coef",
    "grpo.entropy_top_fraction",
    "grpo.importance_cap",
    "grpo.importance_correction",
    "grpo.iterations",
    "grpo.kl_coef",
    "grpo.kl_estimator",
    "grpo.loss",
    "grpo.lr",
    "grpo.mask_truncated",
    "grpo.mode_advantage_coef",
    "grpo.mode_margin",
    "grpo.mode_token_coef",
    "grpo.off_policy_threshold",
    "grpo.sapo_temperature_neg",
    "grpo.sapo_temperature_pos",
    "grpo.scale_rewards",
    "sampling.forced_no_think",
    "sampling.max_think_tokens",
    "sampling.temperature",
    "sampling.top_k",
    "sampling.top_p",
    "selection.extra_rounds",
    "selection.keep_completions",
];

impl ArmConfig {
    /// The arm with other values of some of [`LIVE_SETTINGS`].
    ///
    /// Errors: A setting can't be changed while the arm is trained, or a value can't be used.
    pub fn with_live_settings(&self, settings: &BTreeMap<String, Json>) -> Result<ArmConfig, ScenarioError> {
        if settings.is_empty() {
            return Ok(self.clone());
        }
        let mut values = Values::try_from(self).unwrap_or_default();
        for (name, value) in settings {
            self.check_live(name)?;
            let (section, key) = name.split_once('.').unwrap_or_default();
            let read = Value::try_from(value);
            let Ok(read) = read else {
                return Err(ScenarioError::value(format!("`{name}` is {value}"), "give it a value"));
            };
            let section = values.entry(section).or_insert_with(|| Value::Table(Values::new()));
            if let Value::Table(section) = section {
                section.insert(key.to_owned(), read);
            }
        }
        let told: Vec<String> = settings.iter().map(|(name, value)| format!("{name} = {value}")).collect();
        let tree = Node::from_value(Value::Table(values), &Place::Argument(told.join(", ")));
        let arm: ArmConfig = de::read(&tree, &[])?;
        ranges::check_arm(&arm, &tree)?;
        Ok(arm)
    }

    /// The values of [`LIVE_SETTINGS`]; null for one that is not set.
    pub fn live_settings(&self) -> BTreeMap<String, Json> {
        let values = serde_json::to_value(self).unwrap_or_default();
        let value = |name: &str| name.split('.').fold(&values, |value, key| &value[key]).clone();
        LIVE_SETTINGS.iter().map(|name| ((*name).to_owned(), value(name))).collect()
    }

    /// Whether this setting can be changed in this arm while it is trained.
    fn check_live(&self, name: &str) -> Result<(), ScenarioError> {
        if !LIVE_SETTINGS.contains(&name) {
            let problem = format!("`{name}` can't be changed while an arm is trained");
            let advice = name_advice(name, LIVE_SETTINGS.to_vec(), "what can be changed is");
            return Err(ScenarioError::value(
                problem,
                format!("{advice}; a fork may have other settings too"),
            ));
        }
        let grpo = &self.grpo;
        let unused = match name {
            "grpo.kl_coef" if grpo.kl_coef == 0.0 => {
                Some("the arm began with 0 and has no reference policy; fork it with the new value")
            }
            "grpo.kl_coef" if grpo.kl_target.is_some() => Some("it follows grpo.kl_target"),
            "grpo.entropy_coef" if grpo.entropy_target.is_some() => Some("it follows grpo.entropy_target"),
            _ => None,
        };
        match unused {
            Some(instead) => Err(ScenarioError::value(format!("`{name}` can't be changed"), instead)),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::scenario::LossKind;

    fn arm() -> ArmConfig {
        toml::from_str("name = \"a\"\nsteps = 10\n[shaping]\nformula = \"1\"\n[grpo]\nkl_coef = 0.0").unwrap()
    }

    fn settings(of: &[(&str, Json)]) -> BTreeMap<String, Json> {
        of.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect()
    }

    #[test]
    fn settings_are_read_and_checked_as_in_a_scenario() {
        let changed = settings(&[
            ("grpo.lr", json!(1e-3)),
            ("grpo.loss", json!("dapo")),
            ("selection.extra_rounds", json!(2)),
        ]);
        let after = arm().with_live_settings(&changed).unwrap();
        assert_eq!((after.grpo.lr, after.grpo.loss), (1e-3, LossKind::Dapo));
        assert_eq!(after.selection.extra_rounds, 2);
        let values = after.live_settings();
        assert_eq!(
            (values.get("grpo.lr"), values.get("grpo.delta")),
            (Some(&json!(1e-3)), Some(&json!(null)))
        );
        assert_eq!(arm().with_live_settings(&BTreeMap::new()).unwrap(), arm());
        let cases = [
            (("grpo.lrr", json!(1)), "did you mean `grpo.lr`?"),
            (("policy.path", json!("x")), "`policy.path` can't be changed while an arm is trained; "),
            (("grpo.lr", json!(-1)), "grpo.lr = -1: "),
            (("grpo.lr", json!("fast")), "grpo.lr = \"fast\": "),
            (("grpo.lr", json!(null)), "`grpo.lr` is null; give it a value"),
            (("grpo.loss", json!("pdapo")), "dapo"),
            (("grpo.kl_coef", json!(0.1)), "has no reference policy"),
        ];
        for ((name, value), expected) in cases {
            let error = arm().with_live_settings(&settings(&[(name, value)])).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn every_live_setting_is_a_key_of_a_scenario() {
        let schema = crate::scenario::json_schema();
        for name in LIVE_SETTINGS {
            let (section, key) = name.split_once('.').unwrap();
            let definition = match section {
                "grpo" => "GrpoConfig",
                "sampling" => "SamplingConfig",
                _ => "SelectionConfig",
            };
            assert!(schema["$defs"][definition]["properties"].get(key).is_some(), "{name}");
        }
    }
}
