//! Drawing the next token of many rows at once.
//!
//! `generate.rs` passes the logits of every unfinished completion to [`Sampler::draw`] at each step.
//!
//! - `SAMPLE-1` A token is drawn by inverting the cumulative distribution at a random number that depends on the
//!   completion's seed and the token's place. A completion therefore does not depend on the others in its batch.
//! - `SAMPLE-2` The log-probability of a drawn token is that of the temperature-scaled distribution before top-k, top-p
//!   and suppression. `Policy::logprobs` and TRL compute the same.

use std::ops::Range;

use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor};

use crate::error::InputError;
use crate::rng;

/// Settings of the distribution that tokens are drawn from, and the length of completions.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SamplingParams {
    /// Divisor of the logits, 0 or more; with 0, the most likely token is chosen (greedy decoding).
    pub temperature: f64,
    /// Restricts the draw to the most likely tokens whose probabilities add up to this, above 0 and at most 1;
    /// 1 allows all tokens.
    pub top_p: f64,
    /// Restricts the draw to this many most likely tokens; 0 allows all tokens.
    pub top_k: usize,
    /// Length in tokens at which a completion is cut off, 1 or more.
    pub max_new_tokens: usize,
    /// Number of tokens after which a completion that has opened `<think>` and not closed it gets its closing tag; 0 for
    /// no limit.
    pub max_think_tokens: usize,
    /// Share of the completions of each prompt that are made to begin without thinking, while the others are made to begin
    /// with it; 0 leaves that to the policy.
    pub forced_no_think: f64,
}

impl Default for SamplingParams {
    fn default() -> Self {
        SamplingParams {
            temperature: 1.0,
            top_p: 1.0,
            top_k: 0,
            max_new_tokens: 256,
            max_think_tokens: 0,
            forced_no_think: 0.0,
        }
    }
}

/// Why a completion ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Finish {
    /// The model generated an end-of-sequence token.
    Eos,
    /// The completion was cut off after `max_new_tokens`.
    Length,
}

/// The tokens that the model generated after a prompt.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Completion {
    /// Token ids, including the end-of-sequence token if one was generated.
    pub ids: Vec<i64>,
    /// Natural log-probability of each token when it was drawn (SAMPLE-2), or forced.
    pub logprobs: Vec<f32>,
    /// The places of tokens that were not drawn: the closing tag after `max_think_tokens`.
    pub forced: Range<usize>,
    /// Why the completion ended.
    pub finish: Finish,
}

impl SamplingParams {
    pub(crate) fn check(&self) -> Result<(), InputError> {
        if !(self.temperature >= 0.0 && self.temperature.is_finite()) {
            return Err(InputError::Temperature { found: self.temperature });
        }
        if !(self.top_p > 0.0 && self.top_p <= 1.0) {
            return Err(InputError::TopP { found: self.top_p });
        }
        if self.max_new_tokens == 0 {
            return Err(InputError::NoNewTokens);
        }
        Ok(())
    }

    /// Whether only the most likely tokens may be drawn.
    pub(crate) fn filters(&self) -> bool {
        self.temperature > 0.0 && (self.top_k > 0 || self.top_p < 1.0)
    }

    /// The divisor of the logits: the temperature, or 1 for greedy decoding.
    pub(crate) fn scale(&self) -> f64 {
        if self.temperature == 0.0 { 1.0 } else { self.temperature }
    }
}

/// The uniform random numbers of a generation, one for each token of each completion.
///
/// Shapes: → `[tokens, completions]`, f32, strictly between 0 and 1
pub(crate) fn uniforms(seeds: &[u64], tokens: usize, device: Device) -> Tensor {
    let values: Vec<f32> = (0..tokens as u64)
        .flat_map(|token| seeds.iter().map(move |&seed| rng::uniform(seed, token)))
        .collect();
    Tensor::from_slice(&values).view([tokens as i64, seeds.len() as i64]).to_device(device)
}

/// Which ids of the vocabulary may be drawn.
pub(crate) fn allowed(vocab: i64, suppressed: &[i64]) -> impl Iterator<Item = bool> {
    (0..vocab).map(|id| !suppressed.contains(&id))
}

/// Draws tokens with fixed parameters.
pub(crate) struct Sampler {
    params: SamplingParams,
    /// `[vocabulary]`, f32: 1 for ids that may be drawn, 0 for suppressed ids.
    allowed: Tensor,
    /// `[vocabulary]`, f32: the same as an addend to the logits, 0 and -inf.
    bias: Tensor,
}

impl Sampler {
    pub(crate) fn new(params: SamplingParams, vocab: i64, suppressed: &[i64], device: Device) -> Sampler {
        let mut allowed = vec![1f32; vocab as usize];
        for &id in suppressed {
            allowed[id as usize] = 0.0;
        }
        let allowed = Tensor::from_slice(&allowed).to_device(device);
        Sampler { params, bias: allowed.log(), allowed }
    }

    /// Draws one token for each row. Returns the ids and their log-probabilities.
    ///
    /// Shapes: `logits: [rows, vocabulary]`, f32, divided by the temperature; `uniform: [rows]`, f32 → `[rows]`,
    /// i64, and `[rows]`, f32
    pub(crate) fn draw(&self, logits: &Tensor, uniform: &Tensor) -> (Tensor, Tensor) {
        if self.params.temperature == 0.0 {
            let ids = (logits + &self.bias).argmax(-1, true);
            return (
                ids.squeeze_dim(1),
                logits.log_softmax(-1, Kind::Float).gather(1, &ids, false).squeeze_dim(1),
            );
        }
        let ids = if self.params.filters() {
            self.draw_filtered(logits, uniform)
        } else {
            let probabilities = logits.softmax(-1, Kind::Float);
            let ids = invert(&(&probabilities * &self.allowed), uniform);
            return (ids.squeeze_dim(1), probabilities.gather(1, &ids, false).log().squeeze_dim(1));
        };
        (ids.squeeze_dim(1), logits.log_softmax(-1, Kind::Float).gather(1, &ids, false).squeeze_dim(1))
    }

