//! The rows of `bookmarks.jsonl`: places of a run that somebody wants to find again, each with a note.
//!
//! Like all records the file is only appended to. A row with the number of an earlier one takes its place, and a row that
//! says `removed` takes it away.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::arm_id::ArmId;
use crate::format::FormatVersion;
use crate::rollout::Phase;

/// A bookmark: a step of an arm, or one of its completions.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Bookmark {
    /// The format of the row.
    #[serde(default = "FormatVersion::unnamed")]
    pub format_version: FormatVersion,
    /// From 1, in the order in which they were made. A later row with the same number takes this one's place.
    pub number: u64,
    /// When this row was written, RFC 3339.
    pub time: String,
    /// Who wrote it: `page`, `ctl` or `api`.
    pub by: String,
    /// The arm and its seed.
    #[serde(flatten)]
    pub id: ArmId,
    /// The number of steps taken by then.
    pub step: u64,
    /// The completion, if it is not the step as a whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completion: Option<BookmarkedCompletion>,
    /// What somebody wrote about it; empty for a place that is only to be found again.
    #[serde(default)]
    pub note: String,
    /// What the page showed, as its links write it; empty if it was not made on the page.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub view: String,
    /// Whether the bookmark is taken away.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub removed: bool,
}

/// The row of `rollouts.jsonl` that a bookmark is about.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BookmarkedCompletion {
    /// Whether it was sampled in training or in an evaluation.
    pub phase: Phase,
    /// Of an evaluation: its suite.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suite: Option<String>,
    /// The position of its question within the step.
    pub group: u64,
    /// Its position within the group.
    pub index: u64,
    /// The id of its question.
    pub question: String,
}

/// The bookmarks that there are after these rows, in the order of their numbers.
pub fn bookmarks_in_force(rows: impl IntoIterator<Item = Bookmark>) -> Vec<Bookmark> {
    let last: BTreeMap<u64, Bookmark> = rows.into_iter().map(|row| (row.number, row)).collect();
    last.into_values().filter(|bookmark| !bookmark.removed).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(number: u64, note: &str, removed: bool) -> Bookmark {
        Bookmark {
            format_version: FormatVersion::CURRENT,
            number,
            time: "2026-01-31T12:00:00.000Z".to_owned(),
            by: "page".to_owned(),
            id: ArmId::new("grpo", 7),
            step: 41,
            completion: None,
            note: note.to_owned(),
            view: String::new(),
            removed,
        }
    }

    #[test]
    fn a_later_row_takes_the_place_of_an_earlier_one_or_takes_it_away() {
        let rows =
            [row(1, "first", false), row(2, "second", false), row(1, "edited", false), row(2, "", true)];
        let notes: Vec<String> = bookmarks_in_force(rows).into_iter().map(|bookmark| bookmark.note).collect();
        assert_eq!(notes, ["edited"]);
    }

    #[test]
    fn a_row_is_one_object_with_the_arm_beside_the_step() {
        let json = serde_json::to_value(row(3, "the policy stops thinking here", false)).unwrap();
        let expected = serde_json::json!({
            "format_version": 1, "number": 3, "time": "2026-01-31T12:00:00.000Z", "by": "page", "arm": "grpo", "seed": 7,
            "step": 41, "note": "the policy stops thinking here",
        });
        assert_eq!(json, expected);
        assert_eq!(
            serde_json::from_value::<Bookmark>(json).unwrap(),
            row(3, "the policy stops thinking here", false)
        );
    }

    #[test]
    fn a_torn_last_line_is_no_bookmark_and_a_damaged_one_is_counted_and_found() {
        let folder = tempfile::tempdir().unwrap();
        let run_dir = crate::RunDir::new(folder.path());
        assert_eq!(run_dir.read_bookmarks().unwrap(), (Vec::new(), 0));
        let line = |number, note| serde_json::to_string(&row(number, note, false)).unwrap();
        let text = format!("{}\n{}\n{}", line(1, "a"), line(2, "b"), &line(3, "c")[..40]);
        std::fs::write(run_dir.bookmarks(), &text).unwrap();
        assert_eq!(run_dir.read_bookmarks().unwrap(), (vec![row(1, "a", false), row(2, "b", false)], 0));
        assert_eq!(crate::verify(&run_dir).unwrap().findings, []);
        std::fs::write(run_dir.bookmarks(), text.replacen("{", "", 1)).unwrap();
        assert_eq!(run_dir.read_bookmarks().unwrap(), (vec![row(2, "b", false)], 1));
        let found = crate::verify(&run_dir).unwrap().findings.remove(0).to_string();
        assert!(found.contains("bookmarks.jsonl") && found.contains("a bookmark"), "{found}");
    }
}
