//! Ranks that have met: orders of rank 0, agreement, and sums of tensors.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use tch::{Device, Kind, Tensor};

use crate::beats::{Beats, Ender, Lives, POLL, Watch, ended, heard};
use crate::c10d::{Gloo, Store};
use crate::collectives::Adding;
use crate::error::{Problem, RankError};
use crate::nccl::{self, Broken, Communicator, Found, Look, Offer, UniqueId, misfit};

/// How many times the time-out a transfer between ranks may take. A rank that dies in one is noticed earlier.
pub(crate) const TRANSFER: u32 = 4;

/// The key under which the first rank that can't join the others by NCCL says why.
const NO_NCCL: &str = "nccl/problem";

/// What stands before the id by which the ranks join.
const ID: &[u8] = b"id\0";

/// How long rank 0, which has the store, waits until the others have read there why the group ended.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// Where a rank is in its group, and how long another one may be silent.
pub(crate) struct Place {
    pub(crate) rank: usize,
    pub(crate) size: usize,
    pub(crate) timeout: Duration,
}

/// The ranks that train together, as one of them sees them. After the first error every call returns that error.
pub struct Group {
    rank: usize,
    size: usize,
    timeout: Duration,
    store: Store,
    gloo: Gloo,
    nccl: Option<Communicator>,
    /// Whether NCCL was tried, with whatever result.
    tried_nccl: bool,
    beats: Beats,
    ender: Ender,
    /// Orders so far.
    orders: u64,
    /// Agreements so far.
    agreements: u64,
    broken: Option<RankError>,
    finished: bool,
}

impl Group {
    /// How many times the time-out a rank that gives signs of life may take for its part of a step.
    pub const PATIENCE: u32 = 40;

    pub(crate) fn new(place: Place, store: Store, gloo: Gloo, beats: Beats, ender: Ender) -> Group {
        let Place { rank, size, timeout } = place;
        Group {
            rank,
            size,
            timeout,
            store,
            gloo,
            nccl: None,
            tried_nccl: false,
            beats,
            ender,
            orders: 0,
            agreements: 0,
            broken: None,
            finished: false,
        }
    }

    /// A way to end the group from other threads.
    pub fn ender(&self) -> Ender {
        self.ender.clone()
    }

    /// The number of this rank.
    pub fn rank(&self) -> usize {
        self.rank
    }

    /// The number of ranks.
    pub fn size(&self) -> usize {
        self.size
    }

    /// Has `on_lost` called, on another thread, when this follower loses rank 0 while it computes.
    pub fn watch(&self, on_lost: Watch) {
        self.beats.watch(Some(on_lost));
    }

    /// Rank 0: sends each follower its order; `orders[0]` is for rank 1. Every order is answered by an [`agree`](Self::agree).
    ///
    /// Errors: A rank is gone.
    pub fn order(&mut self, orders: &[Vec<u8>]) -> Result<(), RankError> {
        self.intact()?;
        self.orders += 1;
        let lengths: Vec<String> = orders.iter().map(|order| order.len().to_string()).collect();
        let (number, what) = (self.orders, "sending the parts of a step");
        let sent = self.set(&format!("order/{number}"), lengths.join(" ").as_bytes());
        self.settle(sent)?;
        // All followers have answered the order before.
        let _ = self.store.delete(&format!("order/{}", number - 1));
        for (order, to) in orders.iter().zip(1..) {
            if !order.is_empty() {
                let sent = self.gloo.send(&Tensor::from_slice(order), to);
                self.settle(sent.map_err(|problem| RankError::Lost { what, problem: problem.0 }))?;
            }
        }
        Ok(())
    }

    /// A follower: waits for the next order of rank 0, as long as rank 0 gives signs of life.
    ///
    /// Errors: Rank 0 is gone, or a rank has ended the group.
    pub fn next_order(&mut self) -> Result<Vec<u8>, RankError> {
        self.intact()?;
        self.orders += 1;
        let key = format!("order/{}", self.orders);
        let lengths = self.wait(&key, 0, None);
        let lengths = self.settle(lengths)?;
        let lengths = String::from_utf8_lossy(&lengths).into_owned();
        let own = lengths.split(' ').nth(self.rank - 1).and_then(|length| length.parse::<i64>().ok());
        let order = own.ok_or(RankError::Garbled { rank: 0 }).and_then(|length| self.receive(length));
        self.settle(order)
    }

