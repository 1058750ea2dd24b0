//! The memory and the time that a step of each arm will take: an estimate from the dimensions of its model, its settings,
//! and the lengths of its prompts, with the speed of this machine.
//!
//! What is counted: the weights, the copies of the trained ones, the optimizer's state, the activations that the backward
//! pass needs or the cache of keys and values of the completions, whichever is more, and the features of the clips.

use model::config::{AudioConfig, TextConfig};
use model::speed::Speed;
use scenarios::{ArmConfig, DType, GradientCheckpointing, Method, TrainPart};
use serde::Serialize;

/// Share of `sampling.max_new_tokens` that completions are taken to use.
pub(super) const COMPLETION_USED: f64 = 0.3;

/// Width from which layers are recomputed in the backward pass.
const LARGE_WIDTH: i64 = 1024;

/// Copies of the trained weights beside those that were opened: of the sampler, of the learner, and the published version.
const COPIES: u64 = 3;

/// Bytes of an element of AdamW's state: two running means in f32.
const ADAMW: u64 = 8;

/// Operations on tensors in a layer of the decoder, for one pass.
const LAYER_OPERATIONS: f64 = 40.0;

/// Operations on tensors for each sampled token beside the layers: the output projection and the draw.
const TOKEN_OPERATIONS: f64 = 60.0;

/// Passes through the layers that the optimizer makes of each micro-batch: forward, backward (two), reference.
const LEARNER_PASSES: f64 = 4.0;

/// Operations of the optimizer for each bucket and step.
const OPTIMIZER_OPERATIONS: f64 = 20.0;

/// Most elements of the encodings of clips that are kept.
const ENCODINGS: u64 = 1 << 26;

/// Numbers of weights of a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Weights {
    /// The layers of the decoder and the output projection: what each token goes through.
    pub decoder: u64,
    /// The embedding, if the output projection does not use it.
    pub embedding: u64,
    /// The projection between audio tower and decoder.
    pub projector: u64,
    /// The audio tower.
    pub tower: u64,
}

impl Weights {
    /// Counts the weights of a model of these dimensions. Biases and norms are left out: they are less than 1 %.
    pub fn of(text: &TextConfig, audio: Option<&AudioConfig>) -> Self {
        let output = text.vocab_size * text.hidden_size;
        let count = |number: i64| u64::try_from(number).unwrap_or_default();
        Weights {
            decoder: count(text.num_hidden_layers * layer(text) + output),
            embedding: if text.tie_word_embeddings { 0 } else { count(output) },
            projector: audio.map_or(0, |audio| count(audio.d_model * text.hidden_size)),
            tower: audio.map_or(0, |audio| count(tower(audio))),
        }
    }

    fn all(&self) -> u64 {
        self.decoder + self.embedding + self.projector + self.tower
    }
}

/// Weights of a layer of the decoder.
fn layer(text: &TextConfig) -> i64 {
    let (queries, values) =
        (text.num_attention_heads * text.head_dim, text.num_key_value_heads * text.head_dim);
    text.hidden_size * (2 * queries + 2 * values + 3 * text.intermediate_size)
}

/// Weights of an audio tower: two convolutions of three frames, the positions, and the layers.
fn tower(audio: &AudioConfig) -> i64 {
    let (width, inner) = (audio.d_model, audio.encoder_ffn_dim);
    let layers = audio.encoder_layers * (4 * width * width + 2 * width * inner);
    3 * width * (audio.num_mel_bins + width) + audio.max_source_positions * width + layers
}

/// Number of the checkpoint's weights that an arm trains.
fn trained_of_base(arm: &ArmConfig, weights: Weights) -> u64 {
    let policy = &arm.policy;
    let audio = policy.train_audio_tower && !policy.train.lora();
    let mut trained = 0;
    if policy.train.has(TrainPart::Full) {
        trained += weights.decoder + weights.embedding;
    }
    if policy.train.has(TrainPart::Projector) || audio {
        trained += weights.projector;
    }
    if policy.train.has(TrainPart::Tower) || audio {
        trained += weights.tower;
    }
    trained
}

/// Number of weights that an arm trains, of the checkpoint and of an adapter.
fn trained(arm: &ArmConfig, text: &TextConfig, weights: Weights) -> u64 {
    if arm.method == Method::None {
        return 0;
    }
    let policy = &arm.policy;
    let mut trained = trained_of_base(arm, weights);
    if policy.train.lora() {
        let rank = policy.lora.as_ref().map_or(8, |lora| lora.rank) as i64;
        let (hidden, inner) = (text.hidden_size, text.intermediate_size);
        let (queries, values) =
            (text.num_attention_heads * text.head_dim, text.num_key_value_heads * text.head_dim);
        // Each of the seven projections of a layer has a matrix from its input and one to its output.
        let sides = 2 * (hidden + queries) + 2 * (hidden + values) + 3 * (hidden + inner);
        trained += u64::try_from(text.num_hidden_layers * rank * sides).unwrap_or_default();
    }
    trained
}

