//! Reads the alarms of all arms: writes the vetted ones out, leaves out those that do not concern an arm, and checks the
//! rest (ALARM-1, ALARM-2).

use toml::{Table as Values, Value};
use wildmatch::WildMatch;

use super::super::tree::{Content, Node};
use super::super::words::name_advice;
use super::super::{ArmConfig, Method};
use super::action::AlarmAction;
use super::condition::AlarmCondition;
use super::mistake::Mistake;
use super::names::Names;
use super::vetted::VETTED;
use super::{AlarmConfig, AlarmTexts};
use crate::error::{Place, ScenarioError};

impl AlarmConfig {
    /// Its condition in an arm.
    ///
    /// Errors: It can't be read, or names a number that the arm does not have.
    pub fn condition(&self, arm: &ArmConfig) -> Result<AlarmCondition, ScenarioError> {
        AlarmCondition::parse(&self.when, &Names::of(arm)).map_err(value_error)
    }

    /// What it does.
    ///
    /// Errors: A text of `then` can't be read.
    pub fn actions(&self) -> Result<Vec<AlarmAction>, ScenarioError> {
        self.then.0.iter().map(|text| AlarmAction::parse(text).map_err(value_error)).collect()
    }

    /// The name of the arm that it forks an arm into, under one of `seeds` seeds.
    pub fn fork_of(&self, arm: &str, seed: u64, seeds: usize) -> String {
        let name = self.fork_name.clone().unwrap_or_else(|| format!("{arm}-{}", self.name));
        if seeds > 1 { format!("{name}-seed-{seed}") } else { name }
    }

    fn watches(&self, arm: &str) -> bool {
        let matches = |pattern: &str| WildMatch::new(pattern).matches(arm);
        let (out, chosen): (Vec<&String>, Vec<&String>) =
            self.arms.iter().partition(|pattern| pattern.starts_with('!'));
        (chosen.is_empty() || chosen.iter().any(|pattern| matches(pattern)))
            && !out.iter().any(|pattern| matches(&pattern[1..]))
    }
}

fn value_error(mistake: Mistake) -> ScenarioError {
    ScenarioError::value(mistake.problem, mistake.instead)
}

/// An alarm of an arm, and the table it was read from.
struct Written<'a> {
    alarm: AlarmConfig,
    table: &'a Node,
}

impl Written<'_> {
    fn at(&self, key: &str, problem: String, instead: impl Into<String>) -> ScenarioError {
        ScenarioError::at(self.table.place_of(&[key]), problem, instead)
    }

    /// The error of a text at `key`, at its column if the text stands in a file.
    fn mistake(&self, key: &[&str], text: &str, mistake: Mistake) -> ScenarioError {
        let place = match self.table.place_of(key) {
            Place::File { path, line, column } if self.table.at(key).is_some() && !text.contains('\n') => {
                Place::File { path: path.clone(), line: *line, column: column + mistake.column }
            }
            place => place.clone(),
        };
        let problem = format!("`{}` of the alarm \"{}\": {}", key[0], self.alarm.name, mistake.problem);
        ScenarioError::at(&place, problem, mistake.instead)
    }
}

/// An alarm of an arm that names a number which the arm does not have.
struct Unknown {
    alarm: String,
    /// How many the arm has.
    numbers: usize,
    error: ScenarioError,
}

/// Puts the alarms of each arm in the form in which they are evaluated.
///
/// Errors: The first mistake, at its place.
pub(in super::super) fn settle(arms: &mut [ArmConfig], places: &[Node]) -> Result<(), ScenarioError> {
    let names: Vec<String> = arms.iter().map(|arm| arm.name.clone()).collect();
    let mut settled: Vec<Vec<AlarmConfig>> = Vec::new();
    // An alarm whose numbers one arm lacks is left out there, if another arm has them.
    let mut unknown: Vec<Unknown> = Vec::new();
    for (arm, tree) in arms.iter().zip(places) {
        let mut alarms: Vec<AlarmConfig> = Vec::new();
        for written in written(arm, tree)? {
            check_patterns(&written, &names)?;
            if !written.alarm.watches(&arm.name) || arm.method == Method::None {
                continue;
            }
            if alarms.iter().any(|other| other.name == written.alarm.name) {
                let problem = format!("there are two alarms named \"{}\"", written.alarm.name);
                return Err(written.at(
                    "name",
                    problem,
                    "give each a name of its own, or leave it out of `vetted` with \"!NAME\"",
                ));
            }
            match check(&written, arm)? {
                // From here on it is an alarm of this arm, whatever other arms are called.
                None => alarms.push(AlarmConfig { arms: Vec::new(), ..written.alarm }),
                Some(error) => {
                    let numbers = Names::of(arm).all().len();
                    unknown.push(Unknown { alarm: written.alarm.name, numbers, error });
                }
            }
        }
        settled.push(alarms);
    }
    unknown.retain(|unknown| settled.iter().flatten().all(|alarm| alarm.name != unknown.alarm));
    // The arm with the most numbers has the best advice.
    if let Some(Unknown { error, .. }) = unknown.into_iter().max_by_key(|unknown| unknown.numbers) {
        return Err(error);
    }
    for (arm, alarms) in arms.iter_mut().zip(settled) {
        arm.alarm = alarms;
    }
    Ok(())
}

