//! Scores weighted by their probabilities: the expected value over the score tokens instead of the likeliest.
//!
//! A greedy judge says 7 whether it means "surely 7" or "7 a little more than 3". Where a server returns the
//! log-probabilities of the alternatives at the place of a score, the expectation tells the two apart. Scores
//! are single digits for that ([`Scale::Digit`](super::prompt::Scale)): one token each.

use crate::Verdict;

use super::prompt::Asked;

/// A token of a reply with the likeliest alternatives in its place, itself among them or not.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ReplyToken {
    /// Its text.
    pub text: String,
    /// Texts and natural log-probabilities.
    pub top: Vec<(String, f64)>,
}

/// The least probability that the digits of a scale must have together; below it the alternatives tell nothing.
const LEAST_MASS: f64 = 0.5;

/// `verdict` with each score replaced by its expectation, where the tokens allow it.
pub fn weigh(verdict: Verdict, tokens: &[ReplyToken], asked: Asked) -> Verdict {
    let expected = |key: &str, largest: u32| expectation(tokens, key, largest);
    Verdict {
        consistency: asked.consistency().then(|| expected("consistent", 1)).flatten().or(verdict.consistency),
        think_quality: asked.quality().then(|| expected("quality", 9)).flatten().or(verdict.think_quality),
        note: verdict.note,
    }
}

/// The expected digit behind the last `"key":`, over `largest`.
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
    // A token may carry the space before the digit.
    let before = &token.text[..digit - (start - token.text.len())];
    let (mut mass, mut sum) = (0.0, 0.0);
    for (alternative, logprob) in &token.top {
        let score = alternative.strip_prefix(before).and_then(|rest| rest.trim_end().parse::<u32>().ok());
        if let Some(score) = score.filter(|score| *score <= largest) {
            let probability = logprob.exp();
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
    fn the_expected_value_over_the_score_tokens_is_taken() {
        let said = Verdict { consistency: Some(1.0), think_quality: Some(7.0 / 9.0), note: None };
        let tokens = reply(&[("7", 0.5), ("3", 0.3), ("}", 0.2)]);
        let weighed = weigh(said.clone(), &tokens, Asked::Both);
        assert!((weighed.consistency.unwrap() - 0.75).abs() < 1e-12);
        // (0.5·7 + 0.3·3) / 0.8 / 9 = 4.4 / 7.2
        assert!((weighed.think_quality.unwrap() - 4.4 / 7.2).abs() < 1e-12);
        // Only what was asked for.
        assert_eq!(weigh(said.clone(), &tokens, Asked::Consistency).think_quality, said.think_quality);
    }

    #[test]
    fn alternatives_that_tell_too_little_leave_the_score_as_it_was_said() {
        let said = Verdict { consistency: None, think_quality: Some(7.0 / 9.0), note: None };
        for tokens in [reply(&[("7", 0.3), ("}", 0.7)]), reply(&[]), vec![token("7", &[("7", 1.0)])]] {
            assert_eq!(weigh(said.clone(), &tokens, Asked::Quality).think_quality, said.think_quality);
        }
    }
}
