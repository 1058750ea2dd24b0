//! Making a server ready: at the start, for every new version, and after it failed.

use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::failed::Unready;
use crate::pool::Pool;
use crate::restart::restart;
use crate::server::Server;
use crate::versions::Version;
use crate::wire::{HEALTH, LOAD, MODELS, UNLOAD};

/// The first wait before a server that failed is tried again; it doubles up to the longest.
const FIRST_WAIT: Duration = Duration::from_millis(100);
const LONGEST_WAIT: Duration = Duration::from_secs(10);

/// Longest wait for a server to say how it is.
const SHORT: Duration = Duration::from_secs(10);

/// Failures in a row after which a server that calls itself healthy is restarted too.
const HANGS: u32 = 3;

/// How long a server that was restarted may take to answer before it is restarted again.
const STARTING: Duration = Duration::from_secs(600);

impl Pool {
    /// Makes a server ready for the versions in use: finds its base, loads what it lacks, and checks the canary of each.
    pub(crate) async fn prepare(&self, server: &Server) -> Result<(), Unready> {
        let _preparing = self.preparing[server.place].lock().await;
        let is_new = !server.state().up;
        let (base, listed) = self.models(server).await?;
        server.state().base.clone_from(&base);
        if is_new {
            self.check_template(server, &base).await.map_err(|unready| at(server, unready))?;
            for name in listed.iter().filter(|name| self.versions.is_left_over(name)) {
                self.unload(server, name).await;
            }
        }
        let live = self.versions.live();
        let newest = live.last().map(|version| version.number);
        // The list and this copy of it hold each of them, and the requests in progress.
        let needed =
            live.iter().filter(|version| Arc::strong_count(version) > 2 || Some(version.number) == newest);
        for version in needed {
            if server.state().versions.contains(&version.number) {
                continue;
            }
            self.load(server, version, &listed).await.map_err(|unready| at(server, unready))?;
            self.check_canary(server, version).await.map_err(|unready| at(server, unready))?;
            server.state().versions.insert(version.number);
        }
        server.state().up = true;
        self.changed.notify_waiters();
        Ok(())
    }

    /// The base's name, and the names of all models.
    async fn models(&self, server: &Server) -> Result<(String, Vec<String>), Unready> {
        let answer = self.http.get(&server.at(MODELS), SHORT).await.map_err(Unready::server)?;
        match answer.status {
            200..300 => {}
            401 | 403 => {
                let message = "it does not accept the key of sampler.api_key_env";
                return Err(at(server, Unready::Wrong(message.to_owned())));
            }
            _ => return Err(Unready::Server(answer.complaint())),
        }
        let models = answer.body["data"].as_array().cloned().unwrap_or_default();
        let name = |model: &Value| model["id"].as_str().map(str::to_owned);
        let names: Vec<String> = models.iter().filter_map(name).collect();
        let base = match &self.settings.model {
            Some(model) => names.iter().find(|name| *name == model).cloned(),
            None => models.iter().find(|model| model["parent"].is_null()).and_then(name),
        };
        match base {
            Some(base) => Ok((base, names)),
            None => Err(at(
                server,
                Unready::Wrong(format!(
                    "it does not serve sampler.model = {:?}; it lists {}",
                    self.settings.model.as_deref().unwrap_or_default(),
                    names.join(", ")
                )),
            )),
        }
    }

    async fn load(&self, server: &Server, version: &Version, listed: &[String]) -> Result<(), Unready> {
        let Some(name) = version.name.as_ref().filter(|name| !listed.contains(name)) else { return Ok(()) };
        let body = json!({ "lora_name": name, "lora_path": version.folder });
        let answer = self.http.post(&server.at(LOAD), &body, self.settings.timeout).await;
        let answer = answer.map_err(Unready::server)?;
        match answer.status {
            200..300 => Ok(()),
            404 if answer.said.contains("Not Found") => Err(Unready::Wrong(
                "it loads no adapters; start it with --enable-lora and VLLM_ALLOW_RUNTIME_LORA_UPDATING=1"
                    .to_owned(),
            )),
            400..500 => Err(Unready::Wrong(format!("it can't load the adapter: {}", answer.complaint()))),
            _ => Err(Unready::Server(answer.complaint())),
        }
    }

