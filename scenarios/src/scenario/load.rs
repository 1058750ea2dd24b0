//! From a file and the command line to an [`Experiment`], and back to a file.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use toml::{Table as Values, Value};

use super::overrides::{self, Override, unknown_arm};
use super::prompt::template_problem;
use super::schema::{self, ARM_KEYS};
use super::tree::{self, Content, Entry, Node, Table};
use super::{ArmConfig, ControlConfig, Experiment, PolicyPath, RunConfig, de, merge, ranges, words};
use crate::dataset::DataSource;
use crate::error::{Place, ScenarioError};

/// The rewards and the formula of a scenario that names none: the paper's (Eq. 7).
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

/// Reads a scenario file. `overrides` are the arguments of `--set`, `arms` those of `--arm` (none: all arms run),
/// `seeds` that of `--seeds`.
///
/// # Errors
/// The first mistake, in one line. What the scenario refers to (rewards, data, models) is looked at by
/// [`check`](super::check).
pub fn load(
    path: &Path,
    overrides: &[String],
    arms: &[String],
    seeds: Option<&[u64]>,
) -> Result<Experiment, ScenarioError> {
    let text = std::fs::read_to_string(path).map_err(|error| unreadable(path, &error))?;
    parse(&text, path, overrides, arms, seeds)
}

/// Reads a scenario from its text, as [`load`] does from a file; `path` is where it would stand.
///
/// # Errors
/// The first mistake, in one line.
pub fn parse(
    text: &str,
    path: &Path,
    overrides: &[String],
    arms: &[String],
    seeds: Option<&[u64]>,
) -> Result<Experiment, ScenarioError> {
    let mut layers = Layers::of(tree::parse(text, path)?)?;
    layers.apply(overrides)?;
    let mut run: RunConfig = de::read(&layers.run, &["run"])?;
    if run.name.is_empty() && layers.run.entry(&["name"]).is_none() {
        run.name =
            path.file_stem().map_or_else(|| "run".to_owned(), |stem| stem.to_string_lossy().into_owned());
    }
    if let Some(seeds) = seeds {
        run.seeds = seeds.to_vec();
        let place = Place::Argument("--seeds".to_owned());
        layers.run = with_entry(layers.run, "seeds", Node::from_value(Value::Array(Vec::new()), &place));
    }
    ranges::check_run(&run, &layers.run)?;
    let control: ControlConfig = de::read(&layers.control, &["control"])?;
    ranges::check_control(&control, &layers.control)?;

    let mut configs = Vec::new();
    for layer in &layers.arms {
        configs.push(read_arm(layer, &run, path)?);
    }
    drop_unused_weights(&mut configs, &layers.arms)?;
    let chosen = choose(&configs, arms)?;
    let (mut kept, mut places) = (Vec::new(), Vec::new());
    for (config, layer) in configs.into_iter().zip(layers.arms) {
        if chosen.is_empty() || chosen.contains(&config.name) {
            kept.push(config);
            places.push(layer);
        }
    }
    Ok(Experiment { path: path.to_owned(), run, control, arms: kept, places: Arc::new(places) })
}

impl Experiment {
    /// The scenario with every setting written out; what all arms share stands above the arms.
    pub fn to_toml(&self) -> String {
        // Every type here is made of tables, lists, numbers, texts and flags, all of which TOML has.
        let values = |config: Result<Value, toml::ser::Error>| match config {
            Ok(Value::Table(table)) => table,
            Ok(_) | Err(_) => Values::new(),
        };
        let mut arms: Vec<Values> = self.arms.iter().map(|arm| values(Value::try_from(arm))).collect();
        let mut heads: Vec<Values> = Vec::new();
        for arm in &mut arms {
            let head = ARM_KEYS.iter().filter_map(|key| Some(((*key).to_owned(), arm.remove(*key)?)));
            heads.push(
                head.filter(|(key, value)| key != "steps" || *value != steps(self.run.steps)).collect(),
            );
        }
        let shared = merge::factor(&mut arms);
        let arms = heads.into_iter().zip(arms).map(|(mut head, rest)| {
            head.extend(rest);
            Value::Table(head)
        });
        // Written part by part, so that the run comes first and the arms last.
        let part = |key: &str, value: Value| Values::from_iter([(key.to_owned(), value)]).to_string();
        [
            part("run", Value::Table(values(Value::try_from(&self.run)))),
            part("control", Value::Table(values(Value::try_from(&self.control)))),
            shared.to_string(),
            part("arm", Value::Array(arms.collect())),
        ]
        .join("\n")
    }
}

