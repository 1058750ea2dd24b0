//! `sandbox check`: reports whether scenarios can be run, and what is odd about their data.

mod data;
mod estimate;
mod fetch;
mod limit;
mod needs;

use std::collections::BTreeMap;
use std::path::Path;

use plugins::TriedReward;
use rewards::RewardRegistry;
use scenarios::{Experiment, ScenarioError};
use serde::Serialize;
use survey::Survey;

use crate::{
    cli::{CheckOptions, Verbosity},
    failure::Failure,
    judge_doubts,
    streams::{errln, outln},
};

pub use data::glance;
pub use needs::Weights;

/// What was found out about a scenario.
#[derive(Serialize)]
struct Checked {
    /// The scenario's path as the user gave it.
    scenario: String,
    valid: bool,
    /// The design of its arms, and what it can't tell apart, in a sentence each; empty without factors.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    design: Vec<String>,
    /// Why it is not.
    errors: Vec<String>,
    arms: Vec<String>,
    /// The plug-ins that work, with their trial scores.
    plugins: Vec<String>,
    /// How those that run code for several trainers call it.
    calls: Vec<RewardCall>,
    /// What is to be said of the judges.
    judges: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<Survey>,
    /// What the arms will take, as far as it can be estimated.
    #[serde(skip_serializing_if = "Option::is_none")]
    needs: Option<estimate::Needs>,
    /// What is chosen so that they fit into `[memory] limit_gib`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    memory: Vec<String>,
}

/// How a reward calls the code of its file.
#[derive(Serialize)]
struct RewardCall {
    reward: String,
    arms: Vec<String>,
    /// The convention, such as `trl`.
    convention: String,
    /// The function and its arguments.
    call: String,
    /// What the reward warned of in its trial.
    warnings: Vec<String>,
}

impl RewardCall {
    /// `None` if the plug-in does not say how it calls.
    fn of(tried: &TriedReward) -> Option<Self> {
        let call = tried.call.as_ref()?;
        Some(RewardCall {
            reward: tried.name.clone(),
            arms: tried.arms.clone(),
            convention: call.convention.clone(),
            call: call.call.clone(),
            warnings: tried.warnings.clone(),
        })
    }
}

/// Checks every scenario. Valid ones are listed on standard output with the trial scores of their plug-ins and what is
/// odd about their data; what is wrong with the others is printed to standard error.
pub fn check(options: &CheckOptions, verbosity: Verbosity, registry: &RewardRegistry) -> Result<(), Failure> {
    let scenarios = options.scenarios.iter().map(|path| look(path, options, verbosity, registry));
    let scenarios = scenarios.collect::<Result<Vec<Checked>, Failure>>()?;
    if options.json {
        outln!("{}", serde_json::json!({ "scenarios": scenarios }));
    } else {
        scenarios.iter().for_each(print);
    }
    let odd: usize =
        scenarios.iter().filter_map(|one| one.data.as_ref()).map(|data| data.findings.len()).sum();
    let mut errors: Vec<String> = scenarios.into_iter().flat_map(|one| one.errors).collect();
    let Some(last) = errors.pop() else {
        return match odd {
            0 => Ok(()),
            count if options.strict => {
                Err(Failure::Running(format!("{count} findings about the data, and --strict accepts none")))
            }
            _ => Ok(()),
        };
    };
    for error in errors {
        errln!("error: {error}");
    }
    Err(Failure::Input(last))
}

/// Checks a scenario, tries its plug-ins, and looks at its data.
fn look(
    path: &Path,
    options: &CheckOptions,
    verbosity: Verbosity,
    registry: &RewardRegistry,
) -> Result<Checked, Failure> {
    let scenario = path.display().to_string();
    let check = if options.no_files { scenarios::check_names } else { scenarios::check };
    let checked = scenarios::load(path, &[], &[], None)
        .and_then(|experiment| check(&experiment, registry).map(|()| experiment));
    let mut found = Checked {
        scenario,
        valid: false,
        design: Vec::new(),
        errors: Vec::new(),
        arms: Vec::new(),
        plugins: Vec::new(),
        calls: Vec::new(),
        judges: Vec::new(),
        data: None,
        needs: None,
        memory: Vec::new(),
    };
    let mut experiment = match checked {
        Ok(experiment) => experiment,
        Err(error) => {
            found.errors.push(error.to_string());
            return Ok(found);
        }
    };
    found.judges = judge_doubts::doubts(&experiment, path, registry);
    if let Some(design) = &experiment.design {
        found.design = std::iter::once(design.summary()).chain(design.aliasing()).collect();
    }
    found.arms = experiment.arms.iter().map(|arm| arm.name.clone()).collect();
    if !options.no_files {
        for tried in try_plugins(&experiment)? {
            found.calls.extend(RewardCall::of(&tried));
            let list = if tried.outcome.is_ok() { &mut found.plugins } else { &mut found.errors };
            list.push(format!("{}: {tried}", path.display()));
        }
    }
    // A scenario that can't be run for another reason is corrected first.
    if !options.no_files && found.errors.is_empty() {
        let unfetched = if options.fetch { Some(fetch::fetch(&experiment)?) } else { None };
        match data::look(&experiment, options.all, !verbosity.quiet) {
            Ok(mut data) => {
                if let Some(unfetched) = unfetched {
                    // These say why.
                    data.findings.retain(|finding| finding.kind != fetch::NOT_FETCHED);
                    data.findings.extend(unfetched);
                }
                let stops = data.findings.iter().filter(|finding| finding.stops);
                found.errors.extend(stops.map(|finding| finding.message.clone()));
                match limit::settle(&mut experiment, &data) {
                    Ok(lines) => found.memory = lines,
                    Err(problem) => found.errors.push(format!("{}: {problem}", path.display())),
                }
                found.needs = estimate::estimate(&experiment, &data);
                found.data = Some(data);
            }
            Err(error) => found.errors.push(format!("{}: {error}", path.display())),
        }
    }
    found.valid = found.errors.is_empty();
    Ok(found)
}

