//! A completion, slice by slice.
//!
//! A server draws at most `sampler.slice_tokens` tokens per request. The next request has the prompt and the tokens so far, so
//! that between two of them another server can go on, or another version.
//!
//! - `ROLLOUT-2` a completion is asked until there is one answer to each slice, a limit of attempts, or no server for too long.
//! - `ROLLOUT-5` each token has the log-probability and the number of the version that drew it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use model::{Completion, Finish};
use runtime::seed::{Purpose, derive};
use workers::{ServerFigures, VersionSpan};

use crate::asked::AskedPrompt;
use crate::checks::Expected;
use crate::failed::Failed;
use crate::pool::{InFlight, Pool};
use crate::problem::Problem;
use crate::server::Server;
use crate::settings::AtNewVersion;
use crate::versions::Version;
use crate::wire::{Ask, Draw};

/// Attempts per server and slice, for servers that fail.
const ATTEMPTS_PER_SERVER: usize = 8;

/// How often a slice that is being drawn is looked at.
const LOOK: Duration = Duration::from_millis(100);

/// A slice is not slow before this time, whatever the others take.
const LEAST_SLOW: Duration = Duration::from_millis(500);

/// A completion that is wanted.
#[derive(Clone, Copy)]
pub(crate) struct Wanted<'a> {
    pub(crate) prompt: &'a AskedPrompt,
    /// How the whole completion is drawn.
    pub(crate) draw: &'a Draw,
    pub(crate) seed: u64,
}

/// How asking for a completion ended.
pub(crate) enum Outcome {
    /// All of its slices passed their checks.
    Completed(Drawn),
    /// All answers to a slice failed a check; the last one so.
    Dropped(String, ServerFigures),
}

/// A completion and what it took.
pub(crate) struct Drawn {
    pub(crate) completion: Completion,
    pub(crate) spans: Vec<VersionSpan>,
    pub(crate) figures: ServerFigures,
}

/// A completion that is being sampled.
struct Partial {
    /// What draws the next slice.
    version: Arc<Version>,
    ids: Vec<i64>,
    logprobs: Vec<f32>,
    spans: Vec<VersionSpan>,
    finish: Finish,
    figures: ServerFigures,
    attempts: Attempts,
}

/// What happened to the slice that is being asked for.
#[derive(Default)]
struct Attempts {
    /// Answers that failed a check.
    checks: u32,
    /// How often a server failed or was down; at most `ATTEMPTS_PER_SERVER` for each server.
    failures: usize,
    /// Whether it was taken from a slow server; once is enough.
    taken_away: bool,
    /// The place of the slow server, until another place is found.
    left: Option<usize>,
    /// The place of a server that another one is preferred to.
    avoid: Option<usize>,
}

impl Partial {
    fn new(version: Arc<Version>) -> Self {
        Partial {
            version,
            ids: Vec::new(),
            logprobs: Vec::new(),
            spans: Vec::new(),
            finish: Finish::Length,
            figures: ServerFigures::default(),
            attempts: Attempts::default(),
        }
    }

    /// How the next slice is drawn, of at most `slice_tokens` tokens; 0 is no limit.
    fn draw(&self, whole: &Draw, slice_tokens: usize) -> Draw {
        let left = whole.max_tokens - self.ids.len();
        Draw { max_tokens: if slice_tokens == 0 { left } else { left.min(slice_tokens) }, ..whole.clone() }
    }

    /// The seed of the next slice: it follows from that of the completion and the number of tokens before the slice.
    fn seed(&self, seed: u64) -> u64 {
        let first = match self.ids.len() {
            0 => seed,
            before => derive(seed, Purpose::Slice, &[before as u64]),
        };
        // The same seed would give an answer that fails its check again.
        first.wrapping_add(u64::from(self.attempts.checks).wrapping_mul(0x9E37_79B9_7F4A_7C15))
    }

    /// Adds the next slice.
    fn add(&mut self, slice: Completion) {
        let (policy_version, tokens) = (self.version.number, slice.ids.len() as u64);
        match self.spans.last_mut() {
            Some(last) if last.policy_version == policy_version => last.tokens += tokens,
            _ => self.spans.push(VersionSpan { policy_version, tokens }),
        }
        self.ids.extend(slice.ids);
        self.logprobs.extend(slice.logprobs);
        self.finish = slice.finish;
        self.attempts = Attempts::default();
    }

