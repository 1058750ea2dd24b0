//! Picks the completions that the report shows. They come from the last training step and the last evaluation, and are
//! spread over difficulty, mode and outcome. `rollouts.jsonl` is read line by line, so its length does not matter.

use std::collections::BTreeMap;
use std::path::Path;

use records::{FormatVersion, Phase, RecordsError, Rollout, for_each_line};
use rewards::{Difficulty, Mode};
use scenarios::Control;
use serde::Deserialize;

use crate::correlations::Sums;
use crate::outcomes::Outcome;

/// Completions kept per stratum (difficulty, mode and outcome) while the file is read.
const PER_STRATUM: usize = 3;

/// What the report keeps of the `rollouts.jsonl` of one arm and seed.
#[derive(Debug, Default)]
pub(super) struct RolloutDigest {
    train: Strata,
    eval: Strata,
    /// The answers of the latest evaluation, by suite, or by suite and control as [`Evaluation::label`] writes them.
    ///
    /// [`Evaluation::label`]: records::Evaluation::label
    pub outcomes: BTreeMap<String, Vec<Outcome>>,
    /// How the reward components of the training completions go together.
    pub scores: Sums,
    /// Number of lines that could not be parsed.
    pub unreadable: u64,
}

impl RolloutDigest {
    /// Reads a `rollouts.jsonl` line by line; a missing file counts as empty.
    pub(super) fn read(path: &Path) -> Result<Self, RecordsError> {
        let mut digest = Self::default();
        digest.unreadable = for_each_line(path, |line| digest.take(line))?;
        Ok(digest)
    }

    /// The step of the latest evaluation.
    pub(super) fn evaluated_at(&self) -> u64 {
        self.eval.step
    }

    fn take(&mut self, line: &[u8]) -> Result<(), serde_json::Error> {
        let head: RolloutHead = serde_json::from_slice(line)?;
        if head.phase == Phase::Train {
            self.scores.add(&head.components);
        }
        let strata = match head.phase {
            Phase::Train => &mut self.train,
            Phase::Eval => &mut self.eval,
        };
        if head.step < strata.step {
            return Ok(());
        }
        if head.step > strata.step {
            *strata = Strata { step: head.step, ..Strata::default() };
            if head.phase == Phase::Eval {
                self.outcomes.clear();
            }
        }
        if head.phase == Phase::Eval {
            let suite = head.suite.unwrap_or_default();
            let label = head.control.map_or_else(|| suite.clone(), |control| format!("{suite} ({control})"));
            self.outcomes.entry(label).or_default().push(serde_json::from_slice(line)?);
        }
        let kept = strata.kept.entry((head.difficulty, head.mode, head.correct)).or_default();
        if kept.len() < PER_STRATUM {
            kept.push(serde_json::from_slice(line)?);
        }
        Ok(())
    }
}

/// The fields that decide whether a row is kept. Only kept rows are parsed in full.
#[derive(Deserialize)]
struct RolloutHead {
    #[serde(default, rename = "format_version")]
    _format_version: FormatVersion,
    phase: Phase,
    step: u64,
    #[serde(default)]
    difficulty: Option<Difficulty>,
    #[serde(default)]
    mode: Option<Mode>,
    #[serde(default)]
    correct: bool,
    #[serde(default)]
    suite: Option<String>,
    #[serde(default)]
    control: Option<Control>,
    #[serde(default)]
    components: BTreeMap<String, Option<f64>>,
}

/// The kept completions of the latest step of one phase, by difficulty, mode and outcome.
#[derive(Debug, Default)]
struct Strata {
    step: u64,
    kept: BTreeMap<(Option<Difficulty>, Option<Mode>, bool), Vec<Rollout>>,
}

/// A completion to show, and the seed of the arm that produced it.
#[derive(Clone, Debug)]
pub(super) struct Pick<'a> {
    pub seed: u64,
    pub rollout: &'a Rollout,
}

/// Up to `count` completions over all seeds of an arm: half from evaluation and half from training, or more of one if
/// the other has too few. Each half takes turns over its strata.
pub(super) fn pick<'a>(seeds: &[(u64, &'a RolloutDigest)], count: usize) -> Vec<Pick<'a>> {
    let eval = round_robin(seeds, |digest| &digest.eval);
    let train = round_robin(seeds, |digest| &digest.train);
    let from_eval = (count / 2).max(count.saturating_sub(train.len()));
    let mut picks: Vec<_> = eval.into_iter().take(from_eval).collect();
    let left = count - picks.len();
    picks.extend(train.into_iter().take(left));
    picks
}

