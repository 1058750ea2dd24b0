//! Bookmarks: shows, makes, changes and removes them.

use report::fit::GiveUp;
use serde_json::{Value, json};

use super::client::Arm;
use super::context::Ctl;
use super::error::CtlError;
use crate::cli::BookmarkOptions;
use crate::streams::columns;
use crate::table::{Table, one_line, short};

/// The longest note in the table, in characters.
const NOTE: usize = 200;

/// Shows the bookmarks.
pub fn list(ctl: &Ctl<'_>) -> Result<(), CtlError> {
    let answer = ctl.client.get(&["api", "bookmarks"], &[])?;
    ctl.print(&answer, |answer| {
        // Given up in a narrow terminal: who made it, the time, the question, the end of the note, the end of the arm's name.
        let order = [
            GiveUp::Column(2),
            GiveUp::Column(1),
            GiveUp::Column(5),
            GiveUp::Text { column: 6, least: 20 },
            GiveUp::Text { column: 3, least: 8 },
        ];
        let heads = ["number", "time", "by", "arm", "step", "question", "note"];
        let mut table = Table::new(&heads).giving_up(&order);
        for bookmark in answer["bookmarks"].as_array().into_iter().flatten() {
            let cell = |key: &str| short(&bookmark[key]);
            let question = bookmark["completion"]["question"].as_str().unwrap_or_default();
            table.row(vec![
                cell("number"),
                cell("time"),
                cell("by"),
                Arm::label_of(bookmark),
                cell("step"),
                one_line(question, 40),
                one_line(bookmark["note"].as_str().unwrap_or_default(), NOTE),
            ]);
        }
        table.text(columns())
    });
    Ok(())
}

/// Marks a step of each selected arm, or changes or removes a bookmark.
pub fn bookmark(ctl: &Ctl<'_>, options: &BookmarkOptions) -> Result<(), CtlError> {
    let note = options.note.as_deref().unwrap_or_default();
    let of = |number: u64| ["api".to_owned(), "bookmarks".to_owned(), number.to_string()];
    if let Some(number) = options.remove {
        let answer = ctl.client.delete(&of(number).each_ref().map(String::as_str))?;
        ctl.print(&answer, |answer| format!("bookmark {} is removed", answer["number"]));
        return Ok(());
    }
    if let Some(number) = options.number {
        let answer = ctl.client.put(&of(number).each_ref().map(String::as_str), &json!({ "note": note }))?;
        ctl.print(&answer, said);
        return Ok(());
    }
    // Without --arm, the arm whose records the other commands show.
    let arms = if ctl.options.arms.is_empty() { vec![ctl.arm()?] } else { ctl.arms()? };
    for arm in arms {
        let body = json!({ "arm": arm.name(), "seed": arm.seed(), "step": options.at, "note": note });
        let answer = ctl.client.post(&["api", "bookmarks"], &body)?;
        ctl.print(&answer, said);
    }
    Ok(())
}

fn said(bookmark: &Value) -> String {
    let note = one_line(bookmark["note"].as_str().unwrap_or_default(), NOTE);
    format!(
        "{}: bookmark {} at step {}: {note}",
        Arm::label_of(bookmark),
        bookmark["number"],
        bookmark["step"]
    )
}