    fn receive(&self, length: i64) -> Result<Vec<u8>, RankError> {
        if length == 0 {
            return Ok(Vec::new());
        }
        let garbled = |_| RankError::Garbled { rank: 0 };
        let order = Tensor::f_zeros([length], (Kind::Uint8, Device::Cpu)).map_err(garbled)?;
        let what = "receiving the part of a step";
        self.gloo.receive(&order, 0).map_err(|problem| RankError::Lost { what, problem: problem.0 })?;
        Vec::<u8>::try_from(&order).map_err(garbled)
    }

    /// Waits until every rank has come here. Rank 0 gets the parts of all, in the order of the ranks, and lets them go on if
    /// `check` accepts these; a follower gets nothing.
    ///
    /// Errors: A rank is gone, or `check` fails, of which all ranks learn.
    pub fn agree(
        &mut self,
        part: &[u8],
        check: impl FnOnce(&[Vec<u8>]) -> Result<(), RankError>,
    ) -> Result<Vec<Vec<u8>>, RankError> {
        self.intact()?;
        self.agreements += 1;
        let agreed = self.try_agree(part, check);
        self.settle(agreed)
    }

    fn try_agree(
        &self,
        part: &[u8],
        check: impl FnOnce(&[Vec<u8>]) -> Result<(), RankError>,
    ) -> Result<Vec<Vec<u8>>, RankError> {
        let number = self.agreements;
        let ready = |number: u64, rank: usize| format!("ready/{number}/{rank}");
        let go = |number: u64| format!("go/{number}");
        if self.rank != 0 {
            self.set(&ready(number, self.rank), part)?;
            self.wait(&go(number), 0, None)?;
            return Ok(Vec::new());
        }
        let mut parts = vec![part.to_vec()];
        for rank in 1..self.size {
            parts.push(self.wait(&ready(number, rank), rank, Some(self.timeout * Group::PATIENCE))?);
        }
        check(&parts)?;
        self.set(&go(number), b"")?;
        // All have passed the agreement before. A key that stays costs a few bytes.
        let _ = self.store.delete(&go(number - 1));
        for rank in 1..self.size {
            let _ = self.store.delete(&ready(number, rank));
        }
        Ok(parts)
    }

    /// Has tensors on GPUs added up by NCCL from here on, if all ranks can (NCCL-1). All ranks call it at the same time, each
    /// with the device of its replicas. `None` if it was tried before.
    ///
    /// Errors: A rank is gone.
    pub fn try_nccl(&mut self, device: Device) -> Result<Option<Adding>, RankError> {
        self.intact()?;
        if std::mem::replace(&mut self.tried_nccl, true) {
            return Ok(None);
        }
        let stand_in = std::env::var_os(nccl::STAND_IN).map(PathBuf::from);
        self.join_by_nccl(nccl::find(device, stand_in.as_deref())).map(Some)
    }

    /// Joins the other ranks by what each of them found.
    pub(crate) fn join_by_nccl(&mut self, found: Result<Found, Offer>) -> Result<Adding, RankError> {
        let offers = self.agree(&nccl::offer_of(&found).encode(), |_| Ok(()))?;
        let decided = self.announce("nccl/id", || decide(&found, &offers))?;
        let refused = |because: String| {
            let on_cpus = because == nccl::ALL_ON_CPUS;
            Ok(Adding::Gloo { because, on_cpus })
        };
        let (Ok(found), Some(id)) = (found, decode_id(&decided)) else {
            return refused(String::from_utf8_lossy(&decided).into_owned());
        };
        let version = found.version();
        let place = (self.rank, self.size);
        let limit = self.timeout * TRANSFER;
        let mut lives = Lives::new(self.timeout);
        let opened = Communicator::open(found, id, place, limit, &mut || {
            self.look_at_others(&mut lives)?;
            match self.get(NO_NCCL)? {
                Some(_) => Err(Broken::Nccl("another rank could not join".into())),
                None => Ok(()),
            }
        });
        let opened = match opened {
            Ok(opened) => Some(opened),
            Err(Broken::Ranks(error)) => return self.settle(Err(error)),
            Err(Broken::Nccl(problem)) => {
                let told =
                    self.tell_first(NO_NCCL, &format!("rank {} can't join by NCCL: {problem}", self.rank));
                self.settle(told)?;
                None
            }
        };
        self.agree(&[], |_| Ok(()))?;
        // Whoever failed has said so before it agreed.
        let problem = self.get(NO_NCCL);
        match self.settle(problem)? {
            Some(because) => refused(String::from_utf8_lossy(&because).into_owned()),
            None => {
                self.nccl = opened;
                Ok(Adding::Nccl { version })
            }
        }
    }

