//! The three tables, and the columns that they have in every run.

use records::{ArmFile, Evaluation, GrpoMetrics, Rollout, SftMetrics, json_value};
use serde_json::{Map, Value, json};

use super::columns::{Columns, Kind};

/// A table of the export.
pub(super) struct Table {
    pub(super) name: &'static str,
    /// The file whose rows it has.
    pub(super) file: ArmFile,
    /// Rows without contents, of each type that the file can have; also the fields that such a row does not write.
    empty_rows: fn() -> Vec<Value>,
    /// Fields that are null or absent in these rows and not numbers with a fraction.
    null_kinds: &'static [(&'static str, Kind)],
}

pub(super) const ALL: [Table; 3] = [
    Table {
        name: "steps",
        file: ArmFile::Metrics,
        empty_rows: || vec![json_value(&GrpoMetrics::default()), json_value(&SftMetrics::default())],
        null_kinds: &[("distinct_completions", Kind::Integer)],
    },
    Table {
        name: "evaluations",
        file: ArmFile::Evaluations,
        empty_rows: || {
            let first = json!({"format_version": 0, "step": 0, "suite": "", "control": null});
            vec![first, json_value(&Evaluation::default())]
        },
        null_kinds: &[("control", Kind::Text)],
    },
    Table {
        name: "rollouts",
        file: ArmFile::Rollouts,
        empty_rows: || {
            let first = json!({"format_version": 0, "phase": "", "step": 0, "suite": null, "control": null});
            vec![first, empty_rollout(), json!({"audio_start": null, "audio_end": null})]
        },
        null_kinds: &[
            ("suite", Kind::Text),
            ("control", Kind::Text),
            ("audio_path", Kind::Text),
            ("difficulty", Kind::Text),
            ("kind", Kind::Text),
            ("mode", Kind::Text),
            ("think", Kind::Text),
            ("answer", Kind::Text),
            ("correct_official", Kind::Boolean),
            ("correct_lenient", Kind::Boolean),
            ("weights_version", Kind::Integer),
            ("tokens", Kind::Integer),
        ],
    },
];

impl Table {
    /// `arm`, `seed` and the columns of the row types.
    pub(super) fn columns(&self) -> Columns {
        let mut empty = Map::new();
        empty.insert("arm".to_owned(), "".into());
        empty.insert("seed".to_owned(), 0.into());
        for row in (self.empty_rows)() {
            let Value::Object(fields) = row else { continue };
            for (name, value) in fields {
                empty.entry(name).or_insert(value);
            }
        }
        Columns::of(&empty, self.null_kinds)
    }
}

/// A rollout with only what every row has.
fn empty_rollout() -> Value {
    let rollout: Rollout = serde_json::from_value(json!({"phase": "train", "step": 0}))
        .expect("every other field of a rollout may be absent");
    json_value(&rollout)
}
