//! What the numbers of a simulation may be.

use super::{Distribution, Inputs};

/// Most arms of a simulation.
const MOST_ARMS: usize = 100_000;

/// Most completions of all arms and steps: several minutes of simulation.
const MOST_COMPLETIONS: f64 = 3e8;

/// The number that does not fit.
pub(super) struct Unfit {
    /// Its key, with its section.
    pub(super) key: String,
    pub(super) problem: String,
    pub(super) instead: String,
}

fn unfit(key: &str, found: impl std::fmt::Display, instead: impl Into<String>) -> Unfit {
    let (section, name) = key.split_once('.').unwrap_or(("", key));
    let problem = format!("`{name}` in [{section}] is {found}");
    Unfit { key: key.to_owned(), problem, instead: instead.into() }
}

pub(super) fn check(inputs: &Inputs) -> Result<(), Unfit> {
    whole_numbers(inputs)?;
    seconds(inputs)?;
    distribution("completions.tokens", &inputs.completions.tokens)?;
    distribution("judge.latency_seconds", &inputs.judge.latency_seconds)?;
    decode(inputs)?;
    for (key, share) in
        [("judge.asked", inputs.judge.asked), ("judge.cache_hit_rate", inputs.judge.cache_hit_rate)]
    {
        if !(0.0..=1.0).contains(&share) {
            return Err(unfit(key, share, "write a share from 0 to 1"));
        }
    }
    if inputs.learner.shares_gpu && inputs.sampler.batching == super::Batching::Continuous {
        return Err(unfit(
            "learner.shares_gpu",
            true,
            "write batching = \"step\" in [sampler]: a continuous sampler never leaves its GPU to the learner",
        ));
    }
    let (gpus, of_arm) = (inputs.run.gpus, inputs.gpus_of_arm() + inputs.gpus_of_judges());
    if gpus > 0 && of_arm > gpus {
        return Err(unfit(
            "run.gpus",
            gpus,
            format!("write {of_arm} or more: one arm and the judges take that many"),
        ));
    }
    let parallel = inputs.run.parallel_arms.min(inputs.run.arms);
    let wanted = parallel * inputs.gpus_of_arm() + inputs.gpus_of_judges();
    if gpus > 0 && wanted > gpus {
        let instead = format!(
            "write fewer, or gpus = {wanted} in [run]: so many do not fit on {gpus} GPUs beside the judges"
        );
        return Err(unfit("run.parallel_arms", inputs.run.parallel_arms, instead));
    }
    Ok(())
}

fn whole_numbers(inputs: &Inputs) -> Result<(), Unfit> {
    let Inputs { run, sampler, learner, judge, .. } = inputs;
    let at_least_one = [
        ("run.arms", run.arms),
        ("run.prompts_per_step", run.prompts_per_step),
        ("run.group_size", run.group_size),
        ("sampler.count", sampler.count),
        ("learner.count", learner.count),
        ("judge.concurrency", judge.concurrency),
        ("judge.requests", judge.requests),
    ];
    if run.steps == 0 {
        return Err(unfit("run.steps", 0, "write 1 or more"));
    }
    for (key, number) in at_least_one {
        if number == 0 {
            return Err(unfit(key, 0, "write 1 or more"));
        }
    }
    let completions =
        run.steps as f64 * run.arms as f64 * run.prompts_per_step as f64 * run.group_size as f64;
    if completions > MOST_COMPLETIONS {
        let found = format!("{}, which makes {completions:.0} completions of all arms", run.steps);
        let instead = "write fewer: the rates hardly depend on it, and times grow with it".to_owned();
        return Err(unfit("run.steps", found, instead));
    }
    if run.arms > MOST_ARMS {
        return Err(unfit("run.arms", run.arms, format!("write at most {MOST_ARMS}")));
    }
    if run.max_staleness > 64 {
        return Err(unfit("run.max_staleness", run.max_staleness, "write 64 or less"));
    }
    Ok(())
}

fn seconds(inputs: &Inputs) -> Result<(), Unfit> {
    let Inputs { run, completions, sampler, learner, evaluation, checkpoint, failures, .. } = inputs;
    let times = [
        ("run.startup_seconds", run.startup_seconds),
        ("run.load_seconds", run.load_seconds),
        ("run.reward_seconds", run.reward_seconds),
        ("run.overhead_seconds", run.overhead_seconds),
        ("completions.prompt_tokens", completions.prompt_tokens),
        ("sampler.call_seconds", sampler.call_seconds),
        ("sampler.prefill_seconds", sampler.prefill_seconds),
        ("sampler.load_seconds", sampler.load_seconds),
        ("learner.seconds_per_token", learner.seconds_per_token),
        ("learner.step_seconds", learner.step_seconds),
        ("learner.allreduce_seconds", learner.allreduce_seconds),
        ("learner.publish_seconds", learner.publish_seconds),
        ("evaluation.sample_seconds", evaluation.sample_seconds),
        ("checkpoint.seconds", checkpoint.seconds),
        ("failures.learner_mtbf_hours", failures.learner_mtbf_hours),
        ("failures.learner_restart_seconds", failures.learner_restart_seconds),
        ("failures.sampler_mtbf_hours", failures.sampler_mtbf_hours),
        ("failures.sampler_restart_seconds", failures.sampler_restart_seconds),
        ("failures.judge_mtbf_hours", failures.judge_mtbf_hours),
        ("failures.judge_restart_seconds", failures.judge_restart_seconds),
    ];
    for (key, time) in times {
        if !(time >= 0.0 && time.is_finite()) {
            return Err(unfit(key, time, "write 0 or more"));
        }
    }
    Ok(())
}

fn distribution(key: &str, drawn: &Distribution) -> Result<(), Unfit> {
    let fits = |value: f64| value >= 0.0 && value.is_finite();
    let (name, number) = match drawn {
        Distribution::Fixed { value } => ("value", *value),
        Distribution::Exponential { mean } => ("mean", *mean),
        Distribution::Lognormal { mean, sigma } => {
            if !fits(*sigma) {
                return Err(unfit(&format!("{key}.sigma"), sigma, "write 0 or more"));
            }
            ("mean", *mean)
        }
        Distribution::Empirical { values } => {
            if values.is_empty() {
                return Err(unfit(&format!("{key}.values"), "empty", "write the values to draw from"));
            }
            ("values", values.iter().copied().find(|value| !fits(*value)).unwrap_or(0.0))
        }
    };
    if fits(number) { Ok(()) } else { Err(unfit(&format!("{key}.{name}"), number, "write 0 or more")) }
}

fn decode(inputs: &Inputs) -> Result<(), Unfit> {
    let points = &inputs.sampler.decode;
    if points.is_empty() {
        let instead = "write decode = [{ sequences = 1, tokens_per_second = … }]";
        return Err(unfit("sampler.decode", "empty", instead));
    }
    for point in points {
        if !(point.sequences > 0.0 && point.tokens_per_second > 0.0 && point.tokens_per_second.is_finite()) {
            let found = format!(
                "{{ sequences = {}, tokens_per_second = {} }}",
                point.sequences, point.tokens_per_second
            );
            return Err(unfit("sampler.decode", found, "write numbers above 0"));
        }
    }
    if points.windows(2).any(|pair| pair[0].sequences >= pair[1].sequences) {
        return Err(unfit(
            "sampler.decode",
            "not in order",
            "write the fewest sequences first, each number once",
        ));
    }
    Ok(())
}
