//! The forward and backward passes of a GRPO step, micro-batch by micro-batch.
//!
//! - `OPT-2` the gradients of the micro-batches add up to the gradient of the whole step.

use std::borrow::Cow;

use model::loss::{EntropyInputs, KlEstimator, LossInputs, LossMetrics, entropy_threshold, grpo_loss};
use model::{Entropies, ModelError, Policy};
use tch::{Kind, Tensor};

use crate::error::WorkerError;
use crate::fit::{Divide, Fit};
use crate::grpo_share::{GrpoShare, PassSettings};
use crate::micro_batch::{MicroBatch, token_mask};
use crate::peaks::Peaks;
use crate::ranks::Peers;
use crate::ratios::SamplingRatios;
use crate::train_group::{SampledKl, TrainGroup, packed};

/// The tokens that the policy loss acts on: those with at least this entropy.
#[derive(Clone, Copy)]
struct HighEntropy {
    threshold: f64,
    /// Their number in the whole step.
    tokens: usize,
}

/// Where a micro-batch is in its step.
#[derive(Clone, Copy)]
struct Place {
    index: usize,
    /// Number of completions before it.
    first: usize,
}

/// The passes of one step over a share of its groups.
pub(crate) struct GrpoPass<'a> {
    policy: &'a Policy,
    reference: Option<&'a Policy>,
    groups: &'a [TrainGroup],
    share: &'a GrpoShare,
    /// By micro-batch, the log-probabilities at the beginning of the step, which the ratio compares with if stale
    /// completions are weighted.
    beginning: Vec<Tensor>,
    /// The ratios at the beginning of the step, if they are measured.
    ratios: SamplingRatios,
}

impl<'a> GrpoPass<'a> {
    pub(crate) fn new(
        policy: &'a Policy,
        reference: Option<&'a Policy>,
        groups: &'a [TrainGroup],
        share: &'a GrpoShare,
    ) -> Self {
        let ratios = SamplingRatios::default();
        GrpoPass { policy, reference, groups, share, beginning: Vec::new(), ratios }
    }

    /// The ratios to the policy that sampled, at the beginning of the step; without tokens if they are not measured.
    pub(crate) fn ratios(&self) -> SamplingRatios {
        self.ratios
    }

    /// Sets the gradients of the policy to those of the share, whose micro-batches become smaller if memory does not suffice.
    /// `zero_grad` forgets gradients; `dropout_seed` is called with the index of a micro-batch within the step.
    pub(crate) fn backward(
        &mut self,
        fit: &mut Fit,
        mut zero_grad: impl FnMut(),
        dropout_seed: impl Fn(usize) -> u64,
        peaks: &mut Peaks,
        peers: Option<&mut Peers<'_>>,
    ) -> Result<LossMetrics, WorkerError> {
        let (groups, share) = (self.groups, self.share);
        let seed_of = |index: usize| dropout_seed(share.first_micro_batch + index);
        let masked = share.settings.entropy_top_fraction < 1.0;
        // The threshold of all ranks is found once: the others wait for it.
        let of_all = match peers {
            Some(peers) if masked => Some(self.high_entropy_of_all(fit, seed_of, peers)?),
            _ => None,
        };
        let is_first = self.beginning.is_empty();
        fit.run(groups, |parts| {
            zero_grad();
            match is_first {
                true => {
                    self.beginning.clear();
                    self.ratios = SamplingRatios::default();
                }
                false => self.beginning = cut_again(&self.beginning, parts),
            }
            let high = match of_all {
                Some(high) => high,
                // With one micro-batch its own forward pass has the entropies of the whole step.
                None if masked && parts.len() > 1 => {
                    let found = self.entropies(parts, seed_of)?;
                    high_entropy(&found, share.settings.entropy_top_fraction)?
                }
                None => None,
            };
            let (mut metrics, mut first) = (LossMetrics::default(), 0);
            for (index, part) in parts.iter().enumerate() {
                let place = Place { index, first };
                first += part.iter().map(Divide::completions).sum::<usize>();
                metrics.merge(&self.micro_batch_backward(part, place, seed_of(index), high, peaks)?);
            }
            Ok(metrics)
        })
    }

