//! Entropy control by covariance: the tokens of a step that lower the entropy most.

use model::loss::{CovarianceControl, covariances, covariances_within, greatest_covariances};
use rand::Rng;
use runtime::seed::{Purpose, generator};

use crate::grpo_settings::CovarianceSettings;
use crate::micro_batch::trained_tokens;
use crate::train_group::TrainGroup;

/// The tokens that `settings` chooses: by completion of the step, their places in it. Log-probabilities are those at sampling.
pub(crate) fn covariant_tokens(
    groups: &[TrainGroup],
    settings: &CovarianceSettings,
    mask_truncated: bool,
    (seed, step): (u64, u64),
) -> Vec<Vec<usize>> {
    let (mut tokens, mut places) = (Vec::new(), Vec::new());
    let mut completions = 0;
    for group in groups {
        for (completion, advantage) in group.completions.iter().zip(&group.advantages) {
            let trained = trained_tokens(completion, mask_truncated) > 0;
            for (token, logprob) in completion.logprobs.iter().enumerate() {
                if trained && !completion.forced.contains(&token) {
                    tokens.push((f64::from(*logprob), *advantage));
                    places.push((completions, token));
                }
            }
            completions += 1;
        }
    }
    let found = covariances(&tokens);
    let chosen = match settings.control {
        CovarianceControl::Kl { .. } => greatest_covariances(&found, settings.fraction),
        CovarianceControl::Clip => {
            let mut random = generator(seed, Purpose::Covariance, &[step]);
            covariances_within(&found, settings.range, settings.fraction, |below| {
                random.random_range(0..below)
            })
        }
    };
    let mut by_completion = vec![Vec::new(); completions];
    for place in chosen {
        let (completion, token) = places[place];
        by_completion[completion].push(token);
    }
    by_completion
}
