//! The ranks of a group, connected by NCCL.

#![expect(unsafe_code, reason = "NCCL is given the addresses of tensors")]

use std::sync::Arc;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use tch::{Device, Kind, Tensor};

use super::found::Found;
use super::library::{Handle, Library, UniqueId};
use crate::beats::POLL;
use crate::c10d::current_stream;
use crate::error::{Problem, RankError};

/// Longest wait until NCCL has closed a communicator, which broken connections may keep it from.
const CLOSING: Duration = Duration::from_secs(5);

/// Why a collective was not finished.
pub(crate) enum Broken {
    /// What NCCL or CUDA says.
    Nccl(String),
    /// What became of another rank meanwhile.
    Ranks(RankError),
}

impl From<Problem> for Broken {
    fn from(problem: Problem) -> Broken {
        Broken::Nccl(problem.0)
    }
}

impl From<RankError> for Broken {
    fn from(error: RankError) -> Broken {
        Broken::Ranks(error)
    }
}

/// Looks whether the other ranks live, while this one waits.
pub(crate) type Look<'a> = &'a mut dyn FnMut() -> Result<(), Broken>;

/// A communicator with the stream of its work. After an error only [`close`](Self::close) may be called.
pub(crate) struct Communicator {
    found: Found,
    communicator: Handle,
    stream: Handle,
    /// Reached when libtorch has computed what is to be sent.
    computed: Handle,
    /// Reached when NCCL has sent it.
    sent: Handle,
    limit: Duration,
    closed: bool,
}

impl Communicator {
    /// Joins the ranks that know each other by `id`, which do the same. No transfer may take longer than `limit`, nor this.
    pub(crate) fn open(
        found: Found,
        id: UniqueId,
        (rank, size): (usize, usize),
        limit: Duration,
        look: Look<'_>,
    ) -> Result<Communicator, Broken> {
        found.cuda.enter()?;
        let (stream, computed, sent) = (found.cuda.stream()?, found.cuda.event()?, found.cuda.event()?);
        let communicator = found.library.join(id, rank, size)?;
        let opened = Communicator { found, communicator, stream, computed, sent, limit, closed: false };
        // If it fails, the communicator is aborted.
        opened.wait(look, || opened.found.library.idle(communicator))?;
        Ok(opened)
    }

    /// Where tensors must be.
    pub(crate) fn device(&self) -> Device {
        self.found.device
    }

    /// Replaces the numbers, f32 in one piece, by their sums over all ranks.
    pub(crate) fn sum(&self, tensor: &Tensor, look: Look<'_>) -> Result<(), Broken> {
        if tensor.kind() != Kind::Float {
            return Err(Broken::Nccl(format!("a sum of {:?}, where f32 is needed", tensor.kind())));
        }
        self.transfer(tensor, look, |library| {
            // SAFETY: it is a tensor of f32 in one piece on this device, and lives until `transfer` has ended.
            unsafe { library.sum(self.communicator, self.stream, tensor.data_ptr(), tensor.numel()) }
        })
    }

    /// Replaces the tensor, in one piece and of any dtype, by that of rank 0.
    pub(crate) fn broadcast(&self, tensor: &Tensor, look: Look<'_>) -> Result<(), Broken> {
        let bytes = tensor.numel() * tensor.kind().elt_size_in_bytes();
        self.transfer(tensor, look, |library| {
            // SAFETY: as above.
            unsafe { library.broadcast(self.communicator, self.stream, tensor.data_ptr(), bytes) }
        })
    }

    fn transfer(
        &self,
        tensor: &Tensor,
        look: Look<'_>,
        begin: impl FnOnce(&Library) -> Result<(), Problem>,
    ) -> Result<(), Broken> {
        let Found { library, cuda, device, .. } = &self.found;
        if tensor.device() != *device || !tensor.is_contiguous() {
            return Err(Broken::Nccl(format!(
                "a tensor on {:?} that is not one piece of {device:?}",
                tensor.device()
            )));
        }
        if tensor.numel() == 0 {
            return Ok(());
        }
        cuda.enter()?;
        let computing = current_stream(*device)?;
        cuda.record(self.computed, Handle(computing))?;
        cuda.hold(self.stream, self.computed)?;
        begin(library)?;
        self.wait(look, || library.idle(self.communicator))?;
        cuda.record(self.sent, self.stream)?;
        // Whoever has seen this event need not have libtorch wait for it.
        self.wait(look, || Ok(library.idle(self.communicator)? && cuda.is_reached(self.sent)?))
    }

    /// Waits until it is done (NCCL-2).
    fn wait(&self, look: Look<'_>, mut done: impl FnMut() -> Result<bool, Problem>) -> Result<(), Broken> {
        let began = Instant::now();
        let mut looked = began;
        while !done()? {
            if looked.elapsed() >= POLL {
                look()?;
                looked = Instant::now();
            }
            let waited = began.elapsed();
            if waited > self.limit {
                return Err(Broken::Nccl(format!("not done within {} s", self.limit.as_secs())));
            }
            std::thread::sleep((waited / 16).clamp(Duration::from_micros(20), Duration::from_millis(5)));
        }
        Ok(())
    }

    /// Closes the communicator: after the last transfer, or in the middle of one.
    pub(crate) fn close(&mut self, done: bool) {
        if std::mem::replace(&mut self.closed, true) {
            return;
        }
        let (library, communicator) = (Arc::clone(&self.found.library), self.communicator);
        let (closed, wait) = mpsc::channel();
        let close = move || {
            library.close(communicator, done);
            let _ = closed.send(());
        };
        // Without a thread it stays open until the process ends.
        let _ = std::thread::Builder::new().name("nccl-closes".into()).spawn(close);
        if wait.recv_timeout(CLOSING).is_ok() {
            self.found.cuda.drop(self.stream, [self.computed, self.sent]);
        }
    }
}

impl Drop for Communicator {
    fn drop(&mut self) {
        self.close(false);
    }
}
