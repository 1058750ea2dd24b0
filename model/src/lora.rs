//! LoRA: low-rank adapters on linear layers, in the files of Hugging Face's PEFT.
//!
//! With an adapter the base is frozen, and shared by every replica of the policy; what is trained, published and saved is
//! the adapter alone. `y = W·x + scale · B·A·dropout(x)` (`Lora` in `nn.rs`), <https://arxiv.org/abs/2106.09685>.
//!
//! - LORA-1 `A` and `B` are f32 where they learn, whatever the base's format, and are rounded to the activations' format
//!   where they are applied: the master copy sees updates that 16 bits would swallow, and the multiplications cost what
//!   the base's cost. (PEFT without autocast multiplies in f32; with a base in f32 there is no difference.)
//! - LORA-2 an adapter is applied beside the base, never merged into it: the base has other users.
//! - LORA-3 what an adapter read from a file is applied to is told by its tensors; every one of them must find its layer.

mod names;
mod peft;
mod set;

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::error::ModelError;

pub(crate) use names::is_tower;
pub(crate) use set::AdapterSet;

/// An adapter's hyperparameters.
#[derive(Debug, Clone, PartialEq)]
pub struct LoraConfig {
    /// Rows of every `A`, columns of every `B`.
    pub rank: i64,
    /// The adapter's output is multiplied by `alpha / rank`.
    pub alpha: f64,
    /// Share of the adapter's inputs that are zeroed while it learns.
    pub dropout: f64,
    /// The layers that get an adapter.
    pub target_modules: TargetModules,
    /// The output is multiplied by `alpha / √rank` instead (rank-stabilised LoRA).
    pub use_rslora: bool,
}

impl Default for LoraConfig {
    fn default() -> Self {
        LoraConfig {
            rank: 8,
            alpha: 32.0,
            dropout: 0.0,
            target_modules: TargetModules::AllLinear,
            use_rslora: false,
        }
    }
}

impl LoraConfig {
    /// What the adapter's output is multiplied by.
    pub(crate) fn scale(&self) -> f64 {
        let rank = self.rank as f64;
        self.alpha / if self.use_rslora { rank.sqrt() } else { rank }
    }
}

/// The layers that get an adapter, said as PEFT's `target_modules`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum TargetModules {
    /// The linear layers with one of these names, or whose name ends with `.` and one of them.
    Named(Vec<String>),
    /// The linear layers whose whole name this regular expression matches.
    Pattern(String),
    /// Every linear layer but the output projection: PEFT's `all-linear`.
    #[serde(skip)]
    AllLinear,
}

/// Where a policy's adapter comes from.
#[derive(Debug, Clone, PartialEq)]
pub enum Adapter {
    /// A new one: `A` random, `B` zero, so that the policy starts as its base.
    Fresh {
        /// Its hyperparameters.
        config: LoraConfig,
        /// What `A` is drawn with.
        seed: u64,
    },
    /// A directory in PEFT's form.
    Directory(PathBuf),
}

/// Decides which linear layers a fresh adapter is put on.
pub(crate) struct Targets {
    modules: TargetModules,
    pattern: Option<fancy_regex::Regex>,
    /// The audio tower and its projector may be among them.
    tower: bool,
}

impl Targets {
    pub(crate) fn new(modules: &TargetModules, tower: bool) -> Result<Targets, ModelError> {
        let pattern = match modules {
            TargetModules::Pattern(pattern) => {
                let whole = fancy_regex::Regex::new(&format!("^(?:{pattern})$"));
                Some(whole.map_err(|error| {
                    ModelError::input(format!("target_modules is no regular expression: {error}"))
                })?)
            }
            _ => None,
        };
        Ok(Targets { modules: modules.clone(), pattern, tower })
    }

    /// Whether a layer, called by its hub name, gets an adapter.
    pub(crate) fn hit(&self, module: &str) -> bool {
        if !self.tower && names::is_tower(module) {
            return false;
        }
        let spoken = names::accepted(module);
        match &self.modules {
            TargetModules::AllLinear => !module.ends_with("lm_head"),
            TargetModules::Named(targets) => {
                targets.iter().any(|target| spoken.iter().any(|name| is_or_ends_with(name, target)))
            }
            TargetModules::Pattern(_) => {
                let pattern = self.pattern.as_ref().expect("compiled with the pattern");
                spoken.iter().any(|name| pattern.is_match(name).unwrap_or(false))
            }
        }
    }

    /// The first name that none of these layers has.
    pub(crate) fn unused<'a>(&'a self, modules: &[String]) -> Option<&'a str> {
        let TargetModules::Named(targets) = &self.modules else { return None };
        let used = |target: &String| {
            let allowed = |module: &&String| self.tower || !names::is_tower(module);
            let mut spoken = modules.iter().filter(allowed).flat_map(|module| names::accepted(module));
            spoken.any(|name| is_or_ends_with(&name, target))
        };
        targets.iter().find(|target| !used(target)).map(String::as_str)
    }
}

fn is_or_ends_with(name: &str, target: &str) -> bool {
    name.strip_suffix(target).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LAYER: &str = "language_model.model.layers.1.self_attn.q_proj";
    const TOWER: &str = "audio_tower.layers.1.self_attn.q_proj";

    fn hits(modules: TargetModules, tower: bool) -> [bool; 4] {
        let targets = Targets::new(&modules, tower).unwrap();
        [LAYER, "language_model.lm_head", TOWER, "multi_modal_projector.linear"].map(|name| targets.hit(name))
    }

    #[test]
    fn all_linear_leaves_the_output_projection_out_and_the_tower_unless_asked() {
        assert_eq!(hits(TargetModules::AllLinear, false), [true, false, false, false]);
        assert_eq!(hits(TargetModules::AllLinear, true), [true, false, true, true]);
    }

    #[test]
    fn names_are_whole_or_suffixes_at_a_dot_under_either_convention() {
        let named = |name: &str| hits(TargetModules::Named(vec![name.to_owned()]), true);
        assert_eq!(named("q_proj"), [true, false, true, false]);
        assert_eq!(named("_proj"), [false; 4], "not at a dot");
        assert_eq!(named("model.language_model.layers.1.self_attn.q_proj"), [true, false, false, false]);
        assert_eq!(named(LAYER), [true, false, false, false]);
        assert_eq!(named("linear"), [false, false, false, true]);
        assert_eq!(named("lm_head"), [false, true, false, false]);
    }

    #[test]
    fn patterns_match_the_whole_name() {
        let pattern = |text: &str| hits(TargetModules::Pattern(text.to_owned()), true);
        assert_eq!(pattern(r".*language_model.*\.(q_proj|v_proj)"), [true, false, false, false]);
        assert_eq!(pattern("q_proj"), [false; 4]);
        assert_eq!(pattern(r"(?!.*audio_tower).*\.q_proj"), [true, false, false, false]);
        let targets = Targets::new(&TargetModules::Pattern("(".to_owned()), true);
        assert!(targets.err().unwrap().to_string().starts_with("target_modules is no regular expression"));
    }

    #[test]
    fn rank_stabilised_scale_divides_by_the_root() {
        let config = LoraConfig { rank: 16, alpha: 8.0, ..LoraConfig::default() };
        assert_eq!(config.scale(), 0.5);
        assert_eq!(LoraConfig { use_rslora: true, ..config }.scale(), 2.0);
    }
}
