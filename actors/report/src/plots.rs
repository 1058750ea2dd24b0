//! The report's plots, as SVG text. Colours are left to the page's style sheet (`s0` … `s7` by arm), so that one
//! drawing serves light and dark; every line and point is labelled in words as well.

pub(super) mod axes;
pub(super) mod interval;
pub(super) mod lines;
pub(super) mod rates;

/// The style class of the arm at a place in the scenario: eight colours, then the same ones dashed.
pub(super) fn style(index: usize) -> String {
    let dashed = if index >= 8 { " dashed" } else { "" };
    format!("s{}{dashed}", index % 8)
}
