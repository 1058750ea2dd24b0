//! Reading the optional files of a model directory.

use std::path::Path;

use crate::error::ModelError;

/// The text of a file; `None` if the file does not exist.
pub(super) fn read_if_present(path: &Path) -> Result<Option<String>, ModelError> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(ModelError::io(path, source)),
    }
}
