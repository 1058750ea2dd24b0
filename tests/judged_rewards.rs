//! Rewards that have the judge's server asked for more than a verdict, against a scripted server.

use std::sync::Arc;
use std::time::Duration;

use ::judges::{GradeQuery, GradedItems, JudgeArgs, Judges};
use rewards::{
    Graded, JudgeTask, ParserOptions, Question, Readings, RewardBatch, RewardItem, RewardRegistry,
    parse_completion,
};
use scenarios::JudgeConfig;
use serde_json::{Value, json};

use crate::scripted_server::{Request, ScriptedServer};

mod budget;
mod caption;
mod disagreement;
mod hearing;
mod ranking;
mod rubric;

/// A pool whose judge is this server, without a cache on disk.
fn pool(url: &str, judge: &str) -> JudgeArgs {
    let text = format!(
        "kind = \"openai\"\nbase_url = \"{url}\"\nmodel = \"scripted\"\nretries = 0\nretry_pause_seconds = 0.01\n\
         timeout_seconds = 5.0\ncache.disk = false\n{judge}"
    );
    let config: JudgeConfig = toml::from_str(&text).unwrap();
    let judges = Arc::new(Judges::default());
    JudgeArgs { judge: judges.open(&config).unwrap(), judges, config, timeout: Duration::from_secs(20) }
}

/// The task of a reward with these options.
fn task(kind: &str, options: toml::Table) -> Arc<JudgeTask> {
    let reward = RewardRegistry::standard().build(kind, &options).unwrap();
    Arc::new(reward.judge_task().unwrap())
}

/// A question about a dog, with these columns.
fn question(id: &str, columns: Value) -> Arc<Question> {
    Arc::new(Question {
        id: id.to_owned(),
        text: "Which animal is heard?".to_owned(),
        choices: vec!["cat".to_owned(), "dog".to_owned()],
        answer: "dog".to_owned(),
        letters_shown: true,
        metadata: columns.as_object().unwrap().clone(),
        ..Question::default()
    })
}

fn item(question: &Arc<Question>, group: usize, completion: &str) -> RewardItem {
    let parsed = parse_completion(completion, &ParserOptions::default());
    RewardItem {
        readings: Readings::of(completion, &parsed, question),
        question: question.clone(),
        group,
        completion: completion.to_owned(),
        parsed,
        completion_tokens: 5,
        completion_ids: Vec::new(),
        think_tokens: 3,
        truncated: false,
        duration_seconds: None,
        verdict: None,
        graded: Vec::new(),
    }
}

fn thought(question: &Arc<Question>, group: usize, think: &str, answer: &str) -> RewardItem {
    item(question, group, &format!("<think>{think}</think><answer>{answer}</answer>"))
}

async fn grade(pool: &JudgeArgs, task: &Arc<JudgeTask>, items: &[RewardItem]) -> GradedItems {
    let query = GradeQuery { tasks: vec![task.clone()], items: items.to_vec(), clips: Vec::new() };
    let graded = tokio::time::timeout(Duration::from_secs(60), pool.grade(&query)).await;
    let graded = graded.expect("nothing hangs");
    assert_eq!(graded.graded.len(), items.len());
    graded
}

/// The only result of each completion.
fn only(graded: &GradedItems) -> Vec<Option<&Graded>> {
    graded.graded.iter().map(|of_item| of_item.first()).collect()
}

/// What a reward of this kind scores after the judge was asked.
fn scores(kind: &str, options: toml::Table, items: &[RewardItem], graded: &GradedItems) -> Vec<Option<f64>> {
    let mut reward = RewardRegistry::standard().build(kind, &options).unwrap();
    let graded = items.iter().zip(&graded.graded);
    let items = graded.map(|(item, graded)| RewardItem { graded: graded.clone(), ..item.clone() }).collect();
    let batch = RewardBatch { step: 1, total_steps: 10, group_size: 2, items, ..RewardBatch::default() };
    reward.score(&batch).unwrap()
}

fn seed(request: &Request) -> u64 {
    request.body["seed"].as_u64().unwrap()
}

/// Servers that never answer.
async fn unasked() -> ScriptedServer {
    ScriptedServer::start(|_, request| panic!("nothing is to be asked: {}", request.body)).await
}

fn no_columns() -> Value {
    json!({})
}
