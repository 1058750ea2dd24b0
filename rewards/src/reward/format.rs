//! Format reward R_f in {0, 1} (arXiv 2508.08039v3, a summand of Eq. 7): 1 for a well-formed completion, else 0. Both
//! modes, think and no-think, have their own form.
//!
//! The parser decides whether a completion is well-formed, see [`completion`](crate::completion). There are no options.

use serde::{Deserialize, Serialize};

use crate::{Reward, RewardBatch, RewardError, read_options};

/// The `kind` under which [`RewardRegistry::standard`](crate::RewardRegistry::standard) registers it.
pub const KIND: &str = "format";

/// The options of `format`: none, so that any option is refused.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FormatOptions {}

/// The format reward R_f.
#[derive(Clone, Debug, Default)]
pub struct Format;

impl Format {
    /// Builds the reward from its `[rewards.NAME]` table.
    ///
    /// Errors: There is an option.
    pub fn from_options(options: &toml::Table) -> Result<Self, RewardError> {
        read_options::<FormatOptions>(KIND, options)?;
        Ok(Self)
    }
}

impl Reward for Format {
    fn score(&mut self, batch: &RewardBatch) -> Result<Vec<Option<f64>>, RewardError> {
        Ok(batch.items.iter().map(|item| Some(f64::from(u8::from(item.parsed.well_formed)))).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{batch, broken_thought, direct, item, thought};

    #[test]
    fn either_valid_form_scores_one_and_anything_else_zero() {
        let items = vec![
            thought(0, "cat", None, None),
            direct(0, "dog"),
            broken_thought(1),
            item(1, "dog"),
            item(2, ""),
        ];
        let scores = Format.score(&batch(1, items)).unwrap();
        assert_eq!(scores, [1.0, 1.0, 0.0, 0.0, 0.0].map(Some));
    }
}
