//! The JSON Schema of scenario files, for editors (`#:schema scenario.schema.json` in a file's first line).

use std::collections::BTreeSet;
use std::sync::OnceLock;

use schemars::SchemaGenerator;
use serde_json::{Map, Value, json};

use super::{ArmConfig, ControlConfig, RunConfig};

/// Keys of an arm that are not sections.
pub(crate) const ARM_KEYS: [&str; 3] = ["name", "method", "steps"];

/// The JSON Schema of a scenario file.
///
/// ```
/// let schema = scenarios::json_schema();
/// assert!(schema["properties"]["grpo"].is_object());
/// ```
pub fn json_schema() -> Value {
    let mut generator = SchemaGenerator::default();
    let run = generator.subschema_for::<RunConfig>();
    let control = generator.subschema_for::<ControlConfig>();
    generator.subschema_for::<ArmConfig>();
    let mut definitions = generator.take_definitions(true);

    let mut arm = definitions.remove("ArmConfig").unwrap_or_default();
    let mut sections = arm["properties"].as_object().cloned().unwrap_or_default();
    sections.retain(|key, _| !ARM_KEYS.contains(&key.as_str()));
    // Every section may be left out, of the file as of an arm; the defaults belong to the sections' own keys.
    for section in sections.values_mut().chain(arm["properties"].as_object_mut().into_iter().flat_map(values))
    {
        section.as_object_mut().map(|section| section.remove("default"));
    }
    arm["required"] = json!(["name"]);

    let mut properties = Map::new();
    properties.insert("run".to_owned(), run.to_value());
    properties.insert("control".to_owned(), control.to_value());
    properties.extend(sections);
    properties.insert("arm".to_owned(), json!({ "type": "array", "items": { "$ref": "#/$defs/ArmConfig" } }));
    definitions.insert("ArmConfig".to_owned(), arm);
    if let Some(run) = definitions["RunConfig"]["properties"].as_object_mut() {
        run.insert(
            "seed".to_owned(),
            json!({ "description": "Short for `seeds = [n]`.", "type": "integer", "minimum": 0 }),
        );
    }
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Audio-Thinker sandbox scenario",
        "description": "An experiment: what is trained, on what, with which rewards, and the arms that are compared.",
        "type": "object",
        "properties": properties,
        "additionalProperties": false,
        "$defs": definitions,
    })
}

fn values(map: &mut Map<String, Value>) -> impl Iterator<Item = &mut Value> {
    map.values_mut()
}

/// The sections that have a key of this name, such as `policy.lora` for `rank`.
pub(crate) fn sections_with(key: &str) -> Vec<String> {
    static KEYS: OnceLock<BTreeSet<(String, String)>> = OnceLock::new();
    let keys = KEYS.get_or_init(|| {
        let schema = json_schema();
        let mut keys = BTreeSet::new();
        collect_keys(&schema, &schema, "", &mut keys);
        keys
    });
    keys.iter().filter(|(_, known)| known == key).map(|(section, _)| section.clone()).collect()
}

fn collect_keys(root: &Value, schema: &Value, section: &str, keys: &mut BTreeSet<(String, String)>) {
    let target = schema["$ref"].as_str().and_then(|reference| reference.strip_prefix("#/$defs/"));
    let schema = target.map_or(schema, |name| &root["$defs"][name]);
    for (key, below) in schema["properties"].as_object().into_iter().flatten() {
        if section.is_empty() {
            collect_keys(root, below, key, keys);
        } else {
            keys.insert((section.to_owned(), key.clone()));
            collect_keys(root, below, &format!("{section}.{key}"), keys);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_committed_schema_is_current() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/scenario.schema.json");
        let current = format!("{:#}\n", json_schema());
        if std::env::var_os("UPDATE_SCHEMA").is_some() {
            std::fs::write(path, &current).unwrap();
        }
        let committed = std::fs::read_to_string(path).unwrap_or_default();
        assert!(
            committed == current,
            "run `UPDATE_SCHEMA=1 cargo test -p scenarios committed_schema` and commit {path}"
        );
    }

    #[test]
    fn a_key_is_found_in_the_sections_that_have_it() {
        assert_eq!(sections_with("rank"), ["policy.lora"]);
        assert_eq!(sections_with("temperature"), ["eval", "judge", "sampling"]);
        assert_eq!(sections_with("nonsense"), [""; 0]);
    }
}
