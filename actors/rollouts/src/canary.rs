//! The canary: a prompt that a server and the policy both score, whenever the server has loaded a version (`compare.rs`).

use model::Prompt;

use crate::asked::AskedPrompt;
use crate::scorer::Scored;

/// The most tokens of a prompt without clips that are scored.
const MOST_SCORED: usize = 64;

/// The prompt by which servers are compared with the policy.
pub(crate) struct Canary {
    pub(crate) prompt: Prompt,
    pub(crate) asked: AskedPrompt,
    /// The first token that is scored: the one after the clips.
    pub(crate) from: usize,
}

impl Canary {
    pub(crate) fn new(prompt: &Prompt, asked: AskedPrompt) -> Self {
        let after = asked.after_clips();
        let length = prompt.ids.len();
        // There is at least one token before and one after.
        let from = match after > 0 && after < length {
            true => after,
            false => length.saturating_sub(MOST_SCORED).clamp(1, length.max(2) - 1),
        };
        Canary { prompt: prompt.clone(), asked, from }
    }

    /// What the policy scores: the end of the prompt, and these tokens after it.
    pub(crate) fn scored(&self, after: Vec<i64>) -> Scored {
        Scored { prompt: self.prompt.clone(), from: self.from, after }
    }
}

/// The largest difference of two lists of log-probabilities; infinite if one is no number or missing.
pub(crate) fn gap(found: &[f32], expected: &[f32]) -> f64 {
    if found.len() != expected.len() {
        return f64::INFINITY;
    }
    let differences = found.iter().zip(expected).map(|(found, expected)| f64::from((found - expected).abs()));
    differences.fold(0.0, |most, next| if next.is_nan() { f64::INFINITY } else { most.max(next) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_that_is_no_number_is_beyond_every_tolerance() {
        assert_eq!(gap(&[-1.0, -2.5], &[-1.0, -2.0]), 0.5);
        assert_eq!(gap(&[-1.0, f32::NAN], &[-1.0, -2.0]), f64::INFINITY);
        assert_eq!(gap(&[-1.0], &[-1.0, -2.0]), f64::INFINITY);
    }
}
