//! Merges the layers of a scenario: shared settings, arms, command line.

use std::path::PathBuf;

use toml::Value;

use super::overrides::{self, Override};
use super::schema::{self, ARM_KEYS};
use super::tree::{self, Content, Entry, Node, Table};
use super::{JudgeConfig, ablation, de, fork, merge, words};
use crate::error::{Place, ScenarioError};

/// The rewards and the formula of a scenario that defines none: Eq. 7 of arXiv 2508.08039v3.
const PAPER_REWARDS: &str = r#"
[rewards]
adaptive_think = { kind = "adaptive-think" }
consistency = { kind = "consistency" }
format = { kind = "format" }
think = { kind = "think" }
[shaping]
formula = "adaptive_think * (1 + w_consistency * consistency) + w_format * format + w_think * think"
weights = { consistency = 0.5, format = 0.5, think = 1.0 }
"#;

/// What applies to all arms, and the arms themselves.
const TOP_LEVEL: [&str; 10] =
    ["run", "memory", "control", "tracking", "storage", "traces", "ablation", "design", "arm", "hypothesis"];

/// The trees of a scenario, before they are read into structs.
pub(crate) struct Layers {
    pub(crate) run: Node,
    pub(crate) memory: Node,
    pub(crate) control: Node,
    pub(crate) tracking: Node,
    pub(crate) storage: Node,
    pub(crate) traces: Node,
    /// The list of hypotheses, as it is written.
    pub(crate) hypotheses: Option<Node>,
    /// The arms, each merged over the shared settings.
    pub(crate) arms: Vec<Node>,
    /// What `[ablation]` was made into; its arms are among the others.
    pub(crate) expanded: Option<ablation::Expanded>,
    /// `[design]`, as it is written.
    pub(crate) design: Option<Node>,
}

impl Layers {
    pub(crate) fn of(root: Node) -> Result<Self, ScenarioError> {
        let place = root.place.clone();
        let Content::Table(mut sections) = root.content else { return Ok(Self::nothing(place)) };
        check_section_names(&sections)?;
        let mut take = |key: &str| sections.remove(key).map(|entry| entry.node);
        let (run, control, arms) = (take("run"), take("control"), take("arm"));
        let (tracking, hypotheses) = (take("tracking"), take("hypothesis"));
        let (storage, traces, memory) = (take("storage"), take("traces"), take("memory"));
        let (ablation, design) = (take("ablation"), take("design"));
        if let (Some(_), Some(design)) = (&ablation, &design) {
            let instead = "leave [design] out, which [ablation] makes";
            return Err(ScenarioError::at(&design.place, "there are both [ablation] and [design]", instead));
        }
        let run = one_seed(run.unwrap_or_else(|| Node::empty(place.clone())))?;
        let memory = memory.unwrap_or_else(|| Node::empty(place.clone()));
        let control = control.unwrap_or_else(|| Node::empty(place.clone()));
        let tracking = tracking.unwrap_or_else(|| Node::empty(place.clone()));
        let storage = storage.unwrap_or_else(|| Node::empty(place.clone()));
        let traces = traces.unwrap_or_else(|| Node::empty(place.clone()));

        let overlays = match (&arms, &ablation) {
            (None, Some(_)) => Vec::new(),
            _ => arm_overlays(arms, &run, &place)?,
        };
        let mut base = Node::empty(place.clone());
        let names_rewards =
            |node: &Node| ["rewards", "shaping"].iter().any(|key| node.entry(&[key]).is_some());
        let written = Node { place: place.clone(), content: Content::Table(sections) };
        if !names_rewards(&written) && !overlays.iter().any(names_rewards) {
            let path = match &place {
                Place::File { path, .. } => path.clone(),
                Place::Argument(_) | Place::Default(_) => PathBuf::new(),
            };
            let paper = tree::parse(PAPER_REWARDS, &path)?.to_value();
            base = Node::from_value(paper, &Place::Default(path));
        }
        // Read by itself too, since an arm with another `kind` would hide its mistakes.
        if let Some(judge) = written.entry(&["judge"]) {
            de::read::<JudgeConfig>(&judge.node, &["judge"])?;
        }
        merge::overlay(&mut base, &written)?;
        let mut expanded = ablation.as_ref().map(|section| expand(section, &base)).transpose()?;
        let mut designed =
            expanded.as_mut().map(|expanded| std::mem::take(&mut expanded.arms)).unwrap_or_default();
        let below = |over: &Node| {
            ablation.as_ref().is_some_and(|section| section.place.position() < over.place.position())
        };
        let mut arms = Vec::new();
        for over in overlays {
            // The arms of [ablation] are where it is in the file, so that an arm below can be a fork of one of them.
            if below(&over) {
                arms.append(&mut designed);
            }
            let mut arm = fork::inherited(&over, &arms)?.unwrap_or_else(|| base.clone());
            arm.place = over.place.clone();
            merge::overlay(&mut arm, &over)?;
            arms.push(arm);
        }
        arms.append(&mut designed);
        Ok(Self { run, memory, control, tracking, storage, traces, hypotheses, arms, expanded, design })
    }

