//! Adding a fork to an experiment whose arms are being trained, as its resolved scenario would be read.

use std::collections::BTreeMap;

use super::{ArmConfig, Experiment, ForkConfig, RewardSpec, ShapingConfig, load, overrides};
use crate::error::{Place, ScenarioError};

/// A fork that is added to an experiment whose arms are being trained.
#[derive(Clone, Debug)]
pub struct NewFork {
    /// The name of the new arm.
    pub name: String,
    /// Where it begins.
    pub fork: ForkConfig,
    /// Its rewards, in place of those that the scenario sets for its parent.
    pub rewards: BTreeMap<String, RewardSpec>,
    /// Its formula and weights, likewise.
    pub shaping: ShapingConfig,
    /// Its other settings as for `--set`, such as `grpo.lr=1e-4`.
    pub settings: Vec<String>,
}

impl Experiment {
    /// The experiment with one more arm, as its resolved scenario would be read.
    ///
    /// Errors: The name is taken or no name, there is no such arm to copy, or a setting can't be used.
    pub fn with_fork(&self, new: NewFork) -> Result<Experiment, ScenarioError> {
        let place = Place::Argument(format!("fork {}", new.name));
        let Some(parent) = self.arms.iter().find(|arm| arm.name == new.fork.arm) else {
            let names: Vec<String> = self.arms.iter().map(|arm| arm.name.clone()).collect();
            return Err(overrides::unknown_arm(&place, &new.fork.arm, &names));
        };
        if self.arms.iter().any(|arm| arm.name == new.name) {
            let problem = format!("there is an arm `{}` already", new.name);
            return Err(ScenarioError::at(&place, problem, "give the fork another name"));
        }
        let NewFork { name, fork, rewards, mut shaping, settings } = new;
        // A living arm may have weights that its formula no longer uses.
        let formulas = settings.iter().chain([&shaping.formula]);
        let formulas: Vec<String> = formulas.cloned().collect();
        shaping.weights.retain(|weight, _| {
            let name = format!("w_{weight}");
            formulas.iter().any(|formula| load::uses_name(formula, &name))
        });
        let mut with_fork = self.clone();
        let parent = parent.clone();
        let settings: Vec<String> = settings.iter().map(|setting| format!("arm.{name}.{setting}")).collect();
        with_fork.arms.push(ArmConfig { name, fork: Some(fork), rewards, shaping, ..parent });
        load::parse(&with_fork.to_toml(), &self.path, &settings, &[], None)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn read(text: &str) -> Result<Experiment, String> {
        load::parse(text, Path::new("x.toml"), &[], &[], None).map_err(|error| error.to_string())
    }

    const PARENT: &str = r#"
[run]
seeds = [7, 8]
steps = 50
[rewards]
format = { kind = "format" }
accuracy = { kind = "accuracy" }
[[arm]]
name = "base"
method = "none"
[[arm]]
name = "grpo"
prompt.style = "think"
grpo.lr = 1e-4
rewards.think = { kind = "think" }
shaping = { formula = "accuracy + w_think * think", weights = { think = 0.5 } }
"#;

    fn fork(rest: &str) -> Result<Experiment, String> {
        read(&format!("{PARENT}[[arm]]\nname = \"dry\"\n{rest}"))
    }

    /// FORK-1.
    #[test]
    fn a_fork_has_its_parents_settings_and_its_own() {
        let experiment = fork(
            "fork = { arm = \"grpo\", step = 20, seeds = [8] }\nshaping.formula = \"accuracy\"\nrewards.think = false",
        )
        .unwrap();
        let (parent, child) = (&experiment.arms[1], &experiment.arms[2]);
        assert_eq!((child.grpo.lr, &child.prompt), (1e-4, &parent.prompt));
        assert_eq!(child.rewards.keys().collect::<Vec<_>>(), ["accuracy", "format"]);
        assert_eq!(child.shaping.formula, "accuracy");
        assert!(child.has_seed(8) && !child.has_seed(7) && parent.has_seed(7));
        assert_eq!(
            child.settings_unlike(parent),
            [
                "no rewards.think.kind",
                "shaping.formula = \"accuracy\" instead of \"accuracy + w_think * think\"",
                "no shaping.weights.think",
            ]
        );
        let again = read(&experiment.to_toml()).unwrap();
        assert_eq!(again.arms, experiment.arms, "{}", experiment.to_toml());
    }

    /// FORK-1: with everything that a live change may do to the conditions of a fork.
    #[test]
    fn a_fork_that_is_added_is_read_back_the_same() {
        let experiment = read(PARENT).unwrap();
        let parent = &experiment.arms[1];
        let mut rewards = parent.rewards.clone();
        rewards.remove("format");
        let fork = ForkConfig { arm: "grpo".into(), step: 20, seeds: Vec::new() };
        let shaping = ShapingConfig { formula: "accuracy * 2".into(), weights: [].into() };
        let settings = vec!["grpo.lr=3e-4".to_owned(), "sampling.temperature=0.7".to_owned()];
        let new = NewFork { name: "x".into(), fork, rewards, shaping, settings };
        let with_fork = experiment.with_fork(new.clone()).unwrap();
        let child = &with_fork.arms[2];
        assert_eq!(child.rewards.keys().collect::<Vec<_>>(), ["accuracy", "think"]);
        assert_eq!((child.grpo.lr, child.sampling.temperature), (3e-4, 0.7));
        assert_eq!(with_fork.arms[..2], experiment.arms[..]);
        let second = with_fork.with_fork(NewFork { name: "y".into(), ..new.clone() }).unwrap();
        assert_eq!(read(&second.to_toml()).unwrap().arms, second.arms);
        // A weight that no formula uses any more is left behind, unless a new formula uses it.
        let weights: BTreeMap<_, _> = [("old".to_owned(), 2.0.into())].into();
        let shaping = ShapingConfig { formula: "accuracy".into(), weights };
        let idle = NewFork { name: "z".into(), shaping, ..new.clone() };
        assert!(second.with_fork(idle.clone()).unwrap().arms[4].shaping.weights.is_empty());
        let settings = vec!["shaping.formula=w_old * accuracy".to_owned()];
        let used = second.with_fork(NewFork { settings, ..idle }).unwrap();
        assert_eq!(used.arms[4].shaping.weights.len(), 1);
        let taken = second.with_fork(new).unwrap_err().to_string();
        assert_eq!(taken, "fork x: there is an arm `x` already; give the fork another name");
    }

    /// FORK-2.
    #[test]
    fn what_can_be_no_fork_is_refused_at_its_place() {
        let cases = [
            (
                "fork = { arm = \"dry2\", step = 1 }",
                "`fork` names the arm `dry2`, which is not above this one; the arms above it are base, grpo",
            ),
            (
                "fork = { arm = \"base\", step = 1 }",
                "is a fork of an arm with another method, or without training",
            ),
            (
                "fork = { arm = \"grpo\", step = 1 }\npolicy.dtype = \"bf16\"",
                "has another [policy] than `grpo`",
            ),
            ("fork = { arm = \"grpo\", step = 50 }", "write a step from 0 to 49"),
            ("fork = { arm = \"grpo\", step = 5, seeds = [9] }", "`grpo` is not trained under the seed 9"),
            ("fork = { arm = \"grpo\" }", "step"),
            ("fork = { arm = \"grpo\", step = 5, sed = 3 }", "sed"),
        ];
        for (rest, expected) in cases {
            let error = fork(rest).unwrap_err();
            assert!(error.contains(expected), "{rest}: {error}");
            assert!(error.starts_with("x.toml:"), "{error}");
        }
    }
}