    /// Draws among the most likely tokens, which are sorted by their probability first.
    ///
    /// Shapes: As [`Sampler::draw`] → ids, `[rows, 1]`, i64
    fn draw_filtered(&self, logits: &Tensor, uniform: &Tensor) -> Tensor {
        let vocab = logits.size()[1];
        let logits = logits + &self.bias;
        let (values, order) = match self.params.top_k as i64 {
            0 => logits.sort(-1, true),
            count => logits.topk(count.min(vocab), -1, true, true),
        };
        let mut weights = values.softmax(-1, Kind::Float);
        if self.params.top_p < 1.0 {
            // A token is kept if the probabilities of the more likely ones do not add up to top_p.
            let before = weights.cumsum(-1, Kind::Float) - &weights;
            weights = &weights * before.lt(self.params.top_p).to_kind(Kind::Float);
        }
        order.gather(1, &invert(&weights, uniform), false)
    }
}

/// The first index at which the cumulative weights exceed the fraction `uniform` of their total.
///
/// Shapes: `weights: [rows, n]`, f32; `uniform: [rows]`, f32 → `[rows, 1]`, i64
fn invert(weights: &Tensor, uniform: &Tensor) -> Tensor {
    let last = weights.size()[1] - 1;
    let cumulative = weights.cumsum(-1, Kind::Float);
    let target = cumulative.narrow(1, last, 1) * uniform.unsqueeze(1);
    target.searchsorted(&cumulative, false, true, "right", None::<&Tensor>).clamp_max(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draw(params: SamplingParams, suppressed: &[i64], uniform: &[f32]) -> (Vec<i64>, Vec<f32>) {
        // Probabilities 0.1, 0.2, 0.4, 0.3.
        let logits = Tensor::from_slice(&[0.1f32, 0.2, 0.4, 0.3]).log().view([1, 4]);
        let rows = uniform.len() as i64;
        let sampler = Sampler::new(params, 4, suppressed, Device::Cpu);
        let (ids, logprobs) = sampler.draw(&logits.expand([rows, 4], false), &Tensor::from_slice(uniform));
        (Vec::try_from(ids).unwrap(), Vec::try_from(logprobs).unwrap())
    }

    #[test]
    fn draw_inverts_the_cumulative_distribution() {
        // Cumulative: 0.1, 0.3, 0.7, 1.0.
        let (ids, logprobs) =
            draw(SamplingParams::default(), &[], &[0.05, 0.15, 0.35, 0.65, 0.75, 0.999_999]);
        assert_eq!(ids, [0, 1, 2, 2, 3, 3]);
        for (logprob, probability) in logprobs.iter().zip([0.1f32, 0.2, 0.4, 0.4, 0.3, 0.3]) {
            assert!((logprob - probability.ln()).abs() < 1e-6);
        }
    }

    #[test]
    fn suppressed_ids_are_never_drawn_and_do_not_change_logprobs() {
        // Without id 2, the cumulative weights are 0.1, 0.3, 0.3, 0.6, so the cuts are at 1/6 = 0.1667 and 1/2.
        let (ids, logprobs) = draw(SamplingParams::default(), &[2], &[0.16, 0.17, 0.49, 0.51]);
        assert_eq!(ids, [0, 1, 1, 3]);
        assert!((logprobs[3] - 0.3f32.ln()).abs() < 1e-6);
        let greedy = SamplingParams { temperature: 0.0, ..Default::default() };
        assert_eq!(draw(greedy, &[2], &[0.5]).0, [3]);
        assert_eq!(draw(greedy, &[], &[0.5]).0, [2]);
    }

    #[test]
    fn top_k_and_top_p_keep_the_most_likely() {
        // Sorted: 2 (0.4), 3 (0.3), 1 (0.2), 0 (0.1). The two most likely have weights 4/7 = 0.571 and 3/7 = 0.429.
        let two = SamplingParams { top_k: 2, ..Default::default() };
        let (ids, logprobs) = draw(two, &[], &[0.01, 0.57, 0.58, 0.999]);
        assert_eq!(ids, [2, 2, 3, 3]);
        assert!((logprobs[0] - 0.4f32.ln()).abs() < 1e-6, "SAMPLE-2: that of the unfiltered distribution");
        // 0.4 + 0.3 is below 0.75, so the third is kept: cuts at 0.4/0.9 = 0.444 and 0.7/0.9 = 0.778.
        let nucleus = SamplingParams { top_p: 0.75, ..Default::default() };
        assert_eq!(draw(nucleus, &[], &[0.44, 0.45, 0.77, 0.78, 0.9999]).0, [2, 3, 3, 1, 1]);
        let least = SamplingParams { top_p: 0.01, ..Default::default() };
        assert_eq!(draw(least, &[], &[0.0001, 0.9999]).0, [2, 2]);
    }

    #[test]
    fn parameters_out_of_range_are_refused() {
        for (params, part) in [
            (SamplingParams { temperature: -1.0, ..Default::default() }, "temperature is -1"),
            (SamplingParams { temperature: f64::NAN, ..Default::default() }, "temperature is NaN"),
            (SamplingParams { top_p: 0.0, ..Default::default() }, "top_p is 0"),
            (SamplingParams { max_new_tokens: 0, ..Default::default() }, "max_new_tokens is 0"),
        ] {
            assert!(params.check().unwrap_err().to_string().contains(part));
        }
    }
}
