//! The servers of an arm together: which one is asked, and what it is sent.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Instant;

use model::{Processor, Prompt};
use tokio::sync::{Mutex as AsyncMutex, Notify};

use crate::asked::AskedPrompt;
use crate::canary::Canary;
use crate::checks::Expected;
use crate::failed::{Failed, Unready};
use crate::http::{Answer, Http};
use crate::problem::Problem;
use crate::scorer::Scorer;
use crate::server::{Server, preference};
use crate::settings::Settings;
use crate::versions::{Version, Versions};
use crate::wire::{Ask, Draw, GENERATE};

/// Locks by which all that need a clip wait until it has been sent.
const SENDING: usize = 64;

/// The servers of an arm, and what their answers are compared with.
pub(crate) struct Pool {
    pub(crate) settings: Settings,
    pub(crate) http: Http,
    pub(crate) servers: Vec<Arc<Server>>,
    pub(crate) versions: Versions,
    pub(crate) scorer: Scorer,
    pub(crate) processor: Processor,
    pub(crate) tolerance: f64,
    pub(crate) canary: OnceLock<Canary>,
    /// The largest difference of the last canaries, and their version.
    pub(crate) canary_gap: Mutex<Option<(u64, f64)>>,
    /// One new version at a time is written and loaded.
    taking_up: AsyncMutex<()>,
    /// A server is prepared by one task at a time.
    pub(crate) preparing: Vec<AsyncMutex<()>>,
    /// What has to be repaired by hand; nothing is asked until the arm is resumed.
    wrong: Mutex<Option<String>>,
    sending: Vec<AsyncMutex<()>>,
    /// A server came back or has room, or something is wrong.
    pub(crate) changed: Notify,
    vocabulary: i64,
    suppressed: Vec<i64>,
    /// Most completions in flight on one server.
    most_in_flight: usize,
}

/// Counts a completion as in flight.
pub(crate) struct InFlight<'a> {
    pool: &'a Pool,
    pub(crate) server: Arc<Server>,
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.server.state().in_flight -= 1;
        self.pool.changed.notify_waiters();
    }
}

impl Pool {
    /// Errors: One line: the key can't be used.
    pub(crate) fn new(settings: Settings, scorer: Scorer, versions: Versions) -> Result<Self, Problem> {
        let servers: Vec<Arc<Server>> =
            settings.urls.iter().enumerate().map(|(place, url)| Arc::new(Server::new(place, url))).collect();
        let (processor, vocabulary, tolerance) = scorer.facts();
        let mut suppressed = processor.suppressed_ids().to_vec();
        suppressed.sort_unstable();
        Ok(Pool {
            http: Http::new(settings.api_key_env.as_deref(), &settings.urls)?,
            tolerance: settings.canary_tolerance.unwrap_or(tolerance),
            most_in_flight: settings.concurrency.div_ceil(servers.len().max(1)).max(1),
            preparing: servers.iter().map(|_| AsyncMutex::default()).collect(),
            sending: (0..SENDING).map(|_| AsyncMutex::default()).collect(),
            taking_up: AsyncMutex::default(),
            canary: OnceLock::new(),
            canary_gap: Mutex::default(),
            wrong: Mutex::default(),
            changed: Notify::new(),
            settings,
            servers,
            versions,
            scorer,
            processor,
            vocabulary,
            suppressed,
        })
    }

    /// A prompt as the servers take it.
    pub(crate) fn asked(&self, prompt: &Prompt) -> Result<AskedPrompt, Problem> {
        AskedPrompt::of(prompt, self.processor.audio_token_id())
    }

    /// How completions are drawn.
    pub(crate) fn draw(&self, temperature: f64, max_tokens: usize) -> Draw {
        Draw::new(temperature, max_tokens, self.processor.eos_ids(), &self.suppressed)
    }

