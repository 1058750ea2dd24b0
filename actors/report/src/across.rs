//! Arms of several runs in one table: each arm of a later run against the arm of that name in the first.
//!
//! - COMPARE-1 answers are compared only if the questions, the prompt, the sampling and the judge were the same; what differs is
//!   named otherwise.

use std::collections::BTreeMap;

use records::RunDir;
use scenarios::{ArmConfig, load};
use serde::Serialize;
use serde_json::Value;

use crate::arm_summary::ArmSummary;
use crate::comparison::{Comparison, Pair, table};
use crate::error::ReportError;
use crate::recorded::RecordedRun;

/// Arms of several runs, compared with those of the first.
#[derive(Clone, Debug, Serialize)]
pub struct RunComparison {
    /// The suite whose answers are compared.
    pub suite: String,
    /// The arms, named `RUN:ARM`.
    pub arms: Vec<ArmSummary>,
    /// Each arm of a later run over that of the first.
    pub comparisons: Vec<Comparison>,
}

struct Run {
    dir: RunDir,
    recorded: RecordedRun,
    configs: Vec<ArmConfig>,
    arms: Vec<ArmSummary>,
}

/// Compares the arms of runs with those of the same name in the first run; two runs of one arm each are compared whatever
/// their names.
///
/// Errors: [`ReportError::NotComparable`] names what differs; also those of [`write_report`](crate::write_report).
pub fn compare_runs(dirs: &[RunDir]) -> Result<RunComparison, ReportError> {
    let runs = dirs.iter().map(Run::read).collect::<Result<Vec<Run>, _>>()?;
    let [first, later @ ..] = runs.as_slice() else {
        return Ok(RunComparison { suite: String::new(), arms: Vec::new(), comparisons: Vec::new() });
    };
    let shared = first
        .recorded
        .suites
        .iter()
        .find(|suite| later.iter().all(|run| run.recorded.suites.contains(suite)));
    let Some(suite) = shared else {
        let differs = later
            .iter()
            .find(|run| !run.recorded.suites.iter().any(|suite| first.recorded.suites.contains(suite)));
        let run = differs.unwrap_or(&later[0]);
        return Err(run.differs(
            format!(
                "it was evaluated on {}, and {} on {}",
                names(&run.recorded.suites),
                first.recorded.name,
                names(&first.recorded.suites)
            ),
            "compare runs with a suite in common",
        ));
    };
    let mut pairs = Vec::new();
    for run in later {
        let before = pairs.len();
        for (number, arm) in run.arms.iter().enumerate() {
            let single = first.arms.len() == 1 && run.arms.len() == 1;
            let same = |(at, _): &(usize, &ArmSummary)| {
                single || first.recorded.arms[*at].name == run.recorded.arms[number].name
            };
            let Some((at, over)) = first.arms.iter().enumerate().find(same) else { continue };
            run.check(number, first, at, suite)?;
            let adds = format!("{} instead of {}", run.recorded.name, first.recorded.name);
            pairs.push(Pair { arm, over, adds });
        }
        if pairs.len() == before {
            return Err(run.differs(
                format!("none of its arms ({}) is in {}", names_of(&run.recorded), first.recorded.name),
                "compare runs with arms of the same name",
            ));
        }
    }
    let comparisons = table(pairs, runs.iter().flat_map(|run| &run.arms), suite);
    let suite = suite.clone();
    Ok(RunComparison { suite, comparisons, arms: runs.into_iter().flat_map(|run| run.arms).collect() })
}

fn names(names: &[String]) -> String {
    if names.is_empty() { "nothing".to_owned() } else { names.join(", ") }
}

fn names_of(run: &RecordedRun) -> String {
    names(&run.arms.iter().map(|arm| arm.name.clone()).collect::<Vec<_>>())
}

