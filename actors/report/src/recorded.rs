//! Finds the arms and seeds of a run directory and reads their files.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use records::{
    Action, ArmDir, ArmId, Bookmark, ConditionsRecord, Environment, Evaluation, JournalEntry, RecordsError,
    RunDir, Status, StepMetrics, changes_in_order, for_each_line,
};
use rewards::Formula;
use scenarios::{ArmConfig, Design, Hypothesis, Method, TrainParts, WeightConfig, hypotheses_hash};
use serde::Serialize;

use crate::completions::RolloutDigest;
use crate::error::ReportError;

/// Everything that the report reads from a run directory.
#[derive(Debug)]
pub(crate) struct RecordedRun {
    /// Name of the directory.
    pub name: String,
    /// Arms in the scenario's order, then those that the scenario does not name.
    pub arms: Vec<RecordedArm>,
    /// Evaluation suites in the order of their first evaluation.
    pub suites: Vec<String>,
    /// The values of `environment.json` by dotted name, such as `cpu.model`.
    pub environment: Vec<(String, String)>,
    /// The hypotheses of the scenario.
    pub hypotheses: Vec<Hypothesis>,
    /// Whether they are those that were written when the run began.
    pub hypotheses_from_before: bool,
    /// The factors of the arms, if the scenario says them.
    pub design: Option<Design>,
    /// The seeds under which the arms are trained.
    pub seeds: Vec<u64>,
    /// Changes made while the run was in progress, in the order of the journal.
    pub changes: Vec<JournalEntry>,
    /// Alarms that went off, in the order of the journal.
    pub alarms: Vec<JournalEntry>,
    /// What somebody marked while the run was in progress, as the report says it.
    pub bookmarks: Vec<String>,
}

/// One arm: its settings in the scenario, and the files of its seeds.
#[derive(Debug, Default)]
pub(crate) struct RecordedArm {
    pub name: String,
    pub method: Option<Method>,
    /// The parts of the model that are trained.
    pub trains: Option<TrainParts>,
    pub formula: Option<String>,
    pub weights: Vec<(String, WeightConfig)>,
    /// The reward components that the formula uses. The arm may log others.
    pub used: Vec<String>,
    /// Where the arm began, if it is a fork.
    pub fork: Option<Origin>,
    /// Whether one of those is of kind `adaptive-think`.
    pub adaptive: bool,
    pub seeds: Vec<RecordedSeed>,
}

/// Where a fork began, and what was other in it then.
#[derive(Clone, Debug, Serialize)]
pub struct Origin {
    /// The name of the arm that was copied.
    pub arm: String,
    /// The steps that it had taken.
    pub step: u64,
    /// The settings in which the fork differed, such as `shaping.weights.think = 0 instead of 0.5`.
    pub changes: Vec<String>,
}

/// The files of one arm and seed.
#[derive(Debug)]
pub(crate) struct RecordedSeed {
    pub seed: u64,
    /// `None` if there is no `status.json` or it cannot be parsed.
    pub status: Option<Status>,
    /// Rows by step. If a resumed run wrote a step twice, the later row is used.
    pub metrics: BTreeMap<u64, StepMetrics>,
    /// Rows by suite, or by suite and control as [`Evaluation::label`] writes them, then by step.
    pub evals: BTreeMap<String, BTreeMap<u64, Evaluation>>,
    pub rollouts: RolloutDigest,
    /// The path of `rollouts.jsonl`.
    pub rollouts_file: PathBuf,
    /// Number of complete lines, over all files, that could not be parsed.
    pub unreadable: u64,
}

