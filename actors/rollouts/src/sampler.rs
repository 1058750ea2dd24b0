//! The sampler that has servers draw: it answers the messages of `workers::Sampler`.
//!
//! Requests are answered side by side, so that the completions of a step fill the servers while the last of the step before
//! are drawn.

use std::sync::{Arc, PoisonError};
use std::time::Instant;

use futures_util::future::try_join_all;
use model::{Completion, SamplingParams};
use ractor::{Actor, ActorProcessingErr, ActorRef};
use runtime::Request;
use workers::{
    ComputeSlots, GenerateQuery, Generated, SamplerMsg, ServerFigures, VersionSpan, WeightStore, WorkerError,
};

use crate::canary::Canary;
use crate::pool::Pool;
use crate::problem::Problem;
use crate::scorer::Scorer;
use crate::settings::Settings;
use crate::slices::{Drawn, Outcome, Wanted};
use crate::versions::Versions;

/// The arguments of a [`ServerSampler`].
#[derive(Clone)]
pub struct ServerSamplerArgs {
    /// The store of the weights' versions.
    pub weights: WeightStore,
    /// Number of libtorch threads with which the policy's own copy scores; 0 leaves the choice to libtorch.
    pub threads: usize,
    /// The slots in which the run computes.
    pub compute_slots: ComputeSlots,
    /// Whether the policy has an adapter, which the servers load; without one they answer as the base.
    pub has_adapter: bool,
    /// How the servers are used.
    pub settings: Settings,
}

/// The actor that has servers sample.
pub struct ServerSampler;

/// The servers and where the weights come from.
pub struct ServerSamplerState {
    pool: Arc<Pool>,
}

impl Actor for ServerSampler {
    type Msg = SamplerMsg;
    type State = ServerSamplerState;
    type Arguments = ServerSamplerArgs;

    async fn pre_start(
        &self,
        _: ActorRef<SamplerMsg>,
        args: ServerSamplerArgs,
    ) -> Result<ServerSamplerState, ActorProcessingErr> {
        let settings = args.settings;
        let versions = Versions::new(&settings.adapters, settings.kept_versions, args.has_adapter);
        let scorer = Scorer::new(args.weights, args.threads, args.compute_slots)?;
        let pool = Arc::new(Pool::new(settings, scorer, versions)?);
        Ok(ServerSamplerState { pool })
    }

    async fn handle(
        &self,
        _: ActorRef<SamplerMsg>,
        message: SamplerMsg,
        state: &mut ServerSamplerState,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            SamplerMsg::Generate(request) => state.generate(request),
        }
        Ok(())
    }

    async fn post_stop(
        &self,
        _: ActorRef<SamplerMsg>,
        state: &mut ServerSamplerState,
    ) -> Result<(), ActorProcessingErr> {
        let pool = &state.pool;
        pool.unload_all(pool.versions.take_all()).await;
        pool.versions.remove_if_empty();
        Ok(())
    }
}

impl ServerSamplerState {
    /// Answers in a task of its own, which ends when nobody waits for the answer any more: then the servers drop the
    /// requests.
    fn generate(&self, request: Request<GenerateQuery, Result<Generated, WorkerError>>) {
        let Some((query, mut reply)) = request.begin() else { return };
        let pool = self.pool.clone();
        tokio::spawn(async move {
            let mut work = tokio::spawn(async move {
                let generated = generate(&pool, &query).await;
                tokio::spawn(async move { pool.unload_all(pool.versions.take_spent()).await });
                generated
            });
            tokio::select! {
                answer = &mut work => {
                    let panicked = |_| Err(Problem::from("the sampler panicked; the log has the place"));
                    reply.send(answer.unwrap_or_else(panicked).map_err(|problem| WorkerError::Servers(problem.to_string())));
                }
                () = reply.abandoned() => work.abort(),
            }
        });
    }
}

/// Has the servers draw the completions of a request with the newest weights.
async fn generate(pool: &Arc<Pool>, query: &GenerateQuery) -> Result<Generated, Problem> {
    let started = Instant::now();
    check(&query.params)?;
    let group_size = query.group_size;
    if query.prompts.is_empty() || group_size == 0 {
        return Ok(Generated { policy_version: pool.scorer.newest_version(), ..Generated::default() });
    }
    let asked = query.prompts.iter().map(|prompt| pool.asked(prompt)).collect::<Result<Vec<_>, _>>()?;
    if pool.canary.get().is_none() {
        let with_clip = query.prompts.iter().find(|prompt| !prompt.clips.is_empty());
        let prompt = with_clip.unwrap_or(&query.prompts[0]);
        let canary = Canary::new(prompt, pool.asked(prompt)?);
        pool.canary.get_or_init(|| canary);
    }
    pool.set_wrong(None);
    let version = pool.prepare_newest().await?;
    pool.versions.remove_left_over();
    let draw = pool.draw(query.params.temperature, query.params.max_new_tokens);
    let completions = query.seeds.iter().enumerate().map(|(place, seed)| {
        let wanted = Wanted { prompt: &asked[place / group_size], draw: &draw, seed: *seed };
        pool.complete(version.clone(), wanted)
    });
    let outcomes = try_join_all(completions).await?;
    let figures = figures(pool, &outcomes, version.number);
    check_dropped(pool, &outcomes, figures.dropped)?;
    let (drawn, incomplete) = complete_groups(outcomes, group_size);
    let (completions, spans): (Vec<Completion>, Vec<Vec<VersionSpan>>) =
        drawn.into_iter().map(|drawn| (drawn.completion, drawn.spans)).unzip();
    let oldest = spans.iter().flatten().map(|span| span.policy_version).min();
    Ok(Generated {
        completions,
        policy_version: oldest.unwrap_or(version.number),
        spans,
        seconds: started.elapsed().as_secs_f64(),
        incomplete,
        servers: Some(figures),
        ..Generated::default()
    })
}

