//! Whether the keys of a data file in a scenario fit one another.

use crate::error::ScenarioError;
use crate::holdout::Holdout;
use crate::source::{AnswerType, DataFormat, FileSource};

/// Checks that the keys fit one another.
///
/// Errors: a key has no meaning with the format, is out of range, or needs another.
pub(crate) fn check_keys(source: &FileSource) -> Result<(), ScenarioError> {
    let table = source.format == DataFormat::Table;
    let open = table || source.format == DataFormat::Chat;
    for (key, is_set, has_meaning) in [
        ("columns", !source.columns.is_default(), table),
        ("choice_separator", source.choice_separator.is_some(), table),
        ("answer_is", source.answer_is.is_some(), table),
        ("answer_base", source.answer_base.is_some(), table),
        ("answer_type", source.answer_type.is_some(), open),
        ("tolerance", source.tolerance.is_some(), open && source.answer_type == Some(AnswerType::Number)),
    ] {
        if is_set && !has_meaning {
            let instead = match key {
                "tolerance" => "leave it out, or set answer_type = \"number\" and format = \"table\"",
                _ => "leave it out, or set format = \"table\"",
            };
            let problem = format!("`{key}` has no meaning with format = \"{}\"", source.format.name());
            return Err(ScenarioError::value(problem, instead));
        }
    }
    if source.answer_base.is_some_and(|base| base > 1) {
        return Err(ScenarioError::value("`answer_base` is neither 0 nor 1", "write 0 or 1"));
    }
    if source.tolerance.is_some_and(|tolerance| !(tolerance.is_finite() && tolerance >= 0.0)) {
        return Err(ScenarioError::value("`tolerance` is not a number from 0 on", "write 0 or more"));
    }
    Holdout::of(source).map(drop)
}
