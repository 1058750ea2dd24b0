//! The values within nested JSON objects.

use serde_json::{Map, Value};

/// Calls `take` with each value of the row that is not an object, and its path: the names that lead to it, joined.
pub fn each_leaf<'a>(row: &'a Map<String, Value>, separator: char, take: &mut impl FnMut(String, &'a Value)) {
    within(row, "", separator, take);
}

fn within<'a>(
    object: &'a Map<String, Value>,
    prefix: &str,
    separator: char,
    take: &mut impl FnMut(String, &'a Value),
) {
    for (name, value) in object {
        let path = format!("{prefix}{name}");
        match value {
            Value::Object(inner) => within(inner, &format!("{path}{separator}"), separator, take),
            leaf => take(path, leaf),
        }
    }
}
