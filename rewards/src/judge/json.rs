//! Reads JSON as the servers of models write it.
//!
//! Python writes `NaN` and `-Infinity`, numbers may be out of range, a reply that ends within an emoji leaves half of a
//! surrogate pair, and some servers write a key twice. None of this changes what the rest of the text says, so it is
//! not an error here:
//!
//! - a number that is not finite is read as `null`,
//! - half of a surrogate pair is read as U+FFFD,
//! - of a repeated key, equal values count once, and `null` does not count beside another value. Other repetitions
//!   are an error if the key is one of `decisive`; elsewhere the last value counts.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

/// Reads a JSON text. Two different values of a key in `decisive` are an error, on any level.
///
/// Errors: the text is not JSON, even with the tolerance that the module describes.
pub fn read(text: &str, decisive: &[&str]) -> Result<Value, serde_json::Error> {
    let text = text.trim_start_matches('\u{feff}');
    let once = |text: &str| {
        let mut deserializer = serde_json::Deserializer::from_str(text);
        let value = Distinct { decisive }.deserialize(&mut deserializer)?;
        deserializer.end().map(|()| value)
    };
    once(text).or_else(|error| {
        let repaired = null_for_non_finite(text);
        let repaired = whole_surrogates(&repaired);
        if repaired == text { Err(error) } else { once(&repaired) }
    })
}

/// Replaces `\ud83d` by `\ufffd` where the other half of the pair is missing, which JSON parsers refuse.
pub fn whole_surrogates(text: &str) -> Cow<'_, str> {
    if !text.contains("\\u") {
        return Cow::Borrowed(text);
    }
    let bytes = text.as_bytes();
    let (mut repaired, mut copied, mut at) = (String::new(), 0, 0);
    while at < bytes.len() {
        if bytes[at] != b'\\' {
            at += 1;
            continue;
        }
        at += match escaped_unit(bytes, at) {
            // Any other escape; its second character may be a backslash.
            None => 2,
            Some(0xd800..=0xdbff) if matches!(escaped_unit(bytes, at + 6), Some(0xdc00..=0xdfff)) => 12,
            Some(0xd800..=0xdfff) => {
                repaired.push_str(&text[copied..at]);
                repaired.push_str("\\ufffd");
                copied = at + 6;
                6
            }
            Some(_) => 6,
        };
    }
    if copied == 0 {
        return Cow::Borrowed(text);
    }
    repaired.push_str(&text[copied..]);
    Cow::Owned(repaired)
}

/// The UTF-16 unit that is written as `\uXXXX` at this place.
fn escaped_unit(bytes: &[u8], at: usize) -> Option<u32> {
    let digits = bytes.get(at..at + 6)?.strip_prefix(b"\\u")?;
    digits.iter().try_fold(0, |unit, digit| Some(unit * 16 + char::from(*digit).to_digit(16)?))
}

/// Replaces `NaN`, `-Infinity`, `1e400` and the like outside of strings by `null`.
fn null_for_non_finite(text: &str) -> Cow<'_, str> {
    let bytes = text.as_bytes();
    let bare = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.');
    let (mut repaired, mut copied, mut at, mut in_string) = (String::new(), 0, 0, false);
    while let Some(&byte) = bytes.get(at) {
        if in_string || !bare(&byte) {
            at += if in_string && byte == b'\\' { 2 } else { 1 };
            in_string ^= byte == b'"';
            continue;
        }
        let end = at + bytes[at..].iter().take_while(|byte| bare(byte)).count();
        // Rust reads `1e400` as infinity, and knows `nan`, `inf` and `infinity` in any case.
        if text[at..end].parse::<f64>().is_ok_and(|number| !number.is_finite()) {
            repaired.push_str(&text[copied..at]);
            repaired.push_str("null");
            copied = end;
        }
        at = end;
    }
    if copied == 0 {
        return Cow::Borrowed(text);
    }
    repaired.push_str(&text[copied..]);
    Cow::Owned(repaired)
}

/// Reads a value and checks its repeated keys.
#[derive(Clone, Copy)]
struct Distinct<'a> {
    decisive: &'a [&'a str],
}

impl<'de> DeserializeSeed<'de> for Distinct<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Distinct<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = list.next_element_seed(self)? {
            values.push(value);
        }
        Ok(Value::Array(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut values = Map::new();
        while let Some(key) = map.next_key::<String>()? {
            let value = map.next_value_seed(self)?;
            match values.get(&key) {
                Some(known) if !known.is_null() && (value.is_null() || value == *known) => {}
                Some(known) if !known.is_null() && self.decisive.contains(&key.as_str()) => {
                    return Err(A::Error::custom(format!("`{key}` is given twice, with different values")));
                }
                Some(_) | None => drop(values.insert(key, value)),
            }
        }
        Ok(Value::Object(values))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn both(text: &str) -> Value {
        read(text, &["content"]).unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn numbers_that_are_not_finite_are_null() {
        for number in ["NaN", "-Infinity", "Infinity", "1e400", "-1e999", "nan", "-inf"] {
            assert_eq!(both(&format!("{{\"a\": [{number}, 1.5]}}")), json!({ "a": [null, 1.5] }), "{number}");
        }
        assert_eq!(
            both(r#"{"a": "NaN \" NaN", "b": NaN, "c": -0.5e1}"#),
            json!({ "a": "NaN \" NaN", "b": null, "c": -5.0 })
        );
        assert!(read("{\"a\": nothing}", &[]).is_err());
    }

    #[test]
    fn half_of_a_surrogate_pair_is_replaced() {
        assert_eq!(both(r#"["\ud83d", "\ud83d\ude00", "\ude00x"]"#), json!(["\u{fffd}", "😀", "\u{fffd}x"]));
        assert_eq!(both(r#"["\\ud83d", "\ud83d\ud83d\ude00"]"#), json!(["\\ud83d", "\u{fffd}😀"]));
        for text in ["\\u", "\\ud8", "é\\", "\\é\\ud800", "\\u{d8}"] {
            whole_surrogates(text);
            null_for_non_finite(&format!("\"{text}"));
        }
    }

    #[test]
    fn a_repeated_key_is_an_error_only_if_it_decides_and_differs() {
        assert_eq!(both(r#"{"content": "a", "content": "a"}"#), json!({ "content": "a" }));
        assert_eq!(both(r#"{"content": null, "content": "a"}"#), json!({ "content": "a" }));
        assert_eq!(both(r#"{"content": "a", "content": null}"#), json!({ "content": "a" }));
        assert_eq!(both(r#"{"usage": 1, "usage": 2}"#), json!({ "usage": 2 }));
        let error = read(r#"[{"content": "a", "content": "b"}]"#, &["content"]).unwrap_err().to_string();
        assert!(error.contains("`content` is given twice, with different values"), "{error}");
    }

    #[test]
    fn what_ends_early_is_told_apart_from_what_is_no_json() {
        assert!(read("{\"choices\": [", &[]).unwrap_err().is_eof());
        assert!(read("{\"choices\": [NaN, ", &[]).unwrap_err().is_eof());
        assert!(!read("<html>", &[]).unwrap_err().is_eof());
        assert!(read(&"[".repeat(100_000), &[]).is_err(), "without a stack overflow");
        assert_eq!(both("\u{feff}{}\n"), json!({}));
    }
}
