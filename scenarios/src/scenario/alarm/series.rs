//! The numbers that a condition compares: a number of the present step, or what a window function makes of the last ones.

use std::fmt;

use rewards::Formula;

use super::mistake::Mistake;

/// The longest window, in values.
const LONGEST: u64 = 1_000;

/// What a condition takes of the values of a number. Windows count values: a step without a value adds none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Window {
    /// The value of the present step; of an evaluation the newest.
    Now,
    /// The mean of the last n values.
    Mean(usize),
    /// The smallest of the last n values.
    Lowest(usize),
    /// The largest of the last n values.
    Highest(usize),
    /// The mean of the last n values minus the mean of the n values before these.
    Change(usize),
    /// The mean of the first n values of the arm.
    First(usize),
}

impl Window {
    /// The names of the functions.
    pub(crate) const FUNCTIONS: [&str; 5] = ["mean", "lowest", "highest", "change", "first"];

    fn of(function: &str, values: usize) -> Option<Self> {
        Some(match function {
            "mean" => Window::Mean(values),
            "lowest" => Window::Lowest(values),
            "highest" => Window::Highest(values),
            "change" => Window::Change(values),
            "first" => Window::First(values),
            _ => return None,
        })
    }

    /// The newest values that have to be kept for it.
    pub fn newest(self) -> usize {
        match self {
            Window::Now | Window::First(_) => 0,
            Window::Mean(values) | Window::Lowest(values) | Window::Highest(values) => values,
            Window::Change(values) => 2 * values,
        }
    }

    /// The first values of the arm that have to be kept for it.
    pub fn oldest(self) -> usize {
        if let Window::First(values) = self { values } else { 0 }
    }

    /// Its value; `None` while there are too few. `now` is the value of the present step, `first` and `last` are the first
    /// and the last values, oldest first.
    pub fn value(self, now: Option<f64>, first: &[f64], last: &[f64]) -> Option<f64> {
        let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
        let newest = |count: usize| last.len().checked_sub(count).map(|start| &last[start..]);
        match self {
            Window::Now => now,
            Window::Mean(count) => newest(count).map(mean),
            Window::Lowest(count) => newest(count)?.iter().copied().reduce(f64::min),
            Window::Highest(count) => newest(count)?.iter().copied().reduce(f64::max),
            Window::Change(count) => {
                let both = newest(2 * count)?;
                Some(mean(&both[count..]) - mean(&both[..count]))
            }
            Window::First(count) => first.get(..count).map(mean),
        }
    }
}

/// A number by its name, and what is taken of its values.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Series {
    /// A column of `metrics.jsonl` such as `think_rate` or `components.think`, or a number of an evaluation such as
    /// `eval.accuracy`.
    pub name: String,
    /// What is taken of its values.
    pub window: Window,
}

impl fmt::Display for Series {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = Formula::name(&self.name);
        let (function, values) = match self.window {
            Window::Now => return f.write_str(&name),
            Window::Mean(values) => ("mean", values),
            Window::Lowest(values) => ("lowest", values),
            Window::Highest(values) => ("highest", values),
            Window::Change(values) => ("change", values),
            Window::First(values) => ("first", values),
        };
        write!(f, "{function}({name}, {values})")
    }
}

/// A side of a comparison in which each window function is replaced by a name of the same length, so that columns stay as
/// they are.
pub(crate) struct Rewritten {
    pub(crate) text: String,
    /// The names, and what they stand for.
    pub(crate) windows: Vec<(String, Series)>,
}

