//! The columns of `metrics.jsonl`, kept in memory, so that any range of any fields is answered without reading the file
//! again. A line goes straight into the columns: a run of 10,000 steps has tens of megabytes of them, which the first
//! request waits for.

use std::collections::HashMap;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::lines::Lines;

/// The columns read so far; NaN where a row has no value.
#[derive(Default)]
pub(super) struct Columns {
    by_name: HashMap<String, usize>,
    columns: Vec<Column>,
    /// The step of each row; they increase.
    pub steps: Vec<u64>,
    /// The tokens that were trained on until the end of each row's step.
    pub tokens: Vec<f64>,
    /// The seconds that the steps took until the end of each row's step, without evaluations, checkpoints and pauses.
    pub seconds: Vec<f64>,
    /// The column after the one that was filled last. Rows have their fields in the same order, so it is mostly the next.
    next: usize,
}

/// A column: a metric over all rows.
#[derive(Default)]
pub(super) struct Column {
    /// The name; fields of a group are written `components.think`.
    pub name: String,
    /// One value per row.
    pub values: Vec<f64>,
    /// Whether any row has a number.
    pub has_value: bool,
    /// Whether any row has a number above 0.
    pub has_positive: bool,
}

impl Column {
    /// Sets the value of a row behind those that are there, or of the last again.
    fn set(&mut self, row: usize, value: f64) {
        self.values.resize(row, f64::NAN);
        self.values.push(value);
        self.has_value |= value.is_finite();
        self.has_positive |= value > 0.0;
    }
}

impl Lines for Columns {
    fn take(&mut self, _: u64, line: &[u8]) {
        let (row, known) = (self.steps.len(), self.columns.len());
        self.next = 0;
        let mut json = serde_json::Deserializer::from_slice(line);
        let read = Cell { columns: self, name: &mut String::new() }.deserialize(&mut json);
        let read = read.is_ok() && json.end().is_ok();
        let step = self.value("step", row).filter(|step| *step >= 0.0 && step.fract() == 0.0);
        let (true, Some(step)) = (read, step) else { return self.forget(row, known) };
        self.steps.push(step as u64);
        for column in &mut self.columns {
            column.values.resize(row + 1, f64::NAN);
        }
        self.add_up(row);
    }
}

impl Columns {
    /// All columns, in the order in which they were met.
    pub fn all(&self) -> &[Column] {
        &self.columns
    }

    pub fn get(&self, name: &str) -> Option<&Column> {
        self.by_name.get(name).map(|&place| &self.columns[place])
    }

    /// The numbers of the last row, by column.
    pub fn newest(&self) -> Vec<(String, f64)> {
        let last = |column: &Column| Some((column.name.clone(), *column.values.last()?));
        self.columns.iter().filter_map(last).filter(|(_, value)| value.is_finite()).collect()
    }

    /// A number of a row.
    fn value(&self, name: &str, row: usize) -> Option<f64> {
        self.get(name)?.values.get(row).copied().filter(|value| value.is_finite())
    }

    /// Removes what a line that is no row has left.
    fn forget(&mut self, row: usize, known: usize) {
        self.columns.truncate(known);
        self.by_name.retain(|_, place| *place < known);
        for column in &mut self.columns {
            column.values.truncate(row);
        }
    }

    fn add_up(&mut self, row: usize) {
        let seconds = self.value("step_seconds", row).unwrap_or(0.0).max(0.0);
        let tokens = self.value("target_tokens", row).or_else(|| {
            // The rate is the number of completion tokens divided by the seconds.
            Some((self.value("tokens_per_second", row)? * self.value("step_seconds", row)?).round())
        });
        let last = |sums: &[f64]| sums.last().copied().unwrap_or(0.0);
        self.tokens.push(last(&self.tokens) + tokens.unwrap_or(0.0).max(0.0));
        self.seconds.push(last(&self.seconds) + seconds);
    }

    /// The place of the column `name`, which is made if there is none.
    fn place(&mut self, name: &str) -> usize {
        if self.columns.get(self.next).is_none_or(|column| column.name != name) {
            self.next = match self.by_name.get(name) {
                Some(&place) => place,
                None => {
                    self.by_name.insert(name.to_owned(), self.columns.len());
                    self.columns.push(Column { name: name.to_owned(), ..Column::default() });
                    self.columns.len() - 1
                }
            };
        }
        self.next += 1;
        self.next - 1
    }
}

