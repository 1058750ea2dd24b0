//! The inputs of a simulation, as they are written in a TOML file. `docs/scale/simulation.schema.json` is made of these types.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

mod check;
mod read;

/// Everything that is simulated.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Inputs {
    /// The arms and their steps.
    pub run: RunInputs,
    /// How long completions are, and how many of them are judged.
    pub completions: CompletionInputs,
    /// What generates completions.
    pub sampler: SamplerInputs,
    /// What trains.
    pub learner: LearnerInputs,
    /// What judges completions that think.
    pub judge: JudgeInputs,
    /// How held-out questions are asked.
    pub evaluation: EvaluationInputs,
    /// How checkpoints are written.
    pub checkpoint: CheckpointInputs,
    /// How often something fails.
    pub failures: FailureInputs,
}

/// The arms, their steps, and the machines that they share.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RunInputs {
    /// Arms × seeds, all alike; 1 to 100,000.
    pub arms: usize,
    /// Arms that train at the same time; 0 takes as many as `gpus` allow, or all of them if that is 0 too.
    pub parallel_arms: usize,
    /// GPUs there are, those of the judges included; 0 sets no limit.
    pub gpus: usize,
    /// Steps of each arm; at least 1.
    pub steps: u64,
    /// Prompts of a step; at least 1.
    pub prompts_per_step: usize,
    /// Completions of a prompt; at least 1.
    pub group_size: usize,
    /// Most versions by which the weights that a step is sampled from may be older than those it is trained on; 0 to 64.
    pub max_staleness: u64,
    /// On the CPU: samplers and learners that compute at the same time over all arms, cores / threads; 0 sets no limit.
    pub compute_slots: usize,
    /// Time in which an arm opens its model and data, in seconds.
    pub startup_seconds: f64,
    /// Time to load the clips of a step and make its prompts, in seconds.
    pub load_seconds: f64,
    /// Time of the rewards without the judge, in seconds a step.
    pub reward_seconds: f64,
    /// Time of a step that is spent between its phases and on its records, in seconds.
    pub overhead_seconds: f64,
    /// Seed of all that is drawn.
    pub seed: u64,
}

impl Default for RunInputs {
    fn default() -> Self {
        RunInputs {
            arms: 1,
            parallel_arms: 0,
            gpus: 0,
            steps: 100,
            prompts_per_step: 2,
            group_size: 8,
            max_staleness: 0,
            compute_slots: 0,
            startup_seconds: 0.0,
            load_seconds: 0.0,
            reward_seconds: 0.0,
            overhead_seconds: 0.0,
            seed: 7,
        }
    }
}

/// A distribution of lengths in tokens, or of times in seconds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Distribution {
    /// Always the same.
    Fixed {
        /// The value.
        value: f64,
    },
    /// Exponential.
    Exponential {
        /// Its mean.
        mean: f64,
    },
    /// Log-normal.
    Lognormal {
        /// Its mean, not that of the logarithm.
        mean: f64,
        /// Standard deviation of the natural logarithm.
        sigma: f64,
    },
    /// One of these values, each as likely as the others.
    Empirical {
        /// The values.
        values: Vec<f64>,
    },
}

impl Distribution {
    /// The mean.
    pub fn mean(&self) -> f64 {
        match self {
            Distribution::Fixed { value } => *value,
            Distribution::Exponential { mean } | Distribution::Lognormal { mean, .. } => *mean,
            Distribution::Empirical { values } => values.iter().sum::<f64>() / values.len().max(1) as f64,
        }
    }
}

/// Completions and prompts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct CompletionInputs {
    /// Lengths of completions, in tokens.
    pub tokens: Distribution,
    /// Longest completion, in tokens; 0 sets no limit.
    pub max_tokens: u64,
    /// Tokens of a prompt with its audio, which the learner computes once per group.
    pub prompt_tokens: f64,
}

impl Default for CompletionInputs {
    fn default() -> Self {
        CompletionInputs { tokens: Distribution::Fixed { value: 0.0 }, max_tokens: 0, prompt_tokens: 0.0 }
    }
}

/// How a sampler puts sequences together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Batching {
    /// One step after another, as the sandbox's own sampler does.
    #[default]
    Step,
    /// Sequences of several steps at the same time, as vLLM does.
    Continuous,
}

/// A measured speed of decoding.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DecodePoint {
    /// Sequences that are decoded at the same time.
    pub sequences: f64,
    /// Tokens of all of them together, per second.
    pub tokens_per_second: f64,
}