/// The alarms of an arm, the vetted ones written out.
fn written<'a>(arm: &ArmConfig, tree: &'a Node) -> Result<Vec<Written<'a>>, ScenarioError> {
    let nodes: &[Node] = match tree.entry(&["alarm"]).map(|entry| &entry.node.content) {
        Some(Content::Array(nodes)) => nodes,
        _ => &[],
    };
    let mut all = Vec::new();
    for (alarm, table) in arm.alarm.iter().zip(nodes) {
        let written = Written { alarm: alarm.clone(), table };
        if alarm.vetted.0.is_empty() {
            all.push(written);
            continue;
        }
        if !alarm.when.is_empty() || !alarm.name.is_empty() {
            let key = if alarm.when.is_empty() { "name" } else { "when" };
            let problem = format!("[[alarm]] has both `vetted` and `{key}`");
            return Err(written.at(key, problem, "write two [[alarm]] tables"));
        }
        for name in chosen_vetted(&written)? {
            let vetted = VETTED.iter().find(|vetted| vetted.name == name);
            let Some(vetted) = vetted.filter(|vetted| vetted.applies_to(arm)) else { continue };
            let message =
                if alarm.message.is_empty() { vetted.message.to_owned() } else { alarm.message.clone() };
            let (name, when) = (vetted.name.to_owned(), vetted.when.to_owned());
            let alarm = AlarmConfig { name, when, message, vetted: AlarmTexts::default(), ..alarm.clone() };
            all.push(Written { alarm, table });
        }
    }
    Ok(all)
}

