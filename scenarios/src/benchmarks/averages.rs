//! The averages that each benchmark publishes.
//!
//! A *group* average is over the questions with one value of a column; a *macro* average is the mean of group averages, each
//! of which counts the same.

use rewards::Question;
use serde_json::Value;

use super::{Average, Scored};
use crate::DataFormat;

/// The tasks of AIR-Bench that Audio-Thinker (arXiv 2508.08039) reports: sound QA, music QA, speech emotion recognition, vocal
/// sound classification and speaker number verification, spelled as in `Foundation_meta.json`.
pub const AUDIO_THINKER_TASKS: [&str; 5] = [
    "Sound_AQA",
    "Music_AQA",
    "Speaker_Emotion_Recontion",
    "vocal_sound_classification",
    "Speaker_Number_Verification",
];

/// The averages of a benchmark in the order of its script's output, then `total` and `strict`. A group without a question
/// that counts is left out.
///
/// `total` is over all questions that the official rule does not leave out, `strict` is the strict reading of all questions.
pub fn averages(format: DataFormat, scored: &[Scored]) -> Vec<Average> {
    let by = |name: &str, order: &[&str]| groups(scored, name, order, |question| text(question, name));
    let mut found = match format {
        DataFormat::Mmau => {
            let difficulty = |question: &Question| question.difficulty.map(|d| d.name().to_owned());
            [
                by("task", &["sound", "music", "speech"]),
                groups(scored, "difficulty", &["easy", "hard", "medium"], difficulty),
                by("sub-category", &[]),
            ]
            .concat()
        }
        DataFormat::Mmar => {
            let modalities = [
                "sound",
                "music",
                "speech",
                "mix-sound-music",
                "mix-sound-speech",
                "mix-music-speech",
                "mix-sound-music-speech",
            ];
            let layers = ["Signal Layer", "Perception Layer", "Semantic Layer", "Cultural Layer"];
            [by("modality", &modalities), by("category", &layers), by("sub-category", &[])].concat()
        }
        DataFormat::AirBench => air_bench(scored),
        DataFormat::Mmsu => {
            let both = |question: &Question| {
                Some(format!("{} / {}", text(question, "category")?, text(question, "sub-category")?))
            };
            [groups(scored, "sub-category", &[], both), by("category", &[])].concat()
        }
        DataFormat::MmauPro => by("category", &[]),
        DataFormat::Avqa => Vec::new(),
    };
    found.extend(group("total", scored.iter()));
    if !scored.is_empty() {
        let right = scored.iter().filter(|scored| scored.strict).count();
        found.push(Average {
            name: "strict".into(),
            n: scored.len(),
            value: right as f64 / scored.len() as f64,
        });
    }
    found
}

/// AIR-Bench's script averages over each pair of task and dataset; its table has a row for each task and their mean.
fn air_bench(scored: &[Scored]) -> Vec<Average> {
    let pair = |question: &Question| {
        Some(format!("{}_{}", text(question, "task_name")?, text(question, "dataset_name")?))
    };
    let tasks = groups(scored, "task", &[], |question| text(question, "task_name"));
    let of_audio_thinker: Vec<Average> = AUDIO_THINKER_TASKS
        .iter()
        .filter_map(|task| tasks.iter().find(|average| average.name == format!("task {task}")).cloned())
        .collect();
    let mut found = groups(scored, "dataset", &[], pair);
    found.extend(tasks.iter().cloned());
    found.extend(mean("mean of tasks", &tasks));
    if of_audio_thinker.len() == AUDIO_THINKER_TASKS.len() {
        found.extend(mean("mean of Audio-Thinker's five tasks", &of_audio_thinker));
    }
    found
}

/// One average for each value of `key`: those of `order` first, then the others as they first appear.
fn groups(
    scored: &[Scored],
    name: &str,
    order: &[&str],
    key: impl Fn(&Question) -> Option<String>,
) -> Vec<Average> {
    let keys: Vec<Option<String>> = scored.iter().map(|scored| key(&scored.question)).collect();
    let mut values: Vec<String> = order.iter().map(|value| (*value).to_owned()).collect();
    for (value, scored) in keys.iter().zip(scored) {
        let Some(value) = value.as_ref().filter(|_| scored.official.is_some()) else { continue };
        if !values.contains(value) {
            values.push(value.clone());
        }
    }
    let of = |value: String| {
        let members = scored.iter().zip(&keys).filter(|(_, key)| key.as_ref() == Some(&value));
        group(&format!("{name} {value}"), members.map(|(scored, _)| scored))
    };
    values.into_iter().filter_map(of).collect()
}

/// The average of the questions that the official rule does not leave out; `None` if there is none.
fn group<'a>(name: &str, scored: impl Iterator<Item = &'a Scored>) -> Option<Average> {
    let verdicts: Vec<bool> = scored.filter_map(|scored| scored.official).collect();
    let right = verdicts.iter().filter(|&&right| right).count();
    (!verdicts.is_empty()).then(|| Average {
        name: name.to_owned(),
        n: verdicts.len(),
        value: right as f64 / verdicts.len() as f64,
    })
}

/// The mean of averages; `None` if there is none.
fn mean(name: &str, of: &[Average]) -> Option<Average> {
    (!of.is_empty()).then(|| Average {
        name: name.to_owned(),
        n: of.iter().map(|average| average.n).sum(),
        value: of.iter().map(|average| average.value).sum::<f64>() / of.len() as f64,
    })
}

/// A column of the question's row that became metadata.
fn text(question: &Question, column: &str) -> Option<String> {
    match question.metadata.get(column)? {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    }
}
