//! The version of the format in which a row is written (FORMAT-1).

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// The format that this program writes. It rises when a reader of the one before could misread a row.
pub const FORMAT_VERSION: u64 = 1;

/// The `format_version` of a row. Written as [`FORMAT_VERSION`]; a row without it is of version 0, from before the
/// field existed, and is read; a newer one is an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, JsonSchema)]
#[schemars(with = "u64")]
pub struct FormatVersion(u64);

impl FormatVersion {
    /// The version that is written.
    pub const CURRENT: FormatVersion = FormatVersion(FORMAT_VERSION);

    /// The version of a row that does not name one.
    pub(crate) fn unnamed() -> Self {
        FormatVersion(0)
    }

    /// The version that a JSON object names, if it is newer than this program knows.
    pub(crate) fn newer_than_known(json: &[u8]) -> Option<u64> {
        #[derive(Deserialize)]
        struct Versioned {
            format_version: u64,
        }
        let version = serde_json::from_slice::<Versioned>(json).ok()?.format_version;
        (version > FORMAT_VERSION).then_some(version)
    }
}

impl Default for FormatVersion {
    fn default() -> Self {
        FormatVersion::CURRENT
    }
}

impl Serialize for FormatVersion {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(FORMAT_VERSION)
    }
}

impl<'de> Deserialize<'de> for FormatVersion {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let version = u64::deserialize(deserializer)?;
        if version > FORMAT_VERSION {
            return Err(de::Error::custom(format!(
                "written in format {version} by a newer sandbox; this one reads up to format {FORMAT_VERSION}"
            )));
        }
        Ok(FormatVersion(version))
    }
}
