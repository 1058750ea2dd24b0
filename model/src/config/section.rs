//! One object of `config.json`, read key by key. An error names the key with its section, as `text_config.hidden_size`.

use serde_json::{Map, Value};

use crate::error::ConfigError;

/// A JSON object and its place in the file.
pub(super) struct Section {
    /// Prefix of the keys in messages, as `text_config.`; empty for the top level.
    prefix: String,
    values: Map<String, Value>,
}

impl Section {
    /// The top level of a file.
    pub(super) fn top(json: Value) -> Result<Section, ConfigError> {
        match json {
            Value::Object(values) => Ok(Section { prefix: String::new(), values }),
            _ => Err(ConfigError::NotAnObject),
        }
    }

    /// The section's name for messages, as `text_config`.
    pub(super) fn name(&self) -> &str {
        self.prefix.trim_end_matches('.')
    }

    /// A nested object; empty if it is absent or null.
    pub(super) fn section(&self, key: &str) -> Result<Section, ConfigError> {
        let values = match self.get(key) {
            None => Map::new(),
            Some(Value::Object(values)) => values.clone(),
            Some(other) => return Err(self.wrong_type(key, other, "an object")),
        };
        Ok(Section { prefix: format!("{}.", self.place(key)), values })
    }

    pub(super) fn integer(&self, key: &str) -> Result<Option<i64>, ConfigError> {
        self.read(key, "an integer", Value::as_i64)
    }

    pub(super) fn number(&self, key: &str) -> Result<Option<f64>, ConfigError> {
        self.read(key, "a number", Value::as_f64)
    }

    pub(super) fn flag(&self, key: &str) -> Result<Option<bool>, ConfigError> {
        self.read(key, "true or false", Value::as_bool)
    }

    pub(super) fn string(&self, key: &str) -> Result<Option<&str>, ConfigError> {
        self.read(key, "a string", Value::as_str)
    }

    /// One integer or a list of integers: Hugging Face writes either.
    pub(super) fn integers(&self, key: &str) -> Result<Option<Vec<i64>>, ConfigError> {
        self.read(key, "an integer or a list of them", |value| match value {
            Value::Array(values) => values.iter().map(Value::as_i64).collect(),
            one => one.as_i64().map(|one| vec![one]),
        })
    }

    /// An integer that must be above 0.
    pub(super) fn positive(&self, key: &str, default: i64) -> Result<i64, ConfigError> {
        match self.integer(key)?.unwrap_or(default) {
            size if size > 0 => Ok(size),
            found => Err(ConfigError::NotPositive { key: self.place(key), found }),
        }
    }

    /// The id of a placeholder token, whose key is `…_token_index` in transformers 4 and
    /// `…_token_id` in transformers 5.
    pub(super) fn token_id(&self, kind: &str, default: i64) -> Result<i64, ConfigError> {
        let stated = match self.integer(&format!("{kind}_token_index"))? {
            None => self.integer(&format!("{kind}_token_id"))?,
            stated => stated,
        };
        Ok(stated.unwrap_or(default))
    }

    /// Fails if the key has another value than the only one that this crate implements.
    pub(super) fn require_value(&self, key: &str, expected: &str) -> Result<(), ConfigError> {
        match self.string(key)? {
            Some(other) if other != expected => Err(ConfigError::OtherValue {
                key: self.place(key),
                found: other.to_owned(),
                expected: expected.to_owned(),
            }),
            _ => Ok(()),
        }
    }

    /// The known value that the key names, or the first one if the key is absent. Fails if it names none of them.
    pub(super) fn one_of<'a, T>(
        &self,
        key: &str,
        known: &'a [T],
        name: impl Fn(&T) -> &'static str,
    ) -> Result<&'a T, ConfigError> {
        let Some(found) = self.string(key)? else { return Ok(&known[0]) };
        known.iter().find(|value| name(value) == found).ok_or_else(|| ConfigError::OtherValue {
            key: self.place(key),
            found: found.to_owned(),
            expected: known.iter().map(name).collect::<Vec<_>>().join("`, `"),
        })
    }

    /// Fails if the key switches on something that this crate does not implement.
    pub(super) fn require_off(&self, key: &str) -> Result<(), ConfigError> {
        match self.flag(key)? {
            Some(true) => Err(ConfigError::SwitchedOn { key: self.place(key) }),
            _ => Ok(()),
        }
    }

    /// Fails if the first of two values of this section does not divide the second.
    pub(super) fn require_divisor(
        &self,
        (key, value): (&str, i64),
        (whole_key, whole): (&'static str, i64),
    ) -> Result<(), ConfigError> {
        if whole % value == 0 {
            return Ok(());
        }
        Err(ConfigError::DoesNotDivide { key: self.place(key), value, whole_key, whole })
    }

    /// A key's value; null counts as absent, as in Python.
    fn get(&self, key: &str) -> Option<&Value> {
        self.values.get(key).filter(|value| !value.is_null())
    }

    fn read<'a, T>(
        &'a self,
        key: &str,
        expected: &'static str,
        read: impl Fn(&'a Value) -> Option<T>,
    ) -> Result<Option<T>, ConfigError> {
        match self.get(key) {
            None => Ok(None),
            Some(value) => read(value).map(Some).ok_or_else(|| self.wrong_type(key, value, expected)),
        }
    }

    fn wrong_type(&self, key: &str, found: &Value, expected: &'static str) -> ConfigError {
        ConfigError::WrongType { key: self.place(key), found: found.to_string(), expected }
    }

    /// A key with its section, for messages.
    fn place(&self, key: &str) -> String {
        format!("{}{key}", self.prefix)
    }
}