    /// Goes on with another version, or begins again with it.
    fn take_up(&mut self, version: Arc<Version>, begin_again: bool) {
        self.version = version;
        if begin_again && !self.ids.is_empty() {
            self.figures.restarted += 1;
            self.figures.restarted_tokens += self.ids.len() as u64;
            self.ids.clear();
            self.logprobs.clear();
            self.spans.clear();
        }
    }

    fn is_done(&self, whole: &Draw) -> bool {
        self.finish == Finish::Eos || self.ids.len() >= whole.max_tokens
    }

    fn drawn(mut self) -> Drawn {
        self.figures.continued = u64::from(self.spans.len() > 1);
        let completion =
            Completion { ids: self.ids, logprobs: self.logprobs, forced: 0..0, finish: self.finish };
        Drawn { completion, spans: self.spans, figures: self.figures }
    }

    /// The slice takes this server too long.
    fn is_taken_from(&mut self, server: &Server) {
        let place = Some(server.place);
        self.attempts = Attempts { taken_away: true, left: place, avoid: place, ..self.attempts };
    }

    /// Counts an answer that failed a check. Returns whether the slice may be asked for again.
    fn fails_check(&mut self, server: &Server, retries: u32) -> bool {
        let again = self.figures.retried < u64::from(retries);
        match again {
            true => self.figures.retried += 1,
            false => self.figures.dropped = 1,
        }
        self.attempts.checks += 1;
        self.attempts.avoid = Some(server.place);
        again
    }
}

impl Pool {
    /// Asks for a completion until there is one, or it is dropped (ROLLOUT-1, ROLLOUT-2). It is begun with `version`.
    ///
    /// Errors: One line: no server can be used, or all attempts failed.
    pub(crate) async fn complete(
        self: &Arc<Self>,
        version: Arc<Version>,
        wanted: Wanted<'_>,
    ) -> Result<Outcome, Problem> {
        let mut partial = Partial::new(version);
        // The place on a server is kept from slice to slice.
        let mut held = None;
        while !partial.is_done(wanted.draw) {
            self.follow(&mut partial).await?;
            let place = self.place(held.take(), &mut partial, wanted.prompt.route).await?;
            if self.newer(&partial).is_some() {
                // It was published while there was no room.
                held = Some(place);
                continue;
            }
            match self.slice(&place.server, &partial, wanted).await {
                Ok(Some(slice)) => {
                    partial.add(slice);
                    held = Some(place);
                }
                Ok(None) => partial.is_taken_from(&place.server),
                Err(failed) => {
                    if let Some(reason) = self.note_failure(&place.server, &mut partial, failed)? {
                        return Ok(Outcome::Dropped(reason, partial.figures));
                    }
                }
            }
        }
        Ok(Outcome::Completed(partial.drawn()))
    }

    /// Returns why the completion is dropped, if it is; otherwise its slice is asked for again.
    fn note_failure(
        self: &Arc<Self>,
        server: &Arc<Server>,
        partial: &mut Partial,
        failed: Failed,
    ) -> Result<Option<String>, Problem> {
        let failure = match failed {
            Failed::Check(message) => {
                tracing::warn!(server = server.url(), "an answer is not used: {message}");
                let again = partial.fails_check(server, self.settings.retries);
                return Ok((!again).then_some(message));
            }
            Failed::Refused(reason) => return Err(format!("{}: {reason}", server.url()).into()),
            Failed::Clips(message) => message,
            Failed::Server(reason) => {
                self.take_down(server, &reason);
                reason
            }
        };
        partial.attempts.failures += 1;
        let most = ATTEMPTS_PER_SERVER * self.servers.len();
        match partial.attempts.failures < most {
            true => Ok(None),
            false => {
                Err(format!("a completion was asked {most} times in vain; the last time: {failure}").into())
            }
        }
    }

    /// Takes up the newest version, and has the servers load it before if they lack it. Meanwhile all completions wait: a server
    /// that takes one adapter at a time loads the next one's canary only when nothing of the one before is being drawn.
    async fn follow(self: &Arc<Self>, partial: &mut Partial) -> Result<(), Problem> {
        if self.settings.at_new_version == AtNewVersion::Finish
            || self.scorer.newest_version() == partial.version.number
        {
            return Ok(());
        }
        if self.newer(partial).is_none() {
            self.prepare_newest().await?;
        }
        if let Some(version) = self.newer(partial) {
            partial.take_up(version, self.settings.at_new_version == AtNewVersion::Discard);
        }
        Ok(())
    }

