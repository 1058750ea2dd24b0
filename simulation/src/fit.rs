//! Service times of a recorded run: what its metrics and completions say about samplers, learner and judge.
//!
//! A step's sampling time is fitted as a constant, a time for each token of its longest completion and one for each token of all;
//! its training time as a constant and a time for each token; its judging time as a time for each wave of requests that the judge
//! takes at once. Coefficients are never negative. The first step is left out: it opens files and fills caches. A judge without a
//! server counts as a part of the rewards, which every arm has for itself. Checkpoints are in the time of the start, since no
//! record says how long they took.

use std::collections::BTreeMap;

use records::{ArmDir, ArmId, Environment, GrpoMetrics, Phase, Rollout, RunDir, for_each_line};
use scenarios::{ArmConfig, Experiment, JudgeKind, Method};

use crate::error::SimulationError;
use crate::inputs::{
    CheckpointInputs, CompletionInputs, DecodePoint, Distribution, EvaluationInputs, Inputs, JudgeInputs,
    LearnerInputs, RunInputs, SamplerInputs,
};

mod regression;

use regression::nonnegative;

/// Most lengths of completions that are kept.
const LENGTHS: usize = 2_000;

/// Fits inputs to an arm of a run, over all of its seeds; without a name to the first that is trained by GRPO. All arms of the
/// run are then taken to be like it.
///
/// Errors: [`SimulationError::NotFitted`], [`SimulationError::Records`], [`SimulationError::Scenario`].
pub fn fit(run: &RunDir, arm: Option<&str>) -> Result<Inputs, SimulationError> {
    let refused = |problem: String| SimulationError::NotFitted { run: run.path().to_owned(), problem };
    let experiment = scenarios::load(&run.scenario(), &[], &[], None)?;
    let trained = |config: &&ArmConfig| config.method == Method::Grpo;
    let config = match arm {
        Some(name) => experiment.arms.iter().find(|config| config.name == name).ok_or_else(|| {
            let names = experiment.arms.iter().map(|config| config.name.as_str());
            refused(format!("there is no arm `{name}`{}", rewards::did_you_mean(name, names)))
        })?,
        None => experiment
            .arms
            .iter()
            .find(trained)
            .ok_or_else(|| refused("no arm is trained by GRPO; name a run of which one is".to_owned()))?,
    };
    if !trained(&config) {
        return Err(refused(format!(
            "the arm `{}` is not trained by GRPO; choose another with --arm",
            config.name
        )));
    }
    if config.selection.extra_rounds > 0 {
        return Err(refused(format!(
            "the arm `{}` samples further rounds (selection.extra_rounds), which are not simulated; choose another with --arm",
            config.name
        )));
    }
    let mut recorded = Recorded::default();
    for &seed in &experiment.run.seeds {
        recorded.read(&run.arm(&ArmId::new(config.name.clone(), seed)))?;
    }
    if recorded.steps.len() < 3 {
        let problem = format!(
            "the arm `{}` has {} steps after the first, and at least 3 are needed; let it take more",
            config.name,
            recorded.steps.len()
        );
        return Err(refused(problem));
    }
    Ok(inputs(&experiment, config, Environment::read(run).as_ref(), &recorded))
}

/// A recorded step.
struct Step {
    metrics: GrpoMetrics,
    lengths: Vec<f64>,
}

/// What is read of an arm, over its seeds.
#[derive(Default)]
struct Recorded {
    steps: Vec<Step>,
    arms: usize,
    wall_seconds: f64,
    /// Steps and evaluations, of all seeds.
    step_seconds: f64,
    evaluation_seconds: f64,
    /// Evaluations of any suite: questions that were asked, and completions that think.
    evaluations: usize,
    asked: u64,
    thinking: u64,
}

