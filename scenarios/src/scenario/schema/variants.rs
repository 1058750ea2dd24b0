//! The schema of tables with variants, where one key, the tag, selects the variant: an object for each of them.

use schemars::{JsonSchema, SchemaGenerator};
use serde_json::{Map, Value, json};

/// A variant of a table: the value of the tag, and the schema of the keys that only this variant has.
pub(super) struct Variant {
    value: &'static str,
    own: Value,
}

impl Variant {
    /// A variant with the fields of `T` as its own keys.
    pub(super) fn of<T: JsonSchema>(value: &'static str, generator: &mut SchemaGenerator) -> Self {
        Self { value, own: T::json_schema(generator).to_value() }
    }

    /// A variant without keys of its own.
    pub(super) fn without_keys(value: &'static str, description: &str) -> Self {
        Self { value, own: json!({ "description": description }) }
    }

    /// The schema of a table of this variant. `shared` are the keys that every variant has.
    fn table(&self, tag: &str, tag_is_required: bool, shared: &Map<String, Value>) -> Value {
        let mut properties = Map::new();
        properties.insert(tag.to_owned(), json!({ "type": "string", "const": self.value }));
        properties.extend(self.own["properties"].as_object().cloned().unwrap_or_default());
        properties.extend(shared.clone());
        let mut table = json!({
            "description": self.own["description"],
            "type": "object",
            "properties": properties,
            "additionalProperties": false,
        });
        if tag_is_required {
            table["required"] = json!([tag]);
        }
        table
    }
}

/// The schema of a whole table. Only the variant `default` may lack the tag.
pub(super) fn whole(shared: &Value, tag: &str, variants: &[Variant], default: Option<&str>) -> Value {
    let keys = shared["properties"].as_object().cloned().unwrap_or_default();
    let tables = variants.iter().map(|variant| variant.table(tag, Some(variant.value) != default, &keys));
    json!({ "description": shared["description"], "oneOf": tables.collect::<Vec<_>>() })
}

/// The schema of a table that an arm merges over another: it may lack the tag, but has the keys of one variant only.
pub(super) fn overlay(shared: &Value, tag: &str, variants: &[Variant]) -> Value {
    let keys = shared["properties"].as_object().cloned().unwrap_or_default();
    let tables = variants.iter().map(|variant| variant.table(tag, false, &keys));
    json!({ "description": shared["description"], "anyOf": tables.collect::<Vec<_>>() })
}