    pub(crate) fn expected<'a>(&'a self, model: &'a str, prompt: &'a AskedPrompt) -> Expected<'a> {
        Expected { model, prompt, so_far: &[], vocabulary: self.vocabulary, suppressed: &self.suppressed }
    }

    /// The name under which a server has a version.
    pub(crate) fn name(server: &Server, version: &Version) -> String {
        version.name.clone().unwrap_or_else(|| server.state().base.clone())
    }

    /// Sets or clears what has to be repaired by hand.
    pub(crate) fn set_wrong(&self, reason: Option<String>) {
        *self.wrong.lock().unwrap_or_else(PoisonError::into_inner) = reason;
        self.changed.notify_waiters();
    }

    fn wrong(&self) -> Option<String> {
        self.wrong.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Writes the newest version for the servers and has them load it. It is the newest at the time when it is this one's turn.
    ///
    /// Errors: One line: a server computes something else than the policy, or the version can't be written.
    pub(crate) async fn prepare_newest(self: &Arc<Self>) -> Result<Arc<Version>, Problem> {
        let _taking_up = self.taking_up.lock().await;
        let version = self.versions.of(self.scorer.newest(), &self.scorer).await?;
        self.make_ready(&version).await?;
        Ok(version)
    }

    /// Makes all servers ready for the versions in use, those that fail in the background.
    async fn make_ready(self: &Arc<Self>, version: &Version) -> Result<(), Problem> {
        let prepare = |server: Arc<Server>| async move {
            if server.serves(version.number) || server.state().in_repair {
                return Ok(());
            }
            match self.prepare(&server).await {
                Ok(()) => Ok(()),
                Err(Unready::Server(reason)) => {
                    self.take_down(&server, &reason);
                    Ok(())
                }
                Err(Unready::Wrong(reason)) => Err(reason.into()),
            }
        };
        let prepared = self.servers.iter().cloned().map(prepare);
        let prepared = futures_util::future::join_all(prepared).await;
        prepared.into_iter().collect::<Result<(), Problem>>()
    }

    /// Waits for a server that has the version and room. Prefers that of the prompt, and any other to `avoid`.
    pub(crate) async fn choose(
        &self,
        route: u64,
        version: u64,
        avoid: Option<usize>,
    ) -> Result<InFlight<'_>, Problem> {
        let mut order = preference(route, self.servers.len());
        order.sort_by_key(|place| Some(*place) == avoid);
        let mut without: Option<Instant> = None;
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if let Some(reason) = self.wrong() {
                return Err(reason.into());
            }
            let mut has_server = false;
            for server in order.iter().map(|place| &self.servers[*place]) {
                let mut state = server.state();
                let serves = state.up && state.versions.contains(&version);
                has_server |= serves;
                if serves && state.in_flight < self.most_in_flight {
                    state.in_flight += 1;
                    drop(state);
                    return Ok(InFlight { pool: self, server: server.clone() });
                }
            }
            let limit = match has_server {
                true => {
                    without = None;
                    self.settings.timeout
                }
                false => {
                    self.settings.give_up.saturating_sub(without.get_or_insert_with(Instant::now).elapsed())
                }
            };
            if limit.is_zero() {
                return Err(self.nobody_answers().into());
            }
            // Its requests end in time, so a server with too much to do has room again.
            let _ = tokio::time::timeout(limit, changed).await;
        }
    }

    /// Whether a server takes another completion.
    pub(crate) fn has_room(&self, server: &Server) -> bool {
        server.state().in_flight < self.most_in_flight
    }

    fn nobody_answers(&self) -> String {
        let reasons = self.servers.iter().map(|server| {
            let state = server.state();
            format!("{} ({})", state.url, state.reason)
        });
        format!(
            "no server of sampler.urls could be used for {} s: {}; start one, then resume",
            self.settings.give_up.as_secs_f64(),
            reasons.collect::<Vec<_>>().join(", ")
        )
    }

    /// Sends the clips that the server does not have yet, with a request for one token. The prompt is in its prefix cache
    /// then, and the completions of the group need no clip.
    pub(crate) async fn send_clips(
        &self,
        server: &Server,
        name: &str,
        prompt: &AskedPrompt,
    ) -> Result<(), Failed> {
        let has_all = || {
            let state = server.state();
            prompt.clips.iter().all(|clip| state.clips.contains(&clip.uuid))
        };
        if has_all() {
            return Ok(());
        }
        let clip = prompt.clips.first().map_or("", |clip| clip.uuid.as_str());
        let hash =
            clip.bytes().fold(server.place, |hash, byte| hash.wrapping_mul(31).wrapping_add(byte.into()));
        let place = hash % self.sending.len();
        let _sending = self.sending[place].lock().await;
        if has_all() {
            return Ok(());
        }
        let ask = Ask { model: name, prompt, so_far: &[], has_clips: false, salt: None };
        let draw = Draw { bias: serde_json::Map::new(), ..self.draw(1.0, 1) };
        let answer = self.ask(server, &ask.completion(&draw, 0), false).await?;
        let expected = Expected { suppressed: &[], ..self.expected(name, prompt) };
        expected.completion(&answer.body, &draw).map_err(Failed::from)?;
        server.answered(prompt.clips.iter().map(|clip| &clip.uuid));
        Ok(())
    }

    /// Sends a request for tokens. `by_uuid` says that it names clips which the server may have lost.
    pub(crate) async fn ask(
        &self,
        server: &Server,
        body: &serde_json::Value,
        by_uuid: bool,
    ) -> Result<Answer, Failed> {
        let sent = self.http.post(&server.at(GENERATE), body, self.settings.timeout).await;
        let answer = sent.map_err(Failed::server)?;
        let complaint = || answer.complaint();
        match answer.status {
            200..300 if answer.body.is_object() => Ok(answer),
            200..300 => Err(Failed::Server("the answer is no JSON".to_owned())),
            404 => Err(Failed::Server(format!("it does not have {} ({})", body["model"], complaint()))),
            403 => Err(Failed::Refused(format!("{}; start the server with --enable-scale-out", complaint()))),
            400..500 if by_uuid => Err(Failed::Clips(complaint())),
            429 => Err(Failed::Server(complaint())),
            400..500 => Err(Failed::Refused(complaint())),
            _ => Err(Failed::Server(complaint())),
        }
    }
}
