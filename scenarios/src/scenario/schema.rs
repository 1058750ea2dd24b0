//! The JSON Schema of scenario files. Editors find it through `#:schema scenario.schema.json` in a file's first line.

use schemars::SchemaGenerator;
use serde_json::{Map, Value, json};

use self::variants::Variant;
use super::ablation::AblationConfig;
use super::{
    ArmConfig, ControlConfig, Design, Hypothesis, LocalJudgeConfig, MemoryConfig, OpenaiJudgeConfig,
    PanelJudgeConfig, RunConfig, StorageConfig, TracesConfig, TrackingConfig,
};

mod variants;

/// The keys of an arm that are not sections.
pub(crate) const ARM_KEYS: [&str; 4] = ["name", "fork", "method", "steps"];

/// Definitions of tables with variants, by the names that schemars gives their types.
const JUDGE: &str = "JudgeConfig";
const MEMBER: &str = "PanelMember";
/// The definition of an arm's own `[judge]`, which is merged over the shared one.
const JUDGE_OVERLAY: &str = "JudgeOverlay";

/// The JSON Schema of a scenario file.
///
/// ```
/// let schema = scenarios::json_schema();
/// assert!(schema["properties"]["grpo"].is_object());
/// ```
pub fn json_schema() -> Value {
    let mut generator = SchemaGenerator::default();
    let run = generator.subschema_for::<RunConfig>();
    let memory = generator.subschema_for::<MemoryConfig>();
    let control = generator.subschema_for::<ControlConfig>();
    let tracking = generator.subschema_for::<TrackingConfig>();
    let storage = generator.subschema_for::<StorageConfig>();
    let traces = generator.subschema_for::<TracesConfig>();
    let hypothesis = generator.subschema_for::<Hypothesis>();
    let ablation = generator.subschema_for::<AblationConfig>();
    let design = generator.subschema_for::<Design>();
    generator.subschema_for::<ArmConfig>();
    let judges = [
        Variant::without_keys(
            "rules",
            "Rules that compare the thinking with the reasoning steps in the data; no model is needed. Without steps the quality is not graded.",
        ),
        Variant::of::<OpenaiJudgeConfig>("openai", &mut generator),
        Variant::of::<LocalJudgeConfig>("local", &mut generator),
        Variant::of::<PanelJudgeConfig>("panel", &mut generator),
    ];
    let members = [
        Variant::without_keys("rules", "The rules, without a model."),
        Variant::of::<OpenaiJudgeConfig>("openai", &mut generator),
        Variant::of::<LocalJudgeConfig>("local", &mut generator),
    ];
    let mut definitions = generator.take_definitions(true);
    let shared = definitions.remove(JUDGE).unwrap_or_default();
    definitions.insert(JUDGE.to_owned(), variants::whole(&shared, "kind", &judges, Some("rules")));
    definitions.insert(JUDGE_OVERLAY.to_owned(), variants::overlay(&shared, "kind", &judges));
    let shared = definitions.remove(MEMBER).unwrap_or_default();
    definitions.insert(MEMBER.to_owned(), variants::whole(&shared, "kind", &members, None));

    let mut arm = definitions.remove("ArmConfig").unwrap_or_default();
    let mut sections = arm["properties"].as_object().cloned().unwrap_or_default();
    sections.retain(|key, _| !ARM_KEYS.contains(&key.as_str()));
    // Every section is optional, in the file and in an arm; defaults are stated at the keys of the sections.
    for section in sections.values_mut().chain(arm["properties"].as_object_mut().into_iter().flat_map(values))
    {
        section.as_object_mut().map(|section| section.remove("default"));
    }
    arm["required"] = json!(["name"]);
    arm["properties"]["judge"]["$ref"] = json!(format!("#/$defs/{JUDGE_OVERLAY}"));

    let mut properties = Map::new();
    properties.insert("run".to_owned(), run.to_value());
    properties.insert("memory".to_owned(), memory.to_value());
    properties.insert("control".to_owned(), control.to_value());
    properties.insert("tracking".to_owned(), tracking.to_value());
    properties.insert("storage".to_owned(), storage.to_value());
    properties.insert("traces".to_owned(), traces.to_value());
    properties.extend(sections);
    properties.insert("ablation".to_owned(), ablation.to_value());
    properties.insert("design".to_owned(), design.to_value());
    properties.insert("arm".to_owned(), json!({ "type": "array", "items": { "$ref": "#/$defs/ArmConfig" } }));
    properties.insert("hypothesis".to_owned(), json!({ "type": "array", "items": hypothesis.to_value() }));
    definitions.insert("ArmConfig".to_owned(), arm);
    if let Some(run) = definitions["RunConfig"]["properties"].as_object_mut() {
        run.insert(
            "seed".to_owned(),
            json!({ "description": "Short for `seeds = [n]`; not together with `seeds`.", "type": "integer", "minimum": 0 }),
        );
    }
    let mut schema = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Audio-Thinker sandbox scenario",
        "description": "An experiment: the model, the data, the rewards, and the arms that are compared.",
        "type": "object",
        "properties": properties,
        "additionalProperties": false,
        "$defs": definitions,
    });
    tidy(&mut schema);
    schema
}

/// Removes `null` from types and defaults, since TOML has no null: a key is left out instead. Empty texts as defaults
/// are removed too: they stand for a missing key, whose description states the default.
fn tidy(schema: &mut Value) {
    match schema {
        Value::Object(object) => {
            object.retain(|key, value| !value.is_null() && (key != "default" || *value != ""));
            if let Some(Value::Array(types)) = object.get_mut("type") {
                types.retain(|name| name != "null");
                if let [only] = &types[..] {
                    let only = only.clone();
                    object.insert("type".to_owned(), only);
                }
            }
            object.values_mut().for_each(tidy);
        }
        Value::Array(items) => items.iter_mut().for_each(tidy),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn values(map: &mut Map<String, Value>) -> impl Iterator<Item = &mut Value> {
    map.values_mut()
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
}
