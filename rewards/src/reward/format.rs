//! Format R_f in {0, 1}: 1 for either valid form, else 0.
//!
//! What is valid is the parser's to say, see [`completion`](crate::completion). No options.

use serde::{Deserialize, Serialize};

use crate::{Reward, RewardBatch, RewardError, read_options};

/// The name in a scenario.
pub const KIND: &str = "format";

/// `format` takes no options.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FormatOptions {}

/// R_f.
#[derive(Clone, Debug, Default)]
pub struct Format;

impl Format {
    /// # Errors
    /// There is an option: it takes none.
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