fn steps(steps: u64) -> Value {
    Value::Integer(i64::try_from(steps).unwrap_or(i64::MAX))
}

/// The parts of a scenario file, before they are read into structs.
struct Layers {
    run: Node,
    control: Node,
    /// The arms, each already laid over what all share.
    arms: Vec<Node>,
}

impl Layers {
    fn of(root: Node) -> Result<Self, ScenarioError> {
        let place = root.place.clone();
        let Content::Table(mut sections) = root.content else { return Ok(Self::nothing(place)) };
        check_section_names(&sections)?;
        let mut take = |key: &str| sections.remove(key).map(|entry| entry.node);
        let (run, control, arms) = (take("run"), take("control"), take("arm"));
        let run = one_seed(run.unwrap_or_else(|| Node::empty(place.clone())))?;
        let control = control.unwrap_or_else(|| Node::empty(place.clone()));

        let overlays = arm_overlays(arms, &run, &place)?;
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
        merge::overlay(&mut base, &written)?;
        let mut arms = Vec::new();
        for over in overlays {
            let mut arm = base.clone();
            arm.place = over.place.clone();
            merge::overlay(&mut arm, &over)?;
            arms.push(arm);
        }
        Ok(Self { run, control, arms })
    }

    fn nothing(place: Place) -> Self {
        Self { run: Node::empty(place.clone()), control: Node::empty(place), arms: Vec::new() }
    }

    /// Lays `--set` over everything; what is for one arm comes last.
    fn apply(&mut self, arguments: &[String]) -> Result<(), ScenarioError> {
        let names: Vec<String> = self.arms.iter().filter_map(arm_name).collect();
        let read: Vec<Override> =
            arguments.iter().map(|argument| overrides::parse(argument, &names)).collect::<Result<_, _>>()?;
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
                "control" => merge::overlay(&mut self.control, &entry.node)?,
                "arm" => {
                    let instead = "name the arm: --set arm.NAME.section.key=value";
                    return Err(ScenarioError::at(&entry.key_place, "`arm` is a list", instead));
                }
                _ => {
                    let laid: Vec<_> = self.arms.iter_mut().map(|arm| merge::overlay(arm, over)).collect();
                    // What is taken out need not have been in every arm.
                    if laid.iter().all(Result::is_err) {
                        laid.into_iter().collect::<Result<(), _>>()?;
                    }
                }
            }
        }
        Ok(())
    }
}

fn arm_name(arm: &Node) -> Option<String> {
    arm.entry(&["name"])?.node.to_value().as_str().map(str::to_owned)
}

/// The arms as they are written; a scenario without any has one, named after the run.
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
    let mut names = BTreeSet::new();
    for arm in &arms {
        if arm.as_table().is_none() {
            return Err(ScenarioError::at(&arm.place, "an arm is a table", instead));
        }
        check_arm_keys(arm)?;
        let Some(entry) = arm.entry(&["name"]) else {
            return Err(ScenarioError::at(&arm.place, "[[arm]] has no `name`", "add a line `name = …`"));
        };
        let Some(name) = arm_name(arm) else { continue };
        if !names.insert(name.clone()) {
            let problem = format!("there are two arms named \"{name}\"");
            return Err(ScenarioError::at(&entry.node.place, problem, "give each arm a name of its own"));
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
            .filter(|n| !["run", "control", "arm"].contains(&n.as_str()))
            .collect()
    });
    names.iter().map(String::as_str).collect()
}

