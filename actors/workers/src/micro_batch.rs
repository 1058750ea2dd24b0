//! The tensors of a micro-batch of sampled completions, in the layout of a forward pass.

use model::{Completion, Finish};
use tch::{Device, Kind, Tensor};

use crate::train_group::TrainGroup;

/// `N` completions, the longest of which has `T` tokens.
pub(crate) struct MicroBatch {
    /// `[N, T]`, f32: the log-probabilities at sampling, 0 for padding.
    pub(crate) sampled: Tensor,
    /// `[N, 1]` or `[N, T]`, bool: false for completions and tokens that are not trained on.
    pub(crate) trained: Tensor,
    /// `[N]`, f32; or `[N, T]` if first tokens have advantages of their own.
    pub(crate) advantages: Tensor,
    /// `[N, T]`, bool: the tokens of the thinking.
    pub(crate) think: Tensor,
}

/// `[N, T]`, bool: true at these tokens of the completions.
pub(crate) fn token_mask(places: &[Vec<usize>], longest: usize, device: Device) -> Tensor {
    let mut mask = vec![false; places.len() * longest];
    for (row, places) in places.iter().enumerate() {
        places.iter().for_each(|place| mask[row * longest + place] = true);
    }
    Tensor::from_slice(&mask).view([-1, longest as i64]).to_device(device)
}

/// Number of tokens of a completion that are trained on.
pub(crate) fn trained_tokens(completion: &Completion, mask_truncated: bool) -> usize {
    match mask_truncated && completion.finish == Finish::Length {
        true => 0,
        false => completion.ids.len() - completion.forced.len(),
    }
}

impl MicroBatch {
    pub(crate) fn new(groups: &[TrainGroup], longest: usize, mask_truncated: bool, device: Device) -> Self {
        let completions: Vec<&Completion> = groups.iter().flat_map(|group| &group.completions).collect();
        let think_tokens = groups.iter().flat_map(|group| &group.think_tokens);
        let mut sampled = vec![0f32; completions.len() * longest];
        let mut kept = vec![true; completions.len()];
        let mut think = vec![false; completions.len() * longest];
        for (row, completion) in completions.iter().enumerate() {
            sampled[row * longest..][..completion.logprobs.len()].copy_from_slice(&completion.logprobs);
            kept[row] = !(mask_truncated && completion.finish == Finish::Length);
        }
        for (row, &tokens) in think_tokens.enumerate() {
            think[row * longest..][..tokens.min(longest)].fill(true);
        }
        let matrix = |tensor: Tensor| tensor.view([-1, longest as i64]).to_device(device);
        let mut trained = Tensor::from_slice(&kept).view([-1, 1]).to_device(device);
        if completions.iter().any(|completion| !completion.forced.is_empty()) {
            let mut drawn = vec![true; completions.len() * longest];
            for (row, completion) in completions.iter().enumerate() {
                drawn[row * longest..][..longest][completion.forced.clone()].fill(false);
            }
            trained = trained.logical_and(&matrix(Tensor::from_slice(&drawn)));
        }
        let advantages: Vec<f64> = groups.iter().flat_map(|group| &group.advantages).copied().collect();
        let of_modes: Vec<f64> = groups.iter().flat_map(|group| &group.mode_advantages).copied().collect();
        let advantages = match of_modes.len() == advantages.len() && longest > 0 {
            true => {
                let each = advantages.iter().zip(&of_modes);
                let each: Vec<f64> = each
                    .flat_map(|(of_all, of_first)| {
                        std::iter::once(of_all + of_first).chain(std::iter::repeat_n(*of_all, longest - 1))
                    })
                    .collect();
                Tensor::from_slice(&each).view([-1, longest as i64])
            }
            false => Tensor::from_slice(&advantages),
        };
        MicroBatch {
            sampled: matrix(Tensor::from_slice(&sampled)),
            trained,
            advantages: advantages.to_kind(Kind::Float).to_device(device),
            think: matrix(Tensor::from_slice(&think)),
        }
    }
}