impl Recorded {
    fn read(&mut self, dir: &ArmDir) -> Result<(), SimulationError> {
        let mut lengths: BTreeMap<u64, Vec<f64>> = BTreeMap::new();
        for_each_line(&dir.rollouts(), |line| {
            let row: Rollout = serde_json::from_slice(line)?;
            if let (Phase::Train, Some(tokens)) = (row.phase, row.tokens) {
                lengths.entry(row.step).or_default().push(tokens as f64);
            }
            Ok(())
        })?;
        let rows = dir.read_metrics()?;
        let rows: Vec<&GrpoMetrics> = rows.iter().filter_map(|row| row.grpo()).collect();
        self.arms += usize::from(!rows.is_empty());
        self.step_seconds +=
            rows.iter().filter_map(|row| Some(row.step_seconds? + row.boundary_seconds?)).sum::<f64>();
        for row in rows.into_iter().skip(1) {
            if let Some(lengths) = lengths.remove(&row.step) {
                self.steps.push(Step { metrics: row.clone(), lengths });
            }
        }
        let evaluations = dir.read_evaluations()?;
        let steps: std::collections::BTreeSet<u64> = evaluations.iter().map(|row| row.step).collect();
        self.evaluations += steps.len();
        for row in &evaluations {
            self.evaluation_seconds += row.eval_seconds;
            self.asked += row.questions_asked();
            self.thinking += row.overall.think;
        }
        self.wall_seconds += dir.read_status()?.map_or(0.0, |status| status.wall_seconds);
        Ok(())
    }

    /// The mean of a figure of the steps, in seconds.
    fn mean(&self, figure: impl Fn(&GrpoMetrics) -> Option<f64>) -> f64 {
        records::statistics::mean_of(self.steps.iter().filter_map(|step| figure(&step.metrics)))
            .unwrap_or(0.0)
    }

    /// Fits a figure of the steps by features of them.
    fn fit<const N: usize>(
        &self,
        figure: impl Fn(&GrpoMetrics) -> Option<f64>,
        features: impl Fn(&Step) -> [f64; N],
    ) -> [f64; N] {
        let rows: Vec<([f64; N], f64)> =
            self.steps.iter().filter_map(|step| Some((features(step), figure(&step.metrics)?))).collect();
        nonnegative(&rows)
    }
}

fn total(step: &Step) -> f64 {
    step.lengths.iter().sum()
}

fn longest(step: &Step) -> f64 {
    step.lengths.iter().copied().fold(0.0, f64::max)
}

fn inputs(
    experiment: &Experiment,
    config: &ArmConfig,
    environment: Option<&Environment>,
    recorded: &Recorded,
) -> Inputs {
    let judge = judge(config, recorded);
    Inputs {
        run: run(experiment, config, environment, recorded),
        completions: completions(config, recorded),
        sampler: sampler(config, recorded),
        learner: learner(recorded),
        evaluation: evaluation(config, &judge, recorded),
        judge,
        checkpoint: CheckpointInputs { every: config.checkpoint.every, seconds: 0.0 },
        ..Inputs::default()
    }
}

fn run(
    experiment: &Experiment,
    config: &ArmConfig,
    environment: Option<&Environment>,
    recorded: &Recorded,
) -> RunInputs {
    let arms = experiment.arms.len() * experiment.run.seeds.len();
    let on_cpu = environment.is_none_or(|environment| environment.device == "Cpu");
    let compute_slots = environment.filter(|_| on_cpu).map_or(0, |environment| {
        (environment.cores / environment.threads_per_arm.unwrap_or(1).max(1)).max(1)
    });
    // What is between the phases can be told only where phases do not overlap.
    let overhead_seconds = match config.grpo.max_staleness {
        0 => recorded.mean(|row| row.actor_seconds),
        _ => 0.0,
    };
    let is_server = matches!(config.judge.kind, JudgeKind::Openai(_));
    let rest = recorded.wall_seconds - recorded.step_seconds - recorded.evaluation_seconds;
    RunInputs {
        arms,
        parallel_arms: environment.map_or(0, |environment| environment.arms_side_by_side),
        gpus: 0,
        steps: config.steps,
        prompts_per_step: config.sampling.prompts_per_step,
        group_size: config.sampling.group_size,
        max_staleness: config.grpo.max_staleness,
        compute_slots,
        startup_seconds: (rest / recorded.arms.max(1) as f64).max(0.0),
        load_seconds: recorded.mean(|row| row.load_seconds),
        reward_seconds: recorded.mean(|row| {
            let of_server = if is_server { row.judge_seconds? } else { 0.0 };
            Some((row.reward_seconds? - of_server).max(0.0))
        }),
        overhead_seconds,
        ..RunInputs::default()
    }
}

