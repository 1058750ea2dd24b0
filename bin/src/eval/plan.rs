//! The experiment that an evaluation runs: arms that are not trained, one per checkpoint.

use std::path::{Path, PathBuf};

use records::{ArmId, RunDir};
use rewards::{RewardRegistry, did_you_mean};
use scenarios::{
    ArmConfig, Control, DataFormat, DataSource, Experiment, Method, PolicyConfig, PolicyPath, TrainMode,
};

use crate::cli::EvalOptions;
use crate::failure::Failure;
use crate::run::existing_run_dir;

/// The settings of an evaluation without a scenario.
const DEFAULTS: &str = "[run]\nname = \"eval\"\n[sampling]\nmax_new_tokens = 256\n[eval]\ntemperature = 0.0\n\
                        suites = []\n[[arm]]\nname = \"policy\"\nmethod = \"none\"\n";

/// The experiment of an evaluation that was interrupted.
pub fn of_run_dir(dir: &Path, registry: &RewardRegistry) -> Result<Experiment, Failure> {
    let scenario = existing_run_dir(dir)?.scenario();
    let experiment = scenarios::load(&scenario, &[], &[], None).map_err(Failure::input)?;
    if let Some(trained) = experiment.arms.iter().find(|arm| arm.method != Method::None) {
        return Err(Failure::Input(format!(
            "{}: a training run (arm `{}` is trained); go on with it by sandbox --resume {}",
            dir.display(),
            trained.name,
            dir.display()
        )));
    }
    scenarios::check(&experiment, registry).map_err(Failure::input)?;
    Ok(experiment)
}

/// The experiment that the options describe.
pub fn of_options(options: &EvalOptions, registry: &RewardRegistry) -> Result<Experiment, Failure> {
    let mut experiment = match (&options.run, &options.scenario) {
        (Some(dir), _) => of_checkpoints(dir, options)?,
        (None, Some(scenario)) => {
            let loaded = scenarios::load(scenario, &options.set, &[], None).map_err(Failure::input)?;
            of_policy(loaded, options)?
        }
        (None, None) => {
            let here = Path::new("eval.toml");
            let parsed = scenarios::scenario::parse(DEFAULTS, here, &options.set, &[], None);
            of_policy(parsed.map_err(Failure::input)?, options)?
        }
    };
    experiment.run.name = "eval".to_owned();
    experiment.run.seeds.truncate(1);
    experiment.run.device = options.device.unwrap_or(experiment.run.device);
    let suites = options.suites.iter().map(|suite| source(suite, options.audio_root.as_deref()));
    let suites = suites.collect::<Result<Vec<DataSource>, Failure>>()?;
    for arm in &mut experiment.arms {
        apply(arm, options, &suites);
        if arm.eval.suites.is_empty() {
            return Err(Failure::Input(
                "no suite to evaluate on; name one, such as --suite mmau=mmau-test-mini.json, or a scenario that has some"
                    .into(),
            ));
        }
    }
    scenarios::check(&experiment, registry).map_err(Failure::input)?;
    Ok(experiment)
}

/// What the options change in an arm.
fn apply(arm: &mut ArmConfig, options: &EvalOptions, suites: &[DataSource]) {
    arm.method = Method::None;
    let eval = &mut arm.eval;
    eval.at_start = true;
    if !suites.is_empty() {
        eval.suites = suites.to_vec();
    }
    eval.limit = options.limit.or(eval.limit);
    eval.samples = options.samples.unwrap_or(eval.samples);
    eval.shuffles = options.shuffle_choices.unwrap_or(eval.shuffles);
    eval.temperature = options.temperature.unwrap_or(eval.temperature);
    eval.batch_prompts = options.batch.unwrap_or(eval.batch_prompts);
    if options.controls {
        eval.controls = Control::ALL.to_vec();
    }
    let shuffled = options.shuffle_choices.map(|_| Control::ShuffledChoices);
    for control in options.control.iter().copied().chain(shuffled) {
        if !eval.controls.contains(&control) {
            eval.controls.push(control);
        }
    }
    arm.sampling.max_new_tokens = options.max_new_tokens.unwrap_or(arm.sampling.max_new_tokens);
    arm.policy.dtype = options.dtype.unwrap_or(arm.policy.dtype);
}

/// One arm with the policy of the options, or that of the scenario.
fn of_policy(mut experiment: Experiment, options: &EvalOptions) -> Result<Experiment, Failure> {
    experiment.arms.truncate(1);
    let Some(arm) = experiment.arms.first_mut() else {
        return Err(Failure::Input("the scenario has no arm".into()));
    };
    match (&options.policy, &options.scenario) {
        (Some(path), _) => arm.policy = policy(&arm.policy, path.clone(), options.adapter.clone()),
        (None, Some(_)) => {}
        (None, None) => {
            return Err(Failure::Input(
                "nothing to evaluate; name a policy with --policy DIR, a run with --run DIR, a server with --server URL, \
                 or a scenario"
                    .into(),
            ));
        }
    }
    arm.name = "policy".to_owned();
    Ok(experiment)
}

fn policy(settings: &PolicyConfig, path: PolicyPath, adapter: Option<PathBuf>) -> PolicyConfig {
    PolicyConfig {
        train: if adapter.is_some() { TrainMode::Lora } else { TrainMode::Full },
        path,
        adapter,
        lora: None,
        from_scratch: false,
        ..settings.clone()
    }
}

