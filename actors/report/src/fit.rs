//! Makes tables narrow enough for a terminal.
//!
//! - FIT-1 a table is never wider than the terminal. What it gives up is decided by a list, from its start, and only as
//!   far as necessary: texts are shortened with `…`, columns are left out. Last, lines are cut.

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// Number of spaces between two columns.
const GAP: usize = 2;

/// What a table gives up to become narrower. Columns are counted from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GiveUp {
    /// A whole column.
    Column(usize),
    /// The ends of the texts in a column, down to this width.
    Text {
        /// The column.
        column: usize,
        /// The width that it keeps.
        least: usize,
    },
}

/// A table that fits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fitted {
    /// The heads, then the rows. All have the same columns.
    pub rows: Vec<Vec<String>>,
    /// Heads of the columns that were left out, in the order of the table.
    pub left_out: Vec<String>,
}

/// Makes a table, of which the first row has the heads, at most `width` wide by giving up what `order` lists. Its lines may
/// still be too wide if the list is too short; [`cut`] cuts them.
pub fn fit(rows: &[Vec<String>], width: usize, order: &[GiveUp]) -> Fitted {
    let mut rows = rows.to_vec();
    let columns = rows.first().map_or(0, Vec::len);
    let mut kept: Vec<usize> = (0..columns).collect();
    for give_up in order {
        let widths = widths(&rows);
        let total: usize = kept.iter().map(|&column| widths[column]).sum();
        let excess = (total + GAP * kept.len().saturating_sub(1)).saturating_sub(width);
        if excess == 0 {
            break;
        }
        match *give_up {
            GiveUp::Column(column) => kept.retain(|&other| other != column),
            GiveUp::Text { column, least } => {
                if !kept.contains(&column) {
                    continue;
                }
                // A head is never shortened: it says what the column is.
                let head = rows[0].get(column).map_or(0, |head| head.width());
                let most = widths[column].saturating_sub(excess).max(least).max(head);
                for cell in rows.iter_mut().skip(1).filter_map(|row| row.get_mut(column)) {
                    *cell = cut(cell, most);
                }
            }
        }
    }
    let left_out = (0..columns).filter(|column| !kept.contains(column));
    let left_out = left_out.map(|column| rows[0][column].clone()).collect();
    let of = |row: &Vec<String>| kept.iter().filter_map(|&column| row.get(column).cloned()).collect();
    Fitted { rows: rows.iter().map(of).collect(), left_out }
}

/// The text in at most `width` columns of a terminal; its end is replaced by `…` if it is longer.
pub fn cut(text: &str, width: usize) -> String {
    if text.width() <= width {
        return text.to_owned();
    }
    let mut shown = String::new();
    let mut left = width.saturating_sub(1);
    for c in text.chars() {
        let wide = c.width().unwrap_or(0);
        if wide > left {
            break;
        }
        left -= wide;
        shown.push(c);
    }
    if width > 0 {
        shown.truncate(shown.trim_end().len());
        shown.push('…');
    }
    shown
}

/// The text in lines of at most `width` columns, broken between words; a word that is longer is cut.
pub fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace().map(|word| cut(word, width)) {
        match lines.last_mut() {
            Some(line) if line.width() + 1 + word.width() <= width => {
                line.push(' ');
                line.push_str(&word);
            }
            _ => lines.push(word),
        }
    }
    lines
}

/// The text with spaces up to `width` columns of a terminal.
pub fn pad(text: &str, width: usize) -> String {
    format!("{text}{}", " ".repeat(width.saturating_sub(text.width())))
}

/// The width of each column in a terminal.
pub fn widths(rows: &[Vec<String>]) -> Vec<usize> {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |at: usize| rows.iter().filter_map(|row| row.get(at)).map(|cell| cell.width()).max();
    (0..columns).map(|at| width(at).unwrap_or(0)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(rows: &[&[&str]]) -> Vec<Vec<String>> {
        rows.iter().map(|row| row.iter().map(|&cell| cell.to_owned()).collect()).collect()
    }

    const ORDER: [GiveUp; 2] = [GiveUp::Column(2), GiveUp::Text { column: 0, least: 6 }];

    #[test]
    fn nothing_is_given_up_that_need_not_be() {
        let rows = table(&[&["arm", "step", "loss"], &["grpo+atar+cr", "12", "0.5"]]);
        // 12 + 2 + 4 + 2 + 4 = 24.
        assert_eq!(fit(&rows, 24, &ORDER), Fitted { rows: rows.clone(), left_out: vec![] });
        let without = table(&[&["arm", "step"], &["grpo+atar+cr", "12"]]);
        assert_eq!(fit(&rows, 23, &ORDER), Fitted { rows: without, left_out: vec!["loss".to_owned()] });
        // 18 are 1 more than 17.
        assert_eq!(fit(&rows, 17, &ORDER).rows, table(&[&["arm", "step"], &["grpo+atar+…", "12"]]));
    }

    #[test]
    fn a_text_keeps_its_least_width_and_a_head_stays_whole() {
        let rows = table(&[&["arm", "step", "loss"], &["grpo+atar+cr", "12", "0.5"]]);
        assert_eq!(fit(&rows, 3, &ORDER).rows[1][0], "grpo+…");
        let order = [GiveUp::Text { column: 0, least: 1 }];
        assert_eq!(fit(&rows, 1, &order).rows[1][0], "gr…");
    }

    #[test]
    fn a_text_is_broken_between_words() {
        assert_eq!(wrap("one two  three", 7), ["one two", "three"]);
        assert_eq!(wrap("one incomprehensible", 6), ["one", "incom…"]);
        assert_eq!(wrap("", 6), Vec::<String>::new());
    }

    #[test]
    fn widths_are_those_of_a_terminal() {
        // Each of these characters takes two columns.
        assert_eq!(cut("音声テスト", 7), "音声テ…");
        assert_eq!(cut("音声テスト", 6), "音声…");
        assert_eq!(
            (cut("abc", 3).as_str(), cut("abcd", 3).as_str(), cut("ab", 0).as_str()),
            ("abc", "ab…", "")
        );
        assert_eq!(cut("a bc", 3), "a…");
        assert_eq!(pad("音", 4), "音  ");
    }
}