/// Refuses what a server can't do.
fn check(params: &SamplingParams) -> Result<(), Problem> {
    let refused = [
        (params.top_p < 1.0, "sampling.top_p", "1"),
        (params.top_k > 0, "sampling.top_k", "0"),
        (params.max_think_tokens > 0, "sampling.max_think_tokens", "0"),
        (params.forced_no_think > 0.0, "sampling.forced_no_think", "0"),
    ];
    match refused.into_iter().find(|(is_set, ..)| *is_set) {
        Some((_, key, instead)) => {
            let own = "or use sampler.backend = \"own\"";
            Err(format!("servers can't follow {key}; set it to {instead}, {own}").into())
        }
        None => Ok(()),
    }
}

/// What the completions took together. `version` began them.
fn figures(pool: &Pool, outcomes: &[Outcome], version: u64) -> ServerFigures {
    let mut figures = ServerFigures::default();
    let mut newest = version;
    for outcome in outcomes {
        match outcome {
            Outcome::Completed(drawn) => {
                figures.add(&drawn.figures);
                newest = drawn.spans.last().map_or(newest, |last| newest.max(last.policy_version));
            }
            Outcome::Dropped(_, taken) => figures.add(taken),
        }
    }
    let gap = *pool.canary_gap.lock().unwrap_or_else(PoisonError::into_inner);
    figures.canary_gap = gap.filter(|(of, _)| (version..=newest).contains(of)).map(|(_, gap)| gap);
    figures
}

fn check_dropped(pool: &Pool, outcomes: &[Outcome], dropped: u64) -> Result<(), Problem> {
    let most = pool.settings.max_dropped_fraction;
    if dropped as f64 <= most * outcomes.len() as f64 {
        return Ok(());
    }
    let reason = outcomes.iter().find_map(|outcome| match outcome {
        Outcome::Dropped(reason, _) => Some(reason.as_str()),
        Outcome::Completed(_) => None,
    });
    Err(format!(
        "{dropped} of {} completions had no usable answer, more than sampler.max_dropped_fraction = {most} allows; the \
         first: {}",
        outcomes.len(),
        reason.unwrap_or_default()
    )
    .into())
}

/// The completions of the groups that have all of theirs, and the places of the other prompts.
fn complete_groups(outcomes: Vec<Outcome>, group_size: usize) -> (Vec<Drawn>, Vec<usize>) {
    let (mut completions, mut incomplete) = (Vec::with_capacity(outcomes.len()), Vec::new());
    for (place, outcome) in outcomes.into_iter().enumerate() {
        let group = place / group_size;
        match outcome {
            Outcome::Completed(drawn) if incomplete.last() != Some(&group) => completions.push(drawn),
            Outcome::Completed(_) => {}
            Outcome::Dropped(..) if incomplete.last() != Some(&group) => {
                completions.truncate((group - incomplete.len()) * group_size);
                incomplete.push(group);
            }
            Outcome::Dropped(..) => {}
        }
    }
    (completions, incomplete)
}

#[cfg(test)]
mod tests {
    use model::Finish;

    use super::*;

    fn outcome(id: i64) -> Outcome {
        let completion = Completion { ids: vec![id], logprobs: vec![0.0], forced: 0..0, finish: Finish::Eos };
        let (spans, figures) = (Vec::new(), ServerFigures::default());
        match id < 0 {
            true => Outcome::Dropped("x".into(), figures),
            false => Outcome::Completed(Drawn { completion, spans, figures }),
        }
    }

    #[test]
    fn a_group_that_lacks_a_completion_is_left_out_whole() {
        let of = |ids: &[i64]| {
            let (completions, incomplete) = complete_groups(ids.iter().map(|id| outcome(*id)).collect(), 2);
            (completions.iter().map(|drawn| drawn.completion.ids[0]).collect::<Vec<_>>(), incomplete)
        };
        assert_eq!(of(&[1, 2, 3, 4]), (vec![1, 2, 3, 4], vec![]));
        assert_eq!(of(&[1, -1, 3, 4]), (vec![3, 4], vec![0]));
        assert_eq!(of(&[1, 2, -1, 4, 5, -1]), (vec![1, 2], vec![1, 2]));
        assert_eq!(of(&[-1, -1, 3, 4, 5, -1]), (vec![3, 4], vec![0, 2]));
    }

    #[test]
    fn what_a_server_can_t_do_is_refused_by_name() {
        assert_eq!(check(&SamplingParams::default()), Ok(()));
        let budget = SamplingParams { max_think_tokens: 5, ..SamplingParams::default() };
        assert!(
            check(&budget)
                .unwrap_err()
                .to_string()
                .starts_with("servers can't follow sampling.max_think_tokens; set it to 0")
        );
    }
}
