//! Finds the arms and seeds of a run directory and reads their files.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use rewards::Formula;
use scenarios::{ArmConfig, Method, WeightConfig};

use super::{
    ReportError,
    completions::RolloutDigest,
    jsonl::for_each_line,
    records::{EvalRow, MetricsRow, StatusRow},
};
use crate::live::{Entry, read_journal};

/// Everything the report reads from a run directory.
#[derive(Debug)]
pub(super) struct RunDir {
    /// The directory's own name.
    pub name: String,
    /// Arms in the scenario's order; then those it does not name.
    pub arms: Vec<ArmDir>,
    /// Evaluation suites in the order they were first met.
    pub suites: Vec<String>,
    /// `environment.json` flattened to one value per dotted name.
    pub environment: Vec<(String, String)>,
    /// What was changed while it ran, in order.
    pub changes: Vec<Entry>,
}

/// One arm: what the scenario says of it, and its seeds.
#[derive(Debug, Default)]
pub(super) struct ArmDir {
    pub name: String,
    pub method: Option<String>,
    pub formula: Option<String>,
    pub weights: Vec<(String, WeightConfig)>,
    /// The reward components in its formula; it may log others.
    pub used: Vec<String>,
    /// Whether one of those is the adaptive-think reward.
    pub adaptive: bool,
    pub seeds: Vec<SeedDir>,
}

/// The files of one arm and seed.
#[derive(Debug)]
pub(super) struct SeedDir {
    pub seed: u64,
    pub status: StatusRow,
    /// By step; where a resumed run wrote a step twice, the later line counts.
    pub metrics: BTreeMap<u64, MetricsRow>,
    /// By suite, then step.
    pub evals: BTreeMap<String, BTreeMap<u64, EvalRow>>,
    pub rollouts: RolloutDigest,
    /// Whole lines of any of the files that could not be read.
    pub unreadable: u64,
}

impl RunDir {
    /// Reads the directory.
    pub(super) fn read(path: &Path) -> Result<Self, ReportError> {
        let entries =
            subdirectories(path).map_err(|source| ReportError::Read { path: path.into(), source })?;
        let mut arms = scenario_arms(&path.join("scenario.toml"));
        let mut suites = Vec::new();
        for dir in entries {
            let seeds = read_seeds(&dir, &mut suites)?;
            if seeds.is_empty() {
                continue;
            }
            let recorded = seeds.iter().find_map(|seed| seed.status.arm.clone());
            let name = recorded.unwrap_or_else(|| file_name(&dir));
            let at = arms.iter().position(|arm| arm.name == name).unwrap_or_else(|| {
                arms.push(ArmDir { name, ..ArmDir::default() });
                arms.len() - 1
            });
            let arm = &mut arms[at];
            arm.method =
                arm.method.take().or_else(|| seeds.iter().find_map(|seed| seed.status.method.clone()));
            arm.seeds.extend(seeds);
        }
        if arms.is_empty() {
            return Err(ReportError::NotARun { path: path.into() });
        }
        let name = path.canonicalize().map_or_else(|_| file_name(path), |whole| file_name(&whole));
        let environment = environment(&path.join("environment.json"));
        // A journal that can't be read costs its notes, not the report.
        let mut changes = read_journal(path).unwrap_or_default();
        changes.retain(|entry| entry.change.is_some());
        Ok(Self { name, arms, suites, environment, changes })
    }
}

fn read_seeds(arm: &Path, suites: &mut Vec<String>) -> Result<Vec<SeedDir>, ReportError> {
    let mut seeds = Vec::new();
    for dir in subdirectories(arm).map_err(|source| ReportError::Read { path: arm.into(), source })? {
        let seed = file_name(&dir).strip_prefix("seed-").and_then(|seed| seed.parse().ok());
        if let Some(seed) = seed {
            seeds.push(SeedDir::read(&dir, seed, suites)?);
        }
    }
    seeds.sort_by_key(|seed| seed.seed);
    Ok(seeds)
}