    fn micro_batch_backward(
        &mut self,
        groups: &[TrainGroup],
        Place { index, first }: Place,
        dropout_seed: u64,
        high: Option<HighEntropy>,
        peaks: &mut Peaks,
    ) -> Result<LossMetrics, ModelError> {
        let GrpoShare { settings, normalizer, covariant, .. } = self.share;
        let packed = packed(groups);
        let reference = match self.reference {
            Some(reference) => Some(reference.logprobs(&packed, settings.temperature)?.logprobs),
            None => None,
        };
        let entropies = settings.entropies();
        let current =
            self.policy.forward_with_entropies(&packed, settings.temperature, dropout_seed, entropies)?;
        peaks.forward_ended();
        let batch = settings.micro_batch(groups, &current);
        let mask = current.mask.logical_and(&batch.trained);

        if settings.correction.is_some() && self.beginning.len() == index {
            let beginning = current.logprobs.detach();
            if settings.measure_ratios {
                self.ratios.add(&SamplingRatios::of(&beginning, &batch.sampled, &mask)?);
            }
            self.beginning.push(beginning);
        }
        let beginning = self.beginning.get(index);
        let correction = settings
            .correction
            .zip(beginning)
            .map(|(correction, beginning)| correction.weights(beginning, &batch.sampled, &mask));

        let high = match (high, &current.entropies) {
            (None, Some(entropies)) if settings.entropy_top_fraction < 1.0 => {
                high_entropy(&[(entropies.detach(), mask.shallow_clone())], settings.entropy_top_fraction)?
            }
            (high, _) => high,
        };
        let kept = match (high, &current.entropies) {
            (Some(high), Some(entropies)) => Some(entropies.detach().ge(high.threshold).logical_and(&mask)),
            _ => None,
        };
        let entropy = current.entropies.as_ref().map(|entropies| EntropyInputs {
            entropies,
            kept: kept.as_ref(),
            kept_tokens: high.map_or(normalizer.tokens, |high| high.tokens),
            think: Some(&batch.think),
        });
        let covariant = (!covariant.is_empty()).then(|| {
            let [rows, longest] = [0, 1].map(|dim| current.logprobs.size()[dim] as usize);
            token_mask(&covariant[first..first + rows], longest, current.logprobs.device())
        });
        let inputs = LossInputs {
            logprobs: &current.logprobs,
            old_logprobs: Some(beginning.unwrap_or(&batch.sampled)),
            sampling_logprobs: Some(&batch.sampled),
            correction: correction.as_ref(),
            covariant: covariant.as_ref(),
            entropy,
            ref_logprobs: reference.as_ref(),
            advantages: &batch.advantages,
            mask: &mask,
            normalizer: *normalizer,
        };
        let outputs = grpo_loss(&inputs, &settings.config);
        current.backward(&outputs.loss)?;
        peaks.backward_ended();
        #[cfg(test)]
        crate::fit::exhaust_above(
            groups.iter().flat_map(|group| &group.completions).map(|each| each.ids.len()).sum(),
        );
        Ok(outputs.metrics)
    }

