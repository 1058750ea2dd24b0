//! What all plots share: scales, ticks, number formats, paths and escaping.

use std::fmt::Write as _;

/// Maps a range of values to a range of SVG coordinates.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scale {
    pub from: (f64, f64),
    pub to: (f64, f64),
}

impl Scale {
    /// The SVG coordinate of a value.
    pub(crate) fn at(&self, value: f64) -> f64 {
        let span = self.from.1 - self.from.0;
        let share = if span == 0.0 { 0.5 } else { (value - self.from.0) / span };
        self.to.0 + share * (self.to.1 - self.to.0)
    }
}

/// About `count` tick values within a range; their distance is 1, 2 or 5 times a power of ten.
pub(crate) fn ticks(low: f64, high: f64, count: usize) -> Vec<f64> {
    let span = high - low;
    if !span.is_finite() || span <= 0.0 {
        return vec![low];
    }
    let rough = span / count.max(1) as f64;
    let power = 10f64.powf(rough.log10().floor());
    let step =
        [1.0, 2.0, 5.0, 10.0].into_iter().map(|times| times * power).find(|step| *step >= rough * 0.999);
    let step = step.unwrap_or(power);
    let first = (low / step - 1e-9).ceil() as i64;
    let last = (high / step + 1e-9).floor() as i64;
    (first..=last).map(|at| at as f64 * step).collect()
}

/// A tick's label, with the decimals that the distance `step` between ticks needs.
pub(crate) fn tick_text(value: f64, step: f64) -> String {
    let decimals = (-step.abs().log10() - 1e-9).ceil().clamp(0.0, 6.0) as usize;
    // Avoids the label "-0".
    let value = if value.abs() < step.abs() * 1e-6 { 0.0 } else { value };
    format!("{value:.decimals$}").replace('-', "−")
}

/// A number with about three significant digits, for labels.
pub(crate) fn short(value: f64) -> String {
    let size = value.abs();
    let text = if size >= 100.0 {
        format!("{value:.0}")
    } else if size >= 10.0 {
        format!("{value:.1}")
    } else if size >= 0.01 || size == 0.0 {
        format!("{value:.2}")
    } else {
        format!("{value:.4}")
    };
    text.replace('-', "−")
}

/// A number with its sign, written `+` or `−`. A number that rounds to zero has no sign.
pub(crate) fn signed(value: f64, decimals: usize) -> String {
    let text = format!("{value:+.decimals$}");
    let zero = text.trim_start_matches(['+', '-']).chars().all(|letter| matches!(letter, '0' | '.'));
    if zero { text[1..].to_owned() } else { text.replace('-', "−") }
}

/// Escapes text for the content and the quoted attributes of SVG and HTML.
pub(crate) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            _ => out.push(letter),
        }
    }
    out
}

/// The `d` attribute of an SVG path through the points.
pub(crate) fn path(points: impl IntoIterator<Item = (f64, f64)>) -> String {
    let mut out = String::new();
    for (x, y) in points {
        let command = if out.is_empty() { 'M' } else { 'L' };
        // Writing to a String cannot fail.
        let _ = write!(out, "{command}{x:.1} {y:.1}");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_numbers_within_the_range() {
        assert_eq!(ticks(0.0, 1.0, 4), [0.0, 0.5, 1.0]);
        assert_eq!(ticks(-1.3, 2.2, 4), [-1.0, 0.0, 1.0, 2.0]);
        assert_eq!(ticks(0.0, 300.0, 5), [0.0, 100.0, 200.0, 300.0]);
        assert_eq!(ticks(3.0, 3.0, 5), [3.0]);
    }

    #[test]
    fn numbers_have_the_expected_decimals_and_signs() {
        assert_eq!(tick_text(-0.0, 0.5), "0.0");
        assert_eq!(tick_text(-20.0, 20.0), "−20");
        assert_eq!(tick_text(0.05, 0.05), "0.05");
        assert_eq!(short(-0.0312), "−0.03");
        assert_eq!(short(1234.5), "1234");
        assert_eq!(signed(-0.04, 1), "0.0");
        assert_eq!(signed(-0.26, 1), "−0.3");
        assert_eq!(signed(2.0, 2), "+2.00");
    }

    #[test]
    fn markup_in_text_is_escaped() {
        assert_eq!(escape(r#"<img onerror='x("&")'>"#), "&lt;img onerror=&#39;x(&quot;&amp;&quot;)&#39;&gt;");
    }
}