    /// Unloads an adapter. Returns whether the server no longer has it.
    async fn unload(&self, server: &Server, name: &str) -> bool {
        let body = json!({ "lora_name": name });
        match self.http.post(&server.at(UNLOAD), &body, SHORT).await {
            Ok(answer) => answer.is_ok() || answer.status == 404,
            Err(reason) => {
                tracing::info!(server = server.url(), "{name} was not unloaded: {reason}");
                false
            }
        }
    }

    /// Unloads versions everywhere, then removes their folders (ROLLOUT-4). A server that is asked for an adapter whose
    /// folder is gone dies, so a folder stays where a server did not answer.
    pub(crate) async fn unload_all(&self, versions: Vec<Arc<Version>>) {
        for version in versions {
            let (Some(name), number) = (&version.name, version.number) else { continue };
            let unloaded = join_all(self.servers.iter().map(|server| async move {
                server.state().versions.remove(&number);
                let is_up = server.state().up;
                is_up && self.unload(server, name).await
            }));
            if unloaded.await.into_iter().all(|unloaded| unloaded) {
                // A folder that stays behind is removed at the next start.
                let _ = std::fs::remove_dir_all(&version.folder);
            }
        }
    }

    /// Takes a server out of use, and has it repaired in the background.
    pub(crate) fn take_down(self: &Arc<Self>, server: &Arc<Server>, reason: &str) {
        let was_up = server.take_down(reason);
        self.changed.notify_waiters();
        let (begins, first) = {
            let mut state = server.state();
            (!std::mem::replace(&mut state.in_repair, true), state.failures == 1)
        };
        if was_up || first {
            (self.settings.notify)(format!("sampler: {} failed: {reason}", server.url()));
        }
        if begins {
            tokio::spawn(repair(Arc::downgrade(self), server.clone()));
        }
    }
}

fn at(server: &Server, unready: Unready) -> Unready {
    match unready {
        Unready::Wrong(reason) if !reason.starts_with("http") => {
            Unready::Wrong(format!("{}: {reason}", server.url()))
        }
        other => other,
    }
}

/// Tries a server until it is ready, or something else is wrong with it. Restarts it if it is dead or hangs.
async fn repair(pool: Weak<Pool>, server: Arc<Server>) {
    let mut wait = FIRST_WAIT;
    let mut restarted: Option<Instant> = None;
    loop {
        tokio::time::sleep(wait).await;
        wait = (2 * wait).min(LONGEST_WAIT);
        let Some(pool) = pool.upgrade() else { return };
        if let Some(command) = &pool.settings.restart
            && restarted.is_none_or(|at| at.elapsed() > STARTING)
            && (!is_healthy(&pool, &server).await || server.state().failures >= HANGS)
        {
            restarted = Some(Instant::now());
            restart_server(&pool, &server, command).await;
        }
        match pool.prepare(&server).await {
            Ok(()) => {
                {
                    let mut state = server.state();
                    if !state.up {
                        // It failed again meanwhile.
                        continue;
                    }
                    state.in_repair = false;
                }
                (pool.settings.notify)(format!("sampler: {} is in use again", server.url()));
                pool.changed.notify_waiters();
                return;
            }
            Err(Unready::Server(reason)) => server.state().reason = reason,
            Err(Unready::Wrong(reason)) => {
                {
                    let mut state = server.state();
                    (state.in_repair, state.up) = (false, false);
                    state.reason.clone_from(&reason);
                }
                pool.set_wrong(Some(reason));
                return;
            }
        }
    }
}

async fn is_healthy(pool: &Pool, server: &Server) -> bool {
    pool.http.get(&server.at(HEALTH), SHORT).await.is_ok_and(|answer| answer.is_ok())
}

async fn restart_server(pool: &Pool, server: &Server, command: &str) {
    let url = server.url();
    let message = match restart(command, &url).await {
        Ok(moved) => {
            let mut state = server.state();
            state.failures = 0;
            match moved.filter(|moved| *moved != url) {
                Some(moved) => {
                    state.url.clone_from(&moved);
                    format!("sampler: {url} was restarted, and is at {moved} now")
                }
                None => format!("sampler: {url} was restarted"),
            }
        }
        Err(reason) => format!("sampler: {url} was not restarted: {reason}"),
    };
    (pool.settings.notify)(message);
}