    /// The entropies of all tokens of the share, with their masks, by micro-batch; computed without gradients.
    fn entropies(
        &self,
        parts: &[Cow<'_, [TrainGroup]>],
        dropout_seed: impl Fn(usize) -> u64,
    ) -> Result<Vec<(Tensor, Tensor)>, ModelError> {
        let settings = &self.share.settings;
        let mut found = Vec::new();
        for (index, groups) in parts.iter().enumerate() {
            let _guard = tch::no_grad_guard();
            let current = self.policy.forward_with_entropies(
                &packed(groups),
                settings.temperature,
                dropout_seed(index),
                Entropies::Measured,
            )?;
            let mask = current.mask.logical_and(&settings.micro_batch(groups, &current).trained);
            found.extend(current.entropies.as_ref().map(|entropies| (entropies.shallow_clone(), mask)));
        }
        Ok(found)
    }

    /// The threshold of the tokens of all ranks.
    fn high_entropy_of_all(
        &self,
        fit: &mut Fit,
        dropout_seed: impl Fn(usize) -> u64,
        peers: &mut Peers<'_>,
    ) -> Result<Option<HighEntropy>, WorkerError> {
        let GrpoShare { settings, tokens_before, normalizer, .. } = self.share;
        let found = fit.run(self.groups, |parts| self.entropies(parts, &dropout_seed))?;
        let own: Vec<Tensor> = found.iter().map(|(entropies, mask)| entropies.masked_select(mask)).collect();
        let all = peers.gather(&own, *tokens_before, normalizer.tokens)?;
        let mask = all.ones_like().to_kind(Kind::Bool);
        Ok(high_entropy(&[(all, mask)], settings.entropy_top_fraction)?)
    }
}

/// The rows of some micro-batches, distributed to those that are made now.
///
/// Shapes: `[N, T]` each, where `T` is the length of the longest completion of a micro-batch
fn cut_again(rows: &[Tensor], parts: &[Cow<'_, [TrainGroup]>]) -> Vec<Tensor> {
    if rows.len() == parts.len() {
        return rows.iter().map(Tensor::shallow_clone).collect();
    }
    let longest = rows.iter().map(|part| part.size()[1]).max().unwrap_or(0);
    let padded: Vec<Tensor> =
        rows.iter().map(|part| part.constant_pad_nd([0, longest - part.size()[1]])).collect();
    let (all, mut first) = (Tensor::cat(&padded, 0), 0);
    let cut = |part: &Cow<'_, [TrainGroup]>| {
        let lengths = part.iter().flat_map(|group| &group.completions).map(|each| each.ids.len() as i64);
        let (count, longest) = (lengths.clone().count() as i64, lengths.max().unwrap_or(0));
        first += count;
        all.narrow(0, first - count, count).narrow(1, 0, longest)
    };
    parts.iter().map(cut).collect()
}

/// The threshold of some entropies under their masks; `None` without a token.
fn high_entropy(found: &[(Tensor, Tensor)], fraction: f64) -> Result<Option<HighEntropy>, ModelError> {
    let mut all = Vec::new();
    for (entropies, mask) in found {
        all.extend(Vec::<f64>::try_from(entropies.masked_select(mask).to_kind(Kind::Double))?);
    }
    let Some(threshold) = entropy_threshold(&mut all, fraction) else { return Ok(None) };
    let count = |(entropies, mask): &(Tensor, Tensor)| {
        entropies.ge(threshold).logical_and(mask).sum(Kind::Int64).int64_value(&[]) as usize
    };
    Ok(Some(HighEntropy { threshold, tokens: found.iter().map(count).sum() }))
}

/// The KL divergence to the reference policy of completions, from their log-probabilities at sampling.
pub(crate) fn sampled_kl(
    reference: &Policy,
    parts: &[Cow<'_, [TrainGroup]>],
    settings: &PassSettings,
    coefficient: f64,
) -> Result<SampledKl, ModelError> {
    let (mut sums, mut tokens) = (Vec::new(), 0);
    for groups in parts {
        let found = reference.logprobs(&packed(groups), settings.temperature)?;
        let longest = found.logprobs.size()[1] as usize;
        let batch = MicroBatch::new(groups, longest, false, found.logprobs.device());
        let mask = found.mask.logical_and(&batch.trained);
        let gap = (found.logprobs.to_kind(Kind::Double) - batch.sampled.to_kind(Kind::Double))
            .masked_fill(&mask.logical_not(), 0.0);
        let kl = match settings.config.kl_estimator {
            KlEstimator::K1 => -gap,
            KlEstimator::K2 => gap.square() * 0.5,
            KlEstimator::K3 => gap.exp() - gap - 1.0,
        };
        sums.extend(Vec::<f64>::try_from(kl.sum_dim_intlist([-1].as_slice(), false, None))?);
        tokens += mask.sum(Kind::Int64).int64_value(&[]);
    }
    let mean = sums.iter().sum::<f64>() / tokens.max(1) as f64;
    Ok(SampledKl { sums, mean, coefficient })
}

#[cfg(test)]
mod tests {
    use model::{Completion, Finish, Prompt};

    use super::*;

    #[test]
    fn the_beginning_of_a_step_follows_its_completions_into_smaller_micro_batches() {
        let completion = |length: usize| Completion {
            ids: vec![1; length],
            logprobs: vec![0.0; length],
            forced: 0..0,
            finish: Finish::Eos,
        };
        let group = |lengths: &[usize]| TrainGroup {
            prompt: Prompt { ids: vec![0], clips: Vec::new() },
            completions: lengths.iter().map(|&length| completion(length)).collect(),
            advantages: vec![0.0; lengths.len()],
            mode_advantages: Vec::new(),
            think_tokens: vec![0; lengths.len()],
        };
        let groups = [group(&[1, 2]), group(&[3])];
        let matrix = |rows: &[&[f32]]| {
            Tensor::cat(&rows.iter().map(|row| Tensor::from_slice(row).unsqueeze(0)).collect::<Vec<_>>(), 0)
        };
        // One micro-batch of three completions, of which the longest has three tokens.
        let all = matrix(&[&[-1.0, 0.0, 0.0], &[-2.0, -3.0, 0.0], &[-4.0, -5.0, -6.0]]);
        let [first, last] = [matrix(&[&[-1.0, 0.0], &[-2.0, -3.0]]), matrix(&[&[-4.0, -5.0, -6.0]])];
        let by_prompt = cut_again(&[all], &crate::fit::Portion::Prompts(1).parts(&groups));
        assert_eq!(by_prompt, [first, last]);
        let by_completion = cut_again(&by_prompt, &crate::fit::Portion::Completions(1).parts(&groups));
        let alone = [matrix(&[&[-1.0]]), matrix(&[&[-2.0, -3.0]]), matrix(&[&[-4.0, -5.0, -6.0]])];
        assert_eq!(by_completion, alone);
    }
}
