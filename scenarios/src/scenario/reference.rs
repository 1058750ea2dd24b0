//! The reference of scenario files, `docs/scenario.md`, is rendered from their JSON Schema.
//!
//! A section of the file becomes a heading with a table of its keys; a table inside a section (`[policy.lora]`) becomes
//! a section of its own, below it. Types and descriptions come from [`json_schema`]; defaults come from the schema or,
//! where it has none, from an arm in which nothing is set.
//!
//! - REFERENCE-1 every key of the schema is in the text, with its description: nothing is written by hand.
//! - REFERENCE-2 the committed `docs/scenario.md` is this text; a test compares the two.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::ablation::AblationConfig;
use super::{
    ArmConfig, ControlConfig, MemoryConfig, RunConfig, StorageConfig, TracesConfig, TrackingConfig,
    json_schema,
};
use cell::{code, meaning, one_line, row, toml_text, type_text};
use shape::{Holds, Shape};

mod cell;
mod shape;

const INTRODUCTION: &str = "\
# Scenario reference

<!-- Generated from the JSON Schema. Edit the doc comments in scenarios/src/scenario/, then run
     UPDATE_SCHEMA=1 cargo test -p scenarios committed -->

Every key of a scenario file, in the order of `scenarios/scenario.schema.json`. Every key has a default unless it says
*required* or *not set*.

- A section that stands above the arms is shared by all of them. An `[[arm]]` may contain every section but `[run]`, `[memory]`,
  `[control]`, `[tracking]`, `[storage]`, `[traces]`, `[ablation]` and `[design]`, and overrides the shared keys one by one: `grpo.lr = 3e-4` inside an arm changes that key only. Replaced as a
  whole are lists, `[prompt]`, a data source, and a reward whose `kind` changes.
- `[ablation]` makes arms of factors ([ablation.md](ablation.md)). A file without it and without `[[arm]]` has one arm, named after the run. A file that sets neither `[rewards]` nor `[shaping]` gets the
  paper's rewards and formula (Eq. 7).
- Paths in a file start from the file's folder; paths in `--set` start from the current directory. `run.out` always starts from
  the current directory.
- `--set section.key=value` overrides a key in all arms, `--set arm.NAME.section.key=value` in one.
- `sandbox SCENARIO --dry-run` prints the scenario with every key resolved; `sandbox check SCENARIO` checks it.

Related: [rewards.md](rewards.md) for the options of the built-in rewards and the formula, [plugins.md](plugins.md) for rewards in
other languages, [data.md](data.md) for data files.
";

/// The reference of scenario files, in Markdown.
///
/// ```
/// assert!(scenarios::scenario_reference().contains("\n## `[grpo]`\n"));
/// ```
pub fn scenario_reference() -> String {
    render(&json_schema(), &defaults())
}

/// A scenario in which nothing is set, section by section.
fn defaults() -> Value {
    let arm = json!({ "name": "", "steps": RunConfig::default().steps });
    let arm = serde_json::from_value::<ArmConfig>(arm).ok();
    let mut defaults = serde_json::to_value(arm).unwrap_or_default();
    defaults["arm"] = json!({ "method": defaults["method"] });
    defaults["run"] = serde_json::to_value(RunConfig::default()).unwrap_or_default();
    defaults["memory"] = serde_json::to_value(MemoryConfig::default()).unwrap_or_default();
    defaults["control"] = serde_json::to_value(ControlConfig::default()).unwrap_or_default();
    defaults["ablation"] = serde_json::to_value(AblationConfig::default()).unwrap_or_default();
    defaults["tracking"] = serde_json::to_value(TrackingConfig::default()).unwrap_or_default();
    defaults["storage"] = serde_json::to_value(StorageConfig::default()).unwrap_or_default();
    defaults["traces"] = serde_json::to_value(TracesConfig::default()).unwrap_or_default();
    defaults
}

