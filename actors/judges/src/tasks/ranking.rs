//! Rankings: the order of each group's completions, or comparisons of two of them.
//!
//! Groups without two different well-formed completions are not asked about.

use std::collections::BTreeMap;
use std::sync::Arc;

use rewards::judge::ranking::{
    Contest, ListwiseTask, Outcome, PairScore, PairwiseTask, bradley_terry, read_better, read_order,
};
use rewards::judge::task::prompt::TaskPrompt;
use rewards::{Graded, JudgeFailure, JudgeRequest, JudgeTask, RewardItem};
use tokio::time::Instant;

use super::ask::{Ask, Asker};
use super::{Completions, GradedTask, too_few};
use crate::clip::JudgeClip;

/// A group of completions, and its contestants as they are shown.
struct Group {
    /// Places in the step.
    places: Vec<usize>,
    contest: Contest,
    shown: Vec<JudgeRequest>,
}

/// All groups, in order.
fn groups(items: &[RewardItem]) -> Vec<Group> {
    let mut places: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for (place, item) in items.iter().enumerate() {
        places.entry(item.group).or_default().push(place);
    }
    let group = |places: Vec<usize>| {
        let parsed: Vec<_> = places.iter().map(|&place| &items[place].parsed).collect();
        let contest = Contest::of(&parsed);
        let shown = contest.contestants.iter().map(|&in_group| {
            let item = &items[places[in_group]];
            JudgeRequest {
                question: item.question.clone(),
                think: item.parsed.think.clone().unwrap_or_default(),
                answer: item.parsed.answer.clone().unwrap_or_default(),
            }
        });
        Group { shown: shown.collect(), contest, places }
    };
    places.into_values().map(group).collect()
}

/// Results as they are collected, group after group.
struct Results<'a> {
    task: &'a Arc<JudgeTask>,
    graded: Vec<Option<Graded>>,
}

impl Results<'_> {
    /// Sets the results of a group. `ratings` has the scores by each of several askings, if it was asked about. Malformed
    /// completions have none.
    fn set(&mut self, group: &Group, scores: &[Option<f64>], ratings: &[Vec<Option<f64>>], note: &str) {
        for (in_group, &place) in group.places.iter().enumerate() {
            if group.contest.of[in_group].is_none() {
                continue;
            }
            let score = scores[in_group];
            self.graded[place] = Some(Graded {
                task: self.task.clone(),
                score,
                ratings: ratings.iter().map(|scores| scores[in_group]).collect(),
                made: None,
                note: score.is_none().then(|| note.to_owned()),
            });
        }
    }
}

/// The note of a completion that is alone.
const ALONE: &str = "there is no other completion to compare it with";

pub async fn listwise(
    asker: &Asker,
    task: &Arc<JudgeTask>,
    options: &ListwiseTask,
    completions: Completions<'_>,
    deadline: Instant,
) -> GradedTask {
    let items = completions.items;
    let groups = groups(items);
    let open: Vec<&Group> = groups.iter().filter(|group| group.contest.is_open()).collect();
    let asks: Vec<Ask> = open
        .iter()
        .flat_map(|group| {
            (0..options.orders).map(|number| {
                let server = number % asker.servers();
                let shown: Vec<&JudgeRequest> = group
                    .contest
                    .shown(number)
                    .into_iter()
                    .map(|contestant| &group.shown[contestant])
                    .collect();
                certain(
                    server,
                    asker.prompter(server).order(&shown, options.show_answer),
                    completions.clip(group.places[0]),
                )
            })
        })
        .collect();
    // The contestants from the best to the last.
    let order = |place: usize, reply: &str| {
        let contest = &open[place / options.orders].contest;
        let shown = contest.shown(place % options.orders);
        let order = read_order(reply, shown.len())?;
        Ok::<_, JudgeFailure>(order.into_iter().map(|index| shown[index]).collect::<Vec<usize>>())
    };
    let asked = asker.ask_all(&asks, deadline, order).await;
    let first_failure = asked.first_failure().cloned();
    let mut results = Results { task, graded: vec![None; items.len()] };
    let mut replies = asked.replies.chunks(options.orders);
    for group in &groups {
        let orders = if group.contest.is_open() { replies.next().unwrap_or_default() } else { &[] };
        let wins = |order: &Vec<usize>, one: usize, other: usize| {
            let place = |contestant| order.iter().position(|&in_order| in_order == contestant);
            f64::from(u8::from(place(one) < place(other)))
        };
        let given: Vec<&Vec<usize>> = orders.iter().flatten().collect();
        let share = |one: usize, other: usize| {
            let wins = given.iter().map(|order| wins(order, one, other)).sum::<f64>();
            (!given.is_empty()).then(|| wins / given.len() as f64)
        };
        let by_order = |order: &Result<Vec<usize>, JudgeFailure>| match order {
            Ok(order) => group.contest.scores(|one, other| Some(wins(order, one, other))),
            Err(_) => vec![None; group.places.len()],
        };
        let ratings: Vec<_> = orders.iter().map(by_order).collect();
        // Without any order, what a completion scores against malformed and equal ones is not enough.
        let scores = match group.contest.is_open() && given.is_empty() {
            true => vec![None; group.places.len()],
            false => group.contest.scores(share),
        };
        let failure = orders.iter().find_map(|order| order.as_ref().err());
        let note = match orders {
            [] => ALONE.to_owned(),
            _ => too_few("orders", given.len(), options.orders, 1, failure),
        };
        results.set(group, &scores, &ratings, &note);
    }
    GradedTask { graded: results.graded, tally: asked.tally, first_failure }
}

