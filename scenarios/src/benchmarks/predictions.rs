//! Writes predictions into a benchmark's own rows, in the columns and the layout that its script reads.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::Path;

use serde_json::{Map, Value};

use crate::DataFormat;
use crate::FileSource;
use crate::error::ScenarioError;
use crate::formats::{self, raw_rows};

/// The columns that a script reads predictions from.
fn columns(format: DataFormat) -> &'static [&'static str] {
    match format {
        // The script reads the first, its README names the second.
        DataFormat::Mmau => &["model_output", "model_prediction"],
        DataFormat::Mmar => &["answer_prediction", "model_prediction"],
        DataFormat::AirBench | DataFormat::Mmsu => &["response"],
        DataFormat::MmauPro => &["model_output"],
        DataFormat::Avqa | DataFormat::AudioMcq | DataFormat::Table | DataFormat::Chat => &["prediction"],
    }
}

/// Whether the script skips rows without a prediction. Otherwise such rows are not written: AIR-Bench's script stops at one, and
/// those of MMSU and MMAU-Pro score it.
fn skips_rows_without_prediction(format: DataFormat) -> bool {
    matches!(format, DataFormat::Mmau | DataFormat::Mmar)
}

/// Whether the script reads a JSON array rather than one object per line.
fn is_array(format: DataFormat, out: &Path) -> bool {
    match format {
        DataFormat::Mmau => true,
        // The script decides by the name.
        DataFormat::Mmar => out.extension().is_some_and(|extension| extension == "json"),
        DataFormat::AirBench
        | DataFormat::Mmsu
        | DataFormat::MmauPro
        | DataFormat::Avqa
        | DataFormat::AudioMcq
        | DataFormat::Table
        | DataFormat::Chat => false,
    }
}

/// Writes the rows of `source` with their predictions, by the ids of the questions, to `out`, and returns the number of
/// predictions written. The published script of the benchmark then reads the file.
///
/// Errors: a file cannot be read or written, or a prediction is for an id that no row has.
pub fn write_predictions(
    source: &FileSource,
    predictions: &HashMap<String, String>,
    out: &Path,
) -> Result<usize, ScenarioError> {
    let format = source.format;
    if let DataFormat::Table | DataFormat::Chat = format {
        return write_by_id(predictions, out);
    }
    let mut rows = Vec::new();
    let mut written = HashSet::new();
    for mut row in raw_rows(&source.path)? {
        let id = formats::id(format, &row);
        match id.and_then(|id| predictions.get_key_value(&id)) {
            Some((id, prediction)) => {
                if !written.insert(id) {
                    // A repeated id is no question of the data set, so nobody predicted its answer.
                    continue;
                }
                for column in columns(format) {
                    row.insert((*column).to_owned(), as_read(format, prediction).into());
                }
                rows.push(row);
            }
            None if skips_rows_without_prediction(format) => {
                for column in columns(format) {
                    row.shift_remove(*column);
                }
                rows.push(row);
            }
            None => {}
        }
    }
    if let Some(id) = predictions.keys().filter(|id| !written.contains(id)).min() {
        let problem = format!("no row has the id `{id}`, for which there is a prediction");
        let instead = "give the file that the questions were read from".to_owned();
        return Err(ScenarioError::File { path: source.path.clone(), problem, instead });
    }
    write(out, &lines(&rows, is_array(format, out)))?;
    Ok(written.len())
}

/// Writes one object per prediction, for files of one's own, whose rows may lie in several files and have no ids.
fn write_by_id(predictions: &HashMap<String, String>, out: &Path) -> Result<usize, ScenarioError> {
    let mut rows: Vec<_> = predictions.iter().collect();
    rows.sort();
    let row = |(id, prediction): (&String, &String)| {
        [("id".to_owned(), id.clone().into()), ("prediction".to_owned(), prediction.clone().into())]
            .into_iter()
            .collect()
    };
    let rows: Vec<Map<String, Value>> = rows.into_iter().map(row).collect();
    write(out, &lines(&rows, false))?;
    Ok(rows.len())
}

fn write(out: &Path, text: &str) -> Result<(), ScenarioError> {
    let folder = out.parent().map_or(Ok(()), fs::create_dir_all);
    folder.and_then(|()| fs::write(out, text)).map_err(|error| ScenarioError::File {
        path: out.to_owned(),
        problem: format!("cannot be written: {error}"),
        instead: "write the path of a file in a folder that can be written".to_owned(),
    })
}

/// The prediction as it is written. MMSU's script scores an empty prediction, and the word `None`, with the letter of the row
/// before; a hyphen makes it leave the row out instead.
fn as_read(format: DataFormat, prediction: &str) -> &str {
    // What Python's `str.strip` removes.
    let space = |c: char| c.is_whitespace() || ('\x1c'..='\x1f').contains(&c);
    let bare = prediction.trim_matches(space).replace('\n', "");
    if format == DataFormat::Mmsu && (bare.is_empty() || bare == "None") { "-" } else { prediction }
}

fn lines(rows: &[Map<String, Value>], array: bool) -> String {
    let objects: Vec<String> = rows.iter().map(|row| Value::Object(row.clone()).to_string()).collect();
    if array {
        format!("[\n{}\n]\n", objects.join(",\n"))
    } else {
        objects.iter().map(|object| format!("{object}\n")).collect()
    }
}