/// Looks at the keys at the top of a file (or of a `--set`).
fn check_section_names(sections: &Table) -> Result<(), ScenarioError> {
    let mut known = arm_section_names();
    known.extend(["run", "control", "arm"]);
    for (key, entry) in sections {
        if known.contains(&key.as_str()) {
            continue;
        }
        let (problem, instead) = if entry.node.as_table().is_some() {
            (format!("unknown section [{key}]"), section_advice(key, &known))
        } else if ARM_KEYS.contains(&key.as_str()) && key != "steps" {
            (format!("`{key}` stands in no section"), format!("write `{key}` in an [[arm]]"))
        } else {
            (format!("`{key}` stands in no section"), de::unknown_key_advice(key, &known, &[]))
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

/// Looks at the keys of an arm.
fn check_arm_keys(arm: &Node) -> Result<(), ScenarioError> {
    let mut known = ARM_KEYS.to_vec();
    known.extend(arm_section_names());
    for (key, entry) in arm.as_table().into_iter().flatten() {
        let key = key.as_str();
        if ["run", "control"].contains(&key) {
            let problem = format!("[{key}] is for all arms together");
            let instead = format!(
                "move it out of the arm to the top (an arm may have its own `steps`, without [{key}])"
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

/// `seed = 7` as `seeds = [7]`.
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

fn with_entry(mut node: Node, key: &str, value: Node) -> Node {
    if let Content::Table(table) = &mut node.content {
        table.insert(key.to_owned(), Entry { key_place: value.place.clone(), node: value });
    }
    node
}

fn read_arm(layer: &Node, run: &RunConfig, path: &Path) -> Result<ArmConfig, ScenarioError> {
    let mut layer = layer.clone();
    if layer.entry(&["steps"]).is_none() {
        let place = layer.place.clone();
        layer = with_entry(layer, "steps", Node::from_value(steps(run.steps), &place));
    }
    let mut arm: ArmConfig = de::read(&layer, &[])?;
    read_prompt_file(&mut arm, &layer, path)?;
    anchor_paths(&mut arm, &layer, path);
    ranges::check_arm(&arm, &layer)?;
    Ok(arm)
}

/// Puts the content of `[prompt] file` into `text`, so that the resolved scenario stands by itself.
fn read_prompt_file(arm: &mut ArmConfig, layer: &Node, path: &Path) -> Result<(), ScenarioError> {
    let prompt = &mut arm.prompt;
    if let (Some(_), Some(_)) = (&prompt.file, &prompt.text) {
        let place = layer.place_of(&["prompt", "file"]);
        return Err(ScenarioError::at(place, "[prompt] has both `file` and `text`", "leave one out"));
    }
    let mut place = layer.place_of(&["prompt", "text"]);
    if let Some(file) = prompt.file.take() {
        place = layer.place_of(&["prompt", "file"]);
        let file = anchored(&file, place, path);
        let text = std::fs::read_to_string(&file).map_err(|error| {
            let problem = format!("the prompt file {} cannot be read ({error})", file.display());
            ScenarioError::at(place, problem, "write the path of a text file, from the scenario's folder")
        })?;
        prompt.text = Some(text.trim_end().to_owned());
    }
    match prompt.text.as_deref().and_then(template_problem) {
        Some((problem, instead)) => Err(ScenarioError::at(place, problem, instead)),
        None => Ok(()),
    }
}

/// Makes every path absolute: one written in the file starts from the file's folder, one from the command line from
/// the current folder.
fn anchor_paths(arm: &mut ArmConfig, layer: &Node, path: &Path) {
    if let PolicyPath::Directory(folder) = &mut arm.policy.path {
        *folder = anchored(folder, layer.place_of(&["policy", "path"]), path);
    }
    anchor_source(&mut arm.data.train, &["data", "train"], layer, path);
    for (index, suite) in arm.eval.suites.iter_mut().enumerate() {
        anchor_source(suite, &["eval", "suites", &index.to_string()], layer, path);
    }
}

fn anchor_source(source: &mut DataSource, keys: &[&str], layer: &Node, path: &Path) {
    if let DataSource::File(file) = source {
        let place = |key| layer.place_of(&[keys, &[key]].concat()).clone();
        file.path = anchored(&file.path, &place("path"), path);
        if let Some(root) = &mut file.audio_root {
            *root = anchored(root, &place("audio_root"), path);
        }
    }
}

fn anchored(relative: &Path, place: &Place, scenario: &Path) -> PathBuf {
    let from_file = matches!(place, Place::File { .. } | Place::Default(_));
    let folder = scenario.parent().filter(|_| from_file).unwrap_or(Path::new(""));
    let joined = folder.join(relative);
    std::path::absolute(&joined).unwrap_or(joined)
}

/// Takes the weights out of an arm that its formula does not name. One that no arm's formula names is a mistake.
fn drop_unused_weights(arms: &mut [ArmConfig], layers: &[Node]) -> Result<(), ScenarioError> {
    let used =
        |arm: &ArmConfig, weight: &str| ranges::formula_names(&arm.shaping.formula, &format!("w_{weight}"));
    for (arm, layer) in arms.iter().zip(layers) {
        for weight in arm.shaping.weights.keys() {
            if !arms.iter().any(|arm| arm.shaping.weights.contains_key(weight) && used(arm, weight)) {
                let place = match layer.entry(&["shaping", "weights", weight]) {
                    Some(entry) => &entry.key_place,
                    None => &layer.place,
                };
                let problem = format!("no formula uses the weight `{weight}`");
                let instead = format!("write `w_{weight}` in a formula, or leave the weight out");
                return Err(ScenarioError::at(place, problem, instead));
            }
        }
    }
    for arm in arms {
        let formula = arm.shaping.formula.clone();
        arm.shaping.weights.retain(|weight, _| ranges::formula_names(&formula, &format!("w_{weight}")));
    }
    Ok(())
}

fn choose(configs: &[ArmConfig], arms: &[String]) -> Result<BTreeSet<String>, ScenarioError> {
    let names: Vec<String> = configs.iter().map(|arm| arm.name.clone()).collect();
    for arm in arms {
        if !names.contains(arm) {
            return Err(unknown_arm(&Place::Argument(format!("--arm {arm}")), arm, &names));
        }
    }
    Ok(arms.iter().cloned().collect())
}

fn unreadable(path: &Path, error: &std::io::Error) -> ScenarioError {
    let (problem, instead) = match error.kind() {
        std::io::ErrorKind::NotFound => ("no such scenario file".to_owned(), other_files(path)),
        std::io::ErrorKind::InvalidData => {
            ("this is not a text in UTF-8".to_owned(), "write the path of a scenario file (.toml)".to_owned())
        }
        _ if path.is_dir() => ("this is a folder".to_owned(), other_files(&path.join("x"))),
        _ => (format!("cannot be read ({error})"), "make the file readable".to_owned()),
    };
    ScenarioError::File { path: path.to_owned(), problem, instead }
}

/// The scenario files beside a missing one.
fn other_files(path: &Path) -> String {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut files: Vec<String> = std::fs::read_dir(folder)
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| name.ends_with(".toml") && name != "Cargo.toml")
        .collect();
    files.sort();
    let wanted = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    match rewards::nearest(&wanted, files.iter().map(String::as_str)) {
        Some(near) => format!("did you mean {}?", path.with_file_name(near).display()),
        None if files.is_empty() => format!("there is no .toml file in {}", folder.display()),
        None => format!("the .toml files in {} are {}", folder.display(), files.join(", ")),
    }
}