    /// The newest version, if all servers in use have it, a completion may take it up, and its own is older.
    fn newer(&self, partial: &Partial) -> Option<Arc<Version>> {
        if self.settings.at_new_version == AtNewVersion::Finish {
            return None;
        }
        let newest = self.scorer.newest_version();
        let version = self.versions.live().into_iter().find(|version| version.number == newest)?;
        let mut in_use = self.servers.iter().filter(|server| server.state().up).peekable();
        let is_ready = in_use.peek().is_some() && in_use.all(|server| server.serves(newest));
        (is_ready && newest > partial.version.number).then_some(version)
    }

    /// A place on a server: the one that is held, unless it is slow or lacks the version.
    async fn place<'a>(
        &'a self,
        held: Option<InFlight<'a>>,
        partial: &mut Partial,
        route: u64,
    ) -> Result<InFlight<'a>, Problem> {
        let version = partial.version.number;
        let mut left = partial.attempts.left.take();
        if let Some(place) = held.filter(|place| place.server.serves(version)) {
            let pace = place.server.state().pace;
            let slower = pace.zip(self.fastest_other(&place.server, version));
            if !slower.is_some_and(|(own, other)| own > self.settings.straggler_factor * other) {
                return Ok(place);
            }
            left = Some(place.server.place);
        }
        let place = self.choose(route, version, left.or(partial.attempts.avoid)).await?;
        partial.figures.moved += u64::from(left.is_some_and(|left| left != place.server.place));
        Ok(place)
    }

    /// Seconds per token of the fastest server with room beside `server`. `None` if completions stay where they are.
    fn fastest_other(&self, server: &Server, version: u64) -> Option<f64> {
        if self.settings.straggler_factor == 0.0 || self.settings.slice_tokens == 0 {
            return None;
        }
        let others = self.servers.iter().filter(|other| other.place != server.place && other.serves(version));
        others.filter_map(|other| self.has_room(other).then(|| other.state().pace).flatten()).reduce(f64::min)
    }

    /// Asks a server for the next slice; `None` if it takes so long that another server is better asked.
    async fn slice(
        &self,
        server: &Server,
        partial: &Partial,
        wanted: Wanted<'_>,
    ) -> Result<Option<Completion>, Failed> {
        let name = Self::name(server, &partial.version);
        self.send_clips(server, &name, wanted.prompt).await?;
        let draw = partial.draw(wanted.draw, self.settings.slice_tokens);
        let began = Instant::now();
        let answered = self.ask_slice(server, &name, partial, wanted, &draw);
        tokio::pin!(answered);
        let slice = loop {
            if let Ok(slice) = tokio::time::timeout(LOOK, &mut answered).await {
                break slice?;
            }
            let (took, other) = (began.elapsed(), self.fastest_other(server, partial.version.number));
            let limit = other.map(|pace| self.settings.straggler_factor * pace * draw.max_tokens as f64);
            if !partial.attempts.taken_away
                && limit.is_some_and(|limit| took > LEAST_SLOW && took.as_secs_f64() > limit)
            {
                server.keep_pace(took, draw.max_tokens);
                return Ok(None);
            }
        };
        if slice.ids.len() == draw.max_tokens {
            server.keep_pace(began.elapsed(), draw.max_tokens);
        }
        Ok(Some(slice))
    }

    async fn ask_slice(
        &self,
        server: &Server,
        name: &str,
        partial: &Partial,
        Wanted { prompt, seed, .. }: Wanted<'_>,
        draw: &Draw,
    ) -> Result<Completion, Failed> {
        let ask = Ask { model: name, prompt, so_far: &partial.ids, has_clips: true, salt: None };
        let body = ask.completion(draw, partial.seed(seed));
        let answer = self.ask(server, &body, !prompt.clips.is_empty()).await;
        if let Err(Failed::Clips(_)) = answer {
            let lost = |uuid: &String| prompt.clips.iter().any(|clip| clip.uuid == *uuid);
            server.state().clips.retain(|uuid| !lost(uuid));
        }
        let expected = Expected { so_far: &partial.ids, ..self.expected(name, prompt) };
        let slice = expected.completion(&answer?.body, draw).map_err(Failed::from)?;
        server.answered(std::iter::empty());
        Ok(slice)
    }
}

#[cfg(test)]
mod tests;