/// What is known of an arm's data and machine.
#[derive(Clone, Copy, Debug)]
pub struct Facts {
    /// Tokens of a prompt with its clip.
    pub prompt_tokens: usize,
    /// Share of `sampling.max_new_tokens` that completions use.
    pub completion_used: f64,
    /// Different clips that are heard during the run.
    pub clips: u64,
    /// Bytes of the features of a clip.
    pub clip_bytes: u64,
    /// Whether tensors are on a GPU.
    pub gpu: bool,
    /// How fast the device is; `None` if it is not on this machine.
    pub speed: Option<Speed>,
}

/// What a step of an arm takes.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ArmNeeds {
    pub arm: String,
    pub weights: u64,
    pub trained: u64,
    /// The number format of the weights.
    pub dtype: &'static str,
    pub weights_bytes: u64,
    /// Of these, the weights that do not train, which arms of the same checkpoint hold once.
    pub frozen_bytes: u64,
    /// Copies and gradients of the trained weights.
    pub copies_bytes: u64,
    pub optimizer_bytes: u64,
    /// Activations that are kept for the backward pass.
    pub activations_bytes: u64,
    /// Keys and values of the completions of a step.
    pub kv_cache_bytes: u64,
    /// Features of clips, in the main memory.
    pub features_bytes: u64,
    /// Memory of the device: of weights, copies and optimizer, and of activations or keys and values.
    pub device_bytes: u64,
    /// Times are absent if the device is not on this machine.
    pub sample_seconds: Option<f64>,
    pub train_seconds: Option<f64>,
    pub step_seconds: Option<f64>,
}

/// Estimates what a step of an arm takes.
pub fn needs(arm: &ArmConfig, text: &TextConfig, audio: Option<&AudioConfig>, facts: &Facts) -> ArmNeeds {
    let weights = Weights::of(text, audio);
    let trained = trained(arm, text, weights);
    let short = match arm.policy.dtype {
        DType::Bf16 => true,
        DType::F32 => false,
        // `fastest` was settled before.
        DType::Auto | DType::Fastest => facts.gpu,
    };
    let element = if short { 2 } else { 4 };
    let step = Step::of(arm, facts);
    let recompute = match arm.policy.gradient_checkpointing {
        GradientCheckpointing::Always(on) => on,
        GradientCheckpointing::Auto => facts.gpu || text.hidden_size >= LARGE_WIDTH,
    };
    let activations_bytes = match trained {
        0 => 0,
        _ => (step.learned_at_once * activations(text, recompute) * element as f64) as u64,
    };
    let keys_and_values = (2 * text.num_hidden_layers * text.num_key_value_heads * text.head_dim) as f64;
    let kv_cache_bytes = (step.cached * keys_and_values * element as f64) as u64;
    let weights_bytes = weights.all() * element;
    let frozen_bytes = weights_bytes - trained_of_base(arm, weights) * element;
    let copies_bytes = trained * element * (COPIES + 1);
    let master = if short { 4 } else { 0 };
    let optimizer_bytes = trained * (ADAMW + master);
    let most_clips = facts.clips.min(arm.loader.cache_clips as u64);
    let features_bytes = (most_clips * facts.clip_bytes).min(arm.loader.cache_mb as u64 * 1_000_000);
    let encodings = audio.map_or(0, |audio| {
        let tokens = facts.clip_bytes / (4 * u64::try_from(audio.num_mel_bins).unwrap_or(1).max(1)) / 4;
        (most_clips * tokens * u64::try_from(audio.d_model).unwrap_or_default()).min(ENCODINGS) * element
    });
    let device_bytes =
        weights_bytes + copies_bytes + optimizer_bytes + encodings + activations_bytes.max(kv_cache_bytes);
    let sample_seconds = facts.speed.map(|speed| step.sample_seconds(weights, text, element, speed));
    let train_seconds = facts.speed.map(|speed| step.train_seconds(weights, text, trained, recompute, speed));
    ArmNeeds {
        arm: arm.name.clone(),
        weights: weights.all(),
        trained,
        dtype: if short { "bf16" } else { "f32" },
        weights_bytes,
        frozen_bytes,
        copies_bytes,
        optimizer_bytes,
        activations_bytes,
        kv_cache_bytes,
        features_bytes,
        device_bytes,
        sample_seconds,
        train_seconds,
        step_seconds: sample_seconds.zip(train_seconds).map(|(sample, train)| sample + train),
    }
}

/// Elements that the backward pass keeps of each token: with recomputation the inputs of the layers, else what each layer
/// computes too, and of one layer all.
fn activations(text: &TextConfig, recompute: bool) -> f64 {
    let (hidden, inner, layers) =
        (text.hidden_size as f64, text.intermediate_size as f64, text.num_hidden_layers as f64);
    let heads = ((text.num_attention_heads + 2 * text.num_key_value_heads) * text.head_dim) as f64;
    // The inputs and outputs of norms and projections, rotated queries and keys, and the two sides of the gated product.
    let layer = 8.0 * hidden + 3.0 * heads + 5.0 * inner;
    let kept = if recompute { layers * hidden + layer } else { layers * layer };
    // The logits and their softmax, in f32 also where activations are not.
    kept + 4.0 * text.vocab_size.min(1 << 15) as f64
}