fn render(schema: &Value, defaults: &Value) -> String {
    let root = Shape { root: schema, schema };
    let mut page = Page { defaults, text: INTRODUCTION.to_owned(), tables: Vec::new() };
    let sections = root.keys();
    let names: BTreeSet<&str> = sections.iter().map(|(name, _)| *name).collect();
    for (name, key) in &sections {
        let nothing = BTreeSet::new();
        let (path, bracket, table, elsewhere) = match key.holds() {
            Holds::Table(table) => ((*name).to_owned(), "[", table, &nothing),
            Holds::NamedTables(table) => (format!("{name}.NAME"), "[", table, &nothing),
            // An arm has the sections of the file, which need no second description.
            Holds::Tables(table) => ((*name).to_owned(), "[[", table, &names),
            Holds::Value => ((*name).to_owned(), "[", *key, &nothing),
        };
        page.section(&Section::new(&path, bracket, *key, table), elsewhere);
    }
    page.text
}

/// A heading of the page and the table whose keys stand below it.
struct Section<'a> {
    /// The path of the table, such as `policy.lora`.
    path: String,
    /// The path in brackets, as it stands in a file.
    written: String,
    /// The key that holds the table.
    key: Shape<'a>,
    table: Shape<'a>,
    /// How deep the heading is: 2 for a section of the file.
    level: usize,
    /// The definitions of this table and of those around it: a list may hold them again.
    chain: Vec<(&'a Value, String)>,
}

impl<'a> Section<'a> {
    fn new(path: &str, bracket: &str, key: Shape<'a>, table: Shape<'a>) -> Self {
        let written = format!("{bracket}{path}{}", bracket.replace('[', "]"));
        let chain = vec![(table.definition(), written.clone())];
        Section { path: path.to_owned(), written, key, table, level: 2, chain }
    }

    fn inside(&self, name: &str, bracket: &str, key: Shape<'a>, table: Shape<'a>) -> Self {
        let mut inner = Section::new(&format!("{}.{name}", self.path), bracket, key, table);
        inner.chain.extend(self.chain.iter().cloned());
        inner.level = self.level + 1;
        inner
    }

    /// The section, this one or one around it, whose table is the same as this one.
    fn same_as(&self, table: Shape<'a>) -> Option<&str> {
        let definition = table.definition();
        let found = self.chain.iter().find(|(known, _)| std::ptr::eq(*known, definition))?;
        Some(&found.1)
    }
}

struct Page<'a> {
    defaults: &'a Value,
    text: String,
    /// Tables that several keys may hold, such as a judge of one `kind`, and the heading they are described under.
    tables: Vec<(&'a Value, String)>,
}

/// What follows a section's own keys.
#[derive(Default)]
struct Below<'a> {
    sections: Vec<Section<'a>>,
    tables: Vec<(String, Shape<'a>)>,
}

impl<'a> Page<'a> {
    /// Describes a section; keys in `elsewhere` are only listed.
    fn section(&mut self, section: &Section<'a>, elsewhere: &BTreeSet<&str>) {
        let heading = "#".repeat(section.level);
        self.text.push_str(&format!("\n{heading} {}\n\n", code(&section.written)));
        let description = section.table.definition_description().or_else(|| section.key.description());
        let table = section.table.only_table();
        if let Some(description) = description {
            self.text.push_str(&format!("{}\n\n", without_heading(description, &section.written)));
        }
        let mut below = Below::default();
        let (own, others): (Vec<_>, Vec<_>) =
            common_keys(table).into_iter().partition(|(name, _)| !elsewhere.contains(name));
        let tag = tag_of(table);
        self.rows(section, table, tag, &own, &mut below);
        if !others.is_empty() {
            let names: Vec<String> = others.iter().map(|(name, _)| code(name)).collect();
            let names = names.join(", ");
            self.text.push_str(&format!(
                "\nIt may also contain these sections of the file, which then apply to it alone: {names}.\n"
            ));
        }
        for variant in variants(table) {
            self.variant(section, table, tag, variant, &mut below);
        }
        for (heading, table) in below.tables {
            self.text.push_str(&format!("\n{} {heading}\n\n", "#".repeat(section.level + 1)));
            if let Some(description) = table.definition_description() {
                self.text.push_str(&format!("{}\n\n", one_line(description)));
            }
            let own = common_keys(table);
            let mut inner = Below::default();
            self.rows(section, table, None, &own, &mut inner);
            // The heading begins with the path of the key that holds the table.
            let path = heading.split('`').nth(1).unwrap_or(&section.path).to_owned();
            for found in inner.sections {
                let name = found.path.rsplit('.').next().unwrap_or_default();
                let mut found = Section::new(&format!("{path}.{name}"), "[", found.key, found.table);
                found.level = section.level + 2;
                self.section(&found, &BTreeSet::new());
            }
        }
        for section in below.sections {
            self.section(&section, &BTreeSet::new());
        }
    }

