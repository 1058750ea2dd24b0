//! One object of a configuration file, read key by key: a value of the wrong kind is named with its place.

use serde_json::{Map, Value};

/// An object and where it stands in the file.
pub(super) struct Section {
    /// As `text_config.`; empty at the top.
    place: String,
    values: Map<String, Value>,
}

impl Section {
    pub(super) fn top(json: Value) -> Result<Section, String> {
        match json {
            Value::Object(values) => Ok(Section { place: String::new(), values }),
            _ => Err("holds no JSON object".to_owned()),
        }
    }

    /// The section's name in messages, as `text_config`.
    pub(super) fn name(&self) -> &str {
        self.place.trim_end_matches('.')
    }

    /// An object in this one; empty if it is absent or null.
    pub(super) fn below(&self, key: &str) -> Result<Section, String> {
        let values = match self.get(key) {
            None => Map::new(),
            Some(Value::Object(values)) => values.clone(),
            Some(other) => return Err(self.wrong(key, other, "an object")),
        };
        Ok(Section { place: format!("{}{key}.", self.place), values })
    }

    /// What is there; null counts as absent, as in Python.
    pub(super) fn get(&self, key: &str) -> Option<&Value> {
        self.values.get(key).filter(|value| !value.is_null())
    }

    fn read<'a, T>(
        &'a self,
        key: &str,
        expected: &str,
        read: impl Fn(&'a Value) -> Option<T>,
    ) -> Result<Option<T>, String> {
        match self.get(key) {
            None => Ok(None),
            Some(value) => read(value).map(Some).ok_or_else(|| self.wrong(key, value, expected)),
        }
    }

    pub(super) fn integer(&self, key: &str) -> Result<Option<i64>, String> {
        self.read(key, "an integer", Value::as_i64)
    }

    pub(super) fn number(&self, key: &str) -> Result<Option<f64>, String> {
        self.read(key, "a number", Value::as_f64)
    }

    pub(super) fn flag(&self, key: &str) -> Result<Option<bool>, String> {
        self.read(key, "true or false", Value::as_bool)
    }

    pub(super) fn word(&self, key: &str) -> Result<Option<&str>, String> {
        self.read(key, "a string", Value::as_str)
    }

    /// One integer or a list of them: Hugging Face writes either.
    pub(super) fn integers(&self, key: &str) -> Result<Option<Vec<i64>>, String> {
        self.read(key, "an integer or a list of them", |value| match value {
            Value::Array(values) => values.iter().map(Value::as_i64).collect(),
            one => one.as_i64().map(|one| vec![one]),
        })
    }

    /// An integer that must be above 0.
    pub(super) fn size(&self, key: &str, default: i64) -> Result<i64, String> {
        match self.integer(key)?.unwrap_or(default) {
            size if size > 0 => Ok(size),
            size => Err(format!("{}{key} is {size}; expected a positive number", self.place)),
        }
    }

    /// Refuses a value that this crate builds no other of.
    pub(super) fn only(&self, key: &str, built: &str) -> Result<(), String> {
        match self.word(key)? {
            Some(other) if other != built => {
                Err(format!("{}{key} is `{other}`; expected `{built}`", self.place))
            }
            _ => Ok(()),
        }
    }

    /// Refuses something that is switched on and that this crate does not build.
    pub(super) fn never(&self, key: &str) -> Result<(), String> {
        match self.flag(key)? {
            Some(true) => Err(format!("{}{key} is true; only false is built", self.place)),
            _ => Ok(()),
        }
    }

    fn wrong(&self, key: &str, found: &Value, expected: &str) -> String {
        format!("{}{key} is `{found}`; expected {expected}", self.place)
    }
}
