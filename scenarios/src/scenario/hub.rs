//! Models by their name on the Hugging Face Hub, such as `Qwen/Qwen2-Audio-7B-Instruct`, found in the local cache of
//! downloads. Nothing is fetched.
//!
//! ```text
//! models--Qwen--Qwen2-Audio-7B-Instruct/
//!   refs/main              the commit of a branch or tag
//!   snapshots/COMMIT/      the files of a commit, each a link to a file in blobs/
//! ```
//!
//! - HUB-1 a folder of that name comes first; the cache is only searched if there is none.
//! - HUB-2 a model that was downloaded in part is refused with the name of a file that is missing.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::error::ScenarioError;

/// The branch that a name without a revision means.
const MAIN: &str = "main";

/// A model on the Hub: `ORG/NAME` or `ORG/NAME@REVISION`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HubId {
    repo: String,
    revision: Option<String>,
}

impl HubId {
    /// The model that a text names; `None` if it can only be a path.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (repo, revision) = match text.split_once('@') {
            Some((repo, revision)) => (repo, Some(revision)),
            None => (text, None),
        };
        let (org, name) = repo.split_once('/')?;
        let is_revision = |revision: &str| revision.split('/').all(is_word);
        if !is_word(org) || !is_word(name) || !revision.is_none_or(is_revision) {
            return None;
        }
        Some(Self { repo: repo.to_owned(), revision: revision.map(str::to_owned) })
    }

    /// The snapshot of the model in a cache.
    ///
    /// Errors: [`ScenarioError::Value`]: it is not there; the message has the command that fetches it.
    pub(crate) fn find(&self, cache: &Path) -> Result<PathBuf, ScenarioError> {
        let name = format!("models--{}", self.repo.replace('/', "--"));
        let folder = cache.join(&name);
        if !folder.is_dir() {
            let problem = format!("the Hugging Face cache {} has no {name}", cache.display());
            return Err(ScenarioError::value(problem, self.fetch()));
        }
        let revision = self.revision.as_deref().unwrap_or(MAIN);
        let snapshots = folder.join("snapshots");
        let recorded = fs::read_to_string(folder.join("refs").join(revision));
        let commit = recorded.map_or_else(|_| revision.to_owned(), |commit| commit.trim().to_owned());
        let snapshot = snapshots.join(&commit);
        if is_word(&commit) && snapshot.is_dir() {
            return Ok(snapshot);
        }
        let there = match file_names(&snapshots) {
            names if names.is_empty() => String::new(),
            names => format!(" (it has {})", names.join(", ")),
        };
        let problem = format!("{} has no revision `{revision}`{there}", folder.display());
        Err(ScenarioError::value(problem, self.fetch()))
    }

    /// Checks that the files of a snapshot are there; those of the weights only if they are needed.
    ///
    /// Errors: [`ScenarioError::Value`] with the first file that is missing.
    pub(crate) fn check_whole(&self, snapshot: &Path, with_weights: bool) -> Result<(), ScenarioError> {
        let missing = |what: String| {
            let problem = format!("the download {} is incomplete: {what}", snapshot.display());
            Err(ScenarioError::value(problem, self.fetch()))
        };
        let names = file_names(snapshot);
        let is_weights = |name: &&String| name.ends_with(".safetensors");
        for name in names.iter().filter(|name| with_weights || !is_weights(name)) {
            let file = snapshot.join(name);
            if !file.exists() {
                let blob = fs::read_link(&file).unwrap_or_default();
                return missing(format!("{name} is a link to {}, which is not there", blob.display()));
            }
        }
        if !names.iter().any(|name| name == "config.json") {
            return missing("config.json is missing".to_owned());
        }
        if !with_weights {
            return Ok(());
        }
        let shards = shards(&snapshot.join("model.safetensors.index.json"));
        if let Some(shard) = shards.iter().find(|shard| !names.contains(shard)) {
            return missing(format!("the shard {shard} is missing"));
        }
        if !names.iter().any(|name| is_weights(&name)) {
            return missing("there are no weights (*.safetensors)".to_owned());
        }
        Ok(())
    }

    /// What to do about a model that is not there.
    fn fetch(&self) -> String {
        let revision =
            self.revision.iter().map(|revision| format!(" --revision {revision}")).collect::<String>();
        format!(
            "fetch it with `hf download {repo}{revision}` (`huggingface-cli download` in older versions)",
            repo = self.repo
        )
    }
}

