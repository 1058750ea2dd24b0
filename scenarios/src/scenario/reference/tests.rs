use super::*;

#[test]
fn the_committed_reference_is_current() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/scenario.md");
    let current = scenario_reference();
    if std::env::var_os("UPDATE_SCHEMA").is_some() {
        std::fs::write(path, &current).unwrap();
    }
    let committed = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        committed == current,
        "run `UPDATE_SCHEMA=1 cargo test -p scenarios committed_reference` and commit {path}"
    );
}

/// Every key name that occurs in the schema, at any depth.
fn key_names<'a>(schema: &'a Value, names: &mut BTreeSet<&'a str>) {
    match schema {
        Value::Object(entries) => {
            names.extend(
                schema["properties"].as_object().into_iter().flatten().map(|(name, _)| name.as_str()),
            );
            entries.values().for_each(|below| key_names(below, names));
        }
        Value::Array(items) => items.iter().for_each(|below| key_names(below, names)),
        _ => {}
    }
}

#[test]
fn every_key_of_the_schema_is_in_the_reference() {
    let (schema, text) = (json_schema(), scenario_reference());
    let mut names = BTreeSet::new();
    key_names(&schema, &mut names);
    assert!(names.len() > 50, "{names:?}");
    for name in names {
        let described =
            [format!("| `{name}` |"), format!("[{name}]"), format!(".{name}]"), format!("[{name}.NAME]")];
        assert!(described.iter().any(|place| text.contains(place)), "`{name}` is missing");
    }
}

#[test]
fn links_lead_to_headings() {
    let text = scenario_reference();
    let headings: Vec<String> = text
        .lines()
        .filter(|line| line.starts_with('#'))
        .map(|line| anchor(line.trim_start_matches(['#', ' '])))
        .collect();
    let links: Vec<&str> = text.split("](#").skip(1).filter_map(|rest| rest.split(')').next()).collect();
    assert!(!links.is_empty());
    for link in links {
        assert!(headings.iter().any(|heading| heading == link), "{link} is not among {headings:?}");
    }
}

#[test]
fn a_form_that_two_tables_share_is_described_once() {
    let form =
        |kind| json!({ "properties": { "kind": { "const": kind } }, "$ref": format!("#/$defs/{kind}") });
    let text = rendered(
        json!({ "oneOf": [
            form("Server"),
            { "properties": {
                "kind": { "const": "panel" },
                "members": { "type": "array", "items": { "oneOf": [form("Server"), form("Local")] } },
            } },
        ] }),
        json!({
            "Server": { "properties": { "url": { "type": "string" } } },
            "Local": { "properties": { "path": { "type": "string" } } },
        }),
        json!({}),
    );
    assert_eq!(text.matches("| `url` |").count(), 1, "{text}");
    let same = "### `[[judge.members]]` with `kind = \"Server\"`\n\n\
                The keys of [`[judge]` with `kind = \"Server\"`](#judge-with-kind--server).\n";
    assert!(text.contains(same), "{text}");
}

/// A document with one section, `judge`.
fn rendered(judge: Value, definitions: Value, defaults: Value) -> String {
    let schema = json!({ "properties": { "judge": judge }, "$defs": definitions });
    let text = render(&schema, &json!({ "judge": defaults }));
    text.split_once("\n## ").unwrap().1.to_owned()
}

#[test]
fn a_table_with_a_tag_is_described_form_by_form() {
    let batch = json!({ "type": "integer", "description": "Completions a batch.", "default": 16 });
    let text = rendered(
        json!({ "$ref": "#/$defs/Judge" }),
        json!({
            "Judge": { "description": "Who judges.", "oneOf": [
                {
                    "type": "object", "description": "By rules.",
                    "properties": { "kind": { "const": "rules" }, "batch": batch },
                },
                {
                    "$ref": "#/$defs/Server", "description": "By a server.",
                    "properties": { "kind": { "const": "server" }, "batch": batch },
                },
            ] },
            "Server": { "type": "object", "required": ["url"], "properties": { "url": { "type": "string", "description": "Its address." } } },
        }),
        json!({ "kind": "rules" }),
    );
    let expected = "`[judge]`\n\nWho judges.\n\n\
        | key | type | default | meaning |\n|---|---|---|---|\n\
        | `kind` | `\"rules\"`, `\"server\"` | `\"rules\"` | Which form it has; each has further keys, below. |\n\
        | `batch` | integer | `16` | Completions a batch. |\n\
        \n### `[judge]` with `kind = \"rules\"`\n\nBy rules.\n\nIt has no keys of its own.\n\
        \n### `[judge]` with `kind = \"server\"`\n\nBy a server.\n\n\
        | key | type | default | meaning |\n|---|---|---|---|\n\
        | `url` | text | *required* | Its address. |\n";
    assert_eq!(text, expected);
}

#[test]
fn keys_beside_a_tag_and_tables_that_name_themselves_are_described_once() {
    let text = rendered(
        json!({ "$ref": "#/$defs/Judge" }),
        json!({ "Judge": {
            "properties": { "window": { "type": "integer", "default": 10 } },
            "oneOf": [
                { "type": "object", "properties": { "kind": { "type": "string", "const": "rules" } } },
                { "type": "object", "properties": {
                    "kind": { "type": "string", "const": "panel" },
                    "members": { "type": "array", "items": { "$ref": "#/$defs/Judge" }, "description": "The members." },
                } },
            ],
        } }),
        json!({ "kind": "rules" }),
    );
    assert!(text.contains("| `window` | integer | `10` |"), "{text}");
    assert!(
        text.contains("| `members` | list of tables with the keys of `[judge]` | *not set* | The members. |"),
        "{text}"
    );
    assert_eq!(text.matches("`window`").count(), 1, "{text}");
}
