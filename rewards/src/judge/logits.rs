//! Grades as expected values: averages a grade over the alternatives of its token instead of taking the likeliest.
//!
//! With greedy decoding a judge that is sure of 7 and one that slightly prefers 7 to 3 both reply 7. If the server
//! returns the log-probabilities of the alternatives, their expected value distinguishes the two. For this, grades are
//! single digits ([`Scale::Digit`](super::prompt::Scale)), so that each is one token.

use crate::Verdict;

use super::prompt::Asked;

/// A token of a reply, with the likeliest tokens in its position.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ReplyToken {
    /// The text of the token.
    pub text: String,
    /// The likeliest tokens: text and natural log-probability. The token itself need not be among them.
    pub top: Vec<(String, f64)>,
}

/// Least total probability of the valid digits; below it the expected value is not used.
const LEAST_MASS: f64 = 0.5;

/// Replaces each grade that was asked for by its expected value. A grade stays as it is if the alternatives of its
/// token are missing or their valid digits have less than half of the probability.
pub fn weigh(verdict: Verdict, tokens: &[ReplyToken], asked: Asked) -> Verdict {
    let expected = |key: &str, largest: u32| expectation(tokens, key, largest);
    Verdict {
        consistency: asked.consistency().then(|| expected("consistent", 1)).flatten().or(verdict.consistency),
        think_quality: asked.quality().then(|| expected("quality", 9)).flatten().or(verdict.think_quality),
        note: verdict.note,
    }
}

/// The expected value of the digit after the last `"key":`, divided by `largest`.
fn expectation(tokens: &[ReplyToken], key: &str, largest: u32) -> Option<f64> {
    let text: String = tokens.iter().map(|token| token.text.as_str()).collect();
    let after_key = text.rfind(&format!("\"{key}\""))? + key.len() + 2;
    let digit = after_key + text[after_key..].find(|c: char| c.is_ascii_digit())?;
    if !text[after_key..digit].chars().all(|c| c == ':' || c == '"' || c.is_whitespace()) {
        return None;
    }
    let mut start = 0;
    let token = tokens.iter().find(|token| {
        start += token.text.len();
        start > digit
    })?;
    // A token may include the space in front of the digit.
    let before = &token.text[..digit - (start - token.text.len())];
    let (mut mass, mut sum) = (0.0, 0.0);
    for (alternative, logprob) in &token.top {
        let score = alternative.strip_prefix(before).and_then(|rest| rest.trim_end().parse::<u32>().ok());
        // Servers write null or minus infinity for a token that cannot occur; one above 0 is rounding.
        if let Some(score) = score.filter(|score| *score <= largest && !logprob.is_nan()) {
            let probability = logprob.min(0.0).exp();
            mass += probability;
            sum += probability * f64::from(score);
        }
    }
    (mass >= LEAST_MASS).then(|| sum / mass / f64::from(largest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(text: &str, top: &[(&str, f64)]) -> ReplyToken {
        let top = top.iter().map(|(text, probability)| ((*text).to_owned(), probability.ln())).collect();
        ReplyToken { text: text.to_owned(), top }
    }

    fn reply(quality: &[(&str, f64)]) -> Vec<ReplyToken> {
        let texts = ["{\"", "consistent", "\":", " 1", ", \"quality\": ", "7", "}"];
        texts
            .map(|text| match text {
                " 1" => token(text, &[(" 1", 0.75), (" 0", 0.25)]),
                "7" => token(text, quality),
                _ => token(text, &[]),
            })
            .to_vec()
    }

    #[test]
    fn the_grade_is_the_expected_value_over_the_alternatives() {
        let replied = Verdict { consistency: Some(1.0), think_quality: Some(7.0 / 9.0), note: None };
        let tokens = reply(&[("7", 0.5), ("3", 0.3), ("}", 0.2)]);
        let weighed = weigh(replied.clone(), &tokens, Asked::Both);
        assert!((weighed.consistency.unwrap() - 0.75).abs() < 1e-12);
        // (0.5·7 + 0.3·3) / 0.8 / 9 = 4.4 / 7.2
        assert!((weighed.think_quality.unwrap() - 4.4 / 7.2).abs() < 1e-12);
        // A grade that was not asked for is left alone.
        assert_eq!(weigh(replied.clone(), &tokens, Asked::Consistency).think_quality, replied.think_quality);
    }

    #[test]
    fn an_alternative_that_cannot_occur_has_no_weight() {
        let replied = Verdict { consistency: None, think_quality: Some(7.0 / 9.0), note: None };
        let mut tokens = reply(&[("7", 0.5), ("3", 0.5)]);
        tokens[5]
            .top
            .extend([("1", f64::NEG_INFINITY), ("0", f64::NAN)].map(|(text, p)| (text.to_owned(), p)));
        let weighed = weigh(replied, &tokens, Asked::Quality);
        // (0.5·7 + 0.5·3) / 9 = 5 / 9
        assert!((weighed.think_quality.unwrap() - 5.0 / 9.0).abs() < 1e-12);
    }

    #[test]
    fn without_enough_probability_on_digits_the_grade_stays_as_replied() {
        let replied = Verdict { consistency: None, think_quality: Some(7.0 / 9.0), note: None };
        for tokens in [reply(&[("7", 0.3), ("}", 0.7)]), reply(&[]), vec![token("7", &[("7", 1.0)])]] {
            assert_eq!(weigh(replied.clone(), &tokens, Asked::Quality).think_quality, replied.think_quality);
        }
    }
}
