//! Curves over training steps: the mean over seeds, smoothed or not, with its name at the end. Behind it, in a faint stroke,
//! the raw values of one or two seeds, or a band from the lowest to the highest of more. The page's script reads the `data-`
//! attributes to show the values under the pointer.

use std::fmt::Write as _;

use super::axes::{Scale, escape, path, short, tick_text, ticks};

const WIDTH: f64 = 400.0;
const HEIGHT: f64 = 224.0;
const LEFT: f64 = 36.0;
const RIGHT: f64 = 112.0;
const TOP: f64 = 10.0;
const BOTTOM: f64 = 32.0;
/// Most points that are drawn of one line: about one per pixel of a phone's screen.
const MOST_POINTS: usize = 240;
/// Most points of the smoothed line that can be read under the pointer.
const MOST_HOVERED: usize = 80;
/// Smallest vertical distance between two names at line ends.
const LABEL_GAP: f64 = 12.5;
/// Fewest seeds that are shown as a band.
const BAND_SEEDS: usize = 3;
/// Characters of a name that fit beside the plot.
const LABEL_LETTERS: usize = 16;

/// One named line of a plot.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    /// Name shown at the line's end.
    pub label: String,
    /// Style classes, see [`super::style`].
    pub style: String,
    /// Points (step, value) of each seed, sorted by step.
    pub seeds: Vec<Vec<(f64, f64)>>,
}

/// A plot of lines over steps.
#[derive(Clone, Debug)]
pub(crate) struct LinePlot {
    /// What is plotted, for screen readers.
    pub title: String,
    /// The range of values if it is fixed, as for a share from 0 to 1; otherwise it follows from the values.
    pub range: Option<(f64, f64)>,
    /// Whether to smooth the mean. Evaluations are too few for that.
    pub smoothed: bool,
    pub lines: Vec<Line>,
}

/// A line that is ready to draw: its mean over seeds, smoothed or not.
struct Drawn<'a> {
    line: &'a Line,
    main: Vec<(f64, f64)>,
    /// The raw values of each seed, if the seeds are few.
    raw: Vec<Vec<(f64, f64)>>,
    /// Step, lowest and highest value of the seeds' lines, if they are many.
    band: Vec<(f64, f64, f64)>,
}

impl LinePlot {
    /// The plot as SVG; `None` if no line has a point.
    pub(crate) fn draw(&self) -> Option<String> {
        let drawn: Vec<Drawn<'_>> = self.lines.iter().filter_map(|line| self.prepare(line)).collect();
        let steps = drawn.iter().flat_map(|line| line.main.last()).map(|point| point.0);
        let last = steps.fold(f64::NAN, f64::max);
        if !last.is_finite() {
            return None;
        }
        let first = drawn.iter().flat_map(|line| line.main.first()).map(|point| point.0).fold(last, f64::min);
        let (low, high) = self.range.unwrap_or_else(|| value_range(&drawn));
        let x = Scale { from: (first, last.max(first + 1.0)), to: (LEFT, WIDTH - RIGHT) };
        let y = Scale { from: (low, high), to: (HEIGHT - BOTTOM, TOP) };
        let mut svg = String::new();
        let ends: Vec<String> = drawn
            .iter()
            .filter_map(|line| Some(format!("{} {}", line.line.label, short(line.main.last()?.1))))
            .collect();
        let _ = write!(
            svg,
            r#"<svg viewBox="0 0 {WIDTH} {HEIGHT}" class="plot lines" role="img" aria-label="{}. At the end: {}." data-x="{} {} {LEFT} {}" data-y="{low} {high} {} {TOP}">"#,
            escape(&self.title),
            escape(&ends.join(", ")),
            x.from.0,
            x.from.1,
            WIDTH - RIGHT,
            HEIGHT - BOTTOM,
        );
        frame(&mut svg, &x, &y);
        for line in &drawn {
            draw_line(&mut svg, line, &x, &y);
        }
        labels(&mut svg, &drawn, &y);
        svg.push_str("<g class=\"cursor\"></g></svg>");
        Some(svg)
    }

