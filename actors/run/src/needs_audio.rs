//! `data.filter = "needs-audio"`: leaves out the training rows that the policy answers rightly without their clips.
//!
//! Before the first step the policy, as it is opened, is asked each question once without a clip, greedily. What it answers
//! is kept in the cache folder, in a file per policy, so that no question is put to a policy twice: not by the next arm, not
//! by the next run, and not after a stop or a kill, since each batch is written when it is answered.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, UNIX_EPOCH};

use evaluation::Source;
use model::{Policy, SamplingParams};
use rewards::{ParserOptions, Question, Reading, Readings, parse_completion};
use scenarios::{ArmConfig, RowCause};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tokio::sync::watch;

use crate::error::InputError;
use crate::prompt::Prompter;

/// Time between two lines of progress in the log.
const PROGRESS: Duration = Duration::from_secs(20);

/// A row of the cache file.
#[derive(Serialize, Deserialize)]
struct Line {
    /// Hash of what is asked and of the right answers.
    row: String,
    /// Whether the policy answers it without the clip, in the lenient reading.
    right: bool,
}

/// Asks a policy without clips.
pub(crate) struct TextOnly<'a> {
    pub(crate) config: &'a ArmConfig,
    pub(crate) policy: &'a Policy,
    pub(crate) prompter: &'a Prompter,
    /// Turns true when the run is to stop. The rows that were not asked by then are kept.
    pub(crate) stop: &'a watch::Receiver<bool>,
    /// The cache folder.
    pub(crate) cache: &'a Path,
}

impl TextOnly<'_> {
    /// Leaves out the rows of `training` that the policy answers without their clips, and returns how many.
    ///
    /// Errors: the cache can't be written, or the policy can't generate.
    pub(crate) fn leave_out_answered(&self, training: &mut Source) -> Result<usize, InputError> {
        let path = self.cache.join("needs-audio").join(format!("{}.jsonl", self.identity()?));
        let failed = |source: io::Error| InputError::Cache { path: path.clone(), source };
        let (mut file, mut known) = open(&path).map_err(failed)?;
        let unknown: Vec<Arc<Question>> =
            training.rows.questions.iter().filter(|row| !known.contains_key(&self.row(row))).collect();
        let (began, mut told) = (Instant::now(), Instant::now());
        if !unknown.is_empty() {
            tracing::info!("data.filter: asking the policy {} questions without their clips", unknown.len());
        }
        let mut asked = 0;
        for rows in unknown.chunks(self.config.eval.batch_prompts.max(1)) {
            if *self.stop.borrow() {
                break;
            }
            let mut lines = Vec::new();
            for (row, right) in rows.iter().zip(self.answers(rows)?) {
                let row = self.row(row);
                serde_json::to_writer(&mut lines, &Line { row: row.clone(), right })
                    .map_err(|error| failed(error.into()))?;
                lines.push(b'\n');
                known.insert(row, right);
            }
            file.write_all(&lines).map_err(failed)?;
            asked += rows.len();
            if told.elapsed() > PROGRESS {
                let left = began.elapsed().mul_f64((unknown.len() - asked) as f64 / asked as f64).as_secs();
                tracing::info!("data.filter: {asked} of {} questions asked, {left} s left", unknown.len());
                told = Instant::now();
            }
        }
        let before = training.rows.questions.len();
        training.rows.exclude(|row| {
            let answered = known.get(&self.row(row)).is_some_and(|right| *right);
            let said = "the policy answers it without the clip (data.filter)";
            answered.then(|| (RowCause::AnsweredWithoutAudio, said.to_owned()))
        });
        Ok(before - training.rows.questions.len())
    }

    fn text(&self, row: &Question) -> String {
        self.config.prompt.render(row)
    }

    /// Whether the policy answers each row rightly; a row of which no prompt can be made is not answered.
    fn answers(&self, rows: &[Arc<Question>]) -> Result<Vec<bool>, InputError> {
        let completion = self.config.sampling.max_new_tokens;
        let mut right = vec![false; rows.len()];
        let prompt = |(place, row): (usize, &Arc<Question>)| {
            Some((place, self.prompter.prompt_with(&self.text(row), &[], completion).ok()?))
        };
        let (places, prompts): (Vec<_>, Vec<_>) = rows.iter().enumerate().filter_map(prompt).unzip();
        let params =
            SamplingParams { temperature: 0.0, max_new_tokens: completion, ..SamplingParams::default() };
        let completions = self.policy.generate(&prompts, 1, &params, &vec![0; prompts.len()])?;
        for (place, completion) in places.into_iter().zip(completions) {
            let text = self.policy.processor().decode(&completion.ids);
            let parsed = parse_completion(&text, &ParserOptions::default());
            right[place] = Readings::of(&text, &parsed, &rows[place]).earns(Reading::Lenient);
        }
        Ok(right)
    }

    fn row(&self, row: &Question) -> String {
        let mut hash = Sha256::new();
        for part in std::iter::once(&self.text(row))
            .chain(&row.choices)
            .chain([&row.answer])
            .chain(&row.other_answers)
        {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part);
        }
        short(hash)
    }

    /// What the answers depend on beside the row: the policy's files by name, length and time, and the length of a
    /// completion.
    fn identity(&self) -> Result<String, InputError> {
        let policy = &self.config.policy;
        let mut hash = Sha256::new();
        for folder in std::iter::once(&policy.path.folder()?).chain(&policy.adapter) {
            hash.update(folder.as_os_str().as_encoded_bytes());
            let mut files: Vec<PathBuf> = std::fs::read_dir(folder)
                .into_iter()
                .flatten()
                .filter_map(|file| Some(file.ok()?.path()))
                .collect();
            files.sort();
            for file in files {
                let Ok(found) = file.metadata() else { continue };
                let changed = found.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
                hash.update(file.as_os_str().as_encoded_bytes());
                hash.update(found.len().to_le_bytes());
                hash.update(changed.unwrap_or_default().as_nanos().to_le_bytes());
            }
        }
        hash.update([u8::from(policy.from_scratch)]);
        hash.update((self.config.sampling.max_new_tokens as u64).to_le_bytes());
        Ok(short(hash))
    }
}

/// The first 128 bits of a hash in hexadecimal digits.
fn short(hash: Sha256) -> String {
    hash.finalize().iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

/// Opens the cache file for appending, and reads it. Another process that writes it is waited for. A line that a killed
/// process left unfinished is passed over.
fn open(path: &Path) -> io::Result<(File, HashMap<String, bool>)> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let mut file = OpenOptions::new().read(true).append(true).create(true).open(path)?;
    // A file system without locks would let two processes ask the same questions, and nothing worse.
    let _ = file.lock();
    let (mut known, mut line) = (HashMap::new(), Vec::new());
    let mut reader = BufReader::new(&file);
    let mut cut_off = false;
    while reader.read_until(b'\n', &mut line)? > 0 {
        cut_off = !line.ends_with(b"\n");
        if let Ok(Line { row, right }) = serde_json::from_slice(&line) {
            known.insert(row, right);
        }
        line.clear();
    }
    if cut_off {
        file.write_all(b"\n")?;
    }
    Ok((file, known))
}
