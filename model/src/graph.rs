//! Decoding by replays of a captured step: on a GPU, all kernels of a token are started at once, as one CUDA graph.
//!
//! `generate.rs` and `choose.rs` run the prompts with libtorch's operations, and hand the cache over to a [`Session`], which
//! decodes the tokens that follow. The crate `cuda` has the kernels of the step and captures it.
//!
//! - `GRAPH-1` A captured step has no operation of libtorch and no wait in it. All that it reads and writes is allocated
//!   before it is captured, at its greatest size.
//! - `GRAPH-2` Captured steps are kept, and used again for a batch of the same shape if all addresses in them are the same.
//!   Weights are updated in place, so a step outlives the optimizer's; the caches belong to a generation and are freed with
//!   it, so that their memory serves the training in between. Where an address has changed, the step is captured again.
//! - `GRAPH-3` A completion has the tokens that libtorch's operations give it, for the same seed: the random numbers are
//!   those of SAMPLE-1. Where the arithmetic differs by rounding, a token may differ that was as likely as another.
//! - `GRAPH-4` What can't be captured is decoded by libtorch's operations, with one warning for each reason.

mod caches;
mod captured;
mod engine;
mod session;

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use cuda::Libraries;
use tch::{Device, Tensor};

use crate::error::{GraphError, ModelError};
use crate::kv_cache::KvCache;
use crate::network::Network;
use captured::Captured;
use engine::Engine;
pub(crate) use session::Session;

/// What a batch decodes after its prompts.
pub(crate) struct Decode<'a> {
    /// Length of each prompt in tokens.
    pub(crate) lengths: &'a [i64],
    /// The slot of the cache at which shorter prompts are padded.
    pub(crate) padded_at: i64,
    /// Most tokens of a completion.
    pub(crate) limit: i64,
    /// Divisor of the logits.
    pub(crate) temperature: f64,
    pub(crate) draws: Draws<'a>,
}

/// Who chooses the tokens.
pub(crate) enum Draws<'a> {
    /// The host, from the logits: a step ends with them.
    Outside,
    /// The step itself.
    OnDevice {
        /// Whether it takes the most likely token.
        greedy: bool,
        /// `[limit, rows]`, f32: the random numbers of all draws.
        uniforms: &'a Tensor,
        /// Ids that are never drawn.
        suppressed: &'a [i64],
        /// Ids that end a completion.
        eos: &'a [i64],
    },
}

/// How a batch goes on after its prompts.
pub(crate) enum Begun<'a> {
    /// By replays; the session has taken the keys and values of the prompts over.
    Graph(Box<Session<'a>>),
    /// By libtorch's operations.
    Plain(KvCache),
}

/// The captured steps of a model.
#[derive(Default)]
pub(crate) struct Graphs {
    off: Cell<bool>,
    engine: RefCell<Opened>,
    /// Kernels of the step that was replayed last.
    launches: Cell<Option<usize>>,
    /// The library that stands in for the driver, in tests on the CPU.
    stand_in: RefCell<Option<Libraries>>,
}

/// The device with its kernels, which is opened for the first generation.
#[derive(Default)]
enum Opened {
    #[default]
    NotYet,
    /// It can't be: generation is without graphs from then on.
    Failed,
    Ready(Engine),
}

impl Graphs {
    /// Switches graphs on or off. They are on at first.
    pub(crate) fn switch(&self, on: bool) {
        self.off.set(!on);
    }

    /// Kernels of the step that the last generation replayed; `None` if it was without a graph.
    pub(crate) fn launches(&self) -> Option<usize> {
        self.launches.get()
    }

    /// Uses an emulated driver for a model on the CPU.
    #[cfg(test)]
    pub(crate) fn emulate(&self, library: std::path::PathBuf) {
        *self.stand_in.borrow_mut() = Some(Libraries::Emulated(library));
    }

    /// Begins to decode what follows the prompts in `cache`: by replays if that is possible here.
    ///
    /// Errors: The device fails once the step is captured.
    pub(crate) fn begin<'a>(
        &'a self,
        model: &'a Network,
        cache: KvCache,
        decode: &Decode<'_>,
    ) -> Result<Begun<'a>, ModelError> {
        self.launches.set(None);
        let libraries = match model.device() {
            Device::Cuda(_) => Some(Libraries::Installed),
            _ => self.stand_in.borrow().clone(),
        };
        let Some(libraries) = libraries.filter(|_| !self.off.get()) else {
            return Ok(Begun::Plain(cache));
        };
        match self.prepare(&libraries, model, &cache, decode) {
            Ok(Some(session)) => Ok(Begun::Graph(Box::new(session.with_prompts(cache, decode)?))),
            Ok(None) => Ok(Begun::Plain(cache)),
            Err(reason) => {
                warn_once(&reason.to_string());
                Ok(Begun::Plain(cache))
            }
        }
    }

    /// A session for a batch, whose caches are still empty; `None` if the device could not be opened before.
    fn prepare<'a>(
        &'a self,
        libraries: &Libraries,
        model: &'a Network,
        cache: &KvCache,
        decode: &Decode<'_>,
    ) -> Result<Option<Session<'a>>, GraphError> {
        let mut opened = self.engine.borrow_mut();
        if let Opened::NotYet = *opened {
            // Until it succeeds.
            *opened = Opened::Failed;
            *opened = Opened::Ready(Engine::open(libraries, model)?);
        }
        let Opened::Ready(engine) = &mut *opened else { return Ok(None) };
        let session = engine.begin(self, model, cache, decode)?;
        self.launches.set(Some(session.launches()));
        Ok(Some(session))
    }

    /// Keeps a captured step for the next batch of its shape.
    fn keep(&self, captured: Captured) {
        if let Opened::Ready(engine) = &mut *self.engine.borrow_mut() {
            engine.keep(captured);
        }
    }
}

/// Says once why generation is without graphs.
fn warn_once(reason: &str) {
    static SAID: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
    if SAID.lock().unwrap_or_else(PoisonError::into_inner).insert(reason.to_owned()) {
        tracing::warn!("tokens are decoded without CUDA graphs, more slowly: {reason} (docs/gpu.md)");
    }
}
