//! The value of `--seeds`: numbers and ranges, such as `1,2,7` or `1..5,9`.

use std::num::ParseIntError;
use std::str::FromStr;

/// Most seeds of a run.
const MOST: usize = 1_000;

/// The seeds of one `--seeds`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seeds(pub Vec<u64>);

/// Why a text names no seeds.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum SeedsError {
    #[error(
        "`{part}` is no seed ({error}); write numbers and ranges, such as 1,2,7 or 1..5 (which is 1,2,3,4,5)"
    )]
    Number { part: String, error: ParseIntError },
    #[error("the range `{0}` ends before it begins; write the smaller seed first")]
    Backwards(String),
    #[error("more than {MOST} seeds; every arm is run once with each")]
    TooMany,
}

impl FromStr for Seeds {
    type Err = SeedsError;

    /// Reads numbers and ranges, separated by commas. `1..5` and `1..=5` both include the 5.
    fn from_str(text: &str) -> Result<Self, SeedsError> {
        let mut seeds = Vec::new();
        for part in text.split(',').map(str::trim) {
            let number = |digits: &str| {
                let parsed = digits.trim().parse::<u64>();
                parsed.map_err(|error| SeedsError::Number { part: part.to_owned(), error })
            };
            let (first, last) = match part.split_once("..") {
                None => (number(part)?, number(part)?),
                Some((first, last)) => (number(first)?, number(last.strip_prefix('=').unwrap_or(last))?),
            };
            let Some(more) = last.checked_sub(first) else {
                return Err(SeedsError::Backwards(part.to_owned()));
            };
            // Checked before the range is written out, which may be too long for the memory.
            if more >= (MOST - seeds.len()) as u64 {
                return Err(SeedsError::TooMany);
            }
            seeds.extend(first..=last);
        }
        Ok(Self(seeds))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seeds(text: &str) -> Result<Vec<u64>, String> {
        text.parse::<Seeds>().map(|seeds| seeds.0).map_err(|error| error.to_string())
    }

    #[test]
    fn both_kinds_of_ranges_include_their_ends() {
        assert_eq!(seeds("1..5").unwrap(), [1, 2, 3, 4, 5]);
        assert_eq!(seeds("1..=3").unwrap(), [1, 2, 3]);
        assert_eq!(seeds("7, 1..2 ,9..9").unwrap(), [7, 1, 2, 9]);
        assert_eq!(seeds("18446744073709551615").unwrap(), [u64::MAX]);
    }

    #[test]
    fn what_names_no_seeds_is_refused_with_what_to_write() {
        for (text, part) in
            [("1,x", "x"), ("", ""), ("1..", "1.."), ("..5", "..5"), ("-1", "-1"), ("1...5", "1...5")]
        {
            let error = seeds(text).unwrap_err();
            assert!(error.starts_with(&format!("`{part}` is no seed (")), "{error}");
            assert!(error.ends_with("such as 1,2,7 or 1..5 (which is 1,2,3,4,5)"), "{error}");
        }
        assert_eq!(
            seeds("5..1").unwrap_err(),
            "the range `5..1` ends before it begins; write the smaller seed first"
        );
    }

    #[test]
    fn there_are_at_most_a_thousand() {
        assert_eq!(seeds("1..1000").unwrap().len(), 1000);
        for text in ["0..1000", "1..1000,7", "0..18446744073709551615"] {
            assert!(seeds(text).unwrap_err().starts_with("more than 1000 seeds"), "{text}");
        }
    }
}