/// The samplers of an arm.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SamplerInputs {
    /// Samplers of each arm, over which the prompts of a step are spread; at least 1.
    pub count: usize,
    /// GPUs of each sampler; 0 on a CPU.
    pub gpus: usize,
    /// Whether steps are sampled one after another.
    pub batching: Batching,
    /// Most sequences of a sampler at the same time; 0 sets no limit. Others wait.
    pub max_sequences: usize,
    /// Speed of decoding by the number of sequences. The time of a token step is interpolated between these points; below the first
    /// it is that of the first, beyond the last it grows as between the last two.
    pub decode: Vec<DecodePoint>,
    /// Time before the first token that does not depend on the number of prompts, in seconds a step.
    pub call_seconds: f64,
    /// Time before the first token for each prompt of a sampler, in seconds.
    pub prefill_seconds: f64,
    /// Time to load new weights or a new adapter, in seconds a version.
    pub load_seconds: f64,
}

impl Default for SamplerInputs {
    fn default() -> Self {
        SamplerInputs {
            count: 1,
            gpus: 1,
            batching: Batching::Step,
            max_sequences: 0,
            decode: Vec::new(),
            call_seconds: 0.0,
            prefill_seconds: 0.0,
            load_seconds: 0.0,
        }
    }
}

impl SamplerInputs {
    /// Seconds of a token step of so many sequences.
    pub fn token_seconds(&self, sequences: usize) -> f64 {
        let wanted = sequences as f64;
        let seconds = |point: &DecodePoint| point.sequences / point.tokens_per_second;
        let between = |from: &DecodePoint, to: &DecodePoint| {
            let slope = (seconds(to) - seconds(from)) / (to.sequences - from.sequences);
            (seconds(from) + slope * (wanted - from.sequences)).max(0.0)
        };
        match self.decode.as_slice() {
            [] => 0.0,
            [only] => seconds(only).max(wanted / only.tokens_per_second),
            [first, ..] if wanted <= first.sequences => seconds(first),
            [.., before, last] if wanted >= last.sequences => between(before, last).max(seconds(last)),
            points => {
                let pair = points.windows(2).find(|pair| wanted <= pair[1].sequences);
                pair.map_or(0.0, |pair| between(&pair[0], &pair[1]))
            }
        }
    }
}

/// The learners of an arm.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct LearnerInputs {
    /// Learners of each arm, over which the groups of a step are spread; at least 1.
    pub count: usize,
    /// GPUs of each learner; 0 on a CPU.
    pub gpus: usize,
    /// Whether sampler and learner of an arm have the same GPU and take turns. `gpus` of the learner are not counted then.
    pub shares_gpu: bool,
    /// Time of one learner for a token of prompts and completions, in seconds: reference, forward, backward.
    pub seconds_per_token: f64,
    /// Time of a step that does not depend on its tokens, in seconds: the optimizer.
    pub step_seconds: f64,
    /// Time in which several learners add up their gradients, in seconds a step; none with one learner.
    pub allreduce_seconds: f64,
    /// Time to write the new weights or the adapter where samplers find it, in seconds a step.
    pub publish_seconds: f64,
}

impl Default for LearnerInputs {
    fn default() -> Self {
        LearnerInputs {
            count: 1,
            gpus: 1,
            shares_gpu: false,
            seconds_per_token: 0.0,
            step_seconds: 0.0,
            allreduce_seconds: 0.0,
            publish_seconds: 0.0,
        }
    }
}

impl LearnerInputs {
    /// Seconds of a step of so many tokens.
    pub fn seconds(&self, tokens: f64) -> f64 {
        let allreduce = if self.count > 1 { self.allreduce_seconds } else { 0.0 };
        self.step_seconds
            + tokens * self.seconds_per_token / self.count as f64
            + allreduce
            + self.publish_seconds
    }
}

/// The judges, which all arms share.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct JudgeInputs {
    /// Servers; 0 means that nothing is judged.
    pub servers: usize,
    /// GPUs of each server.
    pub gpus: usize,
    /// Requests that a server answers at the same time; at least 1. Others wait.
    pub concurrency: usize,
    /// Time of a request, in seconds, at this concurrency.
    pub latency_seconds: Distribution,
    /// Share of the completions that need a verdict, such as those that think; 0 to 1.
    pub asked: f64,
    /// Requests of each of these, if consistency and quality are asked apart; at least 1.
    pub requests: usize,
    /// Share of the requests that the verdict cache answers; 0 to 1.
    pub cache_hit_rate: f64,
}

impl Default for JudgeInputs {
    fn default() -> Self {
        JudgeInputs {
            servers: 0,
            gpus: 0,
            concurrency: 8,
            latency_seconds: Distribution::Fixed { value: 0.0 },
            asked: 1.0,
            requests: 1,
            cache_hit_rate: 0.0,
        }
    }
}