    fn prepare<'a>(&self, line: &'a Line) -> Option<Drawn<'a>> {
        let mean = mean_over_seeds(&line.seeds);
        if mean.is_empty() {
            return None;
        }
        let smoothed = |points: &[(f64, f64)]| match self.smoothed {
            true => smooth(points, (mean.len() as f64 / 15.0).max(5.0)),
            false => points.to_vec(),
        };
        let main = thin_keeping_ends(&smoothed(&mean), MOST_POINTS);
        if line.seeds.iter().filter(|seed| !seed.is_empty()).count() < BAND_SEEDS {
            let raw = line.seeds.iter().map(|seed| thin(seed, MOST_POINTS)).collect();
            return Some(Drawn { line, main, raw, band: Vec::new() });
        }
        let seeds: Vec<_> = line.seeds.iter().map(|seed| smoothed(seed)).collect();
        let at = |x: f64| {
            seeds.iter().filter_map(move |seed| {
                let place = seed.binary_search_by(|point| point.0.total_cmp(&x)).ok()?;
                Some(seed[place].1).filter(|value| value.is_finite())
            })
        };
        let ends = |x: f64| (x, at(x).fold(f64::INFINITY, f64::min), at(x).fold(f64::NEG_INFINITY, f64::max));
        let band = main.iter().map(|point| ends(point.0)).filter(|(_, low, high)| low <= high).collect();
        Some(Drawn { line, main, raw: Vec::new(), band })
    }
}

/// At each step, the mean over the seeds that have a value there.
fn mean_over_seeds(seeds: &[Vec<(f64, f64)>]) -> Vec<(f64, f64)> {
    let mut points: Vec<(f64, f64)> =
        seeds.iter().flatten().copied().filter(|point| point.1.is_finite()).collect();
    points.sort_by(|a, b| a.0.total_cmp(&b.0));
    points
        .chunk_by(|a, b| a.0 == b.0)
        .map(|same| (same[0].0, same.iter().map(|point| point.1).sum::<f64>() / same.len() as f64))
        .collect()
}

/// Reduces to at most `most` points, each the mean of several consecutive ones.
fn thin(points: &[(f64, f64)], most: usize) -> Vec<(f64, f64)> {
    let size = points.len().div_ceil(most).max(1);
    let mean =
        |run: &[(f64, f64)], get: fn(&(f64, f64)) -> f64| run.iter().map(get).sum::<f64>() / run.len() as f64;
    points.chunks(size).map(|run| (mean(run, |point| point.0), mean(run, |point| point.1))).collect()
}

/// Reduces to at most `most` of the points, always with the first and the last.
fn thin_keeping_ends(points: &[(f64, f64)], most: usize) -> Vec<(f64, f64)> {
    if points.len() <= most || most < 2 {
        return points.to_vec();
    }
    (0..most).map(|at| points[at * (points.len() - 1) / (most - 1)]).collect()
}