impl SeedDir {
    fn read(dir: &Path, seed: u64, suites: &mut Vec<String>) -> Result<Self, ReportError> {
        let at = |path: &Path| {
            let path = path.to_path_buf();
            move |source| ReportError::Read { path, source }
        };
        let mut unreadable = 0;
        let mut metrics = BTreeMap::new();
        let path = dir.join("metrics.jsonl");
        unreadable += for_each_line(&path, |line| {
            let row: MetricsRow = serde_json::from_slice(line)?;
            metrics.insert(row.step, row);
            Ok(())
        })
        .map_err(at(&path))?;
        let mut evals: BTreeMap<String, BTreeMap<u64, EvalRow>> = BTreeMap::new();
        let path = dir.join("eval.jsonl");
        unreadable += for_each_line(&path, |line| {
            let row: EvalRow = serde_json::from_slice(line)?;
            if !suites.contains(&row.suite) {
                suites.push(row.suite.clone());
            }
            evals.entry(row.suite.clone()).or_default().insert(row.step, row);
            Ok(())
        })
        .map_err(at(&path))?;
        let path = dir.join("rollouts.jsonl");
        let rollouts = RolloutDigest::read(&path).map_err(at(&path))?;
        unreadable += rollouts.unreadable;
        // Written atomically; where it is missing or not to be read, the run did not get that far.
        let status = fs::read(dir.join("status.json")).ok();
        let status =
            status.and_then(|text| serde_json::from_slice::<StatusRow>(&text).ok()).unwrap_or_default();
        let seed = status.seed.unwrap_or(seed);
        Ok(Self { seed, status, metrics, evals, rollouts, unreadable })
    }

    /// The last step this seed is known to have reached.
    pub(super) fn step(&self) -> u64 {
        let trained = self.metrics.keys().next_back().copied();
        self.status.step.or(trained).unwrap_or(0)
    }

    /// How many steps it was to take, if known.
    pub(super) fn total_steps(&self) -> Option<u64> {
        let told = self.metrics.values().next_back().and_then(|row| row.total_steps);
        self.status.total_steps.or(told)
    }
}

/// The arms that `scenario.toml` names, in its order. A scenario that this version no longer reads costs the
/// formulas, not the report.
fn scenario_arms(path: &Path) -> Vec<ArmDir> {
    let Ok(experiment) = scenarios::load(path, &[], &[], None) else {
        return Vec::new();
    };
    experiment.arms.into_iter().map(ArmDir::of).collect()
}

impl ArmDir {
    fn of(arm: ArmConfig) -> Self {
        let method = match arm.method {
            Method::Grpo => "grpo",
            Method::Sft => "sft",
            Method::None => "none",
        };
        let shaping = Some(arm.shaping).filter(|_| arm.method == Method::Grpo);
        let formula = shaping.as_ref().and_then(|shaping| {
            let rewards = arm.rewards.keys().map(String::as_str);
            Formula::parse(&shaping.formula, rewards, shaping.weights.keys().map(String::as_str)).ok()
        });
        let used: Vec<String> =
            formula.iter().flat_map(Formula::component_names).map(str::to_owned).collect();
        let adaptive =
            |name: &String| arm.rewards.get(name).is_some_and(|spec| spec.kind == "adaptive-think");
        let weighs =
            |name: &String| formula.as_ref().is_some_and(|found| found.weight_names().any(|w| w == name));
        Self {
            name: arm.name,
            method: Some(method.to_owned()),
            adaptive: used.iter().any(adaptive),
            weights: shaping
                .into_iter()
                .flat_map(|shaping| shaping.weights)
                .filter(|(name, _)| weighs(name))
                .collect(),
            formula: formula.as_ref().map(|found| found.text().to_owned()),
            used,
            seeds: Vec::new(),
        }
    }
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

/// The directories within one, sorted by name.
fn subdirectories(path: &Path) -> io::Result<Vec<PathBuf>> {
    let mut dirs = Vec::new();
    for entry in fs::read_dir(path)? {
        let path = entry?.path();
        if path.is_dir() {
            dirs.push(path);
        }
    }
    dirs.sort();
    Ok(dirs)
}

fn file_name(path: &Path) -> String {
    path.file_name().map_or_else(|| path.display().to_string(), |name| name.to_string_lossy().into_owned())
}
