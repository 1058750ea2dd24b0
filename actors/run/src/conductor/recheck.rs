//! Asking the judge again about completions whose first verdicts are kept, to tell whether it still gives them.
//!
//! It is done only if a condition of an alarm uses `judge_agreement`. The completions are the first that were judged, some
//! of each step, and the answers do not come from the cache.

use judges::{JudgeMsg, JudgeQuery, JudgeTally};
use records::KeptVerdict;
use rewards::{RewardItem, Verdict};
use scenarios::AlarmConfig;

use super::judge::Judged;
use super::judge_clips::judge_clips;
use super::load::Loaded;
use crate::context::ArmContext;

/// The most completions that are kept of one step, so that several steps are among them.
const OF_ONE_STEP: usize = 8;

/// The largest difference between two grades of the thinking that agree.
const QUALITY_TOLERANCE: f64 = 0.25;

/// The fewest completions with a verdict for which the agreement is known.
const FEWEST: usize = AlarmConfig::RECHECKED / 2;

/// What came of it in one step.
#[derive(Debug, Default)]
pub(super) struct Rechecked {
    /// Completions of this step whose verdicts are kept from now on.
    pub(super) kept: Vec<KeptVerdict>,
    /// The share of the kept verdicts that the judge gave again; `None` in steps in which it was not asked, or gave too few.
    pub(super) agreement: Option<f64>,
    pub(super) tally: JudgeTally,
}

/// Keeps verdicts of `step` (from 1) until there are enough, then asks the judge again in every so many steps. `kept` are
/// those so far; `None` if no alarm needs them.
pub(super) async fn recheck(
    arm: &ArmContext,
    step: u64,
    kept: Option<Vec<KeptVerdict>>,
    judged: &Judged,
    loaded: &Loaded,
) -> Rechecked {
    let (Some(kept), Some(every)) = (kept, arm.alarms.recheck_every()) else { return Rechecked::default() };
    let missing = AlarmConfig::RECHECKED.saturating_sub(kept.len());
    if missing > 0 {
        let group_size = arm.config.sampling.group_size;
        let start = |place: usize| loaded.rows[place / group_size].audio_start;
        return Rechecked {
            kept: to_keep(&judged.batch.items, start, missing.min(OF_ONE_STEP)),
            ..Rechecked::default()
        };
    }
    if !step.is_multiple_of(every) {
        return Rechecked::default();
    }
    let items: Vec<RewardItem> = kept.iter().map(|kept| kept.item.clone()).collect();
    let clips = judge_clips(arm, std::iter::empty(), &items, |place| kept[place].audio_start).await;
    let requests = items.iter().filter_map(RewardItem::judge_request).collect();
    let asked = arm.slots.judge.call(JudgeQuery { requests, clips, anew: true }, JudgeMsg::Judge).await;
    match asked {
        Ok(asked) => {
            let first = items.iter().map(|item| item.verdict.as_ref());
            Rechecked { agreement: agreement(first, &asked.verdicts), tally: asked.tally, kept: Vec::new() }
        }
        Err(error) => {
            arm.warn(&format!("the judge could not be asked again about its first verdicts: {error}"));
            Rechecked::default()
        }
    }
}

/// The first completions with a whole verdict, at most `most`.
fn to_keep(items: &[RewardItem], start: impl Fn(usize) -> f64, most: usize) -> Vec<KeptVerdict> {
    let judged = |item: &RewardItem| {
        let verdict = item.verdict.as_ref();
        item.judge_request().is_some() && verdict.is_some_and(|verdict| verdict.consistency.is_some())
    };
    let keep = |(place, item): (usize, &RewardItem)| KeptVerdict {
        item: RewardItem { completion_ids: Vec::new(), graded: Vec::new(), ..item.clone() },
        audio_start: start(place),
    };
    items.iter().enumerate().filter(|(_, item)| judged(item)).take(most).map(keep).collect()
}

/// The share of the completions with two verdicts on which these agree; `None` for too few.
fn agreement<'a>(first: impl Iterator<Item = Option<&'a Verdict>>, again: &[Verdict]) -> Option<f64> {
    let agree = |(first, again): (Option<&Verdict>, &Verdict)| {
        let consistency = (first?.consistency? - again.consistency?).abs() < 0.5;
        let quality = match (first?.think_quality, again.think_quality) {
            (Some(first), Some(again)) => (first - again).abs() <= QUALITY_TOLERANCE,
            _ => true,
        };
        Some(consistency && quality)
    };
    let agreed: Vec<bool> = first.zip(again).filter_map(agree).collect();
    let share = || agreed.iter().filter(|agreed| **agreed).count() as f64 / agreed.len() as f64;
    (agreed.len() >= FEWEST).then(share)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(consistency: Option<f64>, think_quality: Option<f64>) -> Verdict {
        Verdict { consistency, think_quality, note: None }
    }

    #[test]
    fn verdicts_agree_in_consistency_and_nearly_in_quality() {
        let first = vec![verdict(Some(1.0), Some(0.5)); 20];
        let mut again = first.clone();
        again[0] = verdict(Some(0.0), Some(0.5));
        again[1] = verdict(Some(1.0), Some(0.75));
        again[2] = verdict(Some(1.0), Some(0.8));
        again[3] = verdict(None, None);
        again[4] = verdict(Some(1.0), None);
        // Of 19 with two verdicts, two differ.
        assert_eq!(agreement(first.iter().map(Some), &again), Some(17.0 / 19.0));
        let failed = vec![verdict(None, None); 20];
        assert_eq!(agreement(first.iter().map(Some), &failed), None, "too few were judged again");
    }
}