/// The kept completions of all seeds: the first of each stratum, then the second of each, and so on.
fn round_robin<'a>(
    seeds: &[(u64, &'a RolloutDigest)],
    phase: impl Fn(&'a RolloutDigest) -> &'a Strata,
) -> Vec<Pick<'a>> {
    let mut strata: BTreeMap<_, Vec<(usize, Pick<'a>)>> = BTreeMap::new();
    for &(seed, digest) in seeds {
        for (stratum, kept) in &phase(digest).kept {
            let picks = kept.iter().map(|rollout| Pick { seed, rollout });
            strata.entry(stratum).or_default().extend(picks.enumerate());
        }
    }
    let mut strata: Vec<_> = strata.into_values().collect();
    for picks in &mut strata {
        picks.sort_by_key(|(turn, _)| *turn);
    }
    let order = spread(strata.len());
    let rounds = strata.iter().map(Vec::len).max().unwrap_or(0);
    (0..rounds)
        .flat_map(|round| order.iter().map(move |&at| (at, round)))
        .filter_map(|(at, round)| strata[at].get(round).map(|(_, pick)| pick.clone()))
        .collect()
}

/// A permutation of `0..count` in which consecutive numbers are far apart, so that the first few picks from the sorted
/// strata do not all have the same difficulty.
fn spread(count: usize) -> Vec<usize> {
    let coprime = |stride: &usize| gcd(*stride, count) == 1;
    let stride = (count * 5 / 8 + 1..).find(coprime).unwrap_or(1);
    (0..count).map(|turn| turn * stride % count).collect()
}

fn gcd(a: usize, b: usize) -> usize {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(rows: &[(&str, u64, &str, bool)]) -> RolloutDigest {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("rollouts.jsonl");
        let lines: String = rows
            .iter()
            .map(|(phase, step, difficulty, correct)| {
                format!(
                    r#"{{"phase":"{phase}","step":{step},"difficulty":"{difficulty}","mode":"think","correct":{correct},"tokens":{step}}}"#
                ) + "\n"
            })
            .collect();
        std::fs::write(&path, lines).unwrap();
        RolloutDigest::read(&path).unwrap()
    }

    #[test]
    fn only_the_latest_step_of_each_phase_is_kept() {
        let digest = digest(&[
            ("train", 1, "easy", true),
            ("eval", 5, "easy", true),
            ("eval", 5, "hard", true),
            ("train", 2, "easy", true),
            ("eval", 9, "easy", true),
        ]);
        let picks = pick(&[(7, &digest)], 12);
        let steps: Vec<u64> = picks.iter().map(|pick| pick.rollout.step).collect();
        assert_eq!(steps, [9, 2]);
        assert_eq!(digest.outcomes.values().map(Vec::len).collect::<Vec<_>>(), [1]);
    }

    #[test]
    fn a_rare_outcome_is_shown_beside_a_frequent_one() {
        let mut rows = vec![("eval", 1, "easy", true); 50];
        rows.push(("eval", 1, "hard", false));
        let digest = digest(&rows);
        let picks = pick(&[(7, &digest), (8, &digest)], 2);
        let shown: Vec<_> = picks.iter().map(|pick| pick.rollout.correct).collect();
        assert_eq!(shown, [true, false]);
    }

    #[test]
    fn spread_is_a_permutation() {
        for count in 0..40 {
            let mut order = spread(count);
            order.sort_unstable();
            assert!(order.into_iter().eq(0..count));
        }
    }

    #[test]
    fn half_of_the_picks_come_from_evaluation_and_half_from_training() {
        let digest =
            digest(&[("eval", 1, "easy", true), ("eval", 1, "easy", true), ("train", 1, "easy", true)]);
        let phases: Vec<_> = pick(&[(7, &digest)], 2).iter().map(|pick| pick.rollout.phase).collect();
        assert_eq!(phases, [Phase::Eval, Phase::Train]);
    }
}