/// Prints a scenario that can be run, or what is known of the data of one that can't be; errors are printed at the end.
fn print(found: &Checked) {
    if found.valid {
        outln!("{}: valid; arms: {}", found.scenario, found.arms.join(", "));
        for sentence in &found.design {
            outln!("{}: {sentence}", found.scenario);
        }
    }
    for plugin in &found.plugins {
        outln!("{plugin}");
    }
    for doubt in &found.judges {
        outln!("{}: warning: {doubt}", found.scenario);
    }
    let Some(data) = &found.data else { return };
    let mut data = data.clone();
    data.findings.retain(|finding| !finding.stops);
    for line in data.to_string().lines() {
        outln!("{line}");
    }
    if let Some(needs) = &found.needs {
        needs.to_string().lines().for_each(|line| outln!("{line}"));
    }
    found.memory.iter().for_each(|line| outln!("{line}"));
}

/// Loads a scenario and checks everything it refers to: rewards, formulas, files.
pub fn load_and_check(
    path: &Path,
    set: &[String],
    arms: &[String],
    seeds: Option<&[u64]>,
    registry: &RewardRegistry,
) -> Result<Experiment, ScenarioError> {
    let experiment = scenarios::load(path, set, arms, seeds)?;
    scenarios::check(&experiment, registry)?;
    Ok(experiment)
}

/// Chooses settings of the arms so that they fit into `[memory] limit_gib`, and says which, in a line each. Without a limit, nothing
/// is looked at.
///
/// Errors: Even the smallest settings do not fit, or the policy can't be read.
pub fn fit_into_memory(experiment: &mut Experiment) -> Result<Vec<String>, Failure> {
    if experiment.memory.limit_gib.is_none() {
        return Ok(Vec::new());
    }
    let survey = data::look(experiment, false, false).map_err(Failure::input)?;
    settled(experiment, &survey)
}

fn settled(experiment: &mut Experiment, data: &Survey) -> Result<Vec<String>, Failure> {
    let chosen = limit::settle(experiment, data);
    chosen.map_err(|error| Failure::Input(format!("{}: {error}", experiment.path.display())))
}

/// The memory of a GPU that each arm takes, in bytes: what its model's dimensions, its settings and its prompts make of it. An arm
/// without prompts has none.
pub fn gpu_bytes(experiment: &Experiment) -> Result<BTreeMap<String, u64>, Failure> {
    let survey = data::look(experiment, false, false).map_err(Failure::input)?;
    let mut experiment = experiment.clone();
    settled(&mut experiment, &survey)?;
    let needs = estimate::estimate(&experiment, &survey);
    let arms = needs.map(|needs| needs.arms).unwrap_or_default();
    Ok(arms.into_iter().map(|arm| (arm.arm.clone(), arm.device_bytes + estimate::CUDA_CONTEXT)).collect())
}

/// The memory that each arm takes for features of clips beyond what it took after `steps` steps and `questions` questions of each
/// suite, in bytes.
pub fn features_to_come(
    experiment: &Experiment,
    steps: u64,
    questions: usize,
) -> Result<BTreeMap<String, u64>, Failure> {
    let survey = data::look(experiment, false, false).map_err(Failure::input)?;
    Ok(estimate::features_to_come(experiment, &survey, steps, questions))
}

/// Starts every plug-in of a scenario and lets it score a trial batch.
pub fn try_plugins(experiment: &Experiment) -> Result<Vec<TriedReward>, Failure> {
    let runtime = tokio::runtime::Runtime::new()
        .map_err(|error| Failure::Running(format!("the async runtime could not be started: {error}")))?;
    Ok(runtime.block_on(plugins::try_plugins(experiment)))
}