fn completions(config: &ArmConfig, recorded: &Recorded) -> CompletionInputs {
    let all: Vec<f64> = recorded.steps.iter().flat_map(|step| step.lengths.iter().copied()).collect();
    // Evenly over the run, whose completions may become longer or shorter.
    let stride = all.len().div_ceil(LENGTHS).max(1);
    CompletionInputs {
        tokens: Distribution::Empirical { values: all.into_iter().step_by(stride).collect() },
        max_tokens: config.sampling.max_new_tokens as u64,
        prompt_tokens: 0.0,
    }
}

fn sampler(config: &ArmConfig, recorded: &Recorded) -> SamplerInputs {
    let [call, each_step, each_token] =
        recorded.fit(|row| row.sample_seconds, |step| [1.0, longest(step), total(step)]);
    let point = |sequences: f64| {
        let seconds = (each_step + each_token * sequences).max(1e-9);
        DecodePoint { sequences, tokens_per_second: sequences / seconds }
    };
    let most = (config.sampling.prompts_per_step * config.sampling.group_size).max(2) as f64;
    SamplerInputs {
        gpus: 0,
        decode: vec![point(1.0), point(most)],
        call_seconds: call,
        ..SamplerInputs::default()
    }
}

fn learner(recorded: &Recorded) -> LearnerInputs {
    let [step_seconds, seconds_per_token] =
        recorded.fit(|row| row.optimize_seconds, |step| [1.0, total(step)]);
    LearnerInputs { gpus: 0, step_seconds, seconds_per_token, ..LearnerInputs::default() }
}

fn judge(config: &ArmConfig, recorded: &Recorded) -> JudgeInputs {
    let requests: u64 = recorded.steps.iter().map(|step| step.metrics.judge_requests).sum();
    // What verdicts by rules or by a model in the process take is in the time of the rewards.
    let JudgeKind::Openai(openai) = &config.judge.kind else { return JudgeInputs::default() };
    let completions: usize = recorded.steps.iter().map(|step| step.lengths.len()).sum();
    let hits = recorded.mean(|row| row.judge_cache_hit_rate);
    let each = if openai.separate { 2 } else { 1 };
    let waves = |step: &Step| {
        let asked = step.metrics.judge_requests as f64 * f64::from(each);
        let missed = asked * (1.0 - step.metrics.judge_cache_hit_rate.unwrap_or(0.0));
        [(missed / openai.concurrency as f64 - 1e-9).ceil().max(0.0)]
    };
    let [latency] = recorded.fit(|row| row.judge_seconds, waves);
    JudgeInputs {
        servers: usize::from(requests > 0),
        gpus: 0,
        concurrency: openai.concurrency,
        latency_seconds: Distribution::Fixed { value: latency },
        asked: (requests as f64 / completions.max(1) as f64).min(1.0),
        requests: each as usize,
        cache_hit_rate: hits,
    }
}

fn evaluation(config: &ArmConfig, judge: &JudgeInputs, recorded: &Recorded) -> EvaluationInputs {
    if recorded.evaluations == 0 {
        return EvaluationInputs::default();
    }
    let each = recorded.evaluations as f64;
    let batches = (recorded.asked as f64 / each / config.eval.batch_prompts.max(1) as f64).ceil().max(1.0);
    let is_server = matches!(config.judge.kind, JudgeKind::Openai(_)) && judge.servers > 0;
    let thinking = if is_server { recorded.thinking as f64 / each / batches } else { 0.0 };
    let requests = thinking * judge.requests as f64 * (1.0 - judge.cache_hit_rate);
    let judging = (requests / judge.concurrency as f64).ceil() * judge.latency_seconds.mean();
    EvaluationInputs {
        every: config.eval.every,
        at_start: config.eval.at_start,
        batches: batches as u64,
        sample_seconds: (recorded.evaluation_seconds / each / batches - judging).max(0.0),
        judge_requests: (thinking * judge.requests as f64).round() as usize,
    }
}