impl RecordedRun {
    pub(super) fn read(run_dir: &RunDir) -> Result<Self, ReportError> {
        // If this version cannot read the scenario, the report only lacks what the scenario defines, such as the formulas.
        let experiment = scenarios::load(&run_dir.scenario(), &[], &[], None).ok();
        let (arms, hypotheses, seeds, design) = experiment
            .map(|found| (found.arms, found.hypotheses, found.run.seeds, found.design))
            .unwrap_or_default();
        let mut changes = match run_dir.read_journal() {
            Err(newer @ RecordsError::NewerFormat { .. }) => return Err(newer.into()),
            // Without a readable journal the report only lacks what was changed.
            changes => changes.unwrap_or_default(),
        };
        let alarms = changes.iter().filter(|entry| entry.action == Action::Alarm).cloned().collect();
        changes.retain(|entry| entry.change.is_some());
        let origins: Vec<Option<Origin>> =
            arms.iter().map(|arm| Origin::of(arm, &arms, &seeds, &changes)).collect();
        let mut arms: Vec<RecordedArm> = arms.into_iter().map(RecordedArm::of).collect();
        for (arm, origin) in arms.iter_mut().zip(origins) {
            arm.fork = origin;
        }
        let begun = Environment::read(run_dir).and_then(|environment| environment.hypotheses_sha256);
        let hypotheses_from_before = begun == hypotheses_hash(&hypotheses);
        let mut suites = Vec::new();
        for (folder, seed_dirs) in run_dir.arms()? {
            let recorded = seed_dirs
                .iter()
                .map(|(seed, dir)| RecordedSeed::read(dir, *seed, &mut suites))
                .collect::<Result<Vec<_>, _>>()?;
            let statuses = || recorded.iter().filter_map(|seed| seed.status.as_ref());
            let name = statuses().next().map_or(folder, |status| status.id.arm.clone());
            let method = statuses().next().map(|status| status.method);
            let at = arms.iter().position(|arm| arm.name == name).unwrap_or_else(|| {
                arms.push(RecordedArm { name, ..RecordedArm::default() });
                arms.len() - 1
            });
            arms[at].method = arms[at].method.or(method);
            arms[at].seeds.extend(recorded);
        }
        let path = run_dir.path();
        if arms.is_empty() {
            return Err(ReportError::NotARun { path: path.into() });
        }
        // Damaged bookmarks are left out; `sandbox verify` finds them.
        let bookmarks = run_dir.read_bookmarks()?.0.iter().map(told).collect();
        let name = path.canonicalize().map_or_else(|_| file_name(path), |whole| file_name(&whole));
        let environment = environment(&run_dir.environment());
        Ok(Self {
            name,
            arms,
            suites,
            environment,
            hypotheses,
            design,
            seeds,
            hypotheses_from_before,
            changes,
            alarms,
            bookmarks,
        })
    }
}

impl Origin {
    /// `changes` are those of the journal.
    fn of(arm: &ArmConfig, arms: &[ArmConfig], seeds: &[u64], changes: &[JournalEntry]) -> Option<Self> {
        let fork = arm.fork.as_ref()?;
        let mut parent = arms.iter().find(|other| other.name == fork.arm)?.clone();
        // The fork was given the conditions that its parent had then.
        let seed = seeds.iter().find(|seed| fork.has_seed(**seed))?;
        let mut then = ConditionsRecord::of(&parent);
        for entry in changes_in_order(changes, &ArmId::new(fork.arm.clone(), *seed)) {
            if let Some(change) = entry.change.filter(|_| entry.step <= fork.step + 1) {
                then.apply(&change, entry.version);
            }
        }
        parent = parent.with_live_settings(&then.settings).unwrap_or(parent);
        (parent.rewards, parent.shaping.formula) = (then.rewards, then.formula);
        parent.shaping.weights = then.weights;
        Some(Origin { arm: fork.arm.clone(), step: fork.step, changes: arm.settings_unlike(&parent) })
    }
}