/// Evaluations, during which no step is trained on. There is always one after the last step, if there are batches.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct EvaluationInputs {
    /// Steps between two evaluations; 0 leaves those between out.
    pub every: u64,
    /// Whether there is one before the first step.
    pub at_start: bool,
    /// Batches of questions, asked one after another; 0 leaves evaluations out.
    pub batches: u64,
    /// Time of an arm's samplers for a batch, in seconds.
    pub sample_seconds: f64,
    /// Requests to the judge for a batch.
    pub judge_requests: usize,
}

/// Checkpoints. There is always one after the last step.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct CheckpointInputs {
    /// Steps between two checkpoints; 0 writes the last one only.
    pub every: u64,
    /// Time of one, in seconds.
    pub seconds: f64,
}

/// Failures, at random times.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct FailureInputs {
    /// Mean time between two failures of a learner, in hours; 0 means none. The arm goes back to its last checkpoint.
    pub learner_mtbf_hours: f64,
    /// Time until the arm goes on, in seconds.
    pub learner_restart_seconds: f64,
    /// Mean time between two failures of a sampler, in hours; 0 means none. It begins its completions again.
    pub sampler_mtbf_hours: f64,
    /// Time until it samples again, in seconds.
    pub sampler_restart_seconds: f64,
    /// Mean time between two failures of a judge's server, in hours; 0 means none. Its requests are asked again.
    pub judge_mtbf_hours: f64,
    /// Time until it answers again, in seconds.
    pub judge_restart_seconds: f64,
}

impl Inputs {
    /// GPUs of an arm while it trains.
    pub fn gpus_of_arm(&self) -> usize {
        let learner = if self.learner.shares_gpu { 0 } else { self.learner.count * self.learner.gpus };
        self.sampler.count * self.sampler.gpus + learner
    }

    /// GPUs of all judges.
    pub fn gpus_of_judges(&self) -> usize {
        self.judge.servers * self.judge.gpus
    }

    /// Arms that train at the same time.
    pub fn parallel_arms(&self) -> usize {
        let RunInputs { arms, parallel_arms, gpus, .. } = self.run;
        let allowed = match self.gpus_of_arm() {
            0 => arms,
            _ if gpus == 0 => arms,
            of_arm => gpus.saturating_sub(self.gpus_of_judges()) / of_arm,
        };
        let wanted = if parallel_arms > 0 { parallel_arms } else { allowed };
        wanted.clamp(1, arms.max(1))
    }
}

/// The JSON Schema of [`Inputs`].
pub fn json_schema() -> serde_json::Value {
    let mut schema = schemars::schema_for!(Inputs).to_value();
    schema["title"] = "The inputs of sandbox simulate".into();
    schema
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_step_is_interpolated_between_measured_speeds() {
        let point = |sequences, tokens_per_second| DecodePoint { sequences, tokens_per_second };
        let sampler = SamplerInputs {
            decode: vec![point(1.0, 100.0), point(16.0, 1000.0), point(64.0, 2000.0)],
            ..SamplerInputs::default()
        };
        // 1/100 = 0.010, 16/1000 = 0.016, 64/2000 = 0.032 s; at 40 sequences half of the way from 16 to 64; at 112 as far again.
        for (sequences, seconds) in [(1, 0.010), (16, 0.016), (40, 0.024), (64, 0.032), (112, 0.048)] {
            assert!((sampler.token_seconds(sequences) - seconds).abs() < 1e-12, "{sequences}");
        }
        let flat = SamplerInputs { decode: vec![point(4.0, 400.0)], ..SamplerInputs::default() };
        // One point: never faster than measured, in time or in tokens per second.
        assert_eq!((flat.token_seconds(1), flat.token_seconds(8)), (0.01, 0.02));
    }

    #[test]
    fn as_many_arms_train_as_their_gpus_and_the_judges_leave_room_for() {
        let mut inputs = Inputs::default();
        inputs.run = RunInputs { arms: 100, gpus: 16, ..inputs.run };
        inputs.judge = JudgeInputs { servers: 2, gpus: 1, ..inputs.judge };
        // A sampler and a learner: 2 GPUs an arm. (16 − 2) / 2 = 7.
        assert_eq!((inputs.gpus_of_arm(), inputs.parallel_arms()), (2, 7));
        inputs.learner.shares_gpu = true;
        assert_eq!((inputs.gpus_of_arm(), inputs.parallel_arms()), (1, 14));
        inputs.run.parallel_arms = 3;
        assert_eq!(inputs.parallel_arms(), 3);
    }

    #[test]
    fn the_committed_schema_is_current() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/scale/simulation.schema.json");
        let current = format!("{:#}\n", json_schema());
        if std::env::var_os("UPDATE_SCHEMA").is_some() {
            std::fs::write(path, &current).unwrap();
        }
        let committed = std::fs::read_to_string(path).unwrap_or_default();
        assert!(
            committed == current,
            "run `UPDATE_SCHEMA=1 cargo test -p simulation committed_schema` and commit {path}"
        );
    }
}
