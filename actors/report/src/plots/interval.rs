//! A difference with its interval, plotted on a horizontal line around zero.

use std::fmt::Write as _;

use super::axes::Scale;
use statistics::Estimate;

const WIDTH: f64 = 320.0;
const HEIGHT: f64 = 18.0;

/// Plots an estimate on a scale from `−reach` to `reach`. The point is hollow if the interval includes zero.
pub(crate) fn draw(estimate: &Estimate, reach: f64) -> String {
    let x = Scale { from: (-reach, reach), to: (6.0, WIDTH - 6.0) };
    let at = |value: f64| x.at(value.clamp(-reach, reach));
    let middle = HEIGHT / 2.0;
    let sure = if estimate.includes_zero() { "unsure" } else { "sure" };
    let mut svg = String::new();
    let _ = write!(
        svg,
        r#"<svg viewBox="0 0 {WIDTH} {HEIGHT}" class="plot interval {sure}" aria-hidden="true"><path class="grid zero" d="M{zero:.1} 0V{HEIGHT}"/><path class="whisker" d="M{low:.1} {middle}H{high:.1}M{low:.1} {top}v8M{high:.1} {top}v8"/><circle class="dot" cx="{:.1}" cy="{middle}" r="4"/></svg>"#,
        at(estimate.value),
        zero = at(0.0),
        low = at(estimate.low),
        high = at(estimate.high),
        top = middle - 4.0,
    );
    svg
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zero_is_in_the_middle_and_an_interval_around_zero_is_hollow() {
        let svg = draw(&Estimate { value: 1.0, low: -1.0, high: 3.0, n: 9 }, 4.0);
        assert!(svg.contains("unsure") && svg.contains("M160.0 0V"), "{svg}");
        // 1 of 4 to the right of the middle: 160 + 154/4 = 198.5.
        assert!(svg.contains("cx=\"198.5\""), "{svg}");
    }
}
