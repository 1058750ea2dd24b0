//! The order of an arm's changes, and what each of them changed.
//!
//! - `ORDER-1` the changes of an arm are one sequence, numbered by version. A change is in force on top of all earlier
//!   versions and never without them, whatever was killed and resumed in between. The journal has a change before it
//!   takes effect; a checkpoint names the last version that it contains; a resumed run makes the later ones again, each
//!   once, in the order of their versions.

use std::collections::BTreeMap;
use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::arm_id::ArmId;
use crate::journal::{Change, JournalEntry};

/// The changes of an arm in the order of their versions, each once, with the first step under it in `step`.
///
/// A change that was made while an earlier version still waited for its step, as after a resume, brought that version
/// forward. A version whose line was written again, because its first step is taken again, counts with its last line.
pub fn changes_in_order(journal: &[JournalEntry], id: &ArmId) -> Vec<JournalEntry> {
    let of_arm = journal.iter().filter(|entry| entry.id == *id && entry.change.is_some());
    let by_version: BTreeMap<u64, &JournalEntry> = of_arm.map(|entry| (entry.version, entry)).collect();
    let mut changes: Vec<JournalEntry> = by_version.into_values().cloned().collect();
    let mut step = u64::MAX;
    for entry in changes.iter_mut().rev() {
        step = step.min(entry.step);
        entry.step = step;
    }
    changes
}

/// A change in short: who made it, when, and which values it replaced.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ChangeSummary {
    /// The version of the conditions that it makes.
    pub version: u64,
    /// Who asked for it: `page`, `ctl`, `api` or `replay`.
    pub by: String,
    /// When it took effect, or was asked for if it has not yet; RFC 3339.
    pub time: String,
    /// The first step under it; null while it waits for its step boundary.
    pub step: Option<u64>,
    /// What it changes, in the order weights, formula, rewards, settings.
    pub fields: Vec<FieldChange>,
}

/// One value that a change replaces.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct FieldChange {
    /// `formula`, `weights.NAME`, `rewards.NAME` or `settings.NAME`.
    pub field: String,
    /// The value before; null if there was none.
    pub old: Value,
    /// The value after; null if it was removed.
    pub new: Value,
}

impl ChangeSummary {
    /// The summary of a change in the journal; `None` for another command.
    pub fn of(entry: &JournalEntry) -> Option<Self> {
        let change = entry.change.as_ref()?;
        Some(ChangeSummary {
            version: entry.version,
            by: entry.by.clone(),
            time: entry.time.clone(),
            step: Some(entry.step),
            fields: FieldChange::all(change, entry.from.as_ref().unwrap_or(&Value::Null)),
        })
    }
}

impl FieldChange {
    /// What `change` replaces; `from` has the values before, as [`JournalEntry::from`] has them.
    pub fn all(change: &Change, from: &Value) -> Vec<Self> {
        let field = |kind: &str, name: &str, new: Value| FieldChange {
            field: format!("{kind}.{name}"),
            old: from[kind][name].clone(),
            new,
        };
        let weights = change.weights.iter().map(|(name, new)| field("weights", name, json!(new)));
        let formula = change.formula.iter().map(|new| FieldChange {
            field: "formula".into(),
            old: from["formula"].clone(),
            new: json!(new),
        });
        let rewards = change.rewards.iter().map(|(name, new)| field("rewards", name, json!(new)));
        let settings = change.settings.iter().map(|(name, new)| field("settings", name, new.clone()));
        weights.chain(formula).chain(rewards).chain(settings).collect()
    }
}

impl fmt::Display for ChangeSummary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fields: Vec<String> = self.fields.iter().map(ToString::to_string).collect();
        let when = self.step.map_or_else(|| "from the next step".into(), |step| format!("from step {step}"));
        write!(f, "version {} by {} at {}, {when}: {}", self.version, self.by, self.time, fields.join("; "))
    }
}

impl fmt::Display for FieldChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |value: &Value| match value {
            Value::Null => "none".to_owned(),
            Value::String(text) => format!("`{text}`"),
            value => value.to_string(),
        };
        write!(f, "{} {} → {}", self.field, shown(&self.old), shown(&self.new))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::FormatVersion;
    use crate::journal::Action;

    fn entry(version: u64, step: u64, value: f64) -> JournalEntry {
        JournalEntry {
            format_version: FormatVersion::CURRENT,
            time: "2026-01-31T12:00:00Z".into(),
            by: "ctl".into(),
            id: ArmId::new("a", 7),
            action: Action::Change,
            change: Some(Change { weights: [("think".to_owned(), value)].into(), ..Change::default() }),
            from: Some(json!({ "weights": { "think": 0.25 } })),
            note: None,
            version,
            step,
            alarm: None,
        }
    }

    fn order(journal: &[JournalEntry]) -> Vec<(u64, u64)> {
        let changes = changes_in_order(journal, &ArmId::new("a", 7));
        changes.iter().map(|entry| (entry.version, entry.step)).collect()
    }

    /// ORDER-1.
    #[test]
    fn changes_are_ordered_by_version_and_a_later_one_brings_earlier_ones_forward() {
        // Versions 1 and 2 were repeated after a kill; version 3 was made before their steps came.
        assert_eq!(order(&[entry(1, 5, 0.1), entry(2, 8, 0.2), entry(3, 4, 0.3)]), [(1, 4), (2, 4), (3, 4)]);
        assert_eq!(order(&[entry(2, 5, 0.2), entry(1, 5, 0.1)]), [(1, 5), (2, 5)]);
        assert_eq!(order(&[entry(1, 7, 0.1), entry(1, 5, 0.1), entry(3, 9, 0.3)]), [(1, 5), (3, 9)]);
        let mut other = entry(1, 1, 0.1);
        other.id = ArmId::new("b", 7);
        assert_eq!(order(&[other]), []);
    }

    #[test]
    fn a_summary_says_who_changed_what_from_what_to_what() {
        let summary = ChangeSummary::of(&entry(4, 41, 0.5)).unwrap();
        assert_eq!(
            summary.to_string(),
            "version 4 by ctl at 2026-01-31T12:00:00Z, from step 41: weights.think 0.25 → 0.5"
        );
    }
}
