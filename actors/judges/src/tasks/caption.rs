//! What completions say about their clips: one request for each, about the caption that supports it or the answer that
//! follows from it.

use std::sync::Arc;

use rewards::judge::caption::{
    AnswerTask, Description, GroundingTask, caption_of, read_answer, read_grounding,
};
use rewards::{FailureCause, Graded, JudgeFailure, JudgeTask, RewardItem};
use tokio::time::Instant;

use super::ask::{Ask, Asker};
use super::{Completions, GradedTask, of_row};

/// The descriptions to judge, with their places.
fn descriptions(items: &[RewardItem], tag: &str) -> Vec<(usize, String)> {
    let description = |(place, item): (usize, &RewardItem)| match Description::of(&item.parsed, tag, 0.0) {
        Description::Text(text) => Some((place, text)),
        Description::Without(_) => None,
    };
    items.iter().enumerate().filter_map(description).collect()
}

pub async fn grounding(
    asker: &Asker,
    task: &Arc<JudgeTask>,
    options: &GroundingTask,
    completions: Completions<'_>,
    deadline: Instant,
) -> GradedTask {
    let items = completions.items;
    let mut graded = vec![None; items.len()];
    let (mut judged, mut without) = (Vec::new(), Vec::new());
    for (place, text) in descriptions(items, &options.tag) {
        let item = &items[place];
        let column = &options.column;
        let no_caption = || of_row(item, FailureCause::NoCaption, &format!("has no caption in `{column}`"));
        let hears = asker.hears(0);
        let caption = caption_of(&item.question, column);
        match caption.and_then(|caption| caption.or(hears.then_some("")).ok_or_else(no_caption)) {
            Ok(caption) => judged.push((place, text, caption)),
            Err(failure) => {
                graded[place] = Some(Graded::missing(task.clone(), failure.to_string()));
                without.push(failure);
            }
        }
    }
    let ask = |(place, text, caption): &(usize, String, &str)| {
        let prompt = asker.prompter(0).ground(&items[*place].question, caption, text);
        Ask { server: 0, prompt, seed: 0, temperature: 0.0, clip: completions.clip(*place) }
    };
    let asks: Vec<Ask> = judged.iter().map(ask).collect();
    let read = |_, reply: &str| Ok(read_grounding(reply)?.unwrap_or(options.no_statement));
    let asked = asker.ask_all(&asks, deadline, read).await;
    let mut tally = asked.tally.clone();
    tally.requests += without.len() as u64;
    for failure in &without {
        *tally.failures.entry(failure.cause).or_default() += 1;
    }
    let first_failure = without.into_iter().next().or_else(|| asked.first_failure().cloned());
    for ((place, ..), reply) in judged.into_iter().zip(asked.replies) {
        graded[place] = Some(result(task, reply));
    }
    GradedTask { graded, tally, first_failure }
}

pub async fn answer(
    asker: &Asker,
    task: &Arc<JudgeTask>,
    options: &AnswerTask,
    completions: Completions<'_>,
    deadline: Instant,
) -> GradedTask {
    let items = completions.items;
    let judged = descriptions(items, &options.tag);
    let ask = |(place, text): &(usize, String)| {
        let prompt = asker.prompter(0).answer_from(&items[*place].question, text);
        Ask { server: 0, prompt, seed: 0, temperature: 0.0, clip: completions.clip(*place) }
    };
    let asks: Vec<Ask> = judged.iter().map(ask).collect();
    let read = |number: usize, reply: &str| {
        let item = &items[judged[number].0];
        let given = item.parsed.answer.as_deref().unwrap_or_default();
        read_answer(reply, &item.question, given, options.target)
    };
    let asked = asker.ask_all(&asks, deadline, read).await;
    let first_failure = asked.first_failure().cloned();
    let mut graded = vec![None; items.len()];
    for ((place, _), reply) in judged.iter().zip(asked.replies) {
        graded[*place] = Some(result(task, reply));
    }
    GradedTask { graded, tally: asked.tally, first_failure }
}

fn result(task: &Arc<JudgeTask>, reply: Result<f64, JudgeFailure>) -> Graded {
    match reply {
        Ok(score) => {
            Graded { task: task.clone(), score: Some(score), ratings: vec![], made: None, note: None }
        }
        Err(failure) => Graded::missing(task.clone(), failure.to_string()),
    }
}
