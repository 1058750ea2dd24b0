//! A factor of `[ablation]`: its levels, and the keys that it sets.

use toml::Value;

use super::component::{formula_of, names, parse};
use super::{AblationConfig, FactorConfig, MOST_ARMS};
use crate::error::{Place, ScenarioError};
use crate::scenario::tree::{Content, Node};
use crate::scenario::{merge, overrides, words};

/// The key that components change.
const FORMULA: &str = "shaping.formula";

/// A factor with its levels.
pub(super) struct Factor {
    pub(super) name: String,
    /// The place of its name.
    pub(super) place: Place,
    pub(super) effect: Effect,
    /// The names of its levels; the first is that of being off.
    pub(super) levels: Vec<String>,
    /// What it changes, for people.
    pub(super) changes: String,
    /// The keys that it sets, such as `grpo.lr`.
    pub(super) keys: Vec<String>,
}

/// What the levels of a factor do to an arm.
pub(super) enum Effect {
    /// The formula has this component, or `instead` in its place.
    Component { component: String, instead: Option<Instead> },
    /// The settings of each level.
    Settings(Vec<Node>),
}

/// What stands in the place of a component that is off.
pub(super) struct Instead {
    pub(super) formula: String,
    /// The components that it uses.
    components: Vec<String>,
}

/// The factors in the order of the file, checked one by one. `base` has the settings that all arms share.
pub(super) fn factors(
    config: &AblationConfig,
    section: &Node,
    base: &Node,
) -> Result<Vec<Factor>, ScenarioError> {
    let mut found: Vec<Factor> = Vec::new();
    for (name, config) in &config.factors {
        let Some(entry) = section.entry(&["factors", name]) else { continue };
        let good = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        if !good {
            let problem = format!("\"{name}\" is no name of a factor");
            return Err(ScenarioError::at(&entry.key_place, problem, "write letters, digits and `_`"));
        }
        found.push(factor(name, &entry.key_place, config, &entry.node, base)?);
    }
    found.sort_by_key(|factor| factor.place.position());
    for (at, factor) in found.iter().enumerate() {
        clash(factor, &found[..at])?;
    }
    Ok(found)
}

fn factor(
    name: &str,
    place: &Place,
    config: &FactorConfig,
    node: &Node,
    base: &Node,
) -> Result<Factor, ScenarioError> {
    let forms =
        [config.component.is_some(), config.on.is_some() || config.off.is_some(), config.setting.is_some()];
    if forms.iter().filter(|form| **form).count() != 1 {
        let problem = format!(
            "the factor `{name}` has {}",
            if forms.contains(&true) { "several forms" } else { "no form" }
        );
        let instead =
            "write one: component = \"…\"; on = { … } and off = { … }; or setting = \"…\" and values = [ … ]";
        return Err(ScenarioError::at(place, problem, instead));
    }
    let alone = |key: &str, with: &str| {
        let problem = format!("`{key}` of the factor `{name}` goes with `{with}`");
        Err(ScenarioError::at(
            node.place_of(&[key]),
            problem,
            format!("write `{with}` beside it, or leave it out"),
        ))
    };
    if config.instead.is_some() && config.component.is_none() {
        return alone("instead", "component");
    }
    if !config.values.is_empty() && config.setting.is_none() {
        return alone("values", "setting");
    }
    let two = || vec!["off".to_owned(), "on".to_owned()];
    let (effect, levels, changes) = if let Some(component) = &config.component {
        let instead = check_component(name, component, config.instead.as_deref(), node, base)?;
        let changes = match &instead {
            Some(instead) => format!("{component} in the formula, else {}", instead.formula),
            None => format!("{component} in the formula"),
        };
        (Effect::Component { component: component.clone(), instead }, two(), changes)
    } else if let Some(setting) = &config.setting {
        let (settings, levels) = values(name, setting, config, node)?;
        let changes = format!("{setting} = {}", levels.join(" or "));
        (Effect::Settings(settings), levels, changes)
    } else {
        let level = |key: &str| node.at(&[key]).cloned().unwrap_or_else(|| Node::empty(node.place.clone()));
        let settings = vec![level("off"), level("on")];
        let told = |level: usize, what: &str| {
            let set: Vec<String> =
                leaves(&settings[level]).iter().map(|(key, value)| format!("{key} = {value}")).collect();
            (!set.is_empty()).then(|| format!("{what}: {}", set.join(", ")))
        };
        let changes = [told(1, "on"), told(0, "off")].into_iter().flatten().collect::<Vec<_>>().join("; ");
        (Effect::Settings(settings), two(), changes)
    };
    let keys = match &effect {
        Effect::Component { .. } => vec![FORMULA.to_owned()],
        Effect::Settings(settings) => {
            let mut keys: Vec<String> = settings.iter().flat_map(leaves).map(|(key, _)| key).collect();
            keys.sort();
            keys.dedup();
            keys
        }
    };
    if keys.is_empty() {
        return Err(ScenarioError::at(
            place,
            format!("the factor `{name}` changes nothing"),
            "write settings, such as on = { grpo.lr = 1e-4 }",
        ));
    }
    Ok(Factor { name: name.to_owned(), place: place.clone(), effect, levels, changes, keys })
}

