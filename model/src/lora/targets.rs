//! Which linear layers get a fresh adapter, by PEFT's rules for `target_modules`.

use super::config::TargetModules;
use super::names;
use crate::error::InputError;
use crate::parts::{Part, Trained};

/// Decides which linear layers get a fresh adapter.
pub(super) struct Targets {
    modules: TargetModules,
    pattern: Option<fancy_regex::Regex>,
    reach: Reach,
}

/// The parts of a model that a fresh adapter may reach.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reach {
    /// Whether layers of the audio tower and its projector may get an adapter.
    pub(crate) tower: bool,
    /// The parts that train as a whole, which get none.
    pub(crate) whole: Trained,
}

impl Targets {
    /// Fails if the pattern is not a valid regular expression.
    pub(super) fn new(modules: &TargetModules, reach: Reach) -> Result<Targets, InputError> {
        let pattern = match modules {
            TargetModules::Pattern(pattern) => {
                let whole = fancy_regex::Regex::new(&format!("^(?:{pattern})$"));
                Some(whole.map_err(|error| InputError::TargetPattern { error: error.to_string() })?)
            }
            _ => None,
        };
        Ok(Targets { modules: modules.clone(), pattern, reach })
    }

    /// Whether this layer may get an adapter.
    pub(super) fn allows(&self, module: &str) -> bool {
        match Part::of(module) {
            Part::Decoder => true,
            part => self.reach.tower && !self.reach.whole.has(part),
        }
    }

    /// A remark for the message that lists the layers to choose from.
    pub(super) fn tower_hint(&self) -> &'static str {
        if self.reach.tower { "" } else { " (those of the audio tower too with train_audio_tower = true)" }
    }

    /// Whether the layer with this hub name gets an adapter.
    pub(super) fn matches(&self, module: &str) -> bool {
        if !self.allows(module) {
            return false;
        }
        let accepted = names::accepted(module);
        match &self.modules {
            TargetModules::AllLinear => !module.ends_with("lm_head"),
            TargetModules::Named(targets) => {
                targets.iter().any(|target| accepted.iter().any(|name| is_or_ends_with(name, target)))
            }
            TargetModules::Pattern(_) => {
                let pattern = self.pattern.as_ref().expect("compiled with the pattern");
                accepted.iter().any(|name| pattern.is_match(name).unwrap_or(false))
            }
        }
    }

    /// The first of the named targets that matches none of these layers.
    pub(super) fn first_unmatched<'a>(&'a self, modules: &[String]) -> Option<&'a str> {
        let TargetModules::Named(targets) = &self.modules else { return None };
        let matched = |target: &String| {
            let allowed = modules.iter().filter(|module| self.allows(module));
            let mut accepted = allowed.flat_map(|module| names::accepted(module));
            accepted.any(|name| is_or_ends_with(&name, target))
        };
        targets.iter().find(|target| !matched(target)).map(String::as_str)
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

    fn matches(modules: TargetModules, tower: bool) -> [bool; 4] {
        let targets = Targets::new(&modules, Reach { tower, whole: Trained::NOTHING }).unwrap();
        [LAYER, "language_model.lm_head", TOWER, "multi_modal_projector.linear"]
            .map(|name| targets.matches(name))
    }

    #[test]
    fn all_linear_excludes_the_output_projection_and_an_untrained_tower() {
        assert_eq!(matches(TargetModules::AllLinear, false), [true, false, false, false]);
        assert_eq!(matches(TargetModules::AllLinear, true), [true, false, true, true]);
    }

    #[test]
    fn a_part_that_trains_as_a_whole_gets_no_adapter() {
        let whole = Trained { projector: true, ..Trained::NOTHING };
        let targets = Targets::new(&TargetModules::AllLinear, Reach { tower: true, whole }).unwrap();
        assert!(targets.matches(TOWER) && !targets.matches("multi_modal_projector.linear"));
    }

    #[test]
    fn targets_are_whole_names_or_suffixes_after_a_dot_in_either_convention() {
        let named = |name: &str| matches(TargetModules::Named(vec![name.to_owned()]), true);
        assert_eq!(named("q_proj"), [true, false, true, false]);
        assert_eq!(named("_proj"), [false; 4], "not after a dot");
        assert_eq!(named("model.language_model.layers.1.self_attn.q_proj"), [true, false, false, false]);
        assert_eq!(named(LAYER), [true, false, false, false]);
        assert_eq!(named("linear"), [false, false, false, true]);
        assert_eq!(named("lm_head"), [false, true, false, false]);
    }

    #[test]
    fn patterns_match_the_whole_name() {
        let pattern = |text: &str| matches(TargetModules::Pattern(text.to_owned()), true);
        assert_eq!(pattern(r".*language_model.*\.(q_proj|v_proj)"), [true, false, false, false]);
        assert_eq!(pattern("q_proj"), [false; 4]);
        assert_eq!(pattern(r"(?!.*audio_tower).*\.q_proj"), [true, false, false, false]);
        let reach = Reach { tower: true, whole: Trained::NOTHING };
        let targets = Targets::new(&TargetModules::Pattern("(".to_owned()), reach);
        assert!(
            targets
                .err()
                .unwrap()
                .to_string()
                .starts_with("target_modules is not a valid regular expression")
        );
    }
}
