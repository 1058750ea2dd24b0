//! Answers that are numbers: `3.50`, `1,000`, `-2e3`, `three`.
//!
//! The answer as a whole has to be one number, as in [`matching`](crate::matching): `3 dogs` is none. A comma is a
//! thousands separator where it stands in front of three digits each time (`1,000`), and is refused elsewhere, because
//! `3,5` means 3.5 to some readers and nothing to others.

use crate::text::fold;

/// Whether two texts are numbers no more than `tolerance` apart.
pub(crate) fn same_number(one: &str, other: &str, tolerance: f64) -> bool {
    let (Some(one), Some(other)) = (number(one), number(other)) else { return false };
    // 0.3 and 0.1 are 0.2 apart, but not in binary: the last digits don't count.
    let rounding = 4.0 * f64::EPSILON * one.abs().max(other.abs());
    (one - other).abs() <= tolerance + rounding
}

/// The number that a text is, in digits or in English words.
pub fn number(text: &str) -> Option<f64> {
    let text = fold(text).to_lowercase().replace('−', "-");
    let text = text.trim().trim_end_matches(['.', '!']).trim_start_matches('+').trim();
    in_digits(text).or_else(|| in_words(text))
}

fn in_digits(text: &str) -> Option<f64> {
    let (whole, rest) = text.split_at(text.find(['.', 'e']).unwrap_or(text.len()));
    if !text.contains(|c: char| c.is_ascii_digit()) || rest.contains(',') {
        return None;
    }
    let mut groups = whole.trim_start_matches('-').split(',');
    let first = groups.next()?.len();
    let mut grouped = groups.peekable();
    if grouped.peek().is_some() && (first == 0 || first > 3 || grouped.any(|group| group.len() != 3)) {
        return None;
    }
    // Only digits are left to decide: `inf` and `nan` have none.
    (whole.replace(',', "") + rest).parse().ok().filter(|number: &f64| number.is_finite())
}

const SMALL: [&str; 20] = [
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
    "eighteen",
    "nineteen",
];
const TENS: [&str; 8] = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"];

/// A number in words, such as `twenty-one` or `one hundred and five`.
fn in_words(text: &str) -> Option<f64> {
    let (sign, text) = match text.strip_prefix("minus ") {
        Some(rest) => (-1.0, rest),
        None => (1.0, text),
    };
    /// What the last word was, which decides what may follow.
    #[derive(PartialEq)]
    enum Last {
        Start,
        Ones,
        Tens,
        Scale,
        And,
    }
    let (mut total, mut current, mut last) = (0.0, 0.0, Last::Start);
    for word in text.split([' ', '-']).filter(|word| !word.is_empty()) {
        let place = |words: &[&str]| words.iter().position(|other| *other == word);
        if let Some(value) = place(&SMALL) {
            let fits = match last {
                Last::Start => true,
                Last::Tens => (1..10).contains(&value),
                Last::Scale | Last::And => value > 0,
                Last::Ones => false,
            };
            if !fits {
                return None;
            }
            (current, last) = (current + value as f64, Last::Ones);
        } else if let Some(value) = place(&TENS) {
            if matches!(last, Last::Ones | Last::Tens) {
                return None;
            }
            (current, last) = (current + 10.0 * (value + 2) as f64, Last::Tens);
        } else if word == "hundred" && last == Last::Ones && (1.0..10.0).contains(&current) {
            (current, last) = (current * 100.0, Last::Scale);
        } else if let Some(scale) = place(&["thousand", "million"])
            && last != Last::Start
            && last != Last::And
            && (1.0..1000.0).contains(&current)
        {
            (total, current, last) = (total + current * 1000f64.powi(scale as i32 + 1), 0.0, Last::Scale);
        } else if word == "and" && last == Last::Scale {
            last = Last::And;
        } else {
            return None;
        }
    }
    (last != Last::Start && last != Last::And).then_some(sign * (total + current))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_in_digits_and_in_words() {
        for (text, expected) in [
            ("3.50", 3.5),
            ("3.5", 3.5),
            ("1,000", 1000.0),
            ("12,345,678.9", 12_345_678.9),
            ("-2e3", -2000.0),
            ("−5", -5.0),
            ("+7.", 7.0),
            ("３", 3.0),
            (".5", 0.5),
            ("three", 3.0),
            ("Twenty-one", 21.0),
            ("one hundred and five", 105.0),
            ("two thousand three hundred", 2300.0),
            ("minus four", -4.0),
            ("zero", 0.0),
        ] {
            assert_eq!(number(text), Some(expected), "{text}");
        }
    }

    #[test]
    fn what_is_no_single_number_is_none() {
        for text in [
            "",
            "dog",
            "3 dogs",
            "3,5",
            "1,00",
            ",100",
            "1234,567",
            "1.2.3",
            "inf",
            "nan",
            "e5",
            "one two",
            "twenty eleven",
            "and",
            "hundred",
            "one hundred and",
            "3-4",
            "1e999",
        ] {
            assert_eq!(number(text), None, "{text}");
        }
    }

    #[test]
    fn the_tolerance_is_a_distance_and_includes_its_end() {
        assert!(same_number("0.3", "0.1", 0.2));
        assert!(!same_number("0.31", "0.1", 0.2));
        assert!(same_number("3", "3.0", 0.0));
        assert!(!same_number("3", "3.0001", 0.0));
        assert!(!same_number("three dogs", "3", 10.0));
    }
}