    /// Where tensors must be to be added up.
    pub fn device(&self) -> Device {
        self.nccl.as_ref().map_or(Device::Cpu, Communicator::device)
    }

    /// Replaces the tensor, on every rank, by the sum over all ranks, which is the same on all of them to the last bit. All
    /// ranks must call it with the same shape and dtype, right after they have agreed.
    ///
    /// Errors: A rank is gone, or the tensor lies neither on [`device`](Self::device) nor on the CPU, or not in one piece.
    pub fn sum(&mut self, tensor: &Tensor) -> Result<(), RankError> {
        let what = "adding up gradients";
        match self.nccl_for(tensor) {
            true => self.by_nccl(what, |nccl, look| nccl.sum(tensor, look)),
            false => self.by_gloo(what, |gloo| gloo.sum(tensor)),
        }
    }

    /// Replaces the tensor, on every rank, by that of rank 0.
    ///
    /// Errors: As for [`Group::sum`].
    pub fn broadcast(&mut self, tensor: &Tensor) -> Result<(), RankError> {
        let what = "copying the weights of rank 0";
        match self.nccl_for(tensor) {
            true => self.by_nccl(what, |nccl, look| nccl.broadcast(tensor, look)),
            false => self.by_gloo(what, |gloo| gloo.broadcast(tensor)),
        }
    }

    fn nccl_for(&self, tensor: &Tensor) -> bool {
        self.nccl.as_ref().is_some_and(|nccl| nccl.device() == tensor.device())
    }

    /// Returns when every rank has called it.
    ///
    /// Errors: A rank is gone.
    pub fn barrier(&mut self) -> Result<(), RankError> {
        self.by_gloo("waiting for each other", Gloo::barrier)
    }

    /// Ends the group: the other ranks end with this reason within moments. It is not an error if they are gone.
    pub fn end(&mut self, reason: &str) {
        if !self.finished {
            self.finished = true;
            self.ender.end(reason);
        }
        self.broken.get_or_insert_with(|| RankError::Ended(reason.to_owned()));
    }

    /// Says that the work is done, so that nobody's end from here on is a failure.
    pub fn finish(&mut self) {
        self.finished = true;
        self.beats.watch(None);
    }

    fn by_gloo(
        &mut self,
        what: &'static str,
        call: impl FnOnce(&Gloo) -> Result<(), Problem>,
    ) -> Result<(), RankError> {
        self.intact()?;
        let done = call(&self.gloo).map_err(|problem| RankError::Lost { what, problem: problem.0 });
        // The other end may have said why it broke off.
        let done = done.map_err(|error| ended(&self.store).err().unwrap_or(error));
        self.settle(done)
    }

