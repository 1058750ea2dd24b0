//! The data files of a path: the file itself, or those of a folder as the Hub keeps data sets.

use std::path::{Path, PathBuf};

use super::delimited::extension;
use crate::error::ScenarioError;

/// Files with the rows of a folder of clips, which name them in the column `file_name`.
const METADATA: [&str; 5] =
    ["metadata.jsonl", "metadata.csv", "metadata.parquet", "metadata.json", "metadata.tsv"];

/// Extensions of files with rows.
const EXTENSIONS: [&str; 7] = ["parquet", "pq", "jsonl", "ndjson", "json", "csv", "tsv"];

/// Words at the beginning of the names of files that hold no rows.
const NO_ROWS: [&str; 3] = ["dataset_info", "dataset_infos", "state"];

/// The data files of a source, in the order in which they are read.
#[derive(Debug)]
pub(super) struct DataFiles {
    pub(super) paths: Vec<PathBuf>,
    /// The folder that the paths of clips are relative to, unless the source says otherwise.
    pub(super) root: PathBuf,
}

/// Finds the data files of a path: of a folder its `metadata` file, or the shards of a split in it or in its `data`.
///
/// Errors: the folder cannot be read, has no data files, or has several splits of which none was chosen.
pub(super) fn files(path: &Path, split: Option<&str>) -> Result<DataFiles, ScenarioError> {
    let fail = |problem: String, instead: String| {
        Err(ScenarioError::File { path: path.to_owned(), problem, instead })
    };
    if !path.is_dir() {
        if split.is_some() {
            return fail(
                "a file has no splits".into(),
                "leave `split` out, or write the folder in `path`".into(),
            );
        }
        let root = path.parent().unwrap_or(Path::new("")).to_owned();
        return Ok(DataFiles { paths: vec![path.to_owned()], root });
    }
    // A folder of clips may have a folder per split.
    let folders = split.map(|split| path.join(split)).into_iter().chain([path.to_owned()]);
    for folder in folders {
        let found = METADATA.iter().map(|name| folder.join(name)).find(|file| file.is_file());
        if let Some(file) = found {
            return Ok(DataFiles { paths: vec![file], root: folder });
        }
    }
    let mut shards = shards(path)?;
    let data = path.join("data");
    if shards.is_empty() && data.is_dir() {
        shards = self::shards(&data)?;
    }
    let mut splits: Vec<&str> = shards.iter().map(|(split, _)| split.as_str()).collect();
    splits.dedup();
    let listed = splits.iter().map(|split| format!("\"{split}\"")).collect::<Vec<_>>().join(", ");
    let chosen = match (split, splits.as_slice()) {
        (_, []) => {
            let problem =
                "the folder has no metadata.jsonl and no files of rows (.parquet, .jsonl, .json, .csv)";
            return fail(
                problem.into(),
                "write the path of a data file, or of the folder that has them".into(),
            );
        }
        (None, [only]) => (*only).to_owned(),
        (None, several) if several.contains(&"train") && several.len() == 1 => "train".to_owned(),
        (None, _) => {
            return fail(format!("the folder has the splits {listed}"), "set split to one of them".into());
        }
        (Some(split), splits) if splits.contains(&split) => split.to_owned(),
        (Some(split), _) => {
            return fail(format!("the folder has no split \"{split}\""), format!("set split to {listed}"));
        }
    };
    let paths = shards.into_iter().filter(|(split, _)| *split == chosen).map(|(_, path)| path).collect();
    Ok(DataFiles { paths, root: path.to_owned() })
}

/// The data files of a folder and the split of each, by name.
fn shards(folder: &Path) -> Result<Vec<(String, PathBuf)>, ScenarioError> {
    let entries = std::fs::read_dir(folder).map_err(super::bytes::unreadable(folder))?;
    let mut shards: Vec<(String, PathBuf)> = entries
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.is_file() && EXTENSIONS.contains(&extension(path).as_str()))
        .map(|path| (split_of(&path), path))
        .filter(|(split, _)| !NO_ROWS.contains(&split.as_str()))
        .collect();
    shards.sort();
    Ok(shards)
}

/// The split that a file's name states: `train` of `train-00000-of-00002.parquet`, `train-00000-of-00002-6a5b.parquet`,
/// `train_0.jsonl` or `train.csv`.
fn split_of(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let stem = name.split('.').next().unwrap_or_default();
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    for (at, sign) in stem.char_indices() {
        let next = stem[at + 1..].split(['-', '_']).next().unwrap_or_default();
        if matches!(sign, '-' | '_') && is_number(next) && at > 0 {
            return stem[..at].to_owned();
        }
    }
    stem.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_split_is_the_name_without_the_number_of_the_shard() {
        for (name, split) in [
            ("train-00000-of-00002.parquet", "train"),
            ("train-00001-of-00002-6a5b.parquet", "train"),
            ("test_mini-00000-of-00001.parquet", "test_mini"),
            ("train_0.jsonl", "train"),
            ("validation.csv.gz", "validation"),
            ("0001.parquet", "0001"),
        ] {
            assert_eq!(split_of(Path::new(name)), split, "{name}");
        }
    }

    #[test]
    fn a_split_of_shards_is_chosen_or_asked_for() {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        std::fs::create_dir(&data).unwrap();
        for name in
            ["train-00001-of-00002.parquet", "train-00000-of-00002.parquet", "test-00000-of-00001.parquet"]
        {
            std::fs::write(data.join(name), "").unwrap();
        }
        let names = |split| {
            let found = files(folder.path(), split).map_err(|error| error.to_string())?;
            assert_eq!(found.root, folder.path());
            Ok(found
                .paths
                .iter()
                .map(|path| path.file_name().unwrap().to_string_lossy().into_owned())
                .collect())
        };
        let expected = ["train-00000-of-00002.parquet", "train-00001-of-00002.parquet"].map(str::to_owned);
        assert_eq!(names(Some("train")), Ok(expected.to_vec()));
        let message = |found: Result<Vec<String>, String>| found.unwrap_err();
        assert!(
            message(names(None))
                .ends_with("the folder has the splits \"test\", \"train\"; set split to one of them")
        );
        assert!(message(names(Some("dev"))).ends_with("no split \"dev\"; set split to \"test\", \"train\""));
        // The metadata of a folder of clips comes first.
        std::fs::write(folder.path().join("metadata.csv"), "").unwrap();
        assert_eq!(names(None), Ok(vec!["metadata.csv".to_owned()]));
    }

    #[test]
    fn a_folder_without_rows_and_a_file_with_a_split_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("dataset_info.json"), "{}").unwrap();
        let message = files(folder.path(), None).unwrap_err().to_string();
        assert!(message.contains("the folder has no metadata.jsonl and no files of rows"), "{message}");
        let file = folder.path().join("dataset_info.json");
        let message = files(&file, Some("train")).unwrap_err().to_string();
        assert!(
            message.ends_with("a file has no splits; leave `split` out, or write the folder in `path`"),
            "{message}"
        );
    }
}
