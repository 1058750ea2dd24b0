//! The condition of an alarm: `EXPR OP EXPR [and EXPR OP EXPR …] [for N steps]`.
//!
//! A side of a comparison is a [`Formula`] over the numbers of the arm, in which window functions may stand. A comparison
//! whose numbers are not all known is neither true nor false, and so is the condition unless another comparison is false.

use std::collections::BTreeMap;

use rewards::{Formula, Weights};

use super::mistake::Mistake;
use super::names::Names;
use super::series::{Rewritten, Series, Window, rewrite};

/// The most steps that `for N steps` may name.
const MOST_STEPS: u64 = 100_000;

/// Whether a condition holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Truth {
    /// All comparisons hold.
    Holds,
    /// A comparison does not hold.
    DoesNotHold,
    /// A number is missing that decides it.
    Unknown,
}

/// A condition that has been checked and parsed.
#[derive(Clone, Debug)]
pub struct AlarmCondition {
    comparisons: Vec<Comparison>,
    /// Number of steps in a row in which it must hold; at least 1.
    pub steps: u64,
}

/// Two formulas and the sign between them.
#[derive(Clone, Debug)]
struct Comparison {
    left: Side,
    sign: Sign,
    right: Side,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sign {
    Less,
    AtMost,
    More,
    AtLeast,
}

#[derive(Clone, Debug)]
struct Side {
    formula: Formula,
    /// What the names of the formula stand for.
    series: BTreeMap<String, Series>,
}

impl AlarmCondition {
    /// Reads a condition over the numbers `names`.
    pub(crate) fn parse(text: &str, names: &Names) -> Result<Self, Mistake> {
        let words = Words::of(text);
        let (comparisons, steps) = words.steps()?;
        let mut read = Vec::new();
        for (start, end) in comparisons {
            read.push(Comparison::parse(&words, start, end, names)?);
        }
        Ok(AlarmCondition { comparisons: read, steps })
    }

    /// All series that it uses, each once.
    pub fn series(&self) -> Vec<&Series> {
        let sides = self.comparisons.iter().flat_map(|comparison| [&comparison.left, &comparison.right]);
        let mut all: Vec<&Series> = sides.flat_map(|side| side.series.values()).collect();
        all.sort();
        all.dedup();
        all
    }

    /// Whether it holds, given the value of each series.
    pub fn truth(&self, value: &dyn Fn(&Series) -> Option<f64>) -> Truth {
        let truths = self.comparisons.iter().map(|comparison| comparison.holds(value));
        let truths: Vec<Option<bool>> = truths.collect();
        if truths.contains(&Some(false)) {
            Truth::DoesNotHold
        } else if truths.contains(&None) {
            Truth::Unknown
        } else {
            Truth::Holds
        }
    }
}

impl Comparison {
    fn parse(words: &Words, start: usize, end: usize, names: &Names) -> Result<Self, Mistake> {
        let chars = &words.chars;
        let places: Vec<usize> =
            (start..end).filter(|place| words.bare[*place] && "<>=!".contains(chars[*place])).collect();
        let instead = "write a comparison such as `think_rate < 0.02`";
        let Some(first) = places.first().copied() else {
            return Err(Mistake::new(start + 1, "there is no `<`, `<=`, `>` or `>=`", instead));
        };
        let next = chars.get(first + 1).copied().filter(|_| first + 1 < end);
        let (sign, length) = match (chars[first], next) {
            ('<', Some('=')) => (Sign::AtMost, 2),
            ('>', Some('=')) => (Sign::AtLeast, 2),
            ('<', _) => (Sign::Less, 1),
            ('>', _) => (Sign::More, 1),
            _ => {
                let problem = format!("`{}` is not a comparison", chars[first]);
                return Err(Mistake::new(first + 1, problem, "write `<`, `<=`, `>` or `>=`"));
            }
        };
        if let Some(second) = places.iter().find(|place| **place >= first + length) {
            return Err(Mistake::new(
                second + 1,
                "there is a second comparison",
                "write `and` between two comparisons",
            ));
        }
        Ok(Comparison {
            left: Side::parse(chars, start, first, names)?,
            sign,
            right: Side::parse(chars, first + length, end, names)?,
        })
    }

