//! Reads the folder of recordings: its classes, the content of their files, and which of them are held out.

use std::fs;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::error::ScenarioError;
use crate::world::settings::Split;

/// A recording.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Recording {
    pub(super) path: PathBuf,
    /// SHA-256 of the file.
    pub(super) hash: [u8; 32],
}

/// The recordings of a class, each part in the order of their hashes.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Class {
    /// Name in questions and answers: that of its folder in lower case, with spaces for `_`.
    pub(super) name: String,
    train: Vec<Recording>,
    heldout: Vec<Recording>,
}

impl Class {
    /// The recordings of a part.
    pub(super) fn part(&self, split: Split) -> &[Recording] {
        match split {
            Split::Train => &self.train,
            Split::Heldout => &self.heldout,
        }
    }
}

/// The classes of a folder, in the order of their names.
///
/// Errors: The folder is missing or has fewer than two classes, a class has fewer than two recordings, or a name that cannot
/// be an answer.
pub(super) fn read(folder: &Path) -> Result<Vec<Class>, ScenarioError> {
    let wrong = |path: &Path, problem: String, instead: &str| ScenarioError::File {
        path: path.to_owned(),
        problem,
        instead: instead.into(),
    };
    if !folder.is_dir() {
        let instead = "set sounds in [data.recorded] to a folder with a subfolder of recordings per class";
        return Err(wrong(folder, "no such folder".into(), instead));
    }
    let mut classes: Vec<Class> = Vec::new();
    for path in entries(folder)?.into_iter().filter(|path| path.is_dir()) {
        let name = path.file_name().unwrap_or_default().to_string_lossy().to_lowercase().replace('_', " ");
        if !name.chars().all(|c| c.is_alphanumeric() || c == ' ' || c == '-' || c == '\'') {
            let problem = format!("the class \"{name}\" has a sign in its name");
            return Err(wrong(&path, problem, "rename the folder: letters, digits, spaces and hyphens"));
        }
        if classes.iter().any(|class| class.name == name) {
            let problem = format!("there are two classes named \"{name}\"");
            return Err(wrong(&path, problem, "rename one of the folders"));
        }
        let mut recordings = Vec::new();
        for path in entries(&path)?.into_iter().filter(|path| path.is_file()) {
            let content = fs::read(&path).map_err(|source| unreadable(&path, source))?;
            recordings.push(Recording { path, hash: Sha256::digest(content).into() });
        }
        // A recording that is there twice would be on both sides.
        recordings.sort_by_key(|recording| recording.hash);
        recordings.dedup_by(|one, other| one.hash == other.hash);
        if recordings.len() < 2 {
            let count = if recordings.is_empty() { "no recording" } else { "one recording" };
            let instead =
                "put at least two different ones into it, of which one is held out, or remove the folder";
            return Err(wrong(&path, format!("the class has {count}"), instead));
        }
        let held_out = (recordings.len() + 2) / 5;
        let train = recordings.split_off(held_out.max(1));
        classes.push(Class { name, train, heldout: recordings });
    }
    if classes.len() < 2 {
        let count = if classes.is_empty() { "no class" } else { "one class" };
        let instead = "put a subfolder with recordings into it for each of at least two classes";
        return Err(wrong(folder, format!("the folder has {count}"), instead));
    }
    classes.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(classes)
}

/// What is in a folder, in the order of the names, without hidden files.
fn entries(folder: &Path) -> Result<Vec<PathBuf>, ScenarioError> {
    let read = || -> std::io::Result<Vec<PathBuf>> {
        fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<Result<_, _>>()
    };
    let mut entries = read().map_err(|source| unreadable(folder, source))?;
    entries.retain(|path| !path.file_name().unwrap_or_default().to_string_lossy().starts_with('.'));
    entries.sort();
    Ok(entries)
}

fn unreadable(path: &Path, source: std::io::Error) -> ScenarioError {
    ScenarioError::Read { path: path.to_owned(), source, instead: "make it readable, or remove it" }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (path, content) in files {
            let path = folder.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        folder
    }

    #[test]
    fn a_fifth_of_each_class_is_held_out_and_at_least_one() {
        let files: Vec<(String, String)> = (0..12)
            .map(|number| (format!("Hi_Hat/{number}.wav"), format!("hat {number}")))
            .chain((0..2).map(|number| (format!("kick/{number}.wav"), format!("kick {number}"))))
            .collect();
        let files: Vec<(&str, &str)> =
            files.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
        let home = folder(
            &[&files[..], &[("kick/.hidden", ""), ("kick/copy.wav", "kick 0"), ("README", "")]].concat(),
        );
        let classes = read(home.path()).unwrap();
        let sizes = |class: &Class| (class.name.clone(), class.train.len(), class.heldout.len());
        // (12 + 2) / 5 = 2; (2 + 2) / 5 = 0, but at least one. The copy counts once.
        let expected = [("hi hat".to_owned(), 10, 2), ("kick".to_owned(), 1, 1)];
        assert_eq!(classes.iter().map(sizes).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn folders_that_make_no_world_are_refused() {
        let message = |files: &[(&str, &str)]| {
            let home = folder(files);
            let text = read(home.path()).unwrap_err().to_string();
            text.replace(&format!("{}", home.path().display()), "sounds")
        };
        assert!(message(&[("a.wav", "x")]).starts_with("sounds: the folder has no class; put a subfolder"));
        assert!(message(&[("dog/1", "x"), ("dog/2", "y")]).starts_with("sounds: the folder has one class"));
        assert!(
            message(&[("dog/1", "x"), ("cat/1", "y"), ("cat/2", "z")])
                .starts_with("sounds/dog: the class has one recording; put at least two different ones")
        );
        assert!(message(&[("a.b/1", "x")]).contains("has a sign in its name; rename the folder"));
        let missing = read(Path::new("/nowhere/sounds")).unwrap_err().to_string();
        assert!(
            missing.starts_with("/nowhere/sounds: no such folder; set sounds in [data.recorded]"),
            "{missing}"
        );
    }
}
