//! `[design]`: the factors of an experiment and their levels in each arm, as the report reads them.
//!
//! It is made of `[ablation]` and stored in a run's `scenario.toml`, where the arms are written out. A scenario whose arms are
//! written by hand may have it too.

mod fraction;

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use fraction::Fraction;

use super::DesignKind;
use super::tree::Node;
use super::{de, words};
use crate::error::ScenarioError;

/// `[design]`: the factors of the experiment, and their levels in each arm. `[ablation]` makes it; it is written into a run's
/// `scenario.toml`. A scenario whose arms are written by hand may have it instead of `[ablation]`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Design {
    /// The kind of design that `[ablation]` asked for; empty for arms that were written by hand.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub kind: Vec<DesignKind>,
    /// The factors, in the order of the report.
    pub factors: Vec<DesignFactor>,
    /// For each arm of the design the names of its levels, in the order of the factors.
    pub arms: BTreeMap<String, Vec<String>>,
    /// The arms of the design that the run was started without.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub left_out: BTreeSet<String>,
}

/// `[[design.factors]]`: a factor and its levels.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct DesignFactor {
    /// Its name in tables.
    pub name: String,
    /// The names of its levels, two or more. With the first, the factor counts as off.
    pub levels: Vec<String>,
    /// What it changes, in words.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub changes: String,
}

impl Design {
    /// The levels of an arm as numbers, 0 for off; `None` if it is no arm of the design.
    pub fn levels_of(&self, arm: &str) -> Option<Vec<usize>> {
        let names = self.arms.get(arm)?;
        let level =
            |(factor, name): (&DesignFactor, &String)| factor.levels.iter().position(|level| level == name);
        self.factors.iter().zip(names).map(level).collect()
    }

    /// The factors with two levels, as indices: those that an arm has or has not.
    pub fn two_level(&self) -> Vec<usize> {
        (0..self.factors.len()).filter(|factor| self.factors[*factor].levels.len() == 2).collect()
    }

    /// The fraction of all combinations that the arms are, if all factors have two levels and the arms are a regular one.
    pub fn fraction(&self) -> Option<Fraction> {
        if self.two_level().len() != self.factors.len() {
            return None;
        }
        let on = |levels: Vec<usize>| {
            levels.iter().enumerate().map(|(factor, level)| (*level as u32) << factor).sum()
        };
        let arms: Vec<u32> = self.arms.keys().filter_map(|arm| self.levels_of(arm)).map(on).collect();
        Fraction::of(self.factors.len(), &arms)
    }

    /// The names of the factors of an effect, a set of factors by their bits: `atar × cr`.
    pub fn effect_name(&self, effect: u32) -> String {
        let names = self.factors.iter().enumerate().filter(|(at, _)| effect >> at & 1 == 1);
        names.map(|(_, factor)| factor.name.as_str()).collect::<Vec<_>>().join(" × ")
    }

    /// The design in a few words: `full design of 3 factors (atar, cr, tr), 8 arms`.
    pub fn summary(&self) -> String {
        let kinds: Vec<&str> = self.kind.iter().map(|kind| kind.name()).collect();
        let kind =
            if kinds.is_empty() { "design".to_owned() } else { format!("{} design", kinds.join(" and ")) };
        let names: Vec<&str> = self.factors.iter().map(|factor| factor.name.as_str()).collect();
        let factors =
            if names.len() == 1 { "1 factor".to_owned() } else { format!("{} factors", names.len()) };
        let of = match self.left_out.len() {
            0 => String::new(),
            left_out => format!(", {left_out} of them left out"),
        };
        format!("{kind} of {factors} ({}), {} arms{of}", names.join(", "), self.arms.len())
    }

    /// What the arms allow to tell apart, in a sentence: the resolution, and which effects mix.
    pub fn aliasing(&self) -> Option<String> {
        let fraction = self.fraction()?;
        let resolution = fraction.resolution()?;
        let all = 1_u64 << self.factors.len();
        let begin =
            format!("{} of {all} combinations, resolution {}", fraction.arms().len(), roman(resolution));
        let mut seen = BTreeSet::new();
        let mut mixed = Vec::new();
        for effect in effects(self.factors.len()) {
            let aliases: Vec<u32> =
                fraction.aliases(effect).into_iter().filter(|alias| alias.count_ones() <= 2).collect();
            if aliases.is_empty() || !seen.insert(effect) {
                continue;
            }
            seen.extend(&aliases);
            let names: Vec<String> =
                std::iter::once(effect).chain(aliases).map(|effect| self.effect_name(effect)).collect();
            mixed.push(names.join(" = "));
        }
        Some(match mixed.is_empty() {
            true => format!("{begin}: no effects of one or two factors mix"),
            false => format!("{begin}: these can't be told apart: {}", mixed.join("; ")),
        })
    }
}

/// The effects of one factor, then those of two.
fn effects(factors: usize) -> Vec<u32> {
    let ones = (0..factors).map(|a| 1_u32 << a);
    let twos = (0..factors).flat_map(|a| (a + 1..factors).map(move |b| 1_u32 << a | 1 << b));
    ones.chain(twos).collect()
}

