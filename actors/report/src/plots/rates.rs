//! The paper's Figure 2 for one arm: how often it answers without thinking, by difficulty, with 95 % intervals. In the
//! background: the untrained base, and the range of the paper's trained models.

use std::fmt::Write as _;

use super::axes::{Scale, escape, path};
use statistics::Estimate;

const WIDTH: f64 = 180.0;
const HEIGHT: f64 = 160.0;
const LEFT: f64 = 30.0;
const RIGHT: f64 = 12.0;
const TOP: f64 = 16.0;
const BOTTOM: f64 = 22.0;

/// The range of the no-think rates of the paper's trained models, read off its Figure 2: for easy,
/// then for hard questions.
const PAPER: [(f64, f64); 2] = [(0.7, 0.8), (0.35, 0.45)];

/// The no-think rate of each difficulty.
pub(crate) type Rates = [(String, Option<Estimate>)];

/// Draws the plot of one arm. `base` is the untrained base's rates, if the arm is not the base itself; `shows_paper`
/// adds the range of the paper's trained models, for arms that are trained on the adaptive-think reward as those were.
pub(crate) fn panel(
    name: &str,
    style: &str,
    rates: &Rates,
    base: Option<&Rates>,
    shows_paper: bool,
) -> String {
    let x = |at: usize| {
        // Leaves room for the numbers beside the outer points.
        let inset = 28.0;
        let scale =
            Scale { from: (0.0, (rates.len().max(2) - 1) as f64), to: (LEFT + inset, WIDTH - RIGHT - inset) };
        scale.at(at as f64)
    };
    let y = Scale { from: (0.0, 1.0), to: (HEIGHT - BOTTOM, TOP) };
    let spoken: Vec<String> = rates
        .iter()
        .filter_map(|(difficulty, rate)| Some(format!("{difficulty} {:.0} %", rate.as_ref()?.value * 100.0)))
        .collect();
    let mut svg = String::new();
    let _ = write!(
        svg,
        r#"<svg viewBox="0 0 {WIDTH} {HEIGHT}" class="plot rates" role="img" aria-label="No-think rate of {}: {}">"#,
        escape(name),
        escape(&spoken.join(", "))
    );
    for mark in [0.0, 0.5, 1.0] {
        let at = y.at(mark);
        let _ = write!(
            svg,
            r#"<path class="grid" d="M{LEFT} {at:.1}H{}"/><text class="tick" x="{}" y="{:.1}" text-anchor="end">{:.0}</text>"#,
            WIDTH - RIGHT,
            LEFT - 5.0,
            at + 3.5,
            mark * 100.0
        );
    }
    if shows_paper && rates.len() == 3 {
        let corners = [(0, PAPER[0].1), (2, PAPER[1].1), (2, PAPER[1].0), (0, PAPER[0].0)];
        let around = path(corners.map(|(at, rate)| (x(at), y.at(rate))));
        let _ = write!(svg, r#"<path class="paper" d="{around}Z"/>"#);
    }
    let points = |rates: &Rates| -> Vec<(f64, f64, Estimate)> {
        let placed = rates.iter().enumerate().filter_map(|(at, (_, rate))| Some((x(at), (*rate)?)));
        placed.map(|(x, rate)| (x, y.at(rate.value), rate)).collect()
    };
    if let Some(base) = base {
        let line = path(points(base).iter().map(|point| (point.0, point.1)));
        let _ = write!(svg, r#"<path class="behind" d="{line}"/>"#);
    }
    let points = points(rates);
    let line = path(points.iter().map(|point| (point.0, point.1)));
    let _ = write!(svg, r#"<g class="series {style}"><path class="main" d="{line}"/>"#);
    for (place, (x, at, rate)) in points.iter().enumerate() {
        let (low, high) = (y.at(rate.low), y.at(rate.high));
        // The number is beside an outer point and above an inner one, where it does not cover the line.
        let (left, down, anchor) = match place {
            0 => (x - 7.0, at + 4.0, "end"),
            _ if place + 1 == points.len() => (x + 7.0, at + 4.0, "start"),
            _ => (*x, high - 5.0, "middle"),
        };
        let _ = write!(
            svg,
            r#"<path class="whisker" d="M{x:.1} {low:.1}V{high:.1}M{a:.1} {low:.1}h6M{a:.1} {high:.1}h6"/><circle class="dot" cx="{x:.1}" cy="{at:.1}" r="3.2"/><text class="value" x="{left:.1}" y="{down:.1}" text-anchor="{anchor}">{:.0}</text>"#,
            rate.value * 100.0,
            a = x - 3.0,
        );
    }
    svg.push_str("</g>");
    for (at, (difficulty, _)) in rates.iter().enumerate() {
        let _ = write!(
            svg,
            r#"<text class="tick" x="{:.1}" y="{}" text-anchor="middle">{}</text>"#,
            x(at),
            HEIGHT - 6.0,
            escape(difficulty)
        );
    }
    svg.push_str("</svg>");
    svg
}

#[cfg(test)]
mod tests {
    use super::*;
    use statistics::wilson as share;

    #[test]
    fn rates_are_in_the_plot_and_in_its_description() {
        let rates = [("easy".to_owned(), share(90.0, 100)), ("hard".to_owned(), None)];
        let svg = panel("a<b", "s1", &rates, None, true);
        assert!(svg.contains("No-think rate of a&lt;b: easy 90 %"), "{svg}");
        assert!(svg.contains(">90</text>"));
    }
}
