//! Tables of text, in Markdown and for a terminal.

use std::fmt::Write as _;

use records::visible;

use crate::fit::{GiveUp, cut, fit, pad, widths};
use crate::plots::axes::signed;
use statistics::Estimate;

/// What stands where there is no value.
pub(crate) fn dash() -> String {
    "–".to_owned()
}

pub(crate) fn signed_range(estimate: &Estimate) -> String {
    format!("[{}, {}]", signed(estimate.low, 1), signed(estimate.high, 1))
}

/// Escapes text so that it cannot leave its table cell, list item or heading, and makes no element, link or image.
pub(crate) fn cell_text(text: &str) -> String {
    let line = visible(&text.replace(['\n', '\r'], " ")).replace('|', "\\|").replace('<', "&lt;");
    line.replace("](", "]\\(").replace("][", "]\\[")
}

/// A table in Markdown with aligned columns.
pub(crate) fn markdown_table(rows: &[Vec<String>]) -> String {
    let rows: Vec<Vec<String>> =
        rows.iter().map(|row| row.iter().map(|cell| cell_text(cell)).collect()).collect();
    let widths = widths(&rows);
    let mut out = String::new();
    for (at, row) in rows.iter().enumerate() {
        for (cell, &width) in row.iter().zip(&widths) {
            let _ = write!(out, "| {} ", pad(cell, width));
        }
        out.push_str("|\n");
        if at == 0 {
            for &width in &widths {
                let _ = write!(out, "|{}", "-".repeat(width + 2));
            }
            out.push_str("|\n");
        }
    }
    out
}

/// A table for a terminal of `width` characters, which gives up what `order` names if it is too wide.
pub(crate) fn plain_table(rows: &[Vec<String>], width: usize, order: &[GiveUp]) -> String {
    let fitted = fit(rows, width, order);
    let widths = widths(&fitted.rows);
    let mut out = String::new();
    let mut line = |text: String| {
        out.push_str(&cut(text.trim_end(), width));
        out.push('\n');
    };
    for (at, row) in fitted.rows.iter().enumerate() {
        let cells: Vec<String> = row.iter().zip(&widths).map(|(cell, &width)| pad(cell, width)).collect();
        line(cells.join("  "));
        if at == 0 {
            let rules: Vec<String> = widths.iter().map(|&width| "─".repeat(width)).collect();
            line(rules.join("  "));
        }
    }
    out
}
