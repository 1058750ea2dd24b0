//! The scores of a batch, and the causes of missing ones (REWARD-1).

use std::collections::BTreeMap;

use records::MissingCause;

/// The failure of a reward on a whole batch: all its scores are missing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The cause under which the missing scores are counted, in `missing_causes`.
    pub cause: MissingCause,
    /// One line, shown in the warning.
    pub message: String,
}

/// The answer to [`RewardMsg::Score`](crate::RewardMsg::Score).
#[derive(Clone, Debug)]
pub struct Scored {
    /// One score per item of the batch, in its order; `None` if it is missing.
    pub scores: Vec<Option<f64>>,
    /// Number of missing scores by cause.
    pub missing: BTreeMap<MissingCause, u64>,
    /// One line about the missing scores, if there is more to report than their number.
    pub failure: Option<String>,
    /// Wall time of the reward, in seconds.
    pub seconds: f64,
}

impl Scored {
    /// Checks a reward's answer for a batch of `wanted` completions: the number of scores, and that each is finite.
    /// Scores that fail the check become missing.
    pub fn of(answer: Result<Vec<Option<f64>>, Failure>, wanted: usize, seconds: f64) -> Self {
        let scores = match answer {
            Ok(scores) if scores.len() == wanted => scores,
            Ok(scores) => {
                let message = format!("gave {} scores for {wanted} completions", scores.len());
                return Self::failed(Failure { cause: MissingCause::WrongLength, message }, wanted, seconds);
            }
            Err(failure) => return Self::failed(failure, wanted, seconds),
        };
        let mut missing = BTreeMap::new();
        let mut checked = |score: Option<f64>| {
            // NaN or infinity would spread to every mean that includes it.
            let finite = score.filter(|value| value.is_finite());
            if finite.is_none() {
                let cause = if score.is_some() { MissingCause::NotANumber } else { MissingCause::Null };
                *missing.entry(cause).or_default() += 1;
            }
            finite
        };
        let scores = scores.into_iter().map(&mut checked).collect();
        let failure = missing
            .get(&MissingCause::NotANumber)
            .map(|count| format!("{count} of {wanted} scores were NaN or infinite; they count as missing"));
        Scored { scores, missing, failure, seconds }
    }

    fn failed(failure: Failure, wanted: usize, seconds: f64) -> Self {
        let missing = if wanted == 0 { BTreeMap::new() } else { [(failure.cause, wanted as u64)].into() };
        Scored { scores: vec![None; wanted], missing, failure: Some(failure.message), seconds }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_scores_are_counted_by_cause() {
        let scored = Scored::of(Ok(vec![Some(0.5), None, Some(f64::NAN), Some(f64::INFINITY)]), 4, 0.0);
        assert_eq!(scored.scores, [Some(0.5), None, None, None]);
        assert_eq!(scored.missing, [(MissingCause::Null, 1), (MissingCause::NotANumber, 2)].into());
        assert_eq!(
            scored.failure.as_deref(),
            Some("2 of 4 scores were NaN or infinite; they count as missing")
        );
        assert_eq!(Scored::of(Ok(vec![None]), 1, 0.0).failure, None, "a reward may have no score");
    }

    #[test]
    fn a_wrong_number_of_scores_makes_all_of_them_missing() {
        let scored = Scored::of(Ok(vec![Some(1.0); 3]), 2, 0.0);
        assert_eq!(scored.scores, [None, None]);
        assert_eq!(scored.missing, [(MissingCause::WrongLength, 2)].into());
        assert_eq!(scored.failure.as_deref(), Some("gave 3 scores for 2 completions"));
    }
}
