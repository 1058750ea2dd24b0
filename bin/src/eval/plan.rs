//! The experiment that an evaluation runs: arms that are not trained, one per checkpoint.

use std::path::{Path, PathBuf};

use records::{ArmId, RunDir};
use rewards::RewardRegistry;
use scenarios::{
    ArmConfig, Control, DataSource, Experiment, Method, PolicyConfig, PolicyPath, ServerConfig, TrainPart,
};

use crate::cli::EvalOptions;
use crate::failure::Failure;
use crate::run::existing_run_dir;
use crate::source::{absolute, source};

/// The settings of an evaluation without a scenario.
const DEFAULTS: &str = "[run]\nname = \"eval\"\n[sampling]\nmax_new_tokens = 256\n[eval]\ntemperature = 0.0\n\
                        suites = []\n[[arm]]\nname = \"policy\"\nmethod = \"none\"\n";

/// The beginnings of `--set` for what `--policy` and `--adapter` decide.
const DECIDED: [&str; 5] =
    ["policy.path=", "policy.adapter=", "policy.train=", "policy.lora", "policy.from_scratch="];

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
    if !options.set.iter().any(|set| set.starts_with("run.name=")) {
        experiment.run.name = "eval".to_owned();
    }
    experiment.run.seeds.truncate(1);
    experiment.run.device = options.device.unwrap_or(experiment.run.device);
    let suites = options.suites.iter().map(|suite| source("--suite ", suite, options.audio_root.as_deref()));
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
    if let (Some(url), Some(model)) = (&options.server, &options.model) {
        let named = arm.eval.server.take().unwrap_or_default();
        arm.eval.server = Some(ServerConfig {
            url: url.clone(),
            model: model.clone(),
            api_key_env: options.api_key_env.clone(),
            clip_seconds: options.clip_seconds.unwrap_or(named.clip_seconds),
            ..named
        });
    }
    if let Some(server) = &mut arm.eval.server
        && options.policy.is_none()
    {
        server.concurrency = options.concurrency.unwrap_or(server.concurrency);
        arm.name = arm_name(&server.model);
        return Ok(experiment);
    }
    arm.eval.server = None;
    match (&options.policy, &options.scenario) {
        (Some(path), _) => {
            let decided = |set: &&String| DECIDED.iter().any(|key| set.starts_with(key));
            if let Some(set) = options.set.iter().find(decided) {
                let key = set.split('=').next().unwrap_or_default();
                return Err(Failure::Input(format!(
                    "--set {key} has no effect beside --policy; leave it out, and name an adapter with --adapter"
                )));
            }
            arm.policy = policy(&arm.policy, path.clone(), options.adapter.clone());
        }
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

/// The name of an arm for a server's model: the last part of its name, with the characters that a folder may have.
fn arm_name(model: &str) -> String {
    let last = model.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
    let name: String = last
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || "+-_.".contains(c) { c } else { '_' })
        .take(100)
        .collect();
    if name.trim_matches('.').is_empty() { "server".to_owned() } else { name }
}

fn policy(settings: &PolicyConfig, path: PolicyPath, adapter: Option<PathBuf>) -> PolicyConfig {
    let path = match path {
        PolicyPath::Directory(folder) => PolicyPath::Directory(absolute(folder)),
        PolicyPath::BuiltinTiny => path,
    };
    PolicyConfig {
        train: if adapter.is_some() { TrainPart::Lora } else { TrainPart::Full }.into(),
        path,
        adapter: adapter.map(absolute),
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
        for arm in experiment.arms.iter().filter(|arm| arm.has_seed(seed)) {
            let id = ArmId::new(arm.name.clone(), seed);
            let suffix = if several_seeds { format!("-seed{seed}") } else { String::new() };
            if arm.method == Method::None {
                arms.push(ArmConfig { name: format!("{}{suffix}", arm.name), ..arm.clone() });
                continue;
            }
            for step in steps(&run_dir, &id, arm, &options.step)? {
                let folder = run_dir.arm(&id).checkpoint(step);
                let policy = match arm.policy.train.lora() {
                    true => policy(&arm.policy, arm.policy.path.clone(), Some(folder)),
                    false => policy(&arm.policy, PolicyPath::Directory(folder), None),
                };
                let name = format!("{}@{step}{suffix}", arm.name);
                arms.push(ArmConfig { name, policy, fork: None, ..arm.clone() });
            }
        }
    }
    arms.iter_mut().for_each(|arm| arm.eval.server = None);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_arm_is_named_after_the_last_part_of_a_model_s_name() {
        for (model, name) in [
            ("Qwen/Qwen2.5-Omni-7B", "Qwen2.5-Omni-7B"),
            ("gpt-audio:latest", "gpt-audio_latest"),
            ("models/", "models"),
            ("..", "server"),
        ] {
            assert_eq!(arm_name(model), name, "{model}");
        }
    }
}