    fn by_nccl(
        &mut self,
        what: &'static str,
        call: impl FnOnce(&Communicator, Look<'_>) -> Result<(), Broken>,
    ) -> Result<(), RankError> {
        self.intact()?;
        let Some(nccl) = &self.nccl else { return Ok(()) };
        let mut lives = Lives::new(self.timeout);
        let mut look = || self.look_at_others(&mut lives).map_err(Broken::Ranks);
        let done = call(nccl, &mut look).map_err(|broken| match broken {
            Broken::Ranks(error) => error,
            // The rank that ended the group may be the reason.
            Broken::Nccl(problem) => ended(&self.store)
                .err()
                .unwrap_or(RankError::Lost { what, problem: format!("NCCL: {problem}") }),
        });
        self.settle(done)
    }

    /// Rank 0 says something under a key that it uses once, and the others wait for it.
    fn announce(&mut self, key: &str, say: impl FnOnce() -> Vec<u8>) -> Result<Vec<u8>, RankError> {
        let said = match self.rank {
            0 => {
                let said = say();
                self.set(key, &said).map(|()| said)
            }
            _ => self.wait(key, 0, None),
        };
        self.settle(said)
    }

    /// Sets a key unless another rank has.
    fn tell_first(&self, key: &str, text: &str) -> Result<(), RankError> {
        match self.get(key)? {
            Some(_) => Ok(()),
            None => self.set(key, text.as_bytes()),
        }
    }

    fn intact(&self) -> Result<(), RankError> {
        self.broken.clone().map_or(Ok(()), Err)
    }

    /// Keeps the first error, and tells it to the other ranks.
    fn settle<T>(&mut self, done: Result<T, RankError>) -> Result<T, RankError> {
        if let Err(error) = &done {
            let reason = match error {
                RankError::Ended(reason) => reason.clone(),
                other => other.to_string(),
            };
            self.end(&reason);
            if self.rank != 0 {
                let _ = self.store.set(&heard(self.rank), b"");
            }
            if let RankError::Silent { rank, .. } = error {
                self.ender.gone(*rank);
            }
            self.broken = Some(error.clone());
            // A transfer that is under way never ends by itself.
            if let Some(mut nccl) = self.nccl.take() {
                nccl.close(false);
            }
        }
        done
    }

    fn set(&self, key: &str, value: &[u8]) -> Result<(), RankError> {
        let what = "waiting for each other";
        self.store.set(key, value).map_err(|problem| RankError::Lost { what, problem: problem.0 })
    }

    fn get(&self, key: &str) -> Result<Option<Vec<u8>>, RankError> {
        let what = "waiting for each other";
        self.store.get(key).map_err(|problem| RankError::Lost { what, problem: problem.0 })
    }

    /// Fails if the group has ended, or if a rank that this one needs is silent.
    fn look_at_others(&self, lives: &mut Lives) -> Result<(), RankError> {
        ended(&self.store)?;
        // Whoever leads needs all; the others need rank 0, which tells them of the rest.
        let needed = if self.rank == 0 { 1..self.size } else { 0..1 };
        for other in needed {
            lives.look(&self.store, other)?;
        }
        Ok(())
    }

    /// Waits for a key that `rank` sets (RANKS-1).
    fn wait(&self, key: &str, rank: usize, patience: Option<Duration>) -> Result<Vec<u8>, RankError> {
        let lost = |problem: Problem| RankError::Lost { what: "waiting for each other", problem: problem.0 };
        let (began, mut lives) = (Instant::now(), Lives::new(self.timeout));
        loop {
            if self.store.wait(key, POLL).map_err(lost)? {
                return Ok(self.store.get(key).map_err(lost)?.unwrap_or_default());
            }
            self.look_at_others(&mut lives)?;
            if let Some(patience) = patience.filter(|patience| began.elapsed() > *patience) {
                return Err(RankError::Late { rank, seconds: patience.as_secs() });
            }
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let done = self.finished && self.broken.is_none();
        if let Some(nccl) = &mut self.nccl {
            nccl.close(done);
        }
        self.end(&format!("rank {} ended", self.rank));
        if self.rank == 0 && !done {
            let until = Instant::now() + LAST_WORDS;
            for rank in 1..self.size {
                let _ = self.store.wait(&heard(rank), until.saturating_duration_since(Instant::now()));
            }
        }
    }
}

/// What rank 0 says to these offers: an id by which the ranks can join, or why they can't.
fn decide(found: &Result<Found, Offer>, offers: &[Vec<u8>]) -> Vec<u8> {
    let offers: Option<Vec<Offer>> = offers.iter().map(|offer| Offer::decode(offer)).collect();
    let Some(offers) = offers else { return b"a rank sent an offer that can't be read".to_vec() };
    match (misfit(&offers), found) {
        (None, Ok(found)) => match found.unique_id() {
            Ok(id) => [ID, &id.0].concat(),
            Err(problem) => problem.0.into_bytes(),
        },
        (because, _) => because.unwrap_or_default().into_bytes(),
    }
}

/// The id that [`decide`] sent.
fn decode_id(decided: &[u8]) -> Option<UniqueId> {
    Some(UniqueId(decided.strip_prefix(ID)?.try_into().ok()?))
}
