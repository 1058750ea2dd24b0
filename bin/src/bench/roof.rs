//! The least that generation and training take on a device, from its speed and the dimensions of the model, and what share of
//! it was reached.
//!
//! Generation reads all weights of the decoder and the cached keys and values for each step of a batch, and the three passes of
//! training compute every prompt with its clip once per group. Copies and matrix products are measured on the device itself,
//! so that a share says how much is left to gain there.

use model::config::ModelConfig;
use model::speed::{Decoding, Phase, Speed};
use serde::Serialize;

use crate::check::Weights;
use crate::cli::Trains;

/// What the workload is.
#[derive(Clone, Copy, Debug)]
pub struct Sizes<'a> {
    pub config: &'a ModelConfig,
    /// Bytes of a number of the weights.
    pub element: f64,
    pub prompts: f64,
    /// Tokens of a prompt, with those of its clip.
    pub prompt: f64,
    pub group: f64,
    /// Tokens of a completion.
    pub tokens: f64,
    /// Frames of a clip in the tower, and those that each of them attends to.
    pub frames: f64,
    pub window: f64,
}

/// What limits generation most on this device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Limit {
    /// Reading the weights and the cache.
    Memory,
    /// The matrix products.
    Compute,
    /// Neither: more time goes to starting operations and waiting for them.
    Overhead,
}

/// How near to its limit generation came.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct DecodingShare {
    /// Of the bandwidth of a copy, 0 to 1.
    pub bandwidth: f64,
    /// Of the rate of a matrix product, 0 to 1.
    pub flops: f64,
    pub limit: Limit,
}

/// The share of `speed` that a generation used.
pub fn decoding(sizes: &Sizes, decoding: &Decoding, speed: &Speed) -> DecodingShare {
    let weights = Weights::of(&sizes.config.text, sizes.config.audio.as_ref());
    let batch = decoding.batch as f64;
    let cached = batch / batch.min(8.0) * sizes.prompt + batch * sizes.tokens / 2.0;
    let bytes = sizes.element * (weights.decoder as f64 + numbers_per_token(sizes.config) * cached);
    let steps_per_second = decoding.tokens_per_second / batch;
    let bandwidth = bytes * steps_per_second / speed.bytes;
    let flops = 2.0 * weights.decoder as f64 * decoding.tokens_per_second / speed.flops;
    let limit = match (bandwidth, flops) {
        _ if bandwidth.max(flops) < 0.5 => Limit::Overhead,
        (bandwidth, flops) if bandwidth >= flops => Limit::Memory,
        _ => Limit::Compute,
    };
    DecodingShare { bandwidth, flops, limit }
}

/// The share of the rate of matrix products that policy pass, reference pass and backward pass used together (MFU).
pub fn passes(sizes: &Sizes, trains: Trains, phases: &[Phase], speed: &Speed) -> f64 {
    let learning = phases.iter().filter(|phase| matches!(phase.name, "policy" | "reference" | "backward"));
    let seconds: f64 = learning.map(|phase| phase.seconds).sum();
    pass_flops(sizes, trains) / seconds / speed.flops
}

/// The floating-point operations of the three passes.
fn pass_flops(sizes: &Sizes, trains: Trains) -> f64 {
    let text = &sizes.config.text;
    let weights = Weights::of(text, sizes.config.audio.as_ref());
    let head = (text.vocab_size * text.hidden_size) as f64;
    let layers = weights.decoder as f64 - head;
    let completions = sizes.prompts * sizes.group;
    let read = sizes.prompts * sizes.prompt + completions * (sizes.tokens - 1.0);
    let pairs = sizes.prompts * sizes.prompt * sizes.prompt / 2.0
        + completions * sizes.tokens * (sizes.prompt + sizes.tokens / 2.0);
    // The product of a query with a key, and of a weight with a value, in all layers.
    let per_pair = (4 * text.num_hidden_layers * text.num_attention_heads * text.head_dim) as f64;
    let forward = 2.0 * layers * read + per_pair * pairs + 2.0 * head * completions * sizes.tokens;
    let tower = sizes.config.audio.as_ref().map_or(0.0, |audio| {
        let per_pair = (4 * audio.encoder_layers * audio.d_model) as f64;
        sizes.prompts * sizes.frames * (2.0 * weights.tower as f64 + per_pair * sizes.window)
    });
    // Frozen weights need no gradient, so that their backward pass is one product instead of two.
    match trains {
        Trains::Lora => 3.0 * forward + tower,
        Trains::Full => 4.0 * forward + 4.0 * tower,
    }
}