/// A resolution as it is written: III.
fn roman(resolution: u32) -> &'static str {
    const NUMERALS: [&str; 11] = ["0", "I", "II", "III", "IV", "V", "VI", "VII", "VIII", "IX", "X"];
    NUMERALS.get(resolution as usize).copied().unwrap_or("above X")
}

/// Reads `[design]`. `arms` are the arms of the scenario, `chosen` those that are run.
///
/// Errors: what does not fit, at its place.
pub(super) fn read(node: &Node, arms: &[String], chosen: &[String]) -> Result<Design, ScenarioError> {
    let mut design: Design = de::read(node, &["design"])?;
    let wrong = |path: &[&str], problem: String, instead: String| {
        Err(ScenarioError::at(node.place_of(path), problem, instead))
    };
    if design.factors.is_empty() || design.factors.len() > super::ablation::MOST_FACTORS {
        let problem = format!("[design] has {} factors", design.factors.len());
        return wrong(&["factors"], problem, format!("write 1 to {}", super::ablation::MOST_FACTORS));
    }
    for (at, factor) in design.factors.iter().enumerate() {
        let path = ["factors", &at.to_string()];
        if factor.name.is_empty() || design.factors[..at].iter().any(|other| other.name == factor.name) {
            return wrong(
                &path,
                "[[design.factors]] has no name of its own".into(),
                "add a line `name = …`".into(),
            );
        }
        let names: BTreeSet<&String> = factor.levels.iter().collect();
        if names.len() < 2 || names.len() != factor.levels.len() {
            let problem =
                format!("`levels` of the factor `{}` are not two or more different names", factor.name);
            return wrong(&path, problem, "write levels = [\"off\", \"on\"]".into());
        }
    }
    if design.arms.len() > super::ablation::MOST_ARMS {
        let problem = format!("[design] has {} arms", design.arms.len());
        return wrong(&["arms"], problem, format!("write at most {}", super::ablation::MOST_ARMS));
    }
    let mut seen: BTreeMap<Vec<usize>, &String> = BTreeMap::new();
    for (arm, levels) in &design.arms {
        let path = ["arms", arm.as_str()];
        if !arms.contains(arm) && !design.left_out.contains(arm) {
            let advice = words::name_advice(arm, arms.iter().map(String::as_str), "the arms are");
            return wrong(&path, format!("[design] names the arm `{arm}`, which there is not"), advice);
        }
        let found = design.levels_of(arm).filter(|_| levels.len() == design.factors.len());
        let Some(found) = found else {
            let of = |factor: &DesignFactor| format!("{}: {}", factor.name, factor.levels.join(" or "));
            let known: Vec<String> = design.factors.iter().map(of).collect();
            let problem = format!("[design] gives the arm `{arm}` other levels than the factors have");
            return wrong(&path, problem, format!("write one of each ({})", known.join("; ")));
        };
        if let Some(other) = seen.insert(found, arm) {
            let problem = format!("[design] gives the arms `{other}` and `{arm}` the same levels");
            return wrong(&path, problem, "leave one of them out of [design]".into());
        }
    }
    design.left_out = design.arms.keys().filter(|arm| !chosen.contains(arm)).cloned().collect();
    Ok(design)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn design(arms: &[u32], factors: usize) -> Design {
        let name = |at: usize| char::from(b'a' + at as u8).to_string();
        let levels =
            |arm: u32| (0..factors).map(move |at| if arm >> at & 1 == 1 { "on" } else { "off" }.to_owned());
        Design {
            factors: (0..factors)
                .map(|at| DesignFactor {
                    name: name(at),
                    levels: vec!["off".into(), "on".into()],
                    changes: String::new(),
                })
                .collect(),
            arms: arms.iter().map(|arm| (arm.to_string(), levels(*arm).collect())).collect(),
            ..Design::default()
        }
    }

    #[test]
    fn what_mixes_is_said() {
        let of = |factors, runs| {
            let fraction = Fraction::best(factors, runs).unwrap();
            design(fraction.arms(), factors).aliasing()
        };
        // d = a·b·c: a·b·c·d is always +, so that a·b and c·d have the same sign in every arm.
        assert_eq!(
            of(4, 8).unwrap(),
            "8 of 16 combinations, resolution IV: these can't be told apart: a × b = c × d; a × c = b × d; a × d = b × c"
        );
        assert_eq!(
            of(3, 4).unwrap(),
            "4 of 8 combinations, resolution III: these can't be told apart: a = b × c; b = a × c; c = a × b"
        );
        assert_eq!(
            of(5, 16).unwrap(),
            "16 of 32 combinations, resolution V: no effects of one or two factors mix"
        );
        assert_eq!(design(&[0, 1, 2, 3], 2).aliasing(), None, "nothing mixes where all combinations are");
        assert_eq!(design(&[0, 1, 2], 2).aliasing(), None);
    }
}