impl Run {
    fn read(dir: &RunDir) -> Result<Self, ReportError> {
        let recorded = RecordedRun::read(dir)?;
        let configs = load(&dir.scenario(), &[], &[], None)?.arms;
        let mut arms: Vec<ArmSummary> = recorded.arms.iter().map(ArmSummary::of).collect();
        for arm in &mut arms {
            arm.name = format!("{}:{}", recorded.name, arm.name);
        }
        Ok(Run { dir: dir.clone(), recorded, configs, arms })
    }

    fn differs(&self, problem: String, instead: &str) -> ReportError {
        ReportError::NotComparable { path: self.dir.path().to_owned(), problem, instead: instead.to_owned() }
    }

    /// Checks that an arm was asked what the arm `at` of the first run was asked (COMPARE-1).
    fn check(&self, number: usize, first: &Run, at: usize, suite: &str) -> Result<(), ReportError> {
        let (name, other) = (&self.arms[number].name, &first.arms[at].name);
        let config = |run: &Run, at: usize| {
            run.configs.iter().find(|config| config.name == run.recorded.arms[at].name).map(settings)
        };
        if let (Some(new), Some(old)) = (config(self, number), config(first, at)) {
            for ((key, new), (_, old)) in new.iter().zip(&old) {
                if let Some((key, new, old)) = difference(key, new, old) {
                    return Err(self.differs(
                        format!("{name} has {key} = {new}, and {other} {old}"),
                        "compare runs that differ in what is to be compared only",
                    ));
                }
            }
        }
        let outcomes = |arm: &ArmSummary| arm.evals.get(suite).and_then(|eval| eval.outcomes.clone());
        let (Some(new), Some(old)) = (outcomes(&self.arms[number]), outcomes(&first.arms[at])) else {
            return Err(self.differs(
                format!("{name} or {other} has no recorded answers on {suite}"),
                "compare runs that were evaluated to the end",
            ));
        };
        let old: BTreeMap<_, _> = old.asked().collect();
        let changed = new.asked().find(|(id, asked)| old.get(id).is_some_and(|other| other != asked));
        if let Some((id, _)) = changed {
            return Err(self.differs(
                format!("question `{id}` of {suite} is another one than in {}", first.recorded.name),
                "compare runs over the same questions",
            ));
        }
        if !new.asked().any(|(id, _)| old.contains_key(id)) {
            return Err(self.differs(
                format!("it has no question of {suite} in common with {}", first.recorded.name),
                "compare runs over the same questions",
            ));
        }
        Ok(())
    }
}

/// The settings under which an arm's answers were made and scored.
fn settings(config: &ArmConfig) -> Vec<(&'static str, Value)> {
    let value = |found: serde_json::Result<Value>| found.unwrap_or_default();
    vec![
        ("prompt", value(serde_json::to_value(&config.prompt))),
        ("judge", value(serde_json::to_value(&config.judge))),
        ("eval.temperature", value(serde_json::to_value(config.eval.temperature))),
        ("eval.seed", value(serde_json::to_value(config.eval.seed))),
        ("eval.samples", value(serde_json::to_value(config.eval.samples))),
        ("sampling.max_new_tokens", value(serde_json::to_value(config.sampling.max_new_tokens))),
        ("loader.window", value(serde_json::to_value(config.loader.window))),
        ("loader.downmix", value(serde_json::to_value(config.loader.downmix))),
    ]
}

/// The first key below `key` in which two values differ, and the two.
fn difference(key: &str, new: &Value, old: &Value) -> Option<(String, String, String)> {
    if new == old {
        return None;
    }
    if let (Value::Object(left), Value::Object(right)) = (new, old) {
        let keys = left.keys().chain(right.keys().filter(|key| !left.contains_key(*key)));
        return keys
            .filter_map(|name| {
                let of =
                    |table: &serde_json::Map<String, Value>| table.get(name).cloned().unwrap_or_default();
                difference(&format!("{key}.{name}"), &of(left), &of(right))
            })
            .next();
    }
    Some((key.to_owned(), new.to_string(), old.to_string()))
}