pub async fn pairwise(
    asker: &Asker,
    task: &Arc<JudgeTask>,
    options: &PairwiseTask,
    completions: Completions<'_>,
    deadline: Instant,
) -> GradedTask {
    let items = completions.items;
    let groups = groups(items);
    // Which pair of which group, and whether its second contestant is shown first.
    let mut compared: Vec<Compared> = Vec::new();
    for (number, group) in groups.iter().enumerate() {
        for (one, other) in group.contest.pairs(options.pairs) {
            compared.push((number, one, other, false));
            if options.both_orders {
                compared.push((number, one, other, true));
            }
        }
    }
    let asks: Vec<Ask> = compared
        .iter()
        .map(|&(number, one, other, swapped)| {
            let shown = &groups[number].shown;
            let (first, second) = if swapped { (other, one) } else { (one, other) };
            let clip = completions.clip(groups[number].places[0]);
            certain(0, asker.prompter(0).better(&shown[first], &shown[second], options.show_answer), clip)
        })
        .collect();
    // How well the first contestant of the pair did, wherever it was shown.
    let outcome = |place: usize, reply: &str| {
        let better = read_better(reply)?;
        Ok::<_, JudgeFailure>(if compared[place].3 { 1.0 - better } else { better })
    };
    let asked = asker.ask_all(&asks, deadline, outcome).await;
    let first_failure = asked.first_failure().cloned();
    let times = if options.both_orders { 2 } else { 1 };
    let mut results = Results { task, graded: vec![None; items.len()] };
    for (number, group) in groups.iter().enumerate() {
        let of_group = compared.chunks(times).zip(asked.replies.chunks(times));
        let pairs: Vec<_> = of_group.filter(|(pair, _)| pair[0].0 == number).collect();
        let outcomes_by = |outcome: &dyn Fn(&[Reply]) -> Option<f64>| -> Vec<Outcome> {
            let outcome =
                |(pair, replies): &(&[Compared], &[Reply])| Some((pair[0].1, pair[0].2, outcome(replies)?));
            pairs.iter().filter_map(outcome).collect()
        };
        let whole = outcomes_by(&|replies| {
            let sum: Option<f64> = replies.iter().map(|reply| reply.as_ref().ok()).sum();
            sum.map(|sum| sum / times as f64)
        });
        let score = |outcomes: &[Outcome]| scores(&group.contest, options.score, outcomes);
        let ratings: Vec<_> = match pairs.is_empty() {
            true => Vec::new(),
            false => (0..times)
                .map(|nth| score(&outcomes_by(&|replies| replies[nth].as_ref().ok().copied())))
                .collect(),
        };
        let failure = pairs.iter().flat_map(|(_, replies)| *replies).find_map(|reply| reply.as_ref().err());
        let note = match pairs.len() {
            0 => ALONE.to_owned(),
            all if whole.len() == all => "it is in none of the compared pairs; raise `pairs`".to_owned(),
            all => too_few("pairs of the group", whole.len(), all, 1, failure),
        };
        results.set(group, &score(&whole), &ratings, &note);
    }
    GradedTask { graded: results.graded, tally: asked.tally, first_failure }
}

/// A comparison: the group, the two completions in it, and whether they are asked in the other order.
type Compared = (usize, usize, usize, bool);

/// What a comparison came out as.
type Reply = Result<f64, JudgeFailure>;

/// The scores of a group, from the outcomes of its pairs. A completion in none of them has no score if there were pairs to
/// be in.
fn scores(contest: &Contest, score: PairScore, outcomes: &[Outcome]) -> Vec<Option<f64>> {
    let share_won = |one: usize, other: usize| {
        outcomes.iter().find_map(|&(first, second, outcome)| match () {
            () if (first, second) == (one, other) => Some(outcome),
            () if (first, second) == (other, one) => Some(1.0 - outcome),
            () => None,
        })
    };
    let scores = match score {
        PairScore::WinRate => contest.scores(share_won),
        PairScore::BradleyTerry => {
            let strengths = bradley_terry(contest.contestants.len(), outcomes);
            contest.scores(|one, other| {
                let (one, other) = (strengths[one]?, strengths[other]?);
                Some(one / (one + other))
            })
        }
    };
    let met = |contestant| outcomes.iter().any(|(one, other, _)| [*one, *other].contains(&contestant));
    let known = |(score, of): (Option<f64>, &Option<usize>)| {
        score.filter(|_| of.is_none_or(|contestant| !contest.is_open() || met(contestant)))
    };
    scores.into_iter().zip(&contest.of).map(known).collect()
}

/// A request at temperature 0.
fn certain(server: usize, prompt: TaskPrompt, clip: Option<Arc<JudgeClip>>) -> Ask {
    Ask { server, prompt, seed: 0, temperature: 0.0, clip }
}