/// The range of the smoothed lines and of all but the most extreme raw values, with a margin. The extremes are left out
/// because a spike in a single step, for example of the KL divergence, would flatten everything else.
fn value_range(drawn: &[Drawn<'_>]) -> (f64, f64) {
    let raw = drawn.iter().flat_map(|line| &line.raw).flatten().map(|point| point.1);
    let bands = drawn.iter().flat_map(|line| &line.band).flat_map(|&(_, low, high)| [low, high]);
    let mut values: Vec<f64> = raw.chain(bands).collect();
    values.retain(|value| value.is_finite());
    values.sort_by(f64::total_cmp);
    let trim = values.len() / 100;
    let main = || drawn.iter().flat_map(|line| &line.main).map(|point| point.1);
    let low = main().chain(values.get(trim).copied()).fold(f64::INFINITY, f64::min);
    let high = main().chain(values.iter().rev().nth(trim).copied()).fold(f64::NEG_INFINITY, f64::max);
    let margin = ((high - low) * 0.05).max(high.abs().max(1e-6) * 0.01);
    // A metric that is never negative keeps zero as its lower end.
    (if low >= 0.0 && low < 0.4 * high { 0.0 } else { low - margin }, high + margin)
}

fn frame(svg: &mut String, x: &Scale, y: &Scale) {
    let (left, right) = (LEFT, WIDTH - RIGHT);
    let marks = ticks(y.from.0, y.from.1, 4);
    let step = if marks.len() > 1 { marks[1] - marks[0] } else { y.from.1 - y.from.0 };
    for mark in &marks {
        let at = y.at(*mark);
        let class = if mark.abs() < step * 1e-6 { "grid zero" } else { "grid" };
        let _ = write!(
            svg,
            r#"<path class="{class}" d="M{left} {at:.1}H{right}"/><text class="tick" x="{}" y="{:.1}" text-anchor="end">{}</text>"#,
            left - 6.0,
            at + 3.5,
            tick_text(*mark, step)
        );
    }
    let marks = ticks(x.from.0, x.from.1, 5);
    let step = if marks.len() > 1 { marks[1] - marks[0] } else { 1.0 };
    for mark in marks {
        let _ = write!(
            svg,
            r#"<text class="tick" x="{:.1}" y="{}" text-anchor="middle">{}</text>"#,
            x.at(mark),
            HEIGHT - BOTTOM + 15.0,
            tick_text(mark, step)
        );
    }
    let _ = write!(
        svg,
        r#"<text class="tick" x="{:.1}" y="{}" text-anchor="middle">step</text>"#,
        (left + right) / 2.0,
        HEIGHT - 3.0
    );
}

fn draw_line(svg: &mut String, line: &Drawn<'_>, x: &Scale, y: &Scale) {
    let at = |point: &(f64, f64)| (x.at(point.0), y.at(point.1).clamp(y.to.1, y.to.0));
    let hovered: Vec<String> = thin_keeping_ends(&line.main, MOST_HOVERED)
        .iter()
        .map(|point| format!("{}:{:.4}", point.0.round(), point.1))
        .collect();
    let label = escape(&line.line.label);
    let _ = write!(
        svg,
        r#"<g class="series {}" data-label="{label}" data-points="{}">"#,
        line.line.style,
        hovered.join(" ")
    );
    for raw in &line.raw {
        let _ = write!(svg, r#"<path class="raw" d="{}"/>"#, path(raw.iter().map(at)));
    }
    if !line.band.is_empty() {
        let up = line.band.iter().map(|&(x, _, high)| at(&(x, high)));
        let back = line.band.iter().rev().map(|&(x, low, _)| at(&(x, low)));
        let _ = write!(svg, r#"<path class="band" d="{}Z"/>"#, path(up.chain(back)));
    }
    let _ = write!(svg, r#"<path class="main" d="{}"/>"#, path(line.main.iter().map(at)));
    // A line of few points, such as evaluations, gets a dot at each: a single point would be invisible otherwise.
    if line.main.len() <= 12 {
        for (x, y) in line.main.iter().map(at) {
            let _ = write!(svg, r#"<circle class="dot" cx="{x:.1}" cy="{y:.1}" r="2.6"/>"#);
        }
    }
    svg.push_str("</g>");
}

/// Writes the names at the line ends, moved apart where they would overlap.
fn labels(svg: &mut String, drawn: &[Drawn<'_>], y: &Scale) {
    let mut ends: Vec<(f64, &Drawn<'_>)> = drawn
        .iter()
        .filter_map(|line| Some((y.at(line.main.last()?.1).clamp(y.to.1, y.to.0), line)))
        .collect();
    ends.sort_by(|a, b| a.0.total_cmp(&b.0));
    let wanted: Vec<f64> = ends.iter().map(|end| end.0).collect();
    let placed = move_apart(&wanted, LABEL_GAP, (TOP, HEIGHT - BOTTOM));
    let right = WIDTH - RIGHT;
    for ((from, line), to) in ends.iter().zip(placed) {
        let _ = write!(
            svg,
            r#"<g class="series end {}" data-label="{}"><path class="leader" d="M{} {from:.1}L{} {to:.1}"/><text class="name" x="{}" y="{:.1}">{}</text></g>"#,
            line.line.style,
            escape(&line.line.label),
            right + 1.0,
            right + 9.0,
            right + 12.0,
            to + 3.5,
            escape(&clip(&line.line.label, LABEL_LETTERS))
        );
    }
}

/// Moves ascending positions apart by at least `gap` and keeps them within the range if they fit.
fn move_apart(wanted: &[f64], gap: f64, (low, high): (f64, f64)) -> Vec<f64> {
    let mut placed: Vec<f64> = Vec::with_capacity(wanted.len());
    for &want in wanted {
        let least = placed.last().map_or(low, |before| before + gap);
        placed.push(want.max(least));
    }
    let mut most = high;
    for place in placed.iter_mut().rev() {
        *place = place.min(most);
        most = *place - gap;
    }
    placed
}

/// The text, shortened to `letters` characters with an ellipsis if it is longer.
fn clip(text: &str, letters: usize) -> String {
    if text.chars().count() <= letters {
        return text.to_owned();
    }
    let mut out: String = text.chars().take(letters - 1).collect();
    out.push('…');
    out
}

/// Exponential smoothing with bias correction: each sum is divided by the total weight so far, so the start is not
/// pulled to zero. `window` is roughly the number of values that contribute to one smoothed value.
fn smooth(points: &[(f64, f64)], window: f64) -> Vec<(f64, f64)> {
    let keep = 1.0 - 2.0 / (window.max(1.0) + 1.0);
    let (mut sum, mut weight) = (0.0, 0.0);
    let mut out = Vec::with_capacity(points.len());
    for &(x, y) in points {
        sum = sum * keep + y;
        weight = weight * keep + 1.0;
        out.push((x, sum / weight));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plot(seeds: Vec<Vec<(f64, f64)>>) -> LinePlot {
        let line = Line { label: "<b>".into(), style: "s0".into(), seeds };
        LinePlot { title: "reward".into(), range: None, smoothed: true, lines: vec![line] }
    }

    #[test]
    fn labels_move_apart_and_stay_inside() {
        assert_eq!(move_apart(&[10.0, 11.0, 50.0], 12.0, (0.0, 100.0)), [10.0, 22.0, 50.0]);
        assert_eq!(move_apart(&[97.0, 99.0], 12.0, (0.0, 100.0)), [88.0, 100.0]);
    }

    #[test]
    fn a_plot_without_points_is_not_drawn() {
        assert_eq!(plot(vec![vec![]]).draw(), None);
    }

    #[test]
    fn a_single_point_is_drawn_and_names_are_escaped() {
        let svg = plot(vec![vec![(1.0, 0.5)]]).draw().unwrap();
        assert!(svg.contains("&lt;b&gt;") && !svg.contains("<b>"), "{svg}");
        assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
    }

    #[test]
    fn the_mean_at_a_step_covers_the_seeds_with_a_value_there() {
        let mean = mean_over_seeds(&[vec![(1.0, 2.0), (2.0, 4.0)], vec![(1.0, 4.0)]]);
        assert_eq!(mean, [(1.0, 3.0), (2.0, 4.0)]);
    }

    #[test]
    fn many_seeds_are_a_band_from_the_lowest_to_the_highest() {
        let seeds = vec![vec![(1.0, 2.0), (2.0, 4.0)], vec![(1.0, 3.0)], vec![(1.0, 7.0), (2.0, 6.0)]];
        let line = Line { label: "a".into(), style: "s0".into(), seeds };
        let mut plot = LinePlot { title: "t".into(), range: None, smoothed: false, lines: vec![line] };
        let drawn = plot.prepare(&plot.lines[0]).unwrap();
        assert_eq!(drawn.band, [(1.0, 2.0, 7.0), (2.0, 4.0, 6.0)]);
        assert!(drawn.raw.is_empty());
        assert!(plot.draw().unwrap().contains("class=\"band\""));
        plot.lines[0].seeds.pop();
        assert!(!plot.draw().unwrap().contains("class=\"band\""));
    }

    #[test]
    fn thinning_keeps_the_first_and_the_last_point() {
        let points: Vec<(f64, f64)> = (0..1000).map(|at| (f64::from(at), f64::from(at))).collect();
        let thinned = thin_keeping_ends(&points, 10);
        assert_eq!((thinned.len(), thinned[0].0, thinned[9].0), (10, 0.0, 999.0));
    }

    #[test]
    fn smoothing_starts_at_the_first_value_and_preserves_a_constant() {
        // window 3 → keep 1/2: 2; (2·½ + 4)/(1.5) = 3.3333.
        let got = smooth(&[(0.0, 2.0), (1.0, 4.0)], 3.0);
        assert!((got[0].1 - 2.0).abs() < 1e-12);
        assert!((got[1].1 - 10.0 / 3.0).abs() < 1e-12);
        let flat = smooth(&[(0.0, 7.0), (1.0, 7.0), (2.0, 7.0)], 9.0);
        assert!(flat.iter().all(|point| (point.1 - 7.0).abs() < 1e-12));
    }
}