    /// The keys that only one form of a table has, such as a judge of one `kind`.
    fn variant(
        &mut self,
        section: &Section<'a>,
        table: Shape<'a>,
        tag: Option<&'a str>,
        variant: Shape<'a>,
        below: &mut Below<'a>,
    ) {
        let common: BTreeSet<&str> = common_keys(table).into_iter().map(|(name, _)| name).collect();
        let own: Vec<_> = variant.keys().into_iter().filter(|(name, _)| !common.contains(name)).collect();
        let value = tag.and_then(|tag| constant_of(variant, tag));
        let own: Vec<_> = own.into_iter().filter(|(name, _)| Some(*name) != tag).collect();
        let form = match (tag, value) {
            (Some(tag), Some(value)) => format!(" with {}", code(&format!("{tag} = {}", toml_text(value)))),
            _ => ", another form".to_owned(),
        };
        let heading = format!("{}{form}", code(&section.written));
        self.text.push_str(&format!("\n{} {heading}\n\n", "#".repeat(section.level + 1)));
        if let Some(description) = variant.description() {
            self.text.push_str(&format!("{}\n\n", one_line(description)));
        }
        match self.described(variant) {
            Some(same) if !own.is_empty() => {
                let same = format!("The keys of [{same}](#{}).\n", anchor(&same));
                self.text.push_str(&same);
            }
            Some(_) | None => {
                self.tables.push((variant.definition(), heading));
                self.rows(section, variant, None, &own, below);
            }
        }
    }

    fn rows(
        &mut self,
        section: &Section<'a>,
        table: Shape<'a>,
        tag: Option<&'a str>,
        keys: &[(&'a str, Shape<'a>)],
        below: &mut Below<'a>,
    ) {
        let mut rows = String::new();
        if let Some(tag) = tag {
            rows.push_str(&self.tag_row(section, table, tag));
        }
        for (name, key) in keys {
            match key.holds() {
                Holds::Table(inner) => below.sections.push(section.inside(name, "[", *key, inner)),
                Holds::NamedTables(inner) => {
                    below.sections.push(section.inside(&format!("{name}.NAME"), "[", *key, inner));
                }
                Holds::Tables(inner) => match section.same_as(inner) {
                    Some(written) => {
                        let kind = format!("list of tables with the keys of {}", code(written));
                        rows.push_str(&self.row(section, table, name, *key, &kind));
                    }
                    None => below.sections.push(section.inside(name, "[[", *key, inner)),
                },
                Holds::Value => {
                    let link = self.link(section, name, *key, below);
                    rows.push_str(&self.row(section, table, name, *key, &type_text(*key, &link)));
                }
            }
        }
        if !rows.is_empty() {
            self.text.push_str("| key | type | default | meaning |\n|---|---|---|---|\n");
            self.text.push_str(&rows);
        } else if tag.is_none() && below.sections.is_empty() {
            self.text.push_str("It has no keys of its own.\n");
        }
    }

    fn row(&self, section: &Section<'_>, table: Shape<'_>, name: &str, key: Shape<'_>, kind: &str) -> String {
        let default = match key.keyword("default").or_else(|| self.default_of(&section.path, name)) {
            Some(value) if !value.is_null() => code(&toml_text(value)),
            Some(_) | None if table.requires(name) => "*required*".to_owned(),
            Some(_) | None => "*not set*".to_owned(),
        };
        row(&[&code(name), kind, &default, &meaning(key)])
    }