/// A model's folder: `written` in `folder`, or else the snapshot of the model on the Hub that `written` names. If there
/// is neither, the path of the folder that is missing.
pub(crate) fn model_folder(written: &Path, folder: &Path, cache: &Path) -> PathBuf {
    let joined = folder.join(written);
    let there = std::path::absolute(&joined).unwrap_or(joined);
    if there.exists() {
        return there;
    }
    let snapshot = written.to_str().and_then(HubId::parse).and_then(|id| id.find(cache).ok());
    snapshot.map_or(there, |snapshot| std::path::absolute(&snapshot).unwrap_or(snapshot))
}

/// The folder in which the Hub's tools keep what they download, by their own environment variables.
pub(crate) fn cache() -> PathBuf {
    cache_by(|name| std::env::var_os(name).filter(|value| !value.is_empty()))
}

fn cache_by(variable: impl Fn(&str) -> Option<OsString>) -> PathBuf {
    let hub = variable("HF_HUB_CACHE").or_else(|| variable("HUGGINGFACE_HUB_CACHE"));
    if let Some(hub) = hub {
        return hub.into();
    }
    let home = variable("HF_HOME").map(PathBuf::from).unwrap_or_else(|| {
        let home = || Path::new(&variable("HOME").unwrap_or_default()).join(".cache");
        variable("XDG_CACHE_HOME").map_or_else(home, PathBuf::from).join("huggingface")
    });
    home.join("hub")
}

/// Whether a text may be a part of a name on the Hub. It is never `.` or `..`.
fn is_word(text: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    !text.is_empty() && !text.starts_with('.') && text.chars().all(allowed)
}

/// The names in a folder, sorted; none if it cannot be read.
fn file_names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten();
    let mut names: Vec<String> =
        entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect();
    names.sort();
    names
}