/// The names that `vetted` chooses, in the order of the list of vetted alarms.
fn chosen_vetted(written: &Written<'_>) -> Result<Vec<&'static str>, ScenarioError> {
    let texts = &written.alarm.vetted.0;
    for text in texts {
        let name = text.strip_prefix('!').unwrap_or(text);
        if text != "all" && VETTED.iter().all(|vetted| vetted.name != name) {
            let known = VETTED.iter().map(|vetted| vetted.name).chain(["all"]);
            let advice = name_advice(name, known, "they are");
            return Err(written.at("vetted", format!("there is no vetted alarm `{name}`"), advice));
        }
    }
    let all = texts.iter().any(|text| text == "all") || texts.iter().all(|text| text.starts_with('!'));
    let chosen = |name: &&str| {
        (all || texts.iter().any(|text| text == name))
            && !texts.iter().any(|text| text.strip_prefix('!') == Some(name))
    };
    Ok(VETTED.iter().map(|vetted| vetted.name).filter(chosen).collect())
}

fn check_patterns(written: &Written<'_>, names: &[String]) -> Result<(), ScenarioError> {
    for pattern in &written.alarm.arms {
        let bare = pattern.trim_start_matches('!');
        if !bare.contains(['*', '?']) && !names.iter().any(|name| name == bare) {
            let known = names.iter().map(String::as_str);
            let advice = name_advice(bare, known, "the arms are");
            return Err(written.at("arms", format!("there is no arm `{bare}`"), advice));
        }
    }
    Ok(())
}

/// Checks an alarm of an arm. Returns the error of a number that this arm does not have.
fn check(written: &Written<'_>, arm: &ArmConfig) -> Result<Option<ScenarioError>, ScenarioError> {
    let alarm = &written.alarm;
    if alarm.name.trim().is_empty() {
        return Err(written.at(
            "name",
            "[[alarm]] has no `name`".into(),
            "add a line `name = …`, or `vetted = \"all\"`",
        ));
    }
    let good = |c: char| c.is_alphanumeric() || "_-.+".contains(c);
    if alarm.name.chars().count() > 60 || !alarm.name.chars().all(good) {
        let problem = format!("`name` in [[alarm]] is {:?}", alarm.name);
        return Err(written.at("name", problem, "write up to 60 letters, digits and - _ . +"));
    }
    if alarm.when.is_empty() {
        return Err(written.at(
            "when",
            format!("the alarm \"{}\" has no `when`", alarm.name),
            "add a line `when = …`",
        ));
    }
    if let Err(mistake) = AlarmCondition::parse(&alarm.when, &Names::of(arm)) {
        let is_unknown_number = mistake.is_unknown_number;
        let error = written.mistake(&["when"], &alarm.when, mistake);
        return if is_unknown_number { Ok(Some(error)) } else { Err(error) };
    }
    check_actions(written, arm)?;
    if alarm.recheck_every == 0 {
        return Err(written.at(
            "recheck_every",
            "`recheck_every` in [[alarm]] is 0".into(),
            "write 1 or more",
        ));
    }
    Ok(None)
}

fn check_actions(written: &Written<'_>, arm: &ArmConfig) -> Result<(), ScenarioError> {
    let alarm = &written.alarm;
    let mut actions = Vec::new();
    for (place, text) in alarm.then.0.iter().enumerate() {
        let index = place.to_string();
        let key: Vec<&str> =
            if written.table.at(&["then", &index]).is_some() { vec!["then", &index] } else { vec!["then"] };
        let action = AlarmAction::parse(text).and_then(|action| action.check(arm).map(|()| action));
        actions.push(action.map_err(|mistake| written.mistake(&key, text, mistake))?);
    }
    let forks = actions.contains(&AlarmAction::Fork);
    if !forks && (alarm.fork_name.is_some() || !alarm.set.is_empty()) {
        let key = if alarm.set.is_empty() { "as" } else { "set" };
        let problem = format!("`{key}` of the alarm \"{}\" is about a fork, and `then` has none", alarm.name);
        return Err(written.at(key, problem, "write \"fork\" in `then`, or leave it out"));
    }
    let posts = actions.contains(&AlarmAction::Webhook);
    match (posts, &alarm.url, &alarm.url_env) {
        (true, None, None) => {
            let problem = format!("the alarm \"{}\" has a webhook without an address", alarm.name);
            Err(written.at(
                "then",
                problem,
                "add `url = \"https://…\"`, or `url_env` with the name of a variable that has it",
            ))
        }
        (true, Some(_), Some(_)) => {
            Err(written.at("url_env", "[[alarm]] has both `url` and `url_env`".into(), "leave one out"))
        }
        (true, Some(url), None) if !(url.starts_with("http://") || url.starts_with("https://")) => {
            Err(written.at(
                "url",
                format!("`url` in [[alarm]] is {url:?}"),
                "write an address that begins with http:// or https://",
            ))
        }
        (true, Some(url), None) if url.contains(['@', '?', '#']) => {
            let instead = "put it into an environment variable, and its name into `url_env`";
            Err(written.at("url", "`url` in [[alarm]] may contain a key".into(), instead))
        }
        (true, None, Some(name))
            if !name.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_') =>
        {
            let instead = "write the name of an environment variable, such as ALARM_URL; the address itself is not written to a file";
            Err(written.at("url_env", "`url_env` in [[alarm]] is not the name of a variable".into(), instead))
        }
        (false, Some(_), _) | (false, _, Some(_)) => {
            let key = if alarm.url.is_some() { "url" } else { "url_env" };
            let problem =
                format!("`{key}` of the alarm \"{}\" is about a webhook, and `then` has none", alarm.name);
            Err(written.at(key, problem, "write \"webhook\" in `then`, or leave it out"))
        }
        _ => Ok(()),
    }
}

/// What a fork has to write in a resolved scenario, since it is read over its parent (FORK-1): that it has no alarm, if its
/// parent has some.
pub(in super::super) fn with_empty_list(values: &mut Values, fork: &ArmConfig, arms: &[ArmConfig]) {
    let parent = fork.fork.as_ref().and_then(|fork| arms.iter().find(|arm| arm.name == fork.arm));
    if fork.alarm.is_empty() && parent.is_some_and(|parent| !parent.alarm.is_empty()) {
        values.insert("alarm".to_owned(), Value::Array(Vec::new()));
    }
}

#[cfg(test)]
mod tests;