/// Reads the value of the field `name` into its column: a number, or a group of them. The row as a whole has no name.
struct Cell<'a> {
    columns: &'a mut Columns,
    name: &'a mut String,
}

impl Cell<'_> {
    fn set<E: Error>(self, value: f64) -> Result<(), E> {
        if self.name.is_empty() {
            return Err(E::custom("a row is an object"));
        }
        let row = self.columns.steps.len();
        let place = self.columns.place(self.name);
        self.columns.columns[place].set(row, value);
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for Cell<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Cell<'_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a metric or a group of metrics")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<(), A::Error> {
        let Cell { columns, name } = self;
        if !name.is_empty() {
            name.push('.');
        }
        let prefix = name.len();
        loop {
            name.truncate(prefix);
            if fields.next_key_seed(Key(name))?.is_none() {
                return Ok(());
            }
            if name == "format_version" {
                fields.next_value::<IgnoredAny>()?;
            } else {
                fields.next_value_seed(Cell { columns, name })?;
            }
        }
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<(), E> {
        self.set(value as f64)
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<(), E> {
        self.set(value as f64)
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<(), E> {
        self.set(value)
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        self.set(f64::NAN)
    }

    // No metric has the other types.
    fn visit_bool<E: Error>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        while items.next_element::<IgnoredAny>()?.is_some() {}
        Ok(())
    }
}

/// Appends a key to the text.
struct Key<'a>(&'a mut String);

impl<'de> DeserializeSeed<'de> for Key<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Key<'_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("the name of a field")
    }

    fn visit_str<E: Error>(self, key: &str) -> Result<(), E> {
        self.0.push_str(key);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(lines: &[&str]) -> Columns {
        let mut columns = Columns::default();
        for line in lines {
            columns.take(0, line.as_bytes());
        }
        columns
    }

    #[test]
    fn a_line_that_is_no_row_leaves_nothing_behind() {
        let columns = read(&[
            r#"{"step": 1, "reward": 0.5}"#,
            r#"{"step": 2, "reward": 0.25, "other": 1"#,
            r#"{"reward": 3, "another": 1}"#,
            r#"{"step": 2.5, "reward": 3}"#,
            "[2, 3]",
            "7",
            r#"{"step": 2, "loss": null, "reward": 1} x"#,
            r#"{"step": 2, "reward": -1, "note": "text", "list": [1, {"a": 2}], "on": true}"#,
        ]);
        assert_eq!(columns.steps, [1, 2]);
        let names: Vec<&str> = columns.all().iter().map(|column| column.name.as_str()).collect();
        assert_eq!(names, ["step", "reward"]);
        assert_eq!(columns.get("reward").unwrap().values, [0.5, -1.0]);
    }

    #[test]
    fn a_column_knows_whether_it_has_a_value_and_one_above_zero() {
        let columns = read(&[r#"{"step": 1, "a": null, "b": 0, "c": {"x\"y": 2}}"#]);
        let known = |name: &str| columns.get(name).map(|column| (column.has_value, column.has_positive));
        assert_eq!([known("a"), known("b")], [Some((false, false)), Some((true, false))]);
        assert_eq!((known("c.x\"y"), known("c")), (Some((true, true)), None));
    }

    #[test]
    fn tokens_and_seconds_add_up_and_a_row_without_them_adds_none() {
        let line = |row: serde_json::Value| row.to_string();
        let columns = read(&[
            &line(json!({"step": 1, "tokens_per_second": 100.1, "step_seconds": 2.0})),
            &line(json!({"step": 2, "tokens_per_second": null, "step_seconds": 0.5})),
            &line(json!({"step": 3, "target_tokens": 40, "tokens_per_second": 7.0, "step_seconds": 1.0})),
        ]);
        // 100.1 · 2 is rounded to 200; an SFT step counts its target tokens.
        assert_eq!((columns.tokens, columns.seconds), (vec![200.0, 200.0, 240.0], vec![2.0, 2.5, 3.5]));
    }
}