/// One arm per checkpoint of a run, named `ARM@STEP`, or `ARM` for an arm that was not trained.
fn of_checkpoints(dir: &Path, options: &EvalOptions) -> Result<Experiment, Failure> {
    let run_dir = existing_run_dir(dir)?;
    let scenario = run_dir.scenario();
    let mut experiment =
        scenarios::load(&scenario, &options.set, &options.arms, None).map_err(Failure::input)?;
    let several_seeds = experiment.run.seeds.len() > 1;
    let mut arms = Vec::new();
    for &seed in &experiment.run.seeds {
        for arm in &experiment.arms {
            let id = ArmId::new(arm.name.clone(), seed);
            let suffix = if several_seeds { format!("-seed{seed}") } else { String::new() };
            if arm.method == Method::None {
                arms.push(ArmConfig { name: format!("{}{suffix}", arm.name), ..arm.clone() });
                continue;
            }
            for step in steps(&run_dir, &id, arm, &options.step)? {
                let folder = run_dir.arm(&id).checkpoint(step);
                let policy = match arm.policy.train {
                    TrainMode::Lora => policy(&arm.policy, arm.policy.path.clone(), Some(folder)),
                    TrainMode::Full => policy(&arm.policy, PolicyPath::Directory(folder), None),
                };
                arms.push(ArmConfig { name: format!("{}@{step}{suffix}", arm.name), policy, ..arm.clone() });
            }
        }
    }
    experiment.arms = arms;
    Ok(experiment)
}

/// The steps of the checkpoints that `wanted` names.
fn steps(run_dir: &RunDir, id: &ArmId, arm: &ArmConfig, wanted: &str) -> Result<Vec<u64>, Failure> {
    let dir = run_dir.arm(id);
    let there = dir.checkpoint_steps();
    let fail = |problem: String, instead: String| {
        Err(Failure::Input(format!("{}: {problem}; {instead}", dir.checkpoints().display())))
    };
    let Some(&last) = there.last() else {
        return fail("there is no checkpoint".into(), "name another arm with --arm".into());
    };
    let listed = || there.iter().map(u64::to_string).collect::<Vec<_>>().join(", ");
    match wanted {
        "all" => Ok(there),
        "last" => Ok(vec![last]),
        "best" => {
            let suite = arm.eval.suites.first().map(DataSource::name).unwrap_or_default();
            let evaluations = dir.read_evaluations().map_err(Failure::input)?;
            let accuracy = |step: &u64| {
                let rows = evaluations.iter().filter(|row| row.step == *step && row.label() == suite);
                rows.map(|row| row.overall.correct as f64 / row.overall.n.max(1) as f64).next_back()
            };
            let best = there.iter().filter_map(|step| Some((*step, accuracy(step)?)));
            match best.max_by(|one, other| one.1.total_cmp(&other.1)) {
                Some((step, _)) => Ok(vec![step]),
                None => fail(
                    format!("no checkpoint was evaluated on {suite}, so none is the best"),
                    format!("write --step with one of {}", listed()),
                ),
            }
        }
        number => match number.parse() {
            Ok(step) if there.contains(&step) => Ok(vec![step]),
            _ => fail(
                format!("there is no checkpoint of step {number}"),
                format!("write one of {}, last, best or all", listed()),
            ),
        },
    }
}

/// A suite as `--suite` names it.
fn source(text: &str, audio_root: Option<&Path>) -> Result<DataSource, Failure> {
    let fail = |problem: String| {
        Err(Failure::Input(format!(
            "--suite {text}: {problem}; write FORMAT=FILE such as mmau=mmau-test-mini.json, builtin:soundscapes, or a table \
             such as '{{ format = \"mmau\", path = \"m.json\", name = \"mini\" }}'"
        )))
    };
    let table = |text: &str| {
        let parsed =
            toml::from_str::<std::collections::BTreeMap<String, DataSource>>(&format!("source = {text}"));
        parsed.map(|mut parsed| parsed.remove("source"))
    };
    let parsed = if text.starts_with('{') || text.starts_with("builtin:") {
        table(&if text.starts_with('{') { text.to_owned() } else { format!("\"{text}\"") })
    } else {
        let Some((format, path)) = text.split_once('=') else { return fail("no format is named".into()) };
        let names: Vec<&str> = DataFormat::ALL.iter().map(|format| format.name()).collect();
        if !names.contains(&format) {
            return fail(format!("unknown format `{format}`{}", did_you_mean(format, names)));
        }
        table(&format!("{{ format = \"{format}\", path = {} }}", toml::Value::from(path)))
    };
    match parsed {
        Ok(Some(DataSource::File(mut file))) => {
            file.audio_root = file.audio_root.or_else(|| audio_root.map(Path::to_owned));
            Ok(DataSource::File(file))
        }
        Ok(Some(source)) => Ok(source),
        Ok(None) => fail("not a source".into()),
        Err(error) => fail(error.message().to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_suite_is_a_format_and_a_file_or_a_table() {
        let DataSource::File(file) = source("mmau=a b/m.json", Some(Path::new("clips"))).unwrap() else {
            panic!("a file")
        };
        assert_eq!((file.format, file.path.as_path()), (DataFormat::Mmau, Path::new("a b/m.json")));
        assert_eq!(file.audio_root.as_deref(), Some(Path::new("clips")));
        assert_eq!(source("builtin:soundscapes", None).unwrap(), DataSource::Soundscapes);
        let table = "{ format = \"mmar\", path = \"m.jsonl\", name = \"x\" }";
        assert_eq!(source(table, None).unwrap().name(), "x");
        for (text, expected) in [("mmua=m.json", "did you mean `mmau`?"), ("m.json", "no format is named")] {
            let Err(Failure::Input(message)) = source(text, None) else { panic!("{text}") };
            assert!(message.contains(expected), "{message}");
        }
    }
}
