//! Looks up the keys of a scenario's sections in its JSON Schema, for advice about keys in the wrong place.

use std::collections::BTreeSet;
use std::sync::OnceLock;

use serde_json::Value;

use super::schema::json_schema;

/// The keys of a table with variants, where one key, the tag, selects the variant.
#[derive(Debug, PartialEq)]
pub(crate) struct Tagged {
    /// The key that selects the variant, such as `kind`.
    pub(crate) tag: String,
    /// Each value of the tag, with all keys of the table in this variant.
    pub(crate) variants: Vec<(String, Vec<String>)>,
}

impl Tagged {
    /// The keys of the variant with this tag; those of all variants if the tag is missing or unknown.
    pub(crate) fn keys(&self, tag: Option<&str>) -> Vec<&str> {
        let known = self.variants.iter().find(|(value, _)| Some(value.as_str()) == tag);
        let variants = known.map_or(self.variants.as_slice(), std::slice::from_ref);
        let keys: BTreeSet<&str> =
            variants.iter().flat_map(|(_, keys)| keys.iter().map(String::as_str)).collect();
        keys.into_iter().collect()
    }

    /// The values of the tag whose variants have all of these keys.
    pub(crate) fn variants_with(&self, wanted: &[&str]) -> Vec<&str> {
        let has_all = |keys: &[String]| wanted.iter().all(|key| keys.iter().any(|known| known == key));
        self.variants.iter().filter(|(_, keys)| has_all(keys)).map(|(value, _)| value.as_str()).collect()
    }
}

/// A key of a section that has an effect only for some values of another key of the section.
pub(crate) struct Dependent {
    pub(crate) section: &'static [&'static str],
    pub(crate) key: &'static str,
    /// The other key, on which it depends.
    pub(crate) tag: &'static str,
    /// The values of `tag` for which it has an effect, as they are written in a scenario.
    pub(crate) values: &'static [&'static str],
}

/// All such keys outside of tables with variants, whose keys are in the schema.
pub(crate) const DEPENDENT: [Dependent; 4] = [
    Dependent { section: &["policy"], key: "lora", tag: "train", values: &["lora"] },
    Dependent { section: &["policy"], key: "adapter", tag: "train", values: &["lora"] },
    Dependent {
        section: &["optimizer"],
        key: "final_lr_fraction",
        tag: "schedule",
        values: &["linear", "cosine"],
    },
    Dependent { section: &["judge", "cache"], key: "path", tag: "disk", values: &["true"] },
];

/// The sections with a key of this name, such as `policy.lora` for `rank`.
pub(crate) fn sections_with(key: &str) -> Vec<String> {
    static KEYS: OnceLock<BTreeSet<(String, String)>> = OnceLock::new();
    let keys = KEYS.get_or_init(|| {
        let mut keys = BTreeSet::new();
        collect_keys(schema(), "", &mut keys);
        keys
    });
    keys.iter().filter(|(_, known)| known == key).map(|(section, _)| section.clone()).collect()
}

/// The variants of the table at a path of keys and list indices; `None` if it has no variants.
pub(crate) fn tagged(path: &[&str]) -> Option<Tagged> {
    let table = path.iter().try_fold(schema(), |table, key| match key.parse::<usize>() {
        Ok(_) => table.get("items").map(resolved),
        Err(_) => tables(table).find_map(|table| table["properties"].get(key)).map(resolved),
    })?;
    let tables = table["oneOf"].as_array()?;
    let constant = |(key, value): (&String, &Value)| value.get("const").is_some().then(|| key.clone());
    let tag = tables.first()?["properties"].as_object()?.iter().find_map(constant)?;
    let variant = |table: &Value| {
        let properties = table["properties"].as_object()?;
        Some((properties.get(&tag)?["const"].as_str()?.to_owned(), properties.keys().cloned().collect()))
    };
    let variants = tables.iter().map(variant).collect::<Option<Vec<_>>>()?;
    Some(Tagged { tag, variants })
}

fn schema() -> &'static Value {
    static SCHEMA: OnceLock<Value> = OnceLock::new();
    SCHEMA.get_or_init(json_schema)
}

/// The definition that a schema refers to, or the schema itself.
fn resolved(schema_or_reference: &'static Value) -> &'static Value {
    let name = schema_or_reference["$ref"].as_str().and_then(|reference| reference.strip_prefix("#/$defs/"));
    name.map_or(schema_or_reference, |name| &schema()["$defs"][name])
}

/// The schema itself and the schemas of its variants.
fn tables(schema: &'static Value) -> impl Iterator<Item = &'static Value> {
    std::iter::once(schema).chain(schema["oneOf"].as_array().into_iter().flatten())
}

fn collect_keys(table: &'static Value, section: &str, keys: &mut BTreeSet<(String, String)>) {
    for (key, below) in tables(resolved(table)).filter_map(|table| table["properties"].as_object()).flatten()
    {
        if section.is_empty() {
            collect_keys(below, key, keys);
        } else {
            keys.insert((section.to_owned(), key.clone()));
            collect_keys(below, &format!("{section}.{key}"), keys);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sections_with_a_key_are_found() {
        assert_eq!(sections_with("rank"), ["policy.lora"]);
        assert_eq!(sections_with("temperature"), ["eval", "judge", "sampling"]);
        assert_eq!(sections_with("max_mb"), ["judge.cache"]);
        assert_eq!(sections_with("nonsense"), [""; 0]);
    }

    #[test]
    fn tables_with_variants_are_found_with_their_keys() {
        let judge = tagged(&["judge"]).unwrap();
        assert_eq!(judge.tag, "kind");
        assert_eq!(judge.variants_with(&[]), ["rules", "openai", "local", "panel"]);
        assert_eq!(judge.variants_with(&["prompting", "cache"]), ["openai", "local"]);
        assert_eq!(judge.variants_with(&["base_url", "batch"]), [""; 0]);
        let common = [
            "budget",
            "cache",
            "calibration",
            "calibration_max_failed_fraction",
            "failure_window",
            "kind",
            "max_failed_fraction",
            "on_failure",
        ];
        assert_eq!(judge.keys(Some("rules")), common);
        let member = tagged(&["judge", "members", "3"]).unwrap();
        assert_eq!(member.variants_with(&[]), ["rules", "openai", "local"]);
        assert_eq!(member.keys(Some("rules")), ["cache", "kind"]);
        assert_eq!(
            (tagged(&["grpo"]), tagged(&["judge", "cache"]), tagged(&["nonsense"])),
            (None, None, None)
        );
    }
}
