//! What is known of a judge from its last calibration: a file in the cache folder, by the judge's settings.
//!
//! `sandbox judge` writes it; a run and `sandbox check` warn of a judge that is unfit or was never calibrated.

use std::io;
use std::path::{Path, PathBuf};

use records::FileSum;
use scenarios::{JudgeConfig, JudgeKind, LocalJudgeConfig, MemberKind, OpenaiJudgeConfig};
use serde::{Deserialize, Serialize};

use crate::calibration::{Finding, Fitness};

/// The result of a calibration, as it is kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Calibrated {
    /// Whether the judge is fit.
    pub finding: Finding,
    /// The finding in one sentence.
    pub sentence: String,
}

/// Keeps the result of a calibration.
///
/// Errors: the operating system's, if the file can't be written.
pub fn remember(config: &JudgeConfig, fitness: &Fitness) -> io::Result<()> {
    let known = Calibrated { finding: fitness.finding, sentence: fitness.sentence.clone() };
    write(&file(&scenarios::cache_dir(), config)?, &known)
}

/// The result of the last calibration of a judge with these settings; `None` if there was none, or its file can't be read.
pub fn recall(config: &JudgeConfig) -> Option<Calibrated> {
    read(&file(&scenarios::cache_dir(), config).ok()?)
}

/// What a run should say about a judge before it depends on it: nothing if it is fit, or if it is `rules`.
pub fn warning(config: &JudgeConfig, scenario: &Path) -> Option<String> {
    if config.kind == JudgeKind::Rules {
        return None;
    }
    warning_about(recall(config).as_ref(), scenario)
}

fn warning_about(known: Option<&Calibrated>, scenario: &Path) -> Option<String> {
    let command = format!("sandbox judge {}", scenario.display());
    match known {
        None => Some(format!("the judge was never calibrated with these settings; run {command}")),
        Some(known) if known.finding == Finding::Unfit => {
            Some(format!("the judge is {}; choose another, and test it by {command}", known.sentence))
        }
        Some(_) => None,
    }
}

/// The file for a judge. Settings that change no verdict, such as limits and prices, are not part of its name; no key is
/// among the settings, only the name of its variable.
fn file(cache: &Path, config: &JudgeConfig) -> io::Result<PathBuf> {
    let settings = serde_json::to_vec(&that_matter(&config.kind))?;
    Ok(cache.join("judges").join(format!("{}.json", &FileSum::of(&settings).sha256[..32])))
}

fn that_matter(kind: &JudgeKind) -> JudgeKind {
    match kind {
        JudgeKind::Rules => JudgeKind::Rules,
        JudgeKind::Openai(openai) => JudgeKind::Openai(openai_that_matter(openai)),
        JudgeKind::Local(local) => JudgeKind::Local(local_that_matter(local)),
        JudgeKind::Panel(panel) => {
            let mut panel = panel.clone();
            for member in &mut panel.members {
                member.cache = None;
                member.kind = match &member.kind {
                    MemberKind::Rules => MemberKind::Rules,
                    MemberKind::Openai(openai) => MemberKind::Openai(openai_that_matter(openai)),
                    MemberKind::Local(local) => MemberKind::Local(local_that_matter(local)),
                };
            }
            JudgeKind::Panel(panel)
        }
    }
}

fn openai_that_matter(openai: &OpenaiJudgeConfig) -> OpenaiJudgeConfig {
    OpenaiJudgeConfig {
        model: openai.model.clone(),
        base_url: openai.base_url.clone(),
        guided: openai.guided,
        scoring: openai.scoring,
        extra: openai.extra.clone(),
        prompting: openai.prompting,
        separate: openai.separate,
        temperature: openai.temperature,
        max_tokens: openai.max_tokens,
        max_completion_tokens: openai.max_completion_tokens,
        max_chars: openai.max_chars,
        special_tokens: openai.special_tokens.clone(),
        ..OpenaiJudgeConfig::default()
    }
}

fn local_that_matter(local: &LocalJudgeConfig) -> LocalJudgeConfig {
    let default = LocalJudgeConfig::default();
    LocalJudgeConfig {
        device: default.device,
        batch: default.batch,
        cuda_graphs: default.cuda_graphs,
        ..local.clone()
    }
}

fn write(file: &Path, known: &Calibrated) -> io::Result<()> {
    let Some(folder) = file.parent() else { return Err(io::ErrorKind::InvalidInput.into()) };
    std::fs::create_dir_all(folder)?;
    // Another process may read or write it at the same time.
    let draft = file.with_extension(format!("{}.tmp", std::process::id()));
    std::fs::write(&draft, serde_json::to_vec(known)?)?;
    std::fs::rename(&draft, file)
}

fn read(file: &Path) -> Option<Calibrated> {
    serde_json::from_slice(&std::fs::read(file).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn openai(settings: &str) -> JudgeConfig {
        let text =
            format!("kind = \"openai\"\nbase_url = \"http://127.0.0.1:1/v1\"\nmodel = \"m\"\n{settings}");
        toml::from_str(&text).unwrap()
    }

    #[test]
    fn only_settings_that_change_verdicts_make_another_judge() {
        let cache = Path::new("cache");
        let of = |settings: &str| file(cache, &openai(settings)).unwrap();
        let plain = of("");
        assert!(plain.starts_with("cache/judges") && plain.extension().is_some_and(|end| end == "json"));
        for same in [
            "concurrency = 3",
            "prompt_price = 2.0",
            "api_key_env = \"KEY\"",
            "calibration = []",
            "cache.disk = false",
        ] {
            assert_eq!(of(same), plain, "{same}");
        }
        for other in ["temperature = 0.5", "separate = true", "prompting = \"base\"", "extra = { a = 1 }"] {
            assert_ne!(of(other), plain, "{other}");
        }
    }

    #[test]
    fn what_was_written_is_read_and_anything_else_is_no_calibration() {
        let folder = tempfile::tempdir().unwrap();
        let file = file(folder.path(), &openai("")).unwrap();
        assert_eq!(read(&file), None);
        let known = Calibrated { finding: Finding::Unfit, sentence: "unfit: it guesses".to_owned() };
        write(&file, &known).unwrap();
        assert_eq!(read(&file), Some(known));
        std::fs::write(&file, "half a f").unwrap();
        assert_eq!(read(&file), None);
    }

    #[test]
    fn an_unfit_or_unknown_judge_is_warned_of_with_the_command() {
        let said = |finding| {
            let known = Calibrated { finding, sentence: format!("{finding}: so it is") };
            warning_about(Some(&known), Path::new("mine.toml"))
        };
        assert_eq!(said(Finding::Fit), None);
        assert_eq!(said(Finding::Undecided), None);
        assert_eq!(
            said(Finding::Unfit).unwrap(),
            "the judge is unfit: so it is; choose another, and test it by sandbox judge mine.toml"
        );
        let unknown = warning_about(None, Path::new("mine.toml")).unwrap();
        assert_eq!(
            unknown,
            "the judge was never calibrated with these settings; run sandbox judge mine.toml"
        );
    }
}
