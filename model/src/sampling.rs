//! Drawing the next token of many rows at once.
//!
//! - SAMPLE-1 a draw is the inverse of the cumulative distribution at a number from the completion's own seed, so a
//!   completion does not depend on which others are drawn with it.
//! - SAMPLE-2 the log-probability of a drawn token is that of the temperature-scaled distribution before top-k, top-p and
//!   suppression, the one [`crate::Policy::logprobs`] computes (and TRL).

use tch::{Device, Kind, Tensor};

use crate::error::ModelError;
use crate::rng;

/// How completions are drawn.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SamplingParams {
    /// Divides the logits; 0 takes the likeliest token.
    pub temperature: f64,
    /// Draws among the likeliest tokens that together reach this probability; 1 draws among all.
    pub top_p: f64,
    /// Draws among so many likeliest tokens; 0 draws among all.
    pub top_k: usize,
    /// Tokens after which a completion is cut off.
    pub max_new_tokens: usize,
}

impl Default for SamplingParams {
    fn default() -> Self {
        SamplingParams { temperature: 1.0, top_p: 1.0, top_k: 0, max_new_tokens: 256 }
    }
}

/// Why a completion ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finish {
    /// The model wrote an end-of-sequence token.
    Eos,
    /// It was cut off after `max_new_tokens`.
    Length,
}

/// What the model wrote after a prompt.
#[derive(Debug, Clone, PartialEq)]
pub struct Completion {
    /// Token ids, with the end-of-sequence token if it was written.
    pub ids: Vec<i64>,
    /// Log-probability of each token when it was drawn.
    pub logprobs: Vec<f32>,
    /// Why it ended.
    pub finish: Finish,
}

impl SamplingParams {
    pub(crate) fn check(&self) -> Result<(), ModelError> {
        if !(self.temperature >= 0.0 && self.temperature.is_finite()) {
            return Err(ModelError::input(format!(
                "temperature is {}; expected 0 or more",
                self.temperature
            )));
        }
        if !(self.top_p > 0.0 && self.top_p <= 1.0) {
            return Err(ModelError::input(format!(
                "top_p is {}; expected more than 0 and at most 1",
                self.top_p
            )));
        }
        if self.max_new_tokens == 0 {
            return Err(ModelError::input("max_new_tokens is 0; expected 1 or more"));
        }
        Ok(())
    }

    /// What the logits are divided by: greedy decoding leaves them as they are.
    pub(crate) fn scale(&self) -> f64 {
        if self.temperature == 0.0 { 1.0 } else { self.temperature }
    }
}

/// Numbers for every token of every completion, `[max_new_tokens, completions]`.
pub(crate) fn uniforms(seeds: &[u64], tokens: usize, device: Device) -> Tensor {
    let values: Vec<f32> = (0..tokens as u64)
        .flat_map(|token| seeds.iter().map(move |&seed| rng::uniform(seed, token)))
        .collect();
    Tensor::from_slice(&values).view([tokens as i64, seeds.len() as i64]).to_device(device)
}

/// Draws tokens under fixed parameters.
pub(crate) struct Sampler {
    params: SamplingParams,
    /// `[vocabulary]`, 1 for what may be drawn and 0 for what may not.
    allowed: Tensor,
    /// The same as an addend to logits: 0 and -inf.
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

    /// Draws one token per row.
    ///
    /// # Shapes
    /// `logits: [rows, vocabulary]`, f32, temperature applied; `uniform: [rows]` → ids and log-probabilities, `[rows]`
    pub(crate) fn draw(&self, logits: &Tensor, uniform: &Tensor) -> (Tensor, Tensor) {
        if self.params.temperature == 0.0 {
            let ids = (logits + &self.bias).argmax(-1, true);
            return (
                ids.squeeze_dim(1),
                logits.log_softmax(-1, Kind::Float).gather(1, &ids, false).squeeze_dim(1),
            );
        }
        let ids = if self.params.top_k > 0 || self.params.top_p < 1.0 {
            self.draw_filtered(logits, uniform)
        } else {
            let probabilities = logits.softmax(-1, Kind::Float);
            let ids = invert(&(&probabilities * &self.allowed), uniform);
            return (ids.squeeze_dim(1), probabilities.gather(1, &ids, false).log().squeeze_dim(1));
        };
        (ids.squeeze_dim(1), logits.log_softmax(-1, Kind::Float).gather(1, &ids, false).squeeze_dim(1))
    }

    /// Draws among the likeliest tokens only, in order of their likelihood.
    fn draw_filtered(&self, logits: &Tensor, uniform: &Tensor) -> Tensor {
        let vocab = logits.size()[1];
        let logits = logits + &self.bias;
        let (values, order) = match self.params.top_k as i64 {
            0 => logits.sort(-1, true),
            count => logits.topk(count.min(vocab), -1, true, true),
        };
        let mut weights = values.softmax(-1, Kind::Float);
        if self.params.top_p < 1.0 {
            // A token stays if the likelier ones have not reached top_p without it.
            let before = weights.cumsum(-1, Kind::Float) - &weights;
            weights = &weights * before.lt(self.params.top_p).to_kind(Kind::Float);
        }
        order.gather(1, &invert(&weights, uniform), false)
    }
}

/// The first index at which the cumulative weights exceed `uniform` of their total, `[rows, 1]`.
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
        // Without id 2: 0.1, 0.3, 0.3, 0.6 of 0.6, so the cut lies at 0.1667 and 0.5.
        let (ids, logprobs) = draw(SamplingParams::default(), &[2], &[0.16, 0.17, 0.49, 0.51]);
        assert_eq!(ids, [0, 1, 1, 3]);
        assert!((logprobs[3] - 0.3f32.ln()).abs() < 1e-6);
        let greedy = SamplingParams { temperature: 0.0, ..Default::default() };
        assert_eq!(draw(greedy, &[2], &[0.5]).0, [3]);
        assert_eq!(draw(greedy, &[], &[0.5]).0, [2]);
    }

    #[test]
    fn top_k_and_top_p_keep_the_likeliest() {
        // In order: 2 (0.4), 3 (0.3), 1 (0.2), 0 (0.1). The two likeliest weigh 4/7 and 3/7 = 0.571, 0.429.
        let two = SamplingParams { top_k: 2, ..Default::default() };
        let (ids, logprobs) = draw(two, &[], &[0.01, 0.57, 0.58, 0.999]);
        assert_eq!(ids, [2, 2, 3, 3]);
        assert!((logprobs[0] - 0.4f32.ln()).abs() < 1e-6, "of the unfiltered distribution");
        // 0.4 + 0.3 do not reach 0.75, so the third stays: cuts at 0.4/0.9 = 0.444 and 0.7/0.9 = 0.778.
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
