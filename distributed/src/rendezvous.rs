//! How ranks find each other, and whether they fit together.

use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::beats::{Beats, ENDED, Ender, POLL, ended};
use crate::c10d::{Gloo, Serves, Store};
use crate::error::{Problem, RankError};
use crate::group::{Group, Place, TRANSFER};
use crate::launch::Launch;

/// How many times the time-out ranks wait for each other at the beginning, since launchers start them one by one.
const LATE_COMERS: u32 = 20;

/// The store at which the ranks of a group meet.
pub struct Rendezvous {
    launch: Launch,
    timeout: Duration,
    store: Store,
    port: u16,
}

impl Rendezvous {
    /// Opens the store, as rank 0, or connects to it. `timeout` is how long a rank may be silent later on.
    ///
    /// Errors: [`RankError::Store`]: the port is taken, or rank 0 can't be reached.
    pub fn open(launch: &Launch, timeout: Duration) -> Result<Rendezvous, RankError> {
        let (mut port, mut serves) = (launch.port, Serves::No);
        if launch.rank == 0 && launch.own {
            // Only processes of this machine are to reach it.
            let bound = TcpListener::bind((launch.host.as_str(), port));
            let bound = bound.and_then(|listener| Ok((listener.local_addr()?.port(), listener)));
            let (free, listener) = bound.map_err(|error| store_error(launch, port, error.to_string()))?;
            (port, serves) = (free, Serves::On(listener));
        } else if launch.rank == 0 && !launch.launcher_serves {
            serves = Serves::Everywhere;
        }
        let store = open_store(launch, port, serves, timeout * LATE_COMERS)?;
        Ok(Rendezvous { launch: launch.clone(), timeout, store, port })
    }

    /// The port of the store.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Waits for all ranks and connects them. `identity` names what must be the same on all of them. Rank 0 calls `waiting`
    /// again and again while it waits, and gives up if that fails.
    ///
    /// Errors: [`RankError::Missing`], [`RankError::Unlike`], or what `waiting` returned; all ranks that came get the same.
    pub fn meet(
        self,
        identity: &[(&str, String)],
        waiting: &mut dyn FnMut() -> Result<(), RankError>,
    ) -> Result<Group, RankError> {
        let met = self.introduce(identity, waiting);
        if let Err(error) = &met {
            // Those that came end with the same reason; a store that is gone ends them, too.
            let _ = self.store.set(ENDED, error.to_string().as_bytes());
            if self.launch.rank == 0 {
                self.store_outlives_the_news();
            }
            return Err(error.clone());
        }
        let Rendezvous { launch, timeout, store, port } = self;
        let address = launch.own.then_some("127.0.0.1");
        let gloo = Gloo::open(&store, launch.rank, launch.size, timeout * TRANSFER, address)
            .map_err(|problem| RankError::Lost { what: "connecting with each other", problem: problem.0 })?;
        let own = open_store(&launch, port, Serves::No, timeout)?;
        let ender = Ender(Arc::new(Mutex::new(own)));
        let beats = Beats::start(ender.0.clone(), launch.rank, timeout);
        Ok(Group::new(Place { rank: launch.rank, size: launch.size, timeout }, store, gloo, beats, ender))
    }

    fn introduce(
        &self,
        identity: &[(&str, String)],
        waiting: &mut dyn FnMut() -> Result<(), RankError>,
    ) -> Result<(), RankError> {
        let (rank, size) = (self.launch.rank, self.launch.size);
        let lines: Vec<String> = identity.iter().map(|(name, value)| format!("{name}\t{value}")).collect();
        let lost = |problem: Problem| RankError::Lost { what: "meeting", problem: problem.0 };
        self.store.set(&hello(rank), lines.join("\n").as_bytes()).map_err(lost)?;
        if rank != 0 {
            self.expect("met", 0, &mut || Ok(()))?;
            return Ok(());
        }
        for other in 1..size {
            let said = self.expect(&hello(other), other, waiting)?;
            let said = String::from_utf8_lossy(&said).into_owned();
            let mut others = said.lines().map(|line| line.split_once('\t').unwrap_or((line, "")));
            for (what, own) in identity {
                let value = others.next().filter(|(name, _)| name == what).map_or("none", |(_, value)| value);
                if value != own {
                    let (what, own, value) = ((*what).to_owned(), own.clone(), value.to_owned());
                    return Err(RankError::Unlike { rank: other, what, own, other: value });
                }
            }
        }
        self.store.set("met", b"").map_err(lost)
    }

    /// Waits for a key that `rank` sets.
    fn expect(
        &self,
        key: &str,
        rank: usize,
        waiting: &mut dyn FnMut() -> Result<(), RankError>,
    ) -> Result<Vec<u8>, RankError> {
        let (began, patience) = (Instant::now(), self.timeout * LATE_COMERS);
        let lost = |problem: Problem| RankError::Lost { what: "meeting", problem: problem.0 };
        loop {
            if self.store.wait(key, POLL).map_err(lost)? {
                return Ok(self.store.get(key).map_err(lost)?.unwrap_or_default());
            }
            ended(&self.store)?;
            waiting()?;
            if began.elapsed() > patience {
                let (seconds, size) = (patience.as_secs(), self.launch.size);
                return Err(RankError::Missing { rank, seconds, size });
            }
        }
    }

    /// Keeps the store open for a moment, in which the other ranks read why the group has ended.
    fn store_outlives_the_news(&self) {
        std::thread::sleep(2 * POLL);
    }
}

fn hello(rank: usize) -> String {
    format!("hello/{rank}")
}

fn open_store(launch: &Launch, port: u16, serves: Serves, timeout: Duration) -> Result<Store, RankError> {
    let prefix = format!("sandbox/{}", launch.attempt);
    Store::open(&launch.host, port, serves, timeout, &prefix)
        .map_err(|problem| store_error(launch, port, problem.0))
}

fn store_error(launch: &Launch, port: u16, problem: String) -> RankError {
    RankError::Store { host: launch.host.clone(), port, problem }
}
