//! The scores of a batch, and the causes of missing ones (REWARD-1).

use std::collections::BTreeMap;

use records::MissingCause;

use crate::notes::Notes;

/// The failure of a reward on a whole batch: all its scores are missing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The cause under which the missing scores are counted, in `missing_causes`.
    pub cause: MissingCause,
    /// One line, shown in the warning.
    pub message: String,
}

/// What a reward gives for a batch, or for a part of one.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Answer {
    /// One score per completion, in order; `None` for none.
    pub scores: Vec<Option<f64>>,
    /// Why there is none, by the place of the completion, where the reward says so.
    pub errors: BTreeMap<usize, String>,
    /// What it reports beside the scores.
    pub notes: Notes,
    /// What the user should know, one line each.
    pub warnings: Vec<String>,
}

impl From<Vec<Option<f64>>> for Answer {
    fn from(scores: Vec<Option<f64>>) -> Self {
        Answer { scores, ..Answer::default() }
    }
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
    /// What the reward reports beside the scores.
    pub notes: Notes,
    /// What the user should know, one line each; each is said once.
    pub warnings: Vec<String>,
    /// Wall time of the reward, in seconds.
    pub seconds: f64,
}

impl Scored {
    /// Checks a reward's answer for a batch of `wanted` completions: the number of scores, and that each is finite.
    /// Scores that fail the check become missing.
    pub fn of(answer: Result<Answer, Failure>, wanted: usize, seconds: f64) -> Self {
        let answer = match answer {
            Ok(answer) if answer.scores.len() == wanted => answer,
            Ok(answer) => {
                let message = format!("gave {} scores for {wanted} completions", answer.scores.len());
                return Self::failed(Failure { cause: MissingCause::WrongLength, message }, wanted, seconds);
            }
            Err(failure) => return Self::failed(failure, wanted, seconds),
        };
        let Answer { scores, errors, notes, warnings } = answer;
        let mut missing: BTreeMap<MissingCause, u64> = BTreeMap::new();
        let mut first_error = None;
        let mut checked = |(place, score): (usize, Option<f64>)| {
            // NaN or infinity would spread to every mean that includes it.
            let finite = score.filter(|value| value.is_finite());
            if finite.is_none() {
                let cause = match (score, errors.get(&place)) {
                    (Some(_), _) => MissingCause::NotANumber,
                    (None, Some(error)) => {
                        first_error.get_or_insert(error);
                        MissingCause::Error
                    }
                    (None, None) => MissingCause::Null,
                };
                *missing.entry(cause).or_default() += 1;
            }
            finite
        };
        let scores = scores.into_iter().enumerate().map(&mut checked).collect();
        let count = |cause: MissingCause| missing.get(&cause).copied().unwrap_or_default();
        let failure = match (count(MissingCause::NotANumber), first_error) {
            (0, None) => None,
            (0, Some(error)) => {
                let count = count(MissingCause::Error);
                Some(format!("{count} of {wanted} completions could not be scored; the first: {error}"))
            }
            (count, _) => {
                Some(format!("{count} of {wanted} scores were NaN or infinite; they count as missing"))
            }
        };
        Scored { scores, missing, failure, notes, warnings, seconds }
    }

    fn failed(failure: Failure, wanted: usize, seconds: f64) -> Self {
        let missing = if wanted == 0 { BTreeMap::new() } else { [(failure.cause, wanted as u64)].into() };
        Scored {
            scores: vec![None; wanted],
            missing,
            failure: Some(failure.message),
            notes: Notes::default(),
            warnings: Vec::new(),
            seconds,
        }
    }

    /// Puts the parts of a batch together, in their order.
    pub(crate) fn joined(parts: Vec<Scored>) -> Self {
        let mut parts = parts.into_iter();
        let mut all = parts.next().unwrap_or_else(|| Self::of(Ok(Answer::default()), 0, 0.0));
        for part in parts {
            all.notes.add(all.scores.len(), part.notes, part.scores.len());
            all.scores.extend(part.scores);
            for (cause, count) in part.missing {
                *all.missing.entry(cause).or_default() += count;
            }
            all.failure = all.failure.or(part.failure);
            all.warnings.extend(part.warnings);
            all.seconds = all.seconds.max(part.seconds);
        }
        all
    }

    /// Whether a reward that scored a trial batch like this can't be used: it failed as a whole, or a score is not finite.
    /// That single completions could not be scored may be due to the trial batch.
    pub(crate) fn is_unusable(&self) -> bool {
        let failed_for_some = self.missing.get(&MissingCause::Error).copied().unwrap_or_default();
        let only_for_some = failed_for_some > 0
            && failed_for_some < self.scores.len() as u64
            && !self.missing.contains_key(&MissingCause::NotANumber);
        self.failure.is_some() && !only_for_some
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_scores_are_counted_by_cause() {
        let scored =
            Scored::of(Ok(vec![Some(0.5), None, Some(f64::NAN), Some(f64::INFINITY)].into()), 4, 0.0);
        assert_eq!(scored.scores, [Some(0.5), None, None, None]);
        assert_eq!(scored.missing, [(MissingCause::Null, 1), (MissingCause::NotANumber, 2)].into());
        assert_eq!(
            scored.failure.as_deref(),
            Some("2 of 4 scores were NaN or infinite; they count as missing")
        );
        assert_eq!(Scored::of(Ok(vec![None].into()), 1, 0.0).failure, None, "a reward may have no score");
    }

    #[test]
    fn a_wrong_number_of_scores_makes_all_of_them_missing() {
        let scored = Scored::of(Ok(vec![Some(1.0); 3].into()), 2, 0.0);
        assert_eq!(scored.scores, [None, None]);
        assert_eq!(scored.missing, [(MissingCause::WrongLength, 2)].into());
        assert_eq!(scored.failure.as_deref(), Some("gave 3 scores for 2 completions"));
    }

    #[test]
    fn a_completion_that_could_not_be_scored_costs_itself_only() {
        let errors = [(1, "ValueError: no".to_owned()), (0, "not counted".to_owned())].into();
        let answer = Answer { errors, ..vec![Some(1.0), None, None].into() };
        let scored = Scored::of(Ok(answer), 3, 0.0);
        assert_eq!(scored.missing, [(MissingCause::Null, 1), (MissingCause::Error, 1)].into());
        assert_eq!(
            scored.failure.as_deref(),
            Some("1 of 3 completions could not be scored; the first: ValueError: no")
        );
        assert!(!scored.is_unusable());
        let failure = Failure { cause: MissingCause::Error, message: "no model".into() };
        assert!(Scored::of(Err(failure), 3, 0.0).is_unusable());
        assert!(Scored::of(Ok(vec![Some(f64::NAN), Some(1.0)].into()), 2, 0.0).is_unusable());
    }

    #[test]
    fn parts_are_joined_in_their_order() {
        let failure = Failure { cause: MissingCause::Died, message: "gone".into() };
        let parts = vec![
            Scored::of(Ok(vec![Some(1.0), None].into()), 2, 0.5),
            Scored::of(Err(failure), 1, 2.0),
            Scored::of(Ok(vec![Some(3.0)].into()), 1, 1.0),
        ];
        let joined = Scored::joined(parts);
        assert_eq!(joined.scores, [Some(1.0), None, None, Some(3.0)]);
        assert_eq!(joined.missing, [(MissingCause::Null, 1), (MissingCause::Died, 1)].into());
        assert_eq!((joined.failure.as_deref(), joined.seconds), (Some("gone"), 2.0));
        assert!(Scored::joined(Vec::new()).scores.is_empty());
    }
}
