//! Tables for the terminal.

use console::measure_text_width;
use records::visible;
use report::fit::{Fitted, GiveUp, cut, fit};
use serde_json::Value;

/// Rows under a heading. A column is as wide as its widest cell, and columns of numbers are aligned to the right.
pub struct Table {
    heads: Vec<String>,
    rows: Vec<Vec<String>>,
    give_up: Vec<GiveUp>,
}

impl Table {
    pub fn new(heads: &[&str]) -> Self {
        Self::of(heads.iter().map(|&head| head.to_owned()).collect())
    }

    pub fn of(heads: Vec<String>) -> Self {
        Table { heads, rows: Vec::new(), give_up: Vec::new() }
    }

    /// What the table gives up in a narrow terminal, from the start of the list.
    pub fn giving_up(mut self, order: &[GiveUp]) -> Self {
        self.give_up = order.to_vec();
        self
    }

    /// Adds a row. Its cells are made safe to print here already, so that the columns stay aligned.
    pub fn row(&mut self, cells: Vec<String>) {
        self.rows.push(cells.iter().map(|cell| visible(cell).replace('\n', " ")).collect());
    }

    /// The table in at most `width` columns of a terminal. The heads of columns that do not fit are listed below it.
    pub fn text(&self, width: usize) -> String {
        let all: Vec<Vec<String>> = std::iter::once(&self.heads).chain(&self.rows).cloned().collect();
        let Fitted { rows, left_out } = fit(&all, width, &self.give_up);
        let mut text: String = aligned(&rows).lines().map(|line| cut(line, width) + "\n").collect();
        if !left_out.is_empty() {
            text += &(cut(&format!("(no room for {})", left_out.join(", ")), width) + "\n");
        }
        text
    }
}

/// Rows with their columns below each other; the first row has the heads.
fn aligned(all: &[Vec<String>]) -> String {
    let Some((heads, rows)) = all.split_first() else { return String::new() };
    let width = |column: usize| {
        let cells = all.iter().filter_map(|row| row.get(column));
        cells.map(|cell| measure_text_width(cell)).max().unwrap_or(0)
    };
    let is_number = |cell: &String| cell.is_empty() || cell == "–" || cell.parse::<f64>().is_ok();
    let widths: Vec<(usize, bool)> = (0..heads.len())
        .map(|column| (width(column), rows.iter().filter_map(|row| row.get(column)).all(is_number)))
        .collect();
    let line = |row: &Vec<String>| {
        let cell = |(cell, &(width, right)): (&String, &(usize, bool))| {
            let pad = " ".repeat(width.saturating_sub(measure_text_width(cell)));
            if right { pad + cell } else { format!("{cell}{pad}") }
        };
        row.iter().zip(&widths).map(cell).collect::<Vec<_>>().join("  ").trim_end().to_owned() + "\n"
    };
    all.iter().map(line).collect()
}

/// A value in a few characters: `0.25`, `1.2e-6`, or `–` for null.
pub fn short(value: &Value) -> String {
    match value {
        Value::Null => "–".to_owned(),
        Value::String(text) => text.clone(),
        Value::Number(number) => match number.as_f64() {
            Some(number) => figure(number),
            None => number.to_string(),
        },
        other => other.to_string(),
    }
}

/// A number with four significant digits.
pub fn figure(number: f64) -> String {
    let size = number.abs();
    if number == number.trunc() && size < 1e9 {
        return format!("{number}");
    }
    if !(1e-3..1e6).contains(&size) {
        return format!("{number:.2e}");
    }
    let digits = (3 - size.log10().floor() as i32).clamp(0, 6) as usize;
    let text = format!("{number:.digits$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

/// A text as one line, cut to `most` characters.
pub fn one_line(text: &str, most: usize) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if line.chars().count() <= most {
        return line;
    }
    line.chars().take(most.saturating_sub(1)).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_numbers_to_the_right() {
        let mut table = Table::new(&["arm", "step", "reward"]);
        table.row(vec!["grpo".into(), "5".into(), "–".into()]);
        table.row(vec!["grpo+atar".into(), "12".into(), "0.25".into()]);
        assert_eq!(
            table.text(usize::MAX),
            "arm        step  reward\n\
             grpo          5       –\n\
             grpo+atar    12    0.25\n"
        );
    }

    #[test]
    fn a_table_says_which_columns_have_no_room() {
        let order = [GiveUp::Column(2), GiveUp::Text { column: 0, least: 4 }];
        let mut table = Table::new(&["arm", "step", "reward"]).giving_up(&order);
        table.row(vec!["grpo+atar".into(), "12".into(), "0.25".into()]);
        assert_eq!(table.text(20), "arm        step\ngrpo+atar    12\n(no room for reward)\n");
        assert_eq!(table.text(12), "arm     step\ngrpo+…    12\n(no room fo…\n");
        assert!(table.text(3).lines().all(|line| line.chars().count() <= 3));
    }

    #[test]
    fn a_cell_can_neither_break_its_line_nor_steer_the_terminal() {
        let mut table = Table::new(&["arm", "step"]);
        table.row(vec!["a\u{1b}[2J\nb".into(), "5".into()]);
        assert_eq!(table.text(usize::MAX), "arm           step\na\\u001b[2J b     5\n");
    }

    #[test]
    fn numbers_have_four_significant_digits() {
        let shown = [0.25, 3.0, 1.0 / 3.0, 2400.4, -0.123456, 1.23e-7, 98765.4].map(figure);
        assert_eq!(shown, ["0.25", "3", "0.3333", "2400", "-0.1235", "1.23e-7", "98765"]);
        assert_eq!(short(&Value::Null), "–");
    }

    #[test]
    fn texts_become_one_line_and_are_cut() {
        assert_eq!(one_line("one\n two  three", 20), "one two three");
        assert_eq!(one_line("one\n two  three", 8), "one two…");
    }
}