    fn nothing(place: Place) -> Self {
        Self {
            run: Node::empty(place.clone()),
            memory: Node::empty(place.clone()),
            control: Node::empty(place.clone()),
            tracking: Node::empty(place.clone()),
            storage: Node::empty(place.clone()),
            traces: Node::empty(place),
            hypotheses: None,
            arms: Vec::new(),
            expanded: None,
            design: None,
        }
    }

    /// Merges the settings of `--set` over all layers; those for a single arm come last.
    pub(crate) fn apply(&mut self, arguments: &[String]) -> Result<(), ScenarioError> {
        let names: Vec<String> = self.arms.iter().filter_map(arm_name).collect();
        let mut read: Vec<Override> =
            arguments.iter().map(|argument| overrides::parse(argument, &names)).collect::<Result<_, _>>()?;
        // A change of kind drops keys of the old kind, so it has to come before keys of the new one.
        read.sort_by_key(|over| !over.is_tag);
        if let Some(expanded) = &self.expanded {
            read.iter().try_for_each(|over| expanded.check_override(over.arm.as_deref(), &over.tree))?;
        }
        for over in read.iter().filter(|over| over.arm.is_none()) {
            self.apply_to_all(&over.tree)?;
        }
        for over in &read {
            let Some(name) = &over.arm else { continue };
            for arm in self.arms.iter_mut().filter(|arm| arm_name(arm).as_ref() == Some(name)) {
                check_arm_keys(&over.tree)?;
                merge::overlay(arm, &over.tree)?;
            }
        }
        Ok(())
    }

    fn apply_to_all(&mut self, over: &Node) -> Result<(), ScenarioError> {
        let Some(table) = over.as_table() else { return Ok(()) };
        check_section_names(table)?;
        for (key, entry) in table {
            match key.as_str() {
                "run" => merge::overlay(&mut self.run, &one_seed(entry.node.clone())?)?,
                "memory" => merge::overlay(&mut self.memory, &entry.node)?,
                "control" => merge::overlay(&mut self.control, &entry.node)?,
                "tracking" => merge::overlay(&mut self.tracking, &entry.node)?,
                "storage" => merge::overlay(&mut self.storage, &entry.node)?,
                "traces" => merge::overlay(&mut self.traces, &entry.node)?,
                "arm" => {
                    let instead = "name the arm: --set arm.NAME.section.key=value";
                    return Err(ScenarioError::at(&entry.key_place, "`arm` is a list", instead));
                }
                "hypothesis" => {
                    let instead = "write it into the scenario, above the first run";
                    return Err(ScenarioError::at(&entry.key_place, "`hypothesis` is a list", instead));
                }
                "ablation" | "design" => {
                    let problem = format!("[{key}] can't be set on the command line");
                    return Err(ScenarioError::at(&entry.key_place, problem, "write it into the scenario"));
                }
                _ => {
                    let laid: Vec<_> = self.arms.iter_mut().map(|arm| merge::overlay(arm, over)).collect();
                    // A reward that is removed need not be in every arm.
                    if laid.iter().all(Result::is_err) {
                        laid.into_iter().collect::<Result<(), _>>()?;
                    }
                }
            }
        }
        Ok(())
    }
}

/// Makes the arms of `[ablation]`, whose factors may set what an arm may.
fn expand(section: &Node, base: &Node) -> Result<ablation::Expanded, ScenarioError> {
    for (name, factor) in section.at(&["factors"]).and_then(Node::as_table).into_iter().flatten() {
        for level in ["on", "off"] {
            let Some(settings) = factor.node.at(&[level]) else { continue };
            check_arm_keys(settings)?;
            for key in ["name", "fork"] {
                if let Some(entry) = settings.entry(&[key]) {
                    let problem = format!("the factor `{name}` sets `{key}`");
                    return Err(ScenarioError::at(&entry.key_place, problem, "leave it out"));
                }
            }
        }
    }
    ablation::expand(section, base)
}

fn arm_name(arm: &Node) -> Option<String> {
    arm.entry(&["name"])?.node.to_value().as_str().map(str::to_owned)
}