fn check_component(
    name: &str,
    component: &str,
    instead: Option<&str>,
    node: &Node,
    base: &Node,
) -> Result<Option<Instead>, ScenarioError> {
    let formula = formula_of(base)?;
    if !formula.uses(component) {
        let problem =
            format!("`component` of the factor `{name}` is \"{component}\", which the formula does not use");
        let advice = words::name_advice(component, formula.component_names(), "it uses");
        return Err(ScenarioError::at(node.place_of(&["component"]), problem, advice));
    }
    let Some(instead) = instead else { return Ok(None) };
    let at = node.place_of(&["instead"]);
    match parse(base, instead) {
        Err(error) => {
            let known = names(base, &["rewards"]).join(", ");
            let problem = format!("`instead` of the factor `{name}`: {error}");
            let (problem, advice) = match problem.split_once("; ") {
                Some((problem, advice)) => (problem.to_owned(), advice.to_owned()),
                None => (problem, format!("write a formula of {known}")),
            };
            Err(ScenarioError::at(at, problem, advice))
        }
        Ok(found) if found.uses(component) => {
            let problem = format!("`instead` of the factor `{name}` uses {component} itself");
            Err(ScenarioError::at(at, problem, "write what stands in its place"))
        }
        Ok(found) => Ok(Some(Instead {
            formula: instead.to_owned(),
            components: found.component_names().map(str::to_owned).collect(),
        })),
    }
}

/// The settings and the names of the levels of a factor with values.
fn values(
    name: &str,
    setting: &str,
    config: &FactorConfig,
    node: &Node,
) -> Result<(Vec<Node>, Vec<String>), ScenarioError> {
    let wrong = |key: &str, problem: String, instead: &str| {
        Err(ScenarioError::at(node.place_of(&[key]), problem, instead))
    };
    let keys: Vec<&str> = setting.split('.').map(str::trim).collect();
    if keys.iter().any(|key| key.is_empty()) {
        return wrong(
            "setting",
            format!("`setting` of the factor `{name}` is no key"),
            "write one such as \"grpo.lr\"",
        );
    }
    if !(2..=MOST_ARMS).contains(&config.values.len()) {
        let problem = format!("`values` of the factor `{name}` has {}", config.values.len());
        return wrong("values", problem, "write two or more, at most 64");
    }
    let Some(Content::Array(written)) = node.at(&["values"]).map(|node| &node.content) else {
        return wrong("values", format!("`values` of the factor `{name}` is no list"), "write a list");
    };
    let levels: Vec<String> = config.values.iter().map(value_name).collect();
    for (at, level) in levels.iter().enumerate() {
        if levels[..at].contains(level) {
            let problem = format!("`values` of the factor `{name}` has {level} twice");
            return Err(ScenarioError::at(&written[at].place, problem, "leave one out"));
        }
    }
    let settings =
        written.iter().map(|value| overrides::nested(&keys, value.to_value(), &value.place)).collect();
    Ok((settings, levels))
}

/// A value as levels are named: a text without its quotes.
fn value_name(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Float(number) => format!("{number:?}"),
        other => other.to_string(),
    }
}

/// The keys that a tree of settings sets, with their values. What is replaced as a whole counts as one key.
fn leaves(settings: &Node) -> Vec<(String, String)> {
    fn collect(node: &Node, path: &mut Vec<String>, found: &mut Vec<(String, String)>) {
        match node.as_table() {
            Some(table) if !merge::is_one_value(path) => {
                for (key, entry) in table {
                    path.push(key.clone());
                    collect(&entry.node, path, found);
                    path.pop();
                }
            }
            _ => found.push((path.join("."), node.to_value().to_string())),
        }
    }
    let mut found = Vec::new();
    collect(settings, &mut Vec::new(), &mut found);
    found
}

/// Whether two keys are the same, or one is inside the other.
pub(super) fn overlap(a: &str, b: &str) -> bool {
    let inside = |inner: &str, outer: &str| {
        inner.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    };
    inside(a, b) || inside(b, a)
}

/// Checks that a factor and those above it set different things (ABLATION-2).
fn clash(factor: &Factor, above: &[Factor]) -> Result<(), ScenarioError> {
    for other in above {
        let (mine, theirs) = (&factor.effect, &other.effect);
        if let (
            Effect::Component { component: a, instead: x },
            Effect::Component { component: b, instead: y },
        ) = (mine, theirs)
        {
            if a == b {
                let problem =
                    format!("the factors `{}` and `{}` have the same component", other.name, factor.name);
                return Err(ScenarioError::at(&factor.place, problem, "leave one of them out"));
            }
            let stands_in = |instead: &Option<Instead>, component: &String| {
                instead.as_ref().is_some_and(|instead| instead.components.contains(component))
            };
            if stands_in(x, b) || stands_in(y, a) {
                let problem = format!(
                    "`instead` of one of the factors `{}` and `{}` uses the component of the other",
                    other.name, factor.name
                );
                return Err(ScenarioError::at(&factor.place, problem, "write `instead` without it"));
            }
            continue;
        }
        let shared = factor.keys.iter().find(|key| other.keys.iter().any(|theirs| overlap(key, theirs)));
        if let Some(key) = shared {
            let problem = format!("the factors `{}` and `{}` both set {key}", other.name, factor.name);
            let instead = if overlap(key, FORMULA) {
                "write both as components of the formula (`component`), or leave one of them out"
            } else {
                "let one of them set it"
            };
            return Err(ScenarioError::at(&factor.place, problem, instead));
        }
    }
    Ok(())
}
