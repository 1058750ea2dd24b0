//! Ratings by rubrics: R requests for each completion that has to be rated, under the seeds 1 to R, and before them one for
//! each question without a rubric.

use std::collections::BTreeMap;
use std::sync::Arc;

use rewards::judge::rubric::{RubricTask, trimmed_mean};
use rewards::{FailureCause, Graded, JudgeFailure, JudgeTask, RewardItem, Rubric};
use tokio::time::Instant;

use super::ask::{Ask, Asked, Asker};
use super::{Completions, GradedTask, of_row, too_few};
use crate::judgement::JudgeTally;

/// The rubric of a question, and whether a server made it.
#[derive(Clone)]
struct Found {
    rubric: Arc<Rubric>,
    was_made: bool,
}

pub async fn grade(
    asker: &Asker,
    task: &Arc<JudgeTask>,
    options: &RubricTask,
    completions: Completions<'_>,
    deadline: Instant,
) -> GradedTask {
    let items = completions.items;
    let to_rate = |item: &RewardItem| {
        let unrated = options.unrated(&item.readings, &item.parsed).is_some();
        item.judge_request().filter(|_| !unrated)
    };
    let rated: Vec<_> =
        items.iter().enumerate().filter_map(|(place, item)| Some((place, to_rate(item)?))).collect();
    let places: Vec<usize> = rated.iter().map(|(place, _)| *place).collect();
    let (rubrics, mut tally) = rubrics(asker, options, completions, &places, deadline).await;
    let mut first_failure = rubrics.values().find_map(|rubric| rubric.as_ref().err()).cloned();

    let with_rubric: Vec<_> = rated
        .iter()
        .filter_map(|(place, completion)| {
            let found = rubrics[&items[*place].group].as_ref().ok()?;
            Some((*place, completion, found.clone()))
        })
        .collect();
    let asks: Vec<Ask> = with_rubric
        .iter()
        .flat_map(|(place, completion, found)| {
            (0..options.raters).map(|rater| {
                // Several servers take turns as raters.
                let server = rater % asker.servers();
                let prompt = asker.prompter(server).rate(&found.rubric, completion);
                let clip = completions.clip(*place);
                Ask { server, prompt, seed: rater as u64 + 1, temperature: options.temperature, clip }
            })
        })
        .collect();
    let rating = |place: usize, reply: &str| with_rubric[place / options.raters].2.rubric.rating(reply);
    let asked: Asked<f64> = asker.ask_all(&asks, deadline, rating).await;
    tally.add(&asked.tally);
    first_failure = first_failure.or_else(|| asked.first_failure().cloned());

    let mut graded: Vec<Option<Graded>> = vec![None; items.len()];
    for place in places {
        if let Err(failure) = &rubrics[&items[place].group] {
            graded[place] = Some(Graded::missing(task.clone(), failure.to_string()));
        }
    }
    for ((place, _, found), replies) in with_rubric.iter().zip(asked.replies.chunks(options.raters)) {
        let made = found.was_made.then(|| found.rubric.clone());
        graded[*place] = Some(Graded { made, ..score(task, options, replies) });
    }
    GradedTask { graded, tally, first_failure }
}

/// The trimmed mean of the ratings that there are.
fn score(task: &Arc<JudgeTask>, options: &RubricTask, replies: &[Result<f64, JudgeFailure>]) -> Graded {
    let ratings: Vec<Option<f64>> = replies.iter().map(|reply| reply.as_ref().ok().copied()).collect();
    let given: Vec<f64> = ratings.iter().flatten().copied().collect();
    let score = trimmed_mean(&given, options.trim);
    let needed = 2 * options.trim + 1;
    let failure = replies.iter().find_map(|reply| reply.as_ref().err());
    let note = score.is_none().then(|| too_few("ratings", given.len(), options.raters, needed, failure));
    Graded { task: task.clone(), score, ratings, made: None, note }
}

type Rubrics = BTreeMap<usize, Result<Found, JudgeFailure>>;

/// The rubrics of the groups of these completions: that of the row, or else one that a server makes.
async fn rubrics(
    asker: &Asker,
    options: &RubricTask,
    completions: Completions<'_>,
    places: &[usize],
    deadline: Instant,
) -> (Rubrics, JudgeTally) {
    let items = completions.items;
    let mut rubrics = Rubrics::new();
    let (mut unusable, mut without) = (Vec::new(), Vec::new());
    for &place in places {
        let item = &items[place];
        if rubrics.contains_key(&item.group)
            || without.iter().any(|(_, other): &(usize, &RewardItem)| other.group == item.group)
        {
            continue;
        }
        match of_data(options, item) {
            Ok(Some(rubric)) => {
                let found = Found { rubric: Arc::new(rubric), was_made: false };
                rubrics.insert(item.group, Ok(found));
            }
            Ok(None) => without.push((place, item)),
            Err(failure) => {
                unusable.push(failure.cause);
                rubrics.insert(item.group, Err(failure));
            }
        }
    }
    let asks: Vec<Ask> = without
        .iter()
        .map(|(place, item)| Ask {
            server: 0,
            prompt: asker.prompter(0).make_rubric(&item.question, options.criteria),
            seed: 0,
            temperature: 0.0,
            clip: completions.clip(*place),
        })
        .collect();
    let made = asker.ask_all(&asks, deadline, |_, reply| Rubric::made(reply)).await;
    let mut tally = made.tally;
    tally.requests += unusable.len() as u64;
    for cause in unusable {
        *tally.failures.entry(cause).or_default() += 1;
    }
    for ((_, item), rubric) in without.into_iter().zip(made.replies) {
        let found = rubric.map(|rubric| Found { rubric: Arc::new(rubric), was_made: true });
        let no_rubric = |failure: JudgeFailure| JudgeFailure {
            message: format!(
                "no rubric could be made for the row `{}`: {}",
                item.question.id, failure.message
            ),
            ..failure
        };
        rubrics.insert(item.group, found.map_err(no_rubric));
    }
    (rubrics, tally)
}

/// The rubric in the row's column; `None` if a server is to make one.
fn of_data(options: &RubricTask, item: &RewardItem) -> Result<Option<Rubric>, JudgeFailure> {
    let column = &options.column;
    let unusable = |what: String| of_row(item, FailureCause::NoRubric, &what);
    let rubric = match item.question.metadata.get(column) {
        Some(value) => Rubric::from_value(value).map_err(|failure| {
            unusable(format!("has a rubric in `{column}` that can't be used: {}", failure.message))
        })?,
        None => None,
    };
    if rubric.is_none() && !options.make {
        return Err(unusable(format!("has no rubric in `{column}`; add one, or set make = true")));
    }
    Ok(rubric)
}