impl RecordedSeed {
    fn read(dir: &ArmDir, seed: u64, suites: &mut Vec<String>) -> Result<Self, RecordsError> {
        let mut unreadable = 0;
        let mut metrics = BTreeMap::new();
        unreadable += for_each_line(&dir.metrics(), |line| {
            let row: StepMetrics = serde_json::from_slice(line)?;
            metrics.insert(row.step(), row);
            Ok(())
        })?;
        let mut evals: BTreeMap<String, BTreeMap<u64, Evaluation>> = BTreeMap::new();
        unreadable += for_each_line(&dir.evaluations(), |line| {
            let row: Evaluation = serde_json::from_slice(line)?;
            if row.control.is_none() && !suites.contains(&row.suite) {
                suites.push(row.suite.clone());
            }
            evals.entry(row.label()).or_default().insert(row.step, row);
            Ok(())
        })?;
        let rollouts = RolloutDigest::read(&dir.rollouts())?;
        unreadable += rollouts.unreadable;
        let status = dir.read_status()?;
        let seed = status.as_ref().map_or(seed, |status| status.id.seed);
        Ok(Self { seed, status, metrics, evals, rollouts, rollouts_file: dir.rollouts(), unreadable })
    }

    /// The last completed step, from the status or else the metrics.
    pub(super) fn step(&self) -> u64 {
        let trained = self.metrics.keys().next_back().copied();
        self.status.as_ref().map(|status| status.step).or(trained).unwrap_or(0)
    }

    /// Steps of the whole training, from the status or else the metrics.
    pub(super) fn total_steps(&self) -> Option<u64> {
        let recorded = self.metrics.values().next_back().map(StepMetrics::total_steps);
        self.status.as_ref().map(|status| status.total_steps).or(recorded)
    }
}

impl RecordedArm {
    fn of(arm: ArmConfig) -> Self {
        let shaping = Some(arm.shaping).filter(|_| arm.method == Method::Grpo);
        let formula = shaping.as_ref().and_then(|shaping| {
            let rewards = arm.rewards.keys().map(String::as_str);
            Formula::parse(&shaping.formula, rewards, shaping.weights.keys().map(String::as_str)).ok()
        });
        let used: Vec<String> =
            formula.iter().flat_map(Formula::component_names).map(str::to_owned).collect();
        let adaptive =
            |name: &String| arm.rewards.get(name).is_some_and(|spec| spec.kind == "adaptive-think");
        let is_weight =
            |name: &String| formula.as_ref().is_some_and(|found| found.weight_names().any(|w| w == name));
        Self {
            name: arm.name,
            method: Some(arm.method),
            trains: (arm.method != Method::None).then_some(arm.policy.train),
            adaptive: used.iter().any(adaptive),
            weights: shaping
                .into_iter()
                .flat_map(|shaping| shaping.weights)
                .filter(|(name, _)| is_weight(name))
                .collect(),
            formula: formula.as_ref().map(|found| found.text().to_owned()),
            used,
            fork: None,
            seeds: Vec::new(),
        }
    }
}

/// A bookmark in a sentence.
fn told(bookmark: &Bookmark) -> String {
    let ArmId { arm, seed } = &bookmark.id;
    let question = bookmark.completion.as_ref();
    let question = question.map_or_else(String::new, |completion| format!(", on {}", completion.question));
    let note = if bookmark.note.is_empty() { String::new() } else { format!(": {}", bookmark.note) };
    format!("{arm} (seed {seed}), step {}{question}{note}", bookmark.step)
}

fn environment(path: &Path) -> Vec<(String, String)> {
    let value = fs::read(path).ok().and_then(|text| serde_json::from_slice(&text).ok());
    let mut out = Vec::new();
    flatten("", &value.unwrap_or_default(), &mut out);
    out
}

fn flatten(name: &str, value: &serde_json::Value, out: &mut Vec<(String, String)>) {
    use serde_json::Value;
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                let name = if name.is_empty() { key.clone() } else { format!("{name}.{key}") };
                flatten(&name, value, out);
            }
        }
        Value::Array(items) => {
            let words =
                items.iter().map(|item| item.as_str().map_or_else(|| item.to_string(), str::to_owned));
            out.push((name.to_owned(), words.collect::<Vec<_>>().join(" ")));
        }
        Value::String(text) => out.push((name.to_owned(), text.clone())),
        Value::Null => {}
        Value::Bool(_) | Value::Number(_) => out.push((name.to_owned(), value.to_string())),
    }
}

fn file_name(path: &Path) -> String {
    path.file_name().map_or_else(|| path.display().to_string(), |name| name.to_string_lossy().into_owned())
}
