//! What only the benchmarks define of an evaluation: their own averages, and prediction files for their own scripts.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use ::report::Summary;
use records::{ArmDir, ArmId, Phase, Rollout, RunDir, for_each_line};
use rewards::readings::answer_of;
use rewards::{ParserOptions, Question, parse_completion};
use scenarios::benchmarks::{Average, Scored, averages, write_predictions};
use scenarios::{ArmConfig, DataSource, FileSource, Split, open_dataset_filtered};
use serde::Serialize;

use crate::failure::Failure;
use crate::streams::outln;

/// The results of one arm on one suite.
#[derive(Serialize)]
pub struct Benchmark {
    arm: String,
    suite: String,
    /// Questions that were asked.
    asked: usize,
    /// The averages that the benchmark publishes, by its own rule.
    averages: Vec<Average>,
    /// The file with the answers, in the benchmark's own format.
    predictions: PathBuf,
}

/// Writes the prediction files of all arms, and computes the averages.
pub fn write(arms: &[ArmConfig], run_dir: &RunDir) -> Result<Vec<Benchmark>, Failure> {
    let mut found = Vec::new();
    for (folder, seeds) in run_dir.arms().map_err(Failure::running)? {
        let Some(config) = arms.iter().find(|arm| arm.name == folder) else { continue };
        for (seed, dir) in seeds {
            let id = ArmId::new(folder.clone(), seed);
            let answers = read_answers(&dir)?;
            for source in &config.eval.suites {
                if let DataSource::File(file) = source {
                    let answers = answers.get(&source.name()).cloned().unwrap_or_default();
                    found.push(of_suite(&id, config, source, file, &dir, answers)?);
                }
            }
        }
    }
    Ok(found)
}

/// The first completion of each question, by suite and by the question's id.
type Answers = HashMap<String, Rollout>;

fn read_answers(dir: &ArmDir) -> Result<HashMap<String, Answers>, Failure> {
    let mut answers: HashMap<String, Answers> = HashMap::new();
    for_each_line(&dir.rollouts(), |line| {
        let row: Rollout = serde_json::from_slice(line)?;
        if let (Phase::Eval, Some(suite), None, 0) = (row.phase, &row.suite, row.control, row.index) {
            answers.entry(suite.clone()).or_default().insert(row.id.clone(), row);
        }
        Ok(())
    })
    .map_err(Failure::running)?;
    Ok(answers)
}

fn of_suite(
    id: &ArmId,
    config: &ArmConfig,
    source: &DataSource,
    file: &FileSource,
    dir: &ArmDir,
    answers: Answers,
) -> Result<Benchmark, Failure> {
    let (worlds, filter) = (config.data.worlds(), config.suite_filter());
    let rows = open_dataset_filtered(source, &worlds, Split::Heldout, &filter).map_err(Failure::running)?;
    let scored = |question: Arc<Question>| {
        let row = answers.get(&question.id)?;
        Some(Scored { question, official: row.correct_official, strict: row.correct })
    };
    let scored: Vec<Scored> = rows.questions.iter().filter_map(scored).collect();
    let text = |row: &Rollout| {
        let parsed = parse_completion(&row.completion, &ParserOptions::default());
        answer_of(&row.completion, &parsed).to_owned()
    };
    let predicted: HashMap<String, String> =
        answers.iter().map(|(id, row)| (id.clone(), text(row))).collect();
    let predictions = dir.predictions(&source.name());
    if let Some(folder) = predictions.parent() {
        let failed = |error| Failure::Running(format!("{}: cannot be created: {error}", folder.display()));
        std::fs::create_dir_all(folder).map_err(failed)?;
    }
    write_predictions(file, &predicted, &predictions).map_err(Failure::running)?;
    Ok(Benchmark {
        arm: id.arm.clone(),
        suite: source.name(),
        asked: scored.len(),
        averages: averages(file.format, &scored),
        predictions,
    })
}

/// Prints the averages and where the prediction files are.
pub fn print(benchmarks: &[Benchmark]) {
    for benchmark in benchmarks {
        let averages = benchmark
            .averages
            .iter()
            .map(|average| format!("{} {:.2} % (n = {})", average.name, average.value * 100.0, average.n));
        outln!(
            "{} on {}, by its own rule: {}",
            benchmark.arm,
            benchmark.suite,
            averages.collect::<Vec<_>>().join(", ")
        );
        outln!("predictions: {}", benchmark.predictions.display());
    }
}

/// Prints the summary of the run with the benchmarks' results as one JSON object.
pub fn print_json(summary: &Summary, benchmarks: &[Benchmark]) {
    outln!("{}", serde_json::json!({ "summary": summary, "benchmarks": benchmarks }));
}
