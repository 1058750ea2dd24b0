//! Makes the arms of `[ablation]`.

use toml::Value;

use super::combinations::{Levels, combinations};
use super::component::{Off, take_off};
use super::factor::{Effect, Factor, factors, overlap};
use super::{AblationConfig, MOST_FACTORS};
use crate::error::{Place, ScenarioError};
use crate::scenario::design::{Design, DesignFactor};
use crate::scenario::tree::{Content, Entry, Node};
use crate::scenario::{de, merge};

/// What `[ablation]` is made into.
#[derive(Debug)]
pub(crate) struct Expanded {
    /// The arms, each merged over the shared settings.
    pub(crate) arms: Vec<Node>,
    pub(crate) design: Design,
    /// The factors, each with a key that it sets.
    sets: Vec<(String, String)>,
}

impl Expanded {
    /// Checks that a `--set` of all arms, or of an arm of the design, sets nothing that a factor sets.
    ///
    /// Errors: it does, at its place.
    pub(crate) fn check_override(&self, arm: Option<&str>, tree: &Node) -> Result<(), ScenarioError> {
        if arm.is_some_and(|arm| !self.design.arms.contains_key(arm)) {
            return Ok(());
        }
        let mut path = Vec::new();
        let mut node = tree;
        while let Some((key, entry)) = node.as_table().and_then(|table| table.iter().next()) {
            path.push(key.clone());
            node = &entry.node;
        }
        let set = path.join(".");
        match self.sets.iter().find(|(_, key)| overlap(key, &set)) {
            Some((factor, key)) => {
                let problem = format!("the factor `{factor}` of [ablation] sets {key}");
                Err(ScenarioError::at(&node.place, problem, "change it in the scenario"))
            }
            None => Ok(()),
        }
    }
}

/// Makes the arms of `[ablation]`. `base` has the settings that all arms share.
///
/// Errors: the first mistake, at its place.
pub(crate) fn expand(section: &Node, base: &Node) -> Result<Expanded, ScenarioError> {
    let config: AblationConfig = de::read(section, &["ablation"])?;
    if config.factors.is_empty() {
        let instead =
            "add [ablation.factors.NAME] with a `component`, `on` and `off`, or `setting` and `values`";
        return Err(ScenarioError::at(&section.place, "[ablation] has no factors", instead));
    }
    if config.factors.len() > MOST_FACTORS {
        let problem = format!("[ablation] has {} factors", config.factors.len());
        return Err(ScenarioError::at(
            section.place_of(&["factors"]),
            problem,
            format!("write at most {MOST_FACTORS}"),
        ));
    }
    let factors = factors(&config, section, base)?;
    let kinds = &config.design.0;
    if let Some(factor) = factors.iter().find(|factor| factor.levels.len() > 2)
        && kinds.iter().any(|kind| kind.name() != "full")
    {
        let problem = format!("the factor `{}` has {} values", factor.name, factor.levels.len());
        return Err(ScenarioError::at(&factor.place, problem, "write two values, or design = \"full\""));
    }
    let numbers: Vec<usize> = factors.iter().map(|factor| factor.levels.len()).collect();
    let at = if config.runs.is_some() { "runs" } else { "design" };
    let combinations =
        combinations(kinds, config.runs, &numbers).map_err(|error| error.placed(section.place_of(&[at])))?;
    let mut design = Design { kind: kinds.clone(), ..Design::default() };
    for factor in &factors {
        let (name, levels, changes) = (factor.name.clone(), factor.levels.clone(), factor.changes.clone());
        design.factors.push(DesignFactor { name, levels, changes });
    }
    let mut arms: Vec<Node> = Vec::new();
    for levels in &combinations {
        let name = arm_name(&config.name, &factors, levels);
        let arm = arm(&name, base, section, &factors, levels)?;
        check_unlike(&arm, &arms, &name, &factors)?;
        let of = |(factor, level): (&Factor, &usize)| factor.levels[*level].clone();
        if design.arms.insert(name.clone(), factors.iter().zip(levels).map(of).collect()).is_some() {
            let problem = format!("[ablation] makes two arms named \"{name}\"");
            return Err(ScenarioError::at(
                &section.place,
                problem,
                "give the factors or their values other names",
            ));
        }
        arms.push(arm);
    }
    let key = |factor: &Factor| {
        factor.keys.iter().map(|key| (factor.name.clone(), key.clone())).collect::<Vec<_>>()
    };
    Ok(Expanded { arms, design, sets: factors.iter().flat_map(key).collect() })
}

/// The name of an arm: the factors that are on, after the name of the arm without any (ABLATION-1).
fn arm_name(none: &str, factors: &[Factor], levels: &Levels) -> String {
    let mut name = none.to_owned();
    for (factor, &level) in factors.iter().zip(levels) {
        if level == 0 {
            continue;
        }
        name += &format!("+{}", factor.name);
        if factor.levels.len() > 2 {
            let good = |c: char| if c.is_ascii_alphanumeric() || "+-_.".contains(c) { c } else { '_' };
            name += &format!("_{}", factor.levels[level].chars().map(good).collect::<String>());
        }
    }
    name
}

fn arm(
    name: &str,
    base: &Node,
    section: &Node,
    factors: &[Factor],
    levels: &Levels,
) -> Result<Node, ScenarioError> {
    let mut arm = base.clone();
    arm.place = section.place.clone();
    let mut off = Vec::new();
    for (factor, &level) in factors.iter().zip(levels) {
        match &factor.effect {
            Effect::Settings(settings) => merge::overlay(&mut arm, &settings[level])?,
            Effect::Component { component, instead } if level == 0 => {
                let instead = instead.as_ref().map(|instead| instead.formula.as_str());
                off.push(Off { component, instead });
            }
            Effect::Component { .. } => {}
        }
    }
    take_off(&mut arm, &off).map_err(|error| error.placed(&section.place))?;
    let place: &Place = section.entry(&["name"]).map_or(&section.place, |entry| &entry.node.place);
    if let Content::Table(table) = &mut arm.content {
        let node = Node::from_value(Value::String(name.to_owned()), place);
        table.insert("name".to_owned(), Entry { key_place: place.clone(), node });
    }
    Ok(arm)
}

/// Checks that an arm differs from those before it (ABLATION-2).
fn check_unlike(arm: &Node, before: &[Node], name: &str, factors: &[Factor]) -> Result<(), ScenarioError> {
    let settings = |node: &Node| match node.to_value() {
        Value::Table(mut table) => {
            table.remove("name");
            Value::Table(table)
        }
        other => other,
    };
    let mine = settings(arm);
    let Some(same) = before.iter().find(|other| settings(other) == mine) else { return Ok(()) };
    let other = same.text("name").unwrap_or_default();
    let differs = |factor: &&Factor| {
        let has = |name: &str| name.split('+').any(|part| part == factor.name);
        has(name) != has(other)
    };
    let problem = format!("[ablation] makes two arms that are the same, \"{other}\" and \"{name}\"");
    let instead = "give a component that other terms are multiplied by an `instead`, or leave a factor out";
    let place = factors.iter().find(differs).map_or(&arm.place, |factor| &factor.place);
    Err(ScenarioError::at(place, problem, instead))
}