    /// The row of the key that tells the forms of a table apart.
    fn tag_row(&self, section: &Section<'_>, table: Shape<'_>, tag: &str) -> String {
        let values: Vec<String> =
            variants(table).into_iter().filter_map(|form| constant_of(form, tag)).map(toml_text).collect();
        let kind = values.iter().map(|value| code(value)).collect::<Vec<_>>().join(", ");
        let default = self
            .default_of(&section.path, tag)
            .map_or_else(|| "*required*".to_owned(), |v| code(&toml_text(v)));
        let described = variants(table)
            .into_iter()
            .filter_map(|form| form.keys().into_iter().find(|(name, _)| *name == tag));
        let meaning = described.filter_map(|(_, key)| key.description()).map(one_line).next();
        let meaning =
            meaning.unwrap_or_else(|| "Which form it has; each has further keys, below.".to_owned());
        row(&[&code(tag), &kind, &default, &meaning])
    }

    fn default_of(&self, path: &str, name: &str) -> Option<&'a Value> {
        let mut value = self.defaults;
        for key in path.split('.').chain([name]) {
            value = value.get(key)?;
        }
        Some(value)
    }

    /// How the type of a key names a table that it may hold; the table is described once, at its first use.
    fn link(&mut self, section: &Section<'_>, name: &str, key: Shape<'a>, below: &mut Below<'a>) -> String {
        let values = key.items().or_else(|| key.map_values()).unwrap_or(key);
        let Some(table) = values.tables().into_iter().next() else { return "a table".to_owned() };
        let table = table.only_table();
        if let Some(heading) = self.described(table) {
            return format!("[a table](#{})", anchor(&heading));
        }
        let name = if key.map_values().is_some() { format!("{name}.NAME") } else { name.to_owned() };
        let heading = format!("{} as a table", code(&format!("{}.{name}", section.path)));
        let link = format!("[a table](#{})", anchor(&heading));
        self.tables.push((table.definition(), heading.clone()));
        below.tables.push((heading, table));
        link
    }

    /// The heading under which a table is described, if it is by now.
    fn described(&self, table: Shape<'a>) -> Option<String> {
        let found = self.tables.iter().find(|(known, _)| *known == table.definition());
        found.map(|(_, heading)| heading.clone())
    }
}

/// A section's description without the section's name in front, which the heading repeats.
fn without_heading(description: &str, written: &str) -> String {
    let line = one_line(description);
    let Some(rest) = line.strip_prefix(&format!("{}: ", code(written))) else { return line };
    let mut letters = rest.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

/// The keys that every form of a table has; those of a table of one form are all of its keys.
fn common_keys(table: Shape<'_>) -> Vec<(&str, Shape<'_>)> {
    let mut keys = table.keys();
    let forms = variants(table);
    if let [first, others @ ..] = forms.as_slice() {
        let tag = tag_of(table);
        let shared = |(name, key): &(&str, Shape<'_>)| {
            let same =
                |form: &Shape<'_>| form.keys().iter().any(|(n, k)| n == name && k.schema == key.schema);
            Some(*name) != tag && others.iter().all(same)
        };
        let shared: Vec<_> = first.keys().into_iter().filter(shared).collect();
        keys.retain(|(name, _)| Some(*name) != tag && shared.iter().all(|(other, _)| other != name));
        keys.extend(shared);
    }
    keys
}

/// The forms of a table that has several.
fn variants(table: Shape<'_>) -> Vec<Shape<'_>> {
    let forms: Vec<_> = table.alternatives().into_iter().filter(|form| form.is_table()).collect();
    if forms.len() > 1 || !table.keys().is_empty() { forms } else { Vec::new() }
}

/// The key that tells the forms of a table apart: each form has one value for it.
fn tag_of(table: Shape<'_>) -> Option<&str> {
    let forms = variants(table);
    let mut keys = forms.first()?.keys().into_iter().map(|(name, _)| name);
    keys.find(|name| forms.iter().all(|form| constant_of(*form, name).is_some()))
}

fn constant_of<'a>(form: Shape<'a>, name: &str) -> Option<&'a Value> {
    let (_, key) = form.keys().into_iter().find(|(key, _)| *key == name)?;
    key.constant().or_else(|| match key.keyword("enum")?.as_array()?.as_slice() {
        [only] => Some(only),
        _ => None,
    })
}

/// The anchor that GitHub gives a heading.
fn anchor(heading: &str) -> String {
    let kept = heading
        .to_lowercase()
        .chars()
        .filter(|c| c.is_alphanumeric() || " -_".contains(*c))
        .collect::<String>();
    kept.replace(' ', "-")
}

#[cfg(test)]
mod tests;