/// The arms as they are written. A scenario without arms gets one with the name of the run.
fn arm_overlays(arms: Option<Node>, run: &Node, root: &Place) -> Result<Vec<Node>, ScenarioError> {
    let Some(arms) = arms else {
        let name =
            run.entry(&["name"]).map_or(Value::String("main".to_owned()), |entry| entry.node.to_value());
        return Ok(vec![with_entry(Node::empty(root.clone()), "name", Node::from_value(name, root))]);
    };
    let instead = "write [[arm]], in double brackets, above each arm";
    let Content::Array(arms) = arms.content else {
        return Err(ScenarioError::at(&arms.place, "`arm` is not a list", instead));
    };
    if arms.is_empty() {
        return Err(ScenarioError::at(root, "the list of arms is empty", instead));
    }
    for arm in &arms {
        if arm.as_table().is_none() {
            return Err(ScenarioError::at(&arm.place, "an arm is a table", instead));
        }
        check_arm_keys(arm)?;
        if arm.entry(&["name"]).is_none() {
            return Err(ScenarioError::at(&arm.place, "[[arm]] has no `name`", "add a line `name = …`"));
        }
    }
    Ok(arms)
}

fn arm_section_names() -> Vec<&'static str> {
    static NAMES: std::sync::OnceLock<Vec<String>> = std::sync::OnceLock::new();
    let names = NAMES.get_or_init(|| {
        let schema = schema::json_schema();
        let properties = schema["properties"].as_object().cloned().unwrap_or_default();
        properties
            .into_iter()
            .map(|(name, _)| name)
            .filter(|name| !TOP_LEVEL.contains(&name.as_str()))
            .collect()
    });
    names.iter().map(String::as_str).collect()
}

/// Checks the keys at the top level of a file or of a `--set`.
fn check_section_names(sections: &Table) -> Result<(), ScenarioError> {
    let mut known = arm_section_names();
    known.extend(TOP_LEVEL);
    for (key, entry) in sections {
        if known.contains(&key.as_str()) {
            continue;
        }
        let (problem, instead) = if entry.node.as_table().is_some() {
            (format!("unknown section [{key}]"), section_advice(key, &known))
        } else if ARM_KEYS.contains(&key.as_str()) && key != "steps" {
            (format!("`{key}` is in no section"), format!("write `{key}` in an [[arm]]"))
        } else {
            (format!("`{key}` is in no section"), de::unknown_key_advice(key, &known, &[]))
        };
        return Err(ScenarioError::at(&entry.key_place, problem, instead));
    }
    Ok(())
}

fn section_advice(key: &str, known: &[&str]) -> String {
    match rewards::nearest(key, known.iter().copied()) {
        Some(near) => format!("did you mean [{near}]?"),
        None => format!("the sections are {}", known.join(", ")),
    }
}

/// Checks the keys of an arm.
fn check_arm_keys(arm: &Node) -> Result<(), ScenarioError> {
    let mut known = ARM_KEYS.to_vec();
    known.extend(arm_section_names());
    for (key, entry) in arm.as_table().into_iter().flatten() {
        let key = key.as_str();
        if key != "arm" && TOP_LEVEL.contains(&key) {
            let problem = format!("[{key}] applies to all arms");
            let instead = format!(
                "move it out of the arm to the top level (an arm may have its own `steps`, without [{key}])"
            );
            return Err(ScenarioError::at(&entry.key_place, problem, instead));
        }
        if !known.contains(&key) {
            let instead = if entry.node.as_table().is_some() {
                words::name_advice(key, known, "an arm may have")
            } else {
                de::unknown_key_advice(key, &known, &[])
            };
            return Err(ScenarioError::at(
                &entry.key_place,
                format!("unknown key `{key}` in [[arm]]"),
                instead,
            ));
        }
    }
    Ok(())
}

/// Turns `seed = 7` into `seeds = [7]`.
fn one_seed(mut run: Node) -> Result<Node, ScenarioError> {
    let Content::Table(table) = &mut run.content else { return Ok(run) };
    let Some(mut entry) = table.remove("seed") else { return Ok(run) };
    if table.contains_key("seeds") {
        return Err(ScenarioError::at(
            &entry.key_place,
            "[run] has both `seed` and `seeds`",
            "leave one out",
        ));
    }
    if !matches!(entry.node.content, Content::Array(_)) {
        entry.node = Node { place: entry.node.place.clone(), content: Content::Array(vec![entry.node]) };
    }
    table.insert("seeds".to_owned(), entry);
    Ok(run)
}

/// The node with this entry added or replaced.
pub(crate) fn with_entry(mut node: Node, key: &str, value: Node) -> Node {
    if let Content::Table(table) = &mut node.content {
        table.insert(key.to_owned(), Entry { key_place: value.place.clone(), node: value });
    }
    node
}