/// The files of weights that an index names; none if there is no index or it cannot be read, which opening the model
/// reports.
fn shards(index: &Path) -> Vec<String> {
    let index: Value =
        fs::read(index).ok().and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default();
    let files = index["weight_map"].as_object().into_iter().flatten();
    let mut shards: Vec<String> = files.filter_map(|(_, file)| file.as_str().map(str::to_owned)).collect();
    shards.sort();
    shards.dedup();
    shards
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMMIT: &str = "0a1b2c3d4e5f60718293a4b5c6d7e8f901234567";

    /// A cache with one model of two shards, as the Hub's tools write it.
    fn fake() -> (tempfile::TempDir, PathBuf) {
        let cache = tempfile::tempdir().unwrap();
        let model = cache.path().join("models--Qwen--Qwen2-Audio-7B-Instruct");
        let snapshot = model.join("snapshots").join(COMMIT);
        for folder in ["blobs", "refs"] {
            fs::create_dir_all(model.join(folder)).unwrap();
        }
        fs::create_dir_all(&snapshot).unwrap();
        fs::write(model.join("refs/main"), format!("{COMMIT}\n")).unwrap();
        let index = r#"{"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}}"#;
        let files = [
            ("config.json", "{}"),
            ("model.safetensors.index.json", index),
            ("model-1.safetensors", "1"),
            ("model-2.safetensors", "2"),
        ];
        for (name, text) in files {
            fs::write(model.join("blobs").join(format!("blob-of-{name}")), text).unwrap();
            std::os::unix::fs::symlink(format!("../../blobs/blob-of-{name}"), snapshot.join(name)).unwrap();
        }
        (cache, snapshot)
    }

    fn id(text: &str) -> HubId {
        HubId::parse(text).unwrap()
    }

    #[test]
    fn a_name_has_two_parts_and_maybe_a_revision() {
        assert_eq!(id("Qwen/Qwen3-8B").revision, None);
        assert_eq!(id("a/b@refs/pr/1").revision.as_deref(), Some("refs/pr/1"));
        for path in ["models", "../models/x", "./x", "a/b/c", "/a/b", "a/", "a/b@", "a/b@../../x", "~/x y"] {
            assert_eq!(HubId::parse(path), None, "{path}");
        }
    }

    #[test]
    fn a_branch_and_a_commit_name_a_snapshot() {
        let (cache, snapshot) = fake();
        for name in ["", "@main", &format!("@{COMMIT}")] {
            let found = id(&format!("Qwen/Qwen2-Audio-7B-Instruct{name}")).find(cache.path()).unwrap();
            assert_eq!(found, snapshot);
            id("Qwen/Qwen2-Audio-7B-Instruct").check_whole(&found, true).unwrap();
        }
    }

    #[test]
    fn what_is_not_there_is_named_with_the_command_that_fetches_it() {
        let (cache, _) = fake();
        let error = |name: &str| id(name).find(cache.path()).unwrap_err().to_string();
        let here = cache.path().display();
        assert_eq!(
            error("Qwen/Qwen3-8B"),
            format!(
                "the Hugging Face cache {here} has no models--Qwen--Qwen3-8B; fetch it with `hf download Qwen/Qwen3-8B` \
                 (`huggingface-cli download` in older versions)"
            )
        );
        let wrong = error("Qwen/Qwen2-Audio-7B-Instruct@v2");
        assert!(wrong.contains(&format!("has no revision `v2` (it has {COMMIT})")), "{wrong}");
        assert!(wrong.contains("`hf download Qwen/Qwen2-Audio-7B-Instruct --revision v2`"), "{wrong}");
    }

    // HUB-2
    #[test]
    fn every_file_that_an_incomplete_download_lacks_is_noticed() {
        let audio = id("Qwen/Qwen2-Audio-7B-Instruct");
        let lacking = |name: &str, blob_only: bool| {
            let (_cache, snapshot) = fake();
            let file = snapshot.join(name);
            let gone = if blob_only { file.canonicalize().unwrap() } else { file };
            fs::remove_file(gone).unwrap();
            let whole = audio.check_whole(&snapshot, true).map_err(|error| error.to_string());
            (whole.unwrap_err(), audio.check_whole(&snapshot, false).is_ok())
        };
        let (error, without_weights) = lacking("model-2.safetensors", true);
        assert!(error.contains("model-2.safetensors is a link to ../../blobs/blob-of-model-2"), "{error}");
        assert!(without_weights, "the weights are not needed");
        let (error, without_weights) = lacking("model-2.safetensors", false);
        assert!(
            error.contains("is incomplete: the shard model-2.safetensors is missing; fetch it"),
            "{error}"
        );
        assert!(without_weights);
        assert!(lacking("config.json", false).0.contains("config.json is missing"));
        assert!(!lacking("config.json", true).1);
        let (_cache, snapshot) = fake();
        for name in ["model.safetensors.index.json", "model-1.safetensors", "model-2.safetensors"] {
            fs::remove_file(snapshot.join(name)).unwrap();
        }
        assert!(audio.check_whole(&snapshot, true).unwrap_err().to_string().contains("no weights"));
    }

    // HUB-1
    #[test]
    fn a_folder_of_that_name_comes_before_the_cache() {
        let (cache, snapshot) = fake();
        let folder = tempfile::tempdir().unwrap();
        let name = Path::new("Qwen/Qwen2-Audio-7B-Instruct");
        assert_eq!(model_folder(name, folder.path(), cache.path()), snapshot);
        fs::create_dir_all(folder.path().join(name)).unwrap();
        assert_eq!(model_folder(name, folder.path(), cache.path()), folder.path().join(name));
        let other = Path::new("Qwen/Other");
        assert_eq!(model_folder(other, folder.path(), cache.path()), folder.path().join(other));
    }

    #[test]
    fn the_cache_is_where_the_hub_s_own_tools_have_it() {
        let with = |variables: &'static [(&str, &str)]| {
            cache_by(|name| {
                let found = variables.iter().find(|(known, _)| *known == name);
                found.map(|(_, value)| OsString::from(value))
            })
        };
        assert_eq!(with(&[("HOME", "/h")]), Path::new("/h/.cache/huggingface/hub"));
        assert_eq!(with(&[("HOME", "/h"), ("XDG_CACHE_HOME", "/x")]), Path::new("/x/huggingface/hub"));
        assert_eq!(with(&[("XDG_CACHE_HOME", "/x"), ("HF_HOME", "/f")]), Path::new("/f/hub"));
        assert_eq!(with(&[("HF_HOME", "/f"), ("HF_HUB_CACHE", "/c")]), Path::new("/c"));
    }
}
