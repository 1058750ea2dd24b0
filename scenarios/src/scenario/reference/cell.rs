//! What stands in a cell of the reference's tables: types, defaults, descriptions.

use serde_json::Value;

use super::shape::Shape;

/// The type of a key. `table` stands for a table among the alternatives.
pub(super) fn type_text(shape: Shape<'_>, table: &str) -> String {
    if let Some(value) = shape.constant() {
        return code(&toml_text(value));
    }
    if let Some(values) = shape.keyword("enum").and_then(Value::as_array) {
        return one_of(values.iter().map(|value| code(&toml_text(value))).collect());
    }
    if shape.is_table() {
        return table.to_owned();
    }
    let alternatives = shape.alternatives();
    if !alternatives.is_empty() {
        let mut texts: Vec<String> = Vec::new();
        for text in alternatives.into_iter().map(|alternative| type_text(alternative, table)) {
            if !texts.contains(&text) {
                texts.push(text);
            }
        }
        return one_of(texts);
    }
    match type_name(shape) {
        "string" => match shape.keyword("pattern").and_then(Value::as_str) {
            Some(pattern) => format!("text that matches {}", code(pattern)),
            None => "text".to_owned(),
        },
        "integer" => format!("integer{}", bounds(shape)),
        "number" => format!("number{}", bounds(shape)),
        "boolean" => "boolean".to_owned(),
        "array" => list_text(shape, table),
        "object" => match shape.map_values() {
            Some(values) => format!("table of name = {}", type_text(values, table)),
            None => "table".to_owned(),
        },
        _ => "any value".to_owned(),
    }
}

fn type_name(shape: Shape<'_>) -> &str {
    let name = match shape.keyword("type") {
        Some(Value::Array(names)) => names.iter().find(|name| *name != "null"),
        name => name,
    };
    name.and_then(Value::as_str).unwrap_or_default()
}

fn bounds(shape: Shape<'_>) -> String {
    let signs = [("minimum", "≥"), ("exclusiveMinimum", ">"), ("maximum", "≤"), ("exclusiveMaximum", "<")];
    let bound = |(keyword, sign)| Some(format!("{sign} {}", shape.keyword(keyword)?));
    let bounds: Vec<String> = signs.into_iter().filter_map(bound).collect();
    if bounds.is_empty() { String::new() } else { format!(" {}", bounds.join(", ")) }
}

fn list_text(shape: Shape<'_>, table: &str) -> String {
    if let Some(places) = shape.keyword("prefixItems").and_then(Value::as_array) {
        let places: Vec<String> = places.iter().map(|place| type_text(shape.at(place), table)).collect();
        return format!("[{}]", places.join(", "));
    }
    let count = shape.keyword("minItems").filter(|least| shape.keyword("maxItems") == Some(*least));
    let what = shape.items().map_or_else(|| "any value".to_owned(), |items| type_text(items, table));
    match count {
        Some(count) => format!("list of {count} × {what}"),
        None => format!("list of {what}"),
    }
}

/// `a, b or c`.
fn one_of(mut texts: Vec<String>) -> String {
    match (texts.pop(), texts.is_empty()) {
        (None, _) => "any value".to_owned(),
        (Some(only), true) => only,
        (Some(last), false) => format!("{} or {last}", texts.join(", ")),
    }
}

/// What a key means: its description, then what each of its values means, then examples.
pub(super) fn meaning(shape: Shape<'_>) -> String {
    let mut parts: Vec<String> = shape.description().map(one_line).into_iter().collect();
    for alternative in shape.alternatives() {
        if let (Some(value), Some(text)) = (alternative.constant(), alternative.description()) {
            parts.push(format!("{}: {}", code(&toml_text(value)), one_line(text)));
        }
    }
    let examples = shape.keyword("examples").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    if !examples.is_empty() {
        let examples: Vec<String> = examples.iter().map(|example| code(&toml_text(example))).collect();
        parts.push(format!("Such as {}.", one_of(examples)));
    }
    parts.join("<br>")
}

/// A description on one line, without the brackets of links between Rust items.
pub(super) fn one_line(text: &str) -> String {
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    text.replace("[`", "`").replace("`]", "`")
}

/// A value as TOML.
pub(super) fn toml_text(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Array(items) => {
            format!("[{}]", items.iter().map(toml_text).collect::<Vec<_>>().join(", "))
        }
        Value::Object(entries) if entries.is_empty() => "{}".to_owned(),
        Value::Object(entries) => {
            let entries: Vec<String> =
                entries.iter().map(|(key, value)| format!("{key} = {}", toml_text(value))).collect();
            format!("{{ {} }}", entries.join(", "))
        }
        scalar => scalar.to_string(),
    }
}

/// Text in a code span.
pub(super) fn code(text: &str) -> String {
    if text.contains('`') { format!("`` {text} ``") } else { format!("`{text}`") }
}

/// A row of a Markdown table.
pub(super) fn row(cells: &[&str]) -> String {
    let cells: Vec<String> = cells.iter().map(|cell| cell.replace('|', "\\|")).collect();
    format!("| {} |\n", cells.join(" | "))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn type_of(schema: Value) -> String {
        type_text(Shape { root: &Value::Null, schema: &schema }, "a table")
    }

    #[test]
    fn types_are_written_in_the_terms_of_toml() {
        for (schema, expected) in [
            (json!({ "type": "integer", "minimum": 0 }), "integer ≥ 0"),
            (json!({ "type": ["number", "null"] }), "number"),
            (json!({ "type": "number", "exclusiveMinimum": 0, "maximum": 1 }), "number > 0, ≤ 1"),
            (json!({ "enum": ["a", "b", "c"] }), r#"`"a"`, `"b"` or `"c"`"#),
            (json!({ "anyOf": [{ "type": "boolean" }, { "const": "auto" }] }), r#"boolean or `"auto"`"#),
            (json!({ "anyOf": [{ "type": "string" }, { "type": "null" }] }), "text"),
            (
                json!({ "type": "array", "items": { "type": "number" }, "minItems": 2, "maxItems": 2 }),
                "list of 2 × number",
            ),
            (
                json!({ "type": "array", "prefixItems": [{ "type": "integer" }, { "type": "number" }] }),
                "[integer, number]",
            ),
            (
                json!({ "type": "object", "additionalProperties": { "type": "number" } }),
                "table of name = number",
            ),
            (json!({ "type": "object", "properties": { "a": {} } }), "a table"),
            (json!(true), "any value"),
        ] {
            assert_eq!(type_of(schema.clone()), expected, "{schema}");
        }
    }

    #[test]
    fn values_are_written_as_toml_and_bars_do_not_end_a_cell() {
        let value = json!({ "a": [1, 2.5], "b": "x\"y", "c": {} });
        assert_eq!(toml_text(&value), r#"{ a = [1, 2.5], b = "x\"y", c = {} }"#);
        assert_eq!(row(&["`a|b`", "c"]), "| `a\\|b` | c |\n");
    }
}