/// Replaces the window functions of a text. `before` is the number of characters in front of it.
pub(crate) fn rewrite(text: &str, before: usize) -> Result<Rewritten, Mistake> {
    let chars: Vec<char> = text.chars().collect();
    let (mut written, mut windows) = (String::new(), Vec::new());
    let mut at = 0;
    while at < chars.len() {
        let start = at;
        if chars[at] == '{' {
            at = (at..chars.len()).find(|place| chars[*place] == '}').map_or(chars.len(), |place| place + 1);
            written.extend(&chars[start..at]);
        } else if chars[at].is_alphabetic() || chars[at] == '_' {
            while at < chars.len() && (chars[at].is_alphanumeric() || chars[at] == '_') {
                at += 1;
            }
            let word: String = chars[start..at].iter().collect();
            let open = (at..chars.len())
                .find(|place| !chars[*place].is_whitespace())
                .filter(|place| chars[*place] == '(');
            let Some(open) = open.filter(|_| Window::FUNCTIONS.contains(&word.as_str())) else {
                written.push_str(&word);
                continue;
            };
            let (series, end) = arguments(&chars, &word, open, before + start)?;
            at = end;
            let mut name = format!("_{}", windows.len());
            name.extend(std::iter::repeat_n('_', (at - start).saturating_sub(name.chars().count())));
            written.push_str(&name);
            windows.push((name, series));
        } else {
            written.push(chars[at]);
            at += 1;
        }
    }
    Ok(Rewritten { text: written, windows })
}

/// Reads `(NAME, N)` from the parenthesis at `open`; returns the place after it too.
fn arguments(chars: &[char], function: &str, open: usize, before: usize) -> Result<(Series, usize), Mistake> {
    let wrong = |problem: String| {
        Mistake::new(before + 1, problem, format!("write for example `{function}(think_rate, 10)`"))
    };
    let mut in_braces = false;
    let closes = |place: &usize| {
        match chars[*place] {
            '{' => in_braces = true,
            '}' => in_braces = false,
            ')' if !in_braces => return true,
            _ => {}
        }
        false
    };
    let Some(close) = (open..chars.len()).find(closes) else {
        return Err(wrong(format!("`{function}(` is not closed by `)`")));
    };
    let inside: String = chars[open + 1..close].iter().collect();
    let Some((name, values)) = inside.rsplit_once(',') else {
        return Err(wrong(format!("`{function}` takes a number's name and how many of its values")));
    };
    let name = name.trim();
    let bare = name.strip_prefix('{').and_then(|name| name.strip_suffix('}')).map(str::trim);
    let plain = name.chars().all(|c| c.is_alphanumeric() || c == '_');
    let Some(name) = bare.or(Some(name).filter(|name| plain && !name.is_empty())) else {
        return Err(wrong(format!("`{name}` is not the name of a number")));
    };
    let count = values.trim().parse::<u64>().ok().filter(|count| (1..=LONGEST).contains(count));
    let Some(count) = count else {
        let problem = format!("`{}` is not a number of values from 1 to {LONGEST}", values.trim());
        return Err(wrong(problem));
    };
    let window = Window::of(function, count as usize).unwrap_or(Window::Now);
    Ok((Series { name: name.to_owned(), window }, close + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_have_hand_computed_values_and_none_while_values_are_missing() {
        let last = [1.0, 2.0, 4.0, 9.0];
        for (window, expected) in [
            (Window::Now, Some(9.0)),
            (Window::Mean(2), Some(6.5)),
            (Window::Mean(5), None),
            (Window::Lowest(3), Some(2.0)),
            (Window::Highest(4), Some(9.0)),
            // (4 + 9) / 2 − (1 + 2) / 2
            (Window::Change(2), Some(5.0)),
            (Window::Change(3), None),
            (Window::First(2), Some(4.0)),
            (Window::First(3), None),
        ] {
            assert_eq!(window.value(Some(9.0), &[3.0, 5.0], &last), expected, "{window:?}");
        }
        assert_eq!(Window::Change(3).newest(), 6);
    }

    #[test]
    fn a_window_function_becomes_a_name_of_its_own_length() {
        let text = "2 * mean( {eval.accuracy} , 3) + max(reward, mean(kl, 1))";
        let Rewritten { text: rewritten, windows } = rewrite(text, 0).unwrap();
        assert_eq!(rewritten.len(), text.len());
        assert_eq!(rewritten, "2 * _0________________________ + max(reward, _1_________)");
        let shown: Vec<String> = windows.iter().map(|(_, series)| series.to_string()).collect();
        assert_eq!(shown, ["mean({eval.accuracy}, 3)", "mean(kl, 1)"]);
    }
}
