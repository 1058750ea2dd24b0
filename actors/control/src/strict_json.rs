//! Checks a JSON text for what parsers disagree about: an object that has a key twice.
//!
//! `serde_json` keeps the last of two values in a map. So a change that gives a weight two values would apply one of
//! them in silence.

use std::collections::HashSet;
use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};

/// Any JSON value in which no object has a key twice.
pub(super) struct Unambiguous;

impl<'de> Deserialize<'de> for Unambiguous {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Check)
    }
}

struct Check;

impl<'de> Visitor<'de> for Check {
    type Value = Unambiguous;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E>(self, _: bool) -> Result<Unambiguous, E> {
        Ok(Unambiguous)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Unambiguous, E> {
        Ok(Unambiguous)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Unambiguous, E> {
        Ok(Unambiguous)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Unambiguous, E> {
        Ok(Unambiguous)
    }

    fn visit_str<E>(self, _: &str) -> Result<Unambiguous, E> {
        Ok(Unambiguous)
    }

    fn visit_unit<E>(self) -> Result<Unambiguous, E> {
        Ok(Unambiguous)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Unambiguous, A::Error> {
        while items.next_element::<Unambiguous>()?.is_some() {}
        Ok(Unambiguous)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Unambiguous, A::Error> {
        let mut keys = HashSet::new();
        while let Some(key) = entries.next_key::<String>()? {
            entries.next_value::<Unambiguous>()?;
            if !keys.insert(key.clone()) {
                return Err(A::Error::custom(format_args!("the key `{key}` is there twice; give it once")));
            }
        }
        Ok(Unambiguous)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> Option<String> {
        serde_json::from_str::<Unambiguous>(text).err().map(|error| error.to_string())
    }

    #[test]
    fn a_key_that_is_there_twice_is_named_at_any_depth() {
        for text in
            [r#"{"a": 1, "b": {"a": [1, -1.5, true, null, "x"]}}"#, r#"[{"a": 1}, {"a": 1}]"#, "3", r#""a""#]
        {
            assert_eq!(error(text), None, "{text}");
        }
        for text in
            [r#"{"a": 1, "a": 2}"#, r#"{"w": {"b": {}, "a": 1, "a": 1}}"#, r#"[[{"a": {}, "\u0061": 0}]]"#]
        {
            assert!(error(text).is_some_and(|error| error.contains("`a` is there twice")), "{text}");
        }
    }

    #[test]
    fn what_is_no_json_is_refused() {
        let deep = "[".repeat(100_000);
        for text in
            ["", "{", "NaN", "Infinity", "{\"a\": 1e400}", "{\"a\": -1e400}", "{'a': 1}", "{a: 1}", &deep]
        {
            assert!(error(text).is_some(), "{text}");
        }
    }
}
