//! JSON as Python writes it: `NaN` and `Infinity`, which are no JSON, are read as null; what else is wrong is named.

use serde_json::Value;

/// Reads JSON. `NaN`, `Infinity` and `-Infinity`, which pandas and `json.dumps` write for missing numbers, become null.
pub(super) fn parse(text: &str) -> Result<Value, serde_json::Error> {
    serde_json::from_str(text).or_else(|error| match without_nan(text) {
        Some(text) => serde_json::from_str(&text),
        None => Err(error),
    })
}

/// The text with `null` in place of numbers that are none, outside of strings; `None` if there are none.
pub(super) fn without_nan(text: &str) -> Option<String> {
    let mut out = String::with_capacity(text.len());
    let (mut rest, mut changed) = (text, false);
    while let Some(c) = rest.chars().next() {
        let literal = ["NaN", "Infinity", "-Infinity"].into_iter().find(|literal| rest.starts_with(literal));
        if let Some(literal) = literal {
            out.push_str("null");
            (rest, changed) = (&rest[literal.len()..], true);
        } else {
            let length = if c == '"' { string_length(rest) } else { c.len_utf8() };
            out.push_str(&rest[..length]);
            rest = &rest[length..];
        }
    }
    changed.then_some(out)
}

/// Length in bytes of the string that a text begins with, its quotes included.
fn string_length(text: &str) -> usize {
    let mut escaped = false;
    for (at, byte) in text.bytes().enumerate().skip(1) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// What is wrong with a text that is no JSON object, and what to write instead.
pub(super) fn advice(text: &str, error: &serde_json::Error) -> (String, &'static str) {
    let start: String = text.chars().filter(|c| !c.is_whitespace()).take(2).collect();
    if start == "{'" {
        let instead = "write it with `json.dumps`, which uses double quotes";
        return ("a Python dict with single quotes, not a JSON object".into(), instead);
    }
    let message = format!("not a JSON object: {error}");
    if message.contains("trailing comma") {
        return (message, "remove the comma in front of the closing bracket");
    }
    (message, "write one object per line, or an array")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn numbers_that_are_none_are_null_except_in_strings() {
        let text = r#"{"a": NaN, "b": [-Infinity, Infinity], "NaN": "a \" NaN", "c": "Größe"}"#;
        let expected = json!({"a": null, "b": [null, null], "NaN": "a \" NaN", "c": "Größe"});
        assert_eq!(parse(text).unwrap(), expected);
        assert!(parse(r#"{"a": nan}"#).is_err());
        assert!(parse("{\"a\": NaN, \"b").is_err());
    }

    #[test]
    fn what_python_writes_is_named() {
        let advice = |text: &str| advice(text, &parse(text).unwrap_err());
        assert_eq!(
            advice("{'id': 1}"),
            (
                "a Python dict with single quotes, not a JSON object".to_owned(),
                "write it with `json.dumps`, which uses double quotes"
            )
        );
        assert_eq!(advice(r#"{"id": 1,}"#).1, "remove the comma in front of the closing bracket");
        assert_eq!(advice("x").1, "write one object per line, or an array");
    }
}
