//! What the optimizer trains on in a GRPO step.

use std::ops::Range;
use std::sync::Arc;

use model::{Completion, Group, Prompt};
use serde::{Deserialize, Serialize};

use crate::fit::Divide;
use crate::grpo_settings::GrpoSettings;

/// The completions of one prompt, with their advantages, for a GRPO step.
#[derive(Clone, Serialize, Deserialize)]
pub struct TrainGroup {
    /// The prompt, with its audio features.
    pub prompt: Prompt,
    /// The sampled completions, with their log-probabilities at sampling.
    pub completions: Vec<Completion>,
    /// One advantage per completion.
    pub advantages: Vec<f64>,
    /// What is added for the first token of each completion; empty if nothing is.
    pub mode_advantages: Vec<f64>,
    /// For each completion, the number of tokens at its beginning that belong to the thinking.
    pub think_tokens: Vec<usize>,
}

/// The target completions of one prompt, for a supervised step.
#[derive(Clone, Serialize, Deserialize)]
pub struct SftGroup {
    /// The prompt, with its audio features.
    pub prompt: Prompt,
    /// Token ids of each target, including the end token.
    pub targets: Vec<Vec<i64>>,
}

/// The groups of a GRPO step.
#[derive(Clone)]
pub struct GrpoBatch {
    /// The groups to train on.
    pub groups: Vec<TrainGroup>,
    /// How they are trained on.
    pub settings: Arc<GrpoSettings>,
    /// The KL divergence that was subtracted from the rewards, if it was.
    pub sampled_kl: Option<SampledKl>,
}

/// The completions whose KL divergence to the reference policy is measured.
#[derive(Clone)]
pub struct SampledKlQuery {
    /// The completions by prompt.
    pub groups: Vec<TrainGroup>,
    /// How the step is taken.
    pub settings: Arc<GrpoSettings>,
}

/// The KL divergence to the reference policy of the completions of a step, from their log-probabilities at sampling.
#[derive(Clone, Debug, PartialEq)]
pub struct SampledKl {
    /// By completion, the sum over its tokens.
    pub sums: Vec<f64>,
    /// The mean over all tokens.
    pub mean: f64,
    /// The weight with which the sums are subtracted from the rewards.
    pub coefficient: f64,
}

impl Divide for TrainGroup {
    fn completions(&self) -> usize {
        self.completions.len()
    }

    fn part(&self, completions: Range<usize>) -> Self {
        let of_modes = self.mode_advantages.get(completions.clone()).unwrap_or_default();
        TrainGroup {
            prompt: self.prompt.clone(),
            mode_advantages: of_modes.to_vec(),
            advantages: self.advantages[completions.clone()].to_vec(),
            think_tokens: self.think_tokens[completions.clone()].to_vec(),
            completions: self.completions[completions].to_vec(),
        }
    }
}

impl Divide for SftGroup {
    fn completions(&self) -> usize {
        self.targets.len()
    }

    fn part(&self, completions: Range<usize>) -> Self {
        SftGroup { prompt: self.prompt.clone(), targets: self.targets[completions].to_vec() }
    }
}

impl SftGroup {
    /// This group in the form that the policy takes.
    pub(crate) fn packed(&self) -> Group<'_> {
        Group { prompt: &self.prompt, completions: self.targets.iter().map(Vec::as_slice).collect() }
    }
}

/// Groups in the form that the policy takes.
pub(crate) fn packed(groups: &[TrainGroup]) -> Vec<Group<'_>> {
    groups
        .iter()
        .map(|group| Group {
            prompt: &group.prompt,
            completions: group.completions.iter().map(|completion| completion.ids.as_slice()).collect(),
        })
        .collect()
}
