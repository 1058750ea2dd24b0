//! Ranks that have met: orders of rank 0, agreement, and sums of tensors.

use std::time::{Duration, Instant};

use tch::{Device, Kind, Tensor};

use crate::beats::{Beats, Ender, Lives, Watch, ended, heard};
use crate::c10d::{Gloo, Problem, Store};
use crate::error::RankError;

/// Longest wait for a key before a rank looks whether the others live.
pub(crate) const POLL: Duration = Duration::from_millis(200);

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
        let (orders, agreements, broken, finished) = (0, 0, None, false);
        Group { rank, size, timeout, store, gloo, beats, ender, orders, agreements, broken, finished }
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

    /// Replaces the tensor, on every rank, by the sum over all ranks, which is the same on all of them to the last bit. All
    /// ranks must call it with the same shape and dtype, right after they have agreed.
    ///
    /// Errors: A rank is gone, or the tensor does not lie in one piece of the CPU's memory.
    pub fn sum(&mut self, tensor: &Tensor) -> Result<(), RankError> {
        self.collective("adding up gradients", |gloo| gloo.sum(tensor))
    }

    /// Replaces the tensor, on every rank, by that of rank 0.
    ///
    /// Errors: As for [`Group::sum`].
    pub fn broadcast(&mut self, tensor: &Tensor) -> Result<(), RankError> {
        self.collective("copying the weights of rank 0", |gloo| gloo.broadcast(tensor))
    }

    /// Returns when every rank has called it.
    ///
    /// Errors: A rank is gone.
    pub fn barrier(&mut self) -> Result<(), RankError> {
        self.collective("waiting for each other", Gloo::barrier)
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

    fn collective(
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
            self.broken = Some(error.clone());
        }
        done
    }

    fn set(&self, key: &str, value: &[u8]) -> Result<(), RankError> {
        let what = "waiting for each other";
        self.store.set(key, value).map_err(|problem| RankError::Lost { what, problem: problem.0 })
    }

    /// Waits for a key that `rank` sets (RANKS-1).
    fn wait(&self, key: &str, rank: usize, patience: Option<Duration>) -> Result<Vec<u8>, RankError> {
        let lost = |problem: Problem| RankError::Lost { what: "waiting for each other", problem: problem.0 };
        let (began, mut lives) = (Instant::now(), Lives::new(self.timeout));
        loop {
            if self.store.wait(key, POLL).map_err(lost)? {
                return Ok(self.store.get(key).map_err(lost)?.unwrap_or_default());
            }
            ended(&self.store)?;
            // Whoever leads needs all; the others need rank 0, which tells them of the rest.
            let needed = if self.rank == 0 { 1..self.size } else { 0..1 };
            for other in needed {
                lives.look(&self.store, other)?;
            }
            if let Some(patience) = patience.filter(|patience| began.elapsed() > *patience) {
                return Err(RankError::Late { rank, seconds: patience.as_secs() });
            }
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let done = self.finished && self.broken.is_none();
        self.end(&format!("rank {} ended", self.rank));
        if self.rank == 0 && !done {
            let until = Instant::now() + LAST_WORDS;
            for rank in 1..self.size {
                let _ = self.store.wait(&heard(rank), until.saturating_duration_since(Instant::now()));
            }
        }
    }
}
