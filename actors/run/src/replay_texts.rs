//! `[sft.replay]`: the policy's own answers to questions without a clip, from before it is trained.
//!
//! They are generated greedily when the arm is prepared, and kept in `replay.jsonl` of the arm's folder, so that an arm that
//! resumes is taught the same.

use std::io;
use std::path::Path;

use model::{Policy, SamplingParams};
use scenarios::ReplayConfig;
use serde::{Deserialize, Serialize};
use workers::SftGroup;

use crate::error::InputError;
use crate::prompt::Prompter;

/// Longest answer, in tokens.
const MOST_TOKENS: usize = 32;
/// Answers that are generated together.
const BATCH: usize = 20;

const FORMS: [&str; 8] = [
    "What does the word {} mean?",
    "Write one short sentence about {}.",
    "Where would you find {}?",
    "Tell me a fact about {}.",
    "What is {} used for?",
    "Use {} in a question.",
    "Is {} older than writing?",
    "Name two things that go with {}.",
];
const SUBJECTS: [&str; 15] = [
    "bread",
    "a river",
    "music",
    "the moon",
    "a bicycle",
    "winter",
    "a library",
    "gold",
    "an island",
    "coffee",
    "a bridge",
    "the alphabet",
    "a garden",
    "electricity",
    "a horse",
];

/// A question and the policy's answer to it.
#[derive(Serialize, Deserialize)]
struct Line {
    question: String,
    answer: String,
    /// Token ids of the answer, with the end token unless it was cut off.
    ids: Vec<i64>,
}

/// The answers of `policy` as targets: those in the file, or else new ones, which are written to it.
///
/// Errors: the file of questions can't be read, the arm's file can't be read or written, or the policy can't generate.
pub(crate) fn replay_targets(
    config: &ReplayConfig,
    file: &Path,
    policy: &Policy,
    prompter: &Prompter,
) -> Result<Vec<SftGroup>, InputError> {
    let failed = |source: io::Error| InputError::Replay { path: file.to_owned(), source };
    let lines = match std::fs::read_to_string(file) {
        Ok(text) => text
            .lines()
            .map(|line| serde_json::from_str(line).map_err(|error| failed(error.into())))
            .collect::<Result<Vec<Line>, _>>()?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let lines = answered(questions(config)?, policy, prompter)?;
            write(file, &lines).map_err(failed)?;
            lines
        }
        Err(error) => return Err(failed(error)),
    };
    // A question that no longer fits has no prompt; it was asked when the file was written.
    let prompt = |line: Line| {
        let prompt = prompter.prompt_with(&line.question, &[], line.ids.len()).ok()?;
        Some(SftGroup { prompt, targets: vec![line.ids] })
    };
    Ok(lines.into_iter().filter_map(prompt).collect())
}

fn questions(config: &ReplayConfig) -> Result<Vec<String>, InputError> {
    let Some(path) = &config.questions else {
        let of = |subject: &&str| FORMS.map(|form| form.replace("{}", subject));
        return Ok(SUBJECTS.iter().flat_map(of).collect());
    };
    let failed = |source| InputError::Replay { path: path.clone(), source };
    let text = std::fs::read_to_string(path).map_err(failed)?;
    let lines: Vec<String> =
        text.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned).collect();
    if lines.is_empty() {
        return Err(failed(io::Error::new(
            io::ErrorKind::InvalidData,
            "it has no question; write one per line",
        )));
    }
    Ok(lines)
}

fn answered(questions: Vec<String>, policy: &Policy, prompter: &Prompter) -> Result<Vec<Line>, InputError> {
    let processor = policy.processor();
    let params =
        SamplingParams { temperature: 0.0, max_new_tokens: MOST_TOKENS, ..SamplingParams::default() };
    tracing::info!("sft.replay: asking the policy {} questions without clips", questions.len());
    let mut lines = Vec::with_capacity(questions.len());
    for questions in questions.chunks(BATCH) {
        let asked = questions.iter().filter_map(|question| {
            let prompt = prompter.prompt_with(question, &[], MOST_TOKENS).ok()?;
            Some((question, prompt))
        });
        let (questions, prompts): (Vec<&String>, Vec<_>) = asked.unzip();
        let completions = policy.generate(&prompts, 1, &params, &vec![0; prompts.len()])?;
        for (question, completion) in questions.into_iter().zip(completions) {
            let answer = processor.decode(&completion.ids);
            lines.push(Line { question: question.clone(), answer, ids: completion.ids });
        }
    }
    Ok(lines)
}

/// Writes the file as a whole, so that a killed run leaves all of it or nothing.
fn write(file: &Path, lines: &[Line]) -> io::Result<()> {
    let mut text = Vec::new();
    for line in lines {
        serde_json::to_writer(&mut text, line)?;
        text.push(b'\n');
    }
    if let Some(folder) = file.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let draft = file.with_extension("jsonl.new");
    std::fs::write(&draft, text)?;
    std::fs::rename(draft, file)
}

/// The replayed targets of `step`, counted from 0, in turn: `share` of all rows of the step on average, whose other rows
/// are `rows`.
pub(crate) fn of_step(replay: &[SftGroup], share: f64, rows: usize, step: u64) -> Vec<SftGroup> {
    if replay.is_empty() {
        return Vec::new();
    }
    let before = |step: u64| (step as f64 * rows as f64 * share / (1.0 - share)).floor() as usize;
    (before(step)..before(step + 1)).map(|place| replay[place % replay.len()].clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fifth_of_the_rows_are_replayed_one_after_the_other() {
        let group =
            |id| SftGroup { prompt: model::Prompt { ids: vec![id], clips: Vec::new() }, targets: Vec::new() };
        let replay = [group(0), group(1), group(2)];
        // 6 rows and a share of a fifth: 1.5 replayed rows per step.
        let ids =
            |step| of_step(&replay, 0.2, 6, step).iter().map(|group| group.prompt.ids[0]).collect::<Vec<_>>();
        assert_eq!([ids(0), ids(1), ids(2), ids(3)], [vec![0], vec![1, 2], vec![0], vec![1, 2]]);
        assert!(of_step(&replay, 0.0, 6, 3).is_empty() && of_step(&[], 0.5, 6, 3).is_empty());
    }

    #[test]
    fn the_built_in_questions_are_120_different_ones() {
        let questions = questions(&ReplayConfig::default()).unwrap();
        let different: std::collections::BTreeSet<&String> = questions.iter().collect();
        assert_eq!((questions.len(), different.len()), (120, 120));
    }
}
