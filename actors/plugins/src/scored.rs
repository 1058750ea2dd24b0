//! The scores of a batch, and why scores are missing (REWARD-1).

use std::collections::BTreeMap;

use records::MissingCause;

/// What a reward failed with: every score of the batch is missing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What it is counted under.
    pub cause: MissingCause,
    /// One line for people.
    pub message: String,
}

/// The answer to [`RewardMsg::Score`].
#[derive(Clone, Debug)]
pub struct Scored {
    /// In the order of the batch's items.
    pub scores: Vec<Option<f64>>,
    /// How many are missing, by cause.
    pub missing: BTreeMap<MissingCause, u64>,
    /// Why, if there is more to say than the count.
    pub failure: Option<String>,
    /// Time spent in the reward.
    pub seconds: f64,
}

impl Scored {
    /// What a reward said of `wanted` completions, made sound.
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
            // A number that is none would poison every mean it enters.
            let sound = score.filter(|value| value.is_finite());
            if sound.is_none() {
                let cause = if score.is_some() { MissingCause::NotANumber } else { MissingCause::Null };
                *missing.entry(cause).or_default() += 1;
            }
            sound
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
    fn a_wrong_number_of_scores_is_no_score_at_all() {
        let scored = Scored::of(Ok(vec![Some(1.0); 3]), 2, 0.0);
        assert_eq!(scored.scores, [None, None]);
        assert_eq!(scored.missing, [(MissingCause::WrongLength, 2)].into());
        assert_eq!(scored.failure.as_deref(), Some("gave 3 scores for 2 completions"));
    }
}