/// What goes through the model in a step.
#[derive(Clone, Copy, Debug)]
struct Step {
    /// Tokens of prompts that are computed before the first token is sampled.
    prompts: f64,
    /// Completions, and tokens of each.
    completions: f64,
    completion: f64,
    /// Tokens of the longest completion.
    longest: f64,
    /// Tokens that are trained on, and those of them that are in memory at the same time.
    learned: f64,
    learned_at_once: f64,
    micro_batches: f64,
    iterations: f64,
    /// Tokens whose keys and values are kept while sampling.
    cached: f64,
    /// Whether log-probabilities of a reference are computed too.
    reference: bool,
}

/// Prompts that are in memory at the same time, of so many; a setting of 0 stands for all.
fn at_once(setting: usize, prompts: f64) -> f64 {
    if setting == 0 { prompts } else { prompts.min(setting as f64) }
}

impl Step {
    fn of(arm: &ArmConfig, facts: &Facts) -> Self {
        let prompt = facts.prompt_tokens as f64;
        let most = arm.sampling.max_new_tokens as f64;
        let evaluated = arm.eval.batch_prompts as f64 * arm.eval.samples as f64 * (prompt + most);
        let blank = Step {
            prompts: 0.0,
            completions: 0.0,
            longest: most,
            completion: most * facts.completion_used,
            learned: 0.0,
            learned_at_once: 0.0,
            micro_batches: 0.0,
            iterations: 1.0,
            cached: evaluated,
            reference: false,
        };
        match arm.method {
            Method::None => {
                let prompts = arm.eval.batch_prompts as f64;
                Step { prompts: prompts * prompt, completions: prompts * arm.eval.samples as f64, ..blank }
            }
            Method::Sft => {
                let rows = arm.sft.rows_per_step as f64;
                let of_row = prompt + arm.sft.targets_per_row as f64 * blank.completion;
                let at_once = at_once(arm.grpo.micro_batch_prompts, rows);
                Step {
                    learned: rows * of_row,
                    learned_at_once: at_once * of_row,
                    micro_batches: (rows / at_once).ceil(),
                    ..blank
                }
            }
            Method::Grpo => {
                let (prompts, group) = (arm.sampling.prompts_per_step as f64, arm.sampling.group_size as f64);
                let sampled_at_once = at_once(arm.sampling.batch_prompts, prompts);
                let at_once = at_once(arm.grpo.micro_batch_prompts, prompts);
                let of_prompt = prompt + group * blank.completion;
                Step {
                    prompts: prompts * prompt,
                    completions: prompts * group,
                    learned: prompts * of_prompt,
                    learned_at_once: at_once * of_prompt,
                    micro_batches: (prompts / at_once).ceil(),
                    iterations: arm.grpo.iterations as f64,
                    cached: evaluated.max(sampled_at_once * group * (prompt + most)),
                    reference: arm.grpo.kl_coef > 0.0,
                    ..blank
                }
            }
        }
    }

    fn sample_seconds(&self, weights: Weights, text: &TextConfig, element: u64, speed: Speed) -> f64 {
        if self.completions == 0.0 {
            return 0.0;
        }
        let Speed { flops, bytes, operation } = speed;
        let token = 2.0 * weights.decoder as f64;
        let layers = text.num_hidden_layers as f64;
        let prefill = self.prompts * token / flops + layers * LAYER_OPERATIONS * operation;
        // For each token of the longest completion, which is longer than the others, all weights are read once.
        let read = (weights.decoder * element) as f64 / bytes;
        let one = read.max(self.completions * token / flops)
            + (layers * LAYER_OPERATIONS + TOKEN_OPERATIONS) * operation;
        prefill + self.longest * one
    }

    fn train_seconds(
        &self,
        weights: Weights,
        text: &TextConfig,
        trained: u64,
        recompute: bool,
        speed: Speed,
    ) -> f64 {
        if trained == 0 {
            return 0.0;
        }
        let Speed { flops, bytes, operation } = speed;
        let token = 2.0 * weights.decoder as f64;
        // Forward, and backward to the inputs; to the weights as well if they are trained.
        let gradients = if trained >= weights.decoder { 3.0 } else { 2.0 };
        let passes = gradients + f64::from(u8::from(recompute));
        let once = f64::from(u8::from(self.reference));
        let computed = (self.iterations * passes + once) * self.learned * token / flops;
        let moved = self.iterations * 3.0 * self.learned * activations(text, false) * 4.0 / bytes;
        let operations = self.iterations
            * (self.micro_batches * text.num_hidden_layers as f64 * LAYER_OPERATIONS * LEARNER_PASSES
                + OPTIMIZER_OPERATIONS * (1.0 + trained as f64 / (1 << 17) as f64))
            * operation;
        let optimizer = self.iterations * 10.0 * 4.0 * trained as f64 / bytes;
        computed + moved + operations + optimizer
    }
}

#[cfg(test)]
mod tests;