/// Keys and values of a token in the cache.
fn numbers_per_token(config: &ModelConfig) -> f64 {
    let text = &config.text;
    (2 * text.num_hidden_layers * text.num_key_value_heads * text.head_dim) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2 layers of width 8 with 2 heads of 4, an inner width of 16 and 32 tokens: a layer has 8·(8 + 8 + 8 + 8 + 48) = 640
    /// weights, the output projection 256.
    const CONFIG: &str = r#"{ "model_type": "qwen2", "hidden_size": 8, "intermediate_size": 16, "num_hidden_layers": 2,
        "num_attention_heads": 2, "num_key_value_heads": 2, "vocab_size": 32, "max_position_embeddings": 64 }"#;

    fn config() -> ModelConfig {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("config.json"), CONFIG).unwrap();
        ModelConfig::open(folder.path()).unwrap()
    }

    fn sizes(config: &ModelConfig) -> Sizes<'_> {
        Sizes {
            config,
            element: 4.0,
            prompts: 2.0,
            prompt: 10.0,
            group: 8.0,
            tokens: 4.0,
            frames: 0.0,
            window: 0.0,
        }
    }

    #[test]
    fn a_generation_that_reads_as_fast_as_a_copy_is_limited_by_memory() {
        let config = config();
        // 16 completions of 2 prompts: 20 cached tokens of the prompts and 32 of their own, of 2·2·8 = 32 numbers each. A step
        // reads 4·(1536 + 52·32) = 12,800 bytes; 10 steps a second are 160 tokens and 128,000 bytes.
        let measured = Decoding { batch: 16, launches: None, prefill_seconds: 1.0, tokens_per_second: 160.0 };
        let speed = Speed { flops: 1e6, bytes: 160_000.0, operation: 1e-6 };
        let share = decoding(&sizes(&config), &measured, &speed);
        assert!((share.bandwidth - 0.8).abs() < 1e-12, "{share:?}");
        // 2·1536 operations for each of 160 tokens.
        assert!((share.flops - 0.49152).abs() < 1e-12, "{share:?}");
        assert_eq!(share.limit, Limit::Memory);
        let slow = Speed { flops: 1e9, bytes: 1e9, operation: 1e-6 };
        assert_eq!(decoding(&sizes(&config), &measured, &slow).limit, Limit::Overhead);
        let narrow = Speed { flops: 5e5, bytes: 1e9, operation: 1e-6 };
        assert_eq!(decoding(&sizes(&config), &measured, &narrow).limit, Limit::Compute);
    }

    #[test]
    fn the_passes_count_each_prompt_once() {
        let config = config();
        // Read: 2·10 + 16·3 = 68 tokens through 1280 weights. Pairs: 2·50 + 16·4·12 = 868 of 4·2·8 = 64 operations. Output
        // projection: 64 tokens of 256 weights.
        let forward = 2.0 * 1280.0 * 68.0 + 64.0 * 868.0 + 2.0 * 256.0 * 64.0;
        assert_eq!(pass_flops(&sizes(&config), Trains::Lora), 3.0 * forward);
        assert_eq!(pass_flops(&sizes(&config), Trains::Full), 4.0 * forward);
        let phase = |name, seconds| Phase { name, seconds };
        let phases =
            [phase("generation", 9.0), phase("policy", 1.0), phase("reference", 1.0), phase("backward", 2.0)];
        let speed = Speed { flops: 3.0 * forward, bytes: 1.0, operation: 1.0 };
        assert_eq!(passes(&sizes(&config), Trains::Lora, &phases, &speed), 0.25);
    }
}