    fn holds(&self, value: &dyn Fn(&Series) -> Option<f64>) -> Option<bool> {
        let (left, right) = (self.left.value(value)?, self.right.value(value)?);
        Some(match self.sign {
            Sign::Less => left < right,
            Sign::AtMost => left <= right,
            Sign::More => left > right,
            Sign::AtLeast => left >= right,
        })
    }
}

impl Side {
    fn parse(chars: &[char], start: usize, end: usize, names: &Names) -> Result<Self, Mistake> {
        let text: String = chars[start..end].iter().collect();
        if text.trim().is_empty() {
            return Err(Mistake::new(
                start + 1,
                "a side of the comparison is empty",
                "write for example `think_rate < 0.02`",
            ));
        }
        let Rewritten { text, windows } = rewrite(&text, start)?;
        for (name, series) in &windows {
            if !names.has(&series.name) {
                let column =
                    start + text.find(name.as_str()).map_or(0, |place| text[..place].chars().count()) + 1;
                return Err(Mistake::unknown_number(column, &series.name, names.all()));
            }
        }
        let known =
            names.all().iter().map(String::as_str).chain(windows.iter().map(|(name, _)| name.as_str()));
        let open = names.open_in(&text);
        let known = known.chain(open.iter().map(String::as_str));
        let formula = Formula::parse(&text, known, [""; 0])
            .map_err(|error| Mistake::of_formula(error, start, names.all(), &FUNCTIONS))?;
        let meant = |name: &str| {
            let window =
                windows.iter().find(|(written, _)| written == name).map(|(_, series)| series.clone());
            window.unwrap_or_else(|| Series { name: name.to_owned(), window: Window::Now })
        };
        let series = formula.component_names().map(|name| (name.to_owned(), meant(name))).collect();
        Ok(Side { formula, series })
    }

    fn value(&self, value: &dyn Fn(&Series) -> Option<f64>) -> Option<f64> {
        let values: Option<BTreeMap<String, f64>> =
            self.series.iter().map(|(name, series)| Some((name.clone(), value(series)?))).collect();
        self.formula.eval(&values?, &Weights::default())
    }
}

/// The functions that a side may use.
const FUNCTIONS: [&str; 15] = [
    "mean", "lowest", "highest", "change", "first", "min", "max", "abs", "exp", "ln", "sqrt", "tanh",
    "floor", "ceil", "round",
];

/// The characters of a condition, and which of them are outside of braces.
struct Words {
    chars: Vec<char>,
    bare: Vec<bool>,
}

impl Words {
    fn of(text: &str) -> Self {
        let chars: Vec<char> = text.chars().collect();
        let mut inside = false;
        let mut bare = Vec::with_capacity(chars.len());
        for c in &chars {
            inside |= *c == '{';
            bare.push(!inside);
            inside &= *c != '}';
        }
        Words { chars, bare }
    }

    /// The places of a word that stands by itself.
    fn places(&self, word: &str) -> Vec<usize> {
        let letters: Vec<char> = word.chars().collect();
        let joins = |place: Option<usize>| {
            place.and_then(|place| self.chars.get(place)).is_some_and(|c| c.is_alphanumeric() || *c == '_')
        };
        let stands = |place: &usize| {
            self.bare[*place]
                && self.chars[*place..].starts_with(&letters)
                && !joins(place.checked_sub(1))
                && !joins(Some(place + letters.len()))
        };
        (0..self.chars.len()).filter(stands).collect()
    }

    /// The first and the last place of each comparison, and the number of steps.
    fn steps(&self) -> Result<(Vec<(usize, usize)>, u64), Mistake> {
        let (end, steps) = match self.places("for").last() {
            None => (self.chars.len(), 1),
            Some(place) => {
                let rest: String = self.chars[place + 3..].iter().collect();
                let count = rest.trim().strip_suffix("steps").or_else(|| rest.trim().strip_suffix("step"));
                let count = count.and_then(|count| count.trim().parse::<u64>().ok());
                let Some(count) = count.filter(|count| (1..=MOST_STEPS).contains(count)) else {
                    let problem = format!("`for{rest}` names no number of steps");
                    return Err(Mistake::new(place + 1, problem, "write for example `for 10 steps`"));
                };
                (*place, count)
            }
        };
        let mut comparisons = Vec::new();
        let mut start = 0;
        for place in self.places("and").into_iter().filter(|place| *place < end) {
            comparisons.push((start, place));
            start = place + 3;
        }
        comparisons.push((start, end));
        Ok((comparisons, steps))
    }
}

#[cfg(test)]
mod tests;
