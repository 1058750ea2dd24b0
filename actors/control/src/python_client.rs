//! Writes the part of `python/audio_thinker_run.py` that follows from the OpenAPI document: a type for each schema, and a
//! method for each request. A test of this file compares it with the committed one.

use std::collections::BTreeSet;
use std::fmt::Write;

use serde_json::{Map, Value};

const BEGIN: &str = "# --- generated from /api/openapi.json\n";
const END: &str = "# --- end of what is generated\n";

/// Words of Python that are names of fields.
const KEYWORDS: [&str; 6] = ["class", "from", "global", "in", "is", "pass"];

/// The types and the class `Api`, in the order of the document.
fn generated(document: &Value) -> String {
    let mut text = String::new();
    let none = Map::new();
    let schemas = document["components"]["schemas"].as_object().unwrap_or(&none);
    for (name, schema) in schemas {
        let Some(fields) = schema["properties"].as_object() else { continue };
        let _ = write!(text, "\n\nclass {name}(TypedDict, total=False):\n");
        let docs = one_line(&schema["description"]);
        let docs = if docs.is_empty() { format!("`{name}` of the API.") } else { docs };
        let _ = write!(text, "    \"\"\"{docs}\"\"\"\n\n");
        for (field, schema) in fields {
            let kind = kind(schema, schemas);
            let _ = match KEYWORDS.contains(&field.as_str()) {
                true => writeln!(text, "    # The key \"{field}\", {kind}, is a word of Python."),
                false => writeln!(text, "    {field}: {kind}"),
            };
        }
    }
    text.push_str("\n\nclass Api:\n    \"\"\"Every request of the control channel, named after its method and path.\"\"\"\n\n");
    text.push_str("    def __init__(self, connection: Connection):\n        self.connection = connection\n");
    for (path, methods) in document["paths"].as_object().into_iter().flatten() {
        for (method, operation) in methods.as_object().into_iter().flatten() {
            let answers = &operation["responses"]["200"]["content"]["application/json"]["schema"];
            if answers.is_object() {
                text.push_str(&request(path, method, operation, answers, schemas));
            }
        }
    }
    text
}

fn request(
    path: &str,
    method: &str,
    operation: &Value,
    answers: &Value,
    schemas: &Map<String, Value>,
) -> String {
    let (mut arguments, mut query, mut if_match) = (vec!["self".to_owned()], Vec::new(), false);
    for parameter in operation["parameters"].as_array().into_iter().flatten() {
        let name = parameter["name"].as_str().unwrap_or_default();
        match parameter["in"].as_str() {
            Some("path") => arguments.push(format!("{name}: {}", kind(&parameter["schema"], schemas))),
            Some("query") => query.push(name.to_owned()),
            _ => if_match = true,
        }
    }
    let mut rest = String::new();
    let body = &operation["requestBody"]["content"]["application/json"]["schema"];
    if body.is_object() {
        arguments.push(format!("body: {}", kind(body, schemas)));
        rest.push_str(", body=body");
    }
    if if_match {
        arguments.push("if_match: Optional[str] = None".to_owned());
        rest.push_str(", if_match=if_match");
    }
    if !query.is_empty() {
        // Some of them are words of Python, such as `from`.
        arguments.push("**query: Any".to_owned());
        rest.push_str(", query=query");
    }
    let words = path.split('/').filter(|part| !part.is_empty() && *part != "api" && !part.starts_with('{'));
    let name: Vec<String> = words.map(|word| word.replace(['.', '-'], "_")).collect();
    let parts: Vec<String> = path
        .split('/')
        .map(|part| match part.strip_prefix('{').and_then(|part| part.strip_suffix('}')) {
            Some(name) => format!("{{{name}}}"),
            None => part.to_owned(),
        })
        .collect();
    let names: Vec<String> = path
        .split('/')
        .filter_map(|part| Some(part.strip_prefix('{')?.strip_suffix('}')?.to_owned()))
        .map(|name| format!("{name}=quoted({name})"))
        .collect();
    let path = match names.is_empty() {
        true => format!("\"{}\"", parts.join("/")),
        false => format!("\"{}\".format({})", parts.join("/"), names.join(", ")),
    };
    let queries = match query.is_empty() {
        true => String::new(),
        false => format!(
            " Query: {}.",
            query.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
        ),
    };
    format!(
        "\n    def {method}_{}({}) -> {}:\n        \"\"\"{}.{queries}\"\"\"\n        return self.connection.request(\"{}\", {path}{rest})\n",
        name.join("_"),
        arguments.join(", "),
        kind(answers, schemas),
        one_line(&operation["summary"]),
        method.to_uppercase(),
    )
}

fn one_line(text: &Value) -> String {
    let text = text.as_str().unwrap_or_default().replace('\\', "").replace("\"", "'");
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The type of a schema as Python writes it.
fn kind(schema: &Value, schemas: &Map<String, Value>) -> String {
    if let Some(name) = schema["$ref"].as_str().and_then(|path| path.rsplit('/').next()) {
        let target = schemas.get(name).unwrap_or(&Value::Null);
        return if target["properties"].is_object() { name.to_owned() } else { kind(target, schemas) };
    }
    for several in ["anyOf", "oneOf"] {
        if let Some(kinds) = schema[several].as_array() {
            return union(kinds.iter().map(|schema| kind(schema, schemas)).collect());
        }
    }
    match &schema["type"] {
        Value::Array(kinds) => {
            let of = |name: &Value| {
                let mut one = schema.clone();
                one["type"] = name.clone();
                kind(&one, schemas)
            };
            union(kinds.iter().map(of).collect())
        }
        Value::String(name) => match name.as_str() {
            "string" => "str".into(),
            "integer" => "int".into(),
            "number" => "float".into(),
            "boolean" => "bool".into(),
            "null" => "None".into(),
            "array" => match schema["prefixItems"].as_array() {
                Some(items) => {
                    let items: Vec<String> = items.iter().map(|item| kind(item, schemas)).collect();
                    format!("Tuple[{}]", items.join(", "))
                }
                None => format!("List[{}]", kind(&schema["items"], schemas)),
            },
            "object" if schema["additionalProperties"].is_object() => {
                format!("Dict[str, {}]", kind(&schema["additionalProperties"], schemas))
            }
            _ => "Dict[str, Any]".into(),
        },
        _ => "Any".into(),
    }
}

fn union(kinds: Vec<String>) -> String {
    let distinct: BTreeSet<String> = kinds.into_iter().collect();
    if distinct.contains("Any") {
        return "Any".into();
    }
    let mut some: Vec<String> = distinct.iter().filter(|kind| *kind != "None").cloned().collect();
    let one = if some.len() == 1 { some.remove(0) } else { format!("Union[{}]", some.join(", ")) };
    if distinct.contains("None") { format!("Optional[{one}]") } else { one }
}

#[test]
fn the_committed_client_is_current() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../python/audio_thinker_run.py");
    let committed = std::fs::read_to_string(path).unwrap();
    let (head, rest) = committed.split_once(BEGIN).unwrap();
    let (_, tail) = rest.split_once(END).unwrap();
    let (_, document) = crate::api::routes();
    let current = format!("{head}{BEGIN}{}\n\n{END}{tail}", generated(&document));
    if std::env::var_os("UPDATE_SCHEMA").is_some() {
        std::fs::write(path, &current).unwrap();
    }
    assert!(
        committed == current,
        "run `UPDATE_SCHEMA=1 cargo test -p control committed_client` and commit {path}"
    );
}
