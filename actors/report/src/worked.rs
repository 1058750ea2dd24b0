//! The same questions through all arms: what each of them thought and answered under one seed.

use std::collections::BTreeMap;

use records::{Phase, RecordsError, Rollout, for_each_line};

use crate::recorded::{RecordedArm, RecordedRun, RecordedSeed};

/// Questions that are shown.
const SHOWN: usize = 4;

/// A held-out question, and the completion of each arm that was asked it, in the order of the arms.
#[derive(Debug)]
pub(crate) struct Worked {
    pub(crate) seed: u64,
    /// The place of the arm in the run, and its completion.
    pub(crate) completions: Vec<(usize, Rollout)>,
}

/// The questions of the first suite on which the arms disagree most, of different difficulties as far as there are any,
/// under the first seed that the most arms were evaluated with. The completions are read from the records once more.
pub(crate) fn worked(run: &RecordedRun) -> Result<Vec<Worked>, RecordsError> {
    let Some(suite) = run.suites.first() else { return Ok(Vec::new()) };
    let asked =
        |seed: &RecordedSeed| seed.rollouts.outcomes.get(suite).is_some_and(|answers| !answers.is_empty());
    let mut arms_by_seed: BTreeMap<u64, usize> = BTreeMap::new();
    for seed in run.arms.iter().flat_map(|arm| &arm.seeds).filter(|seed| asked(seed)) {
        *arms_by_seed.entry(seed.seed).or_default() += 1;
    }
    let most = arms_by_seed.values().copied().max().unwrap_or(0);
    let Some((&seed, _)) = arms_by_seed.iter().find(|(_, arms)| **arms == most && most > 1) else {
        return Ok(Vec::new());
    };
    let of_seed =
        |arm: &'_ RecordedArm| arm.seeds.iter().position(|found| found.seed == seed && asked(found));
    let seeds: Vec<(usize, &RecordedSeed)> =
        run.arms.iter().enumerate().filter_map(|(at, arm)| Some((at, &arm.seeds[of_seed(arm)?]))).collect();

    let ids = disagreed(&seeds, suite);
    let mut shown: BTreeMap<&str, Worked> = BTreeMap::new();
    for (at, recorded) in seeds {
        for_each_line(&recorded.rollouts_file, |line| {
            // Most lines are of other questions, and are passed over without being read.
            let text = std::str::from_utf8(line).unwrap_or_default();
            if !ids.iter().any(|id| text.contains(id.as_str())) {
                return Ok(());
            }
            let rollout: Rollout = serde_json::from_slice(line)?;
            let of_suite = rollout.suite.as_deref() == Some(suite) && rollout.control.is_none();
            let latest = rollout.phase == Phase::Eval && rollout.step == recorded.rollouts.evaluated_at();
            if let Some(id) = ids.iter().find(|id| **id == rollout.id).filter(|_| of_suite && latest) {
                let worked = shown.entry(id).or_insert(Worked { seed, completions: Vec::new() });
                // With several samples of a question, the first.
                if worked.completions.iter().all(|(other, _)| *other != at) {
                    worked.completions.push((at, rollout));
                }
            }
            Ok(())
        })?;
    }
    Ok(ids.iter().filter_map(|id| shown.remove(id.as_str())).collect())
}

/// The ids of the questions to show: for each difficulty in turn, the next one with the most even split into right and wrong.
fn disagreed(seeds: &[(usize, &RecordedSeed)], suite: &str) -> Vec<String> {
    let mut answers: BTreeMap<&str, (Option<&str>, usize, usize)> = BTreeMap::new();
    for outcome in seeds.iter().flat_map(|(_, seed)| &seed.rollouts.outcomes[suite]) {
        let (difficulty, right, all) = answers.entry(outcome.id()).or_default();
        *difficulty = outcome.difficulty();
        *right += usize::from(outcome.is_correct());
        *all += 1;
    }
    let mut by_difficulty: BTreeMap<Option<&str>, Vec<(usize, &str)>> = BTreeMap::new();
    for (id, (difficulty, right, all)) in answers {
        by_difficulty.entry(difficulty).or_default().push((right * (all - right), id));
    }
    for questions in by_difficulty.values_mut() {
        questions.sort_by_key(|(split, _)| std::cmp::Reverse(*split));
    }
    let turns = by_difficulty.values().map(Vec::len).max().unwrap_or(0);
    (0..turns)
        .flat_map(|turn| by_difficulty.values().filter_map(move |questions| questions.get(turn)))
        .map(|(_, id)| (*id).to_owned())
        .take(SHOWN)
        .collect()
}
