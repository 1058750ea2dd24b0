//! The report's plots, as SVG text. The page's style sheet sets the colours (classes `s0` to `s7`, one per arm), so the
//! same SVG works in light and dark mode. Every plot also has a text description for screen readers.

pub(super) mod axes;
pub(super) mod interval;
pub(super) mod lines;
pub(super) mod rates;

/// The style class of the arm with this index in the scenario: eight colours, then the same colours dashed.
pub(super) fn style(index: usize) -> String {
    let dashed = if index >= 8 { " dashed" } else { "" };
    format!("s{}{dashed}", index % 8)
}
