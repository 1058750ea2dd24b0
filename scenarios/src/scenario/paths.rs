//! Resolves the paths in a scenario, and reads the prompt file.

use std::path::{Path, PathBuf};

use super::hub;
use super::prompt::check_template;
use super::tree::Node;
use super::{ArmConfig, JudgeConfig, JudgeKind, JudgeSet, MemberKind, PolicyPath};
use crate::dataset::DataSource;
use crate::error::{Place, ScenarioError};

/// Reads the file of `[prompt]` into `text`, so that the resolved scenario does not depend on it.
pub(crate) fn read_prompt_file(arm: &mut ArmConfig, layer: &Node, path: &Path) -> Result<(), ScenarioError> {
    let prompt = &mut arm.prompt;
    if let (Some(_), Some(_)) = (&prompt.file, &prompt.text) {
        let place = layer.place_of(&["prompt", "file"]);
        return Err(ScenarioError::at(place, "[prompt] has both `file` and `text`", "leave one out"));
    }
    let mut place = layer.place_of(&["prompt", "text"]);
    if let Some(file) = prompt.file.take() {
        place = layer.place_of(&["prompt", "file"]);
        let file = anchored(&file, place, path);
        let text = std::fs::read_to_string(&file).map_err(|error| {
            let problem = format!("the prompt file {} cannot be read ({error})", file.display());
            ScenarioError::at(place, problem, "write the path of a text file, from the scenario's folder")
        })?;
        prompt.text = Some(text.trim_end().to_owned());
    }
    prompt.text.as_deref().map_or(Ok(()), check_template).map_err(|error| error.placed(place))
}

/// Makes every path absolute. A path in the file is relative to the file's folder, one on the command line
/// to the current folder.
pub(crate) fn anchor_paths(arm: &mut ArmConfig, layer: &Node, path: &Path) {
    if let PolicyPath::Directory(folder) = &mut arm.policy.path {
        *folder = anchored_model(folder, layer.place_of(&["policy", "path"]), path);
    }
    if let Some(adapter) = &mut arm.policy.adapter {
        *adapter = anchored(adapter, layer.place_of(&["policy", "adapter"]), path);
    }
    if let Some(questions) = &mut arm.sft.replay.questions {
        *questions = anchored(questions, layer.place_of(&["sft", "replay", "questions"]), path);
    }
    if let Some(sounds) = &mut arm.data.recorded.sounds {
        *sounds = anchored(sounds, layer.place_of(&["data", "recorded", "sounds"]), path);
    }
    if let Some(folder) = &mut arm.loader.cache_dir {
        *folder = anchored(folder, layer.place_of(&["loader", "cache_dir"]), path);
    }
    // A bare name is looked for on the PATH.
    if let Some(program) = arm.audio.fallback.as_mut().filter(|program| program.components().count() > 1) {
        *program = anchored(program, layer.place_of(&["audio", "fallback"]), path);
    }
    for (name, spec) in &mut arm.rewards {
        // Without a `cwd` the place of the program or file decides which folder its path is relative to.
        let key = ["cwd", "command", "file"].into_iter().find(|key| spec.options.contains_key(*key));
        let place = layer.place_of(&["rewards", name, key.unwrap_or("kind")]);
        *spec = spec.clone().anchored(folder_of(place, path));
    }
    anchor_judge(&mut arm.judge, layer, path);
    anchor_source(&mut arm.data.train, &["data", "train"], layer, path);
    for (index, suite) in arm.eval.suites.iter_mut().enumerate() {
        anchor_source(suite, &["eval", "suites", &index.to_string()], layer, path);
    }
}

fn anchor_judge(judge: &mut JudgeConfig, layer: &Node, path: &Path) {
    match &mut judge.kind {
        JudgeKind::Rules | JudgeKind::Openai(_) => {}
        JudgeKind::Local(local) => anchor_model(&mut local.path, &["judge", "path"], layer, path),
        JudgeKind::Panel(panel) => {
            for (index, member) in panel.members.iter_mut().enumerate() {
                let index = index.to_string();
                if let MemberKind::Local(local) = &mut member.kind {
                    anchor_model(&mut local.path, &["judge", "members", &index, "path"], layer, path);
                }
                if let Some(file) = member.cache.as_mut().and_then(|cache| cache.path.as_mut()) {
                    anchor(file, &["judge", "members", &index, "cache", "path"], layer, path);
                }
            }
        }
    }
    if let Some(file) = &mut judge.cache.path {
        anchor(file, &["judge", "cache", "path"], layer, path);
    }
    for (index, set) in judge.calibration.iter_mut().enumerate() {
        if let JudgeSet::File(file) = set {
            anchor(file, &["judge", "calibration", &index.to_string()], layer, path);
        }
    }
}

/// Makes a path absolute unless it is missing, that is, empty.
fn anchor(file: &mut PathBuf, keys: &[&str], layer: &Node, scenario: &Path) {
    if !file.as_os_str().is_empty() {
        *file = anchored(file, layer.place_of(keys), scenario);
    }
}

/// Likewise for a model, which may also be named as on the Hugging Face Hub.
fn anchor_model(folder: &mut PathBuf, keys: &[&str], layer: &Node, scenario: &Path) {
    if !folder.as_os_str().is_empty() {
        *folder = anchored_model(folder, layer.place_of(keys), scenario);
    }
}

fn anchor_source(source: &mut DataSource, keys: &[&str], layer: &Node, path: &Path) {
    if let DataSource::File(file) = source {
        let place = |key| layer.place_of(&[keys, &[key]].concat()).clone();
        file.path = anchored(&file.path, &place("path"), path);
        if let Some(root) = &mut file.audio_root {
            *root = anchored(root, &place("audio_root"), path);
        }
    }
}

fn anchored(relative: &Path, place: &Place, scenario: &Path) -> PathBuf {
    let joined = folder_of(place, scenario).join(relative);
    std::path::absolute(&joined).unwrap_or(joined)
}

fn anchored_model(written: &Path, place: &Place, scenario: &Path) -> PathBuf {
    hub::model_folder(written, folder_of(place, scenario), &hub::cache())
}

fn folder_of<'a>(place: &Place, scenario: &'a Path) -> &'a Path {
    let from_file = matches!(place, Place::File { .. } | Place::Default(_));
    scenario.parent().filter(|_| from_file).unwrap_or(Path::new(""))
}
