//! One generation by replays of a captured step.

use cuda::{Gpu, GpuError, Settings};
use tch::{Kind, Tensor};

use super::caches::Caches;
use super::captured::{Captured, LIBTORCH};
use super::{Decode, Draws, Graphs};
use crate::error::GraphError;
use crate::kv_cache::KvCache;
use crate::network::Network;
use crate::sampling::allowed;

/// In the place of an id: the row is not forced.
const FREE: i64 = -1;

/// A batch whose tokens are decoded by replays. When it ends, the captured step is kept for the next batch of its shape.
pub(crate) struct Session<'a> {
    graphs: &'a Graphs,
    model: &'a Network,
    gpu: Gpu,
    /// `None` only while the session is dropped.
    captured: Option<Captured>,
    caches: Caches,
    /// Length of each prompt.
    lengths: Vec<i64>,
    /// Rows of the batch. The step may have more.
    rows: usize,
    group: usize,
    temperature: f64,
    /// Whether the step was told to force a token.
    forces: bool,
}

impl<'a> Session<'a> {
    pub(super) fn new(
        graphs: &'a Graphs,
        model: &'a Network,
        gpu: Gpu,
        captured: Captured,
        caches: Caches,
        decode: &Decode<'_>,
    ) -> Session<'a> {
        let group = captured.shape().group as usize;
        Session {
            graphs,
            model,
            gpu,
            captured: Some(captured),
            caches,
            lengths: decode.lengths.to_vec(),
            rows: decode.lengths.len() * group,
            group,
            temperature: decode.temperature,
            forces: false,
        }
    }

    fn captured(&self) -> &Captured {
        self.captured.as_ref().expect("a session has its step until it is dropped")
    }

    /// Rows of the step.
    fn all_rows(&self) -> usize {
        self.captured().shape().columns as usize
    }

    /// Kernels of a token.
    pub(super) fn launches(&self) -> usize {
        self.captured().launches
    }

    /// Whether the step draws tokens, rather than ending with the logits.
    pub(crate) fn draws(&self) -> bool {
        self.captured().shape().sample
    }

    /// Takes the prompts over, and what the step needs to know of the generation.
    pub(super) fn with_prompts(self, cache: KvCache, decode: &Decode<'_>) -> Result<Session<'a>, GraphError> {
        let bounds = self.caches.fill(self.model, cache, decode);
        let prompts = self.captured().shape().prompts as usize;
        let bounds = |side: usize| -> Vec<i32> {
            let known = bounds.iter().map(|bounds| bounds[side]);
            known.chain(std::iter::repeat(0)).take(prompts).collect()
        };
        let state = self.captured().decoder.state();
        state.prompt_starts.upload(&bounds(0))?;
        state.prompt_ends.upload(&bounds(1))?;
        state.column.upload(&(0..self.all_rows() as i32).collect::<Vec<_>>())?;
        state.forced.upload(&vec![FREE; self.all_rows()])?;
        let greedy = matches!(decode.draws, Draws::OnDevice { greedy: true, .. });
        let temperature = if greedy { 0.0 } else { decode.temperature };
        let settings = Settings::new(self.captured().shape().format, temperature, decode.limit as u32);
        state.settings.upload(&[settings])?;
        if let Draws::OnDevice { uniforms, suppressed, .. } = decode.draws {
            state.uniforms.upload(&self.columns_of(Vec::<f32>::try_from(uniforms.flatten(0, -1))?))?;
            let allowed = allowed(self.model.config.text.vocab_size, suppressed);
            state.allowed.upload(&allowed.map(u8::from).collect::<Vec<_>>())?;
        }
        self.after_libtorch()?;
        Ok(self)
    }

    /// Widens `[tokens, rows]` to the rows of the step.
    fn columns_of(&self, numbers: Vec<f32>) -> Vec<f32> {
        let (rows, all) = (self.rows, self.all_rows());
        if rows == all {
            return numbers;
        }
        let wide = |token: &[f32]| {
            token.iter().copied().chain(std::iter::repeat_n(0.0, all - rows)).collect::<Vec<_>>()
        };
        numbers.chunks(rows).flat_map(wide).collect()
    }

    /// Says which token each row has at place `step`, which the next replay runs, and which rows have finished.
    pub(crate) fn set(&self, step: usize, ids: &[i64], finished: &[bool]) -> Result<(), GraphError> {
        let unused = self.all_rows() - self.rows;
        let state = self.captured().decoder.state();
        let ids = ids.iter().copied().chain(std::iter::repeat_n(0, unused));
        state.ids.upload(&ids.collect::<Vec<i64>>())?;
        let positions =
            self.lengths.iter().flat_map(|length| std::iter::repeat_n(*length as i32, self.group));
        let positions = positions.map(|length| length + step as i32);
        state.positions.upload(&positions.chain(std::iter::repeat_n(0, unused)).collect::<Vec<_>>())?;
        state.lengths.upload(&vec![step as i32; self.all_rows()])?;
        let finished = finished.iter().map(|&finished| i32::from(finished));
        state.finished.upload(&finished.chain(std::iter::repeat_n(1, unused)).collect::<Vec<_>>())?;
        Ok(())
    }

    /// Says which tokens the following replays take instead of drawing them.
    pub(crate) fn force(&mut self, ids: &[Option<i64>]) -> Result<(), GraphError> {
        let forces = ids.iter().any(Option::is_some);
        if forces || self.forces {
            let ids = ids.iter().map(|id| id.unwrap_or(FREE));
            let ids: Vec<i64> = ids.chain(std::iter::repeat(FREE)).take(self.all_rows()).collect();
            self.captured().decoder.state().forced.upload(&ids)?;
        }
        self.forces = forces;
        Ok(())
    }

    /// Runs the last token of every row and draws the next, `count` times, without waiting for it.
    #[expect(
        unsafe_code,
        reason = "the captured step has addresses of tensors, whose lifetime the compiler can't follow"
    )]
    pub(crate) fn replay(&self, count: usize) -> Result<(), GraphError> {
        if !self.draws() {
            // The logits of the step before have been read by then.
            self.after_libtorch()?;
        }
        for _ in 0..count {
            // SAFETY: the model and the caches, whose addresses the step has (GRAPH-2), outlive the session, which
            // waits for the device when it is dropped.
            unsafe { self.captured().decoder.replay()? };
        }
        Ok(())
    }

    /// Waits for the tokens from place `step` on, and returns their ids and log-probabilities.
    ///
    /// Shapes: → `[count, rows]` each
    pub(crate) fn drawn(&self, step: usize, count: usize) -> Result<(Vec<i64>, Vec<f32>), GraphError> {
        let (rows, all) = (self.rows, self.all_rows());
        let state = self.captured().decoder.state();
        let (first, numbers) = (step * all, count * all);
        let ids = state.drawn.download_from::<i64>(first, numbers)?;
        let logprobs = state.logprobs.download_from::<f32>(first, numbers)?;
        Ok((
            ids.chunks(all).flat_map(|step| &step[..rows]).copied().collect(),
            logprobs.chunks(all).flat_map(|step| &step[..rows]).copied().collect(),
        ))
    }

    /// The logits that the last replay ended with, divided by the temperature.
    ///
    /// Shapes: → `[rows, vocabulary]`, f32
    #[expect(unsafe_code, reason = "libtorch is shown memory that belongs to the step")]
    pub(crate) fn logits(&self) -> Result<Tensor, GraphError> {
        let (kind, device) = (self.model.kind(), self.model.device());
        let vocabulary = self.model.config.text.vocab_size;
        let address = self.captured().decoder.state().logits.address();
        // SAFETY: null is libtorch's stream. The step's logits have this shape and outlive the tensor, which is copied
        // from before the next replay.
        let logits = unsafe {
            self.gpu.let_wait(LIBTORCH)?;
            let size = [self.rows as i64, vocabulary];
            Tensor::f_from_blob(address.0 as *const u8, &size, &[vocabulary, 1], kind, device)?
        };
        Ok(match kind {
            Kind::Float => logits.copy(),
            _ => logits.to_kind(Kind::Float) / self.temperature,
        })
    }

    /// Has the step wait for what libtorch was given so far.
    #[expect(unsafe_code, reason = "the stream is a pointer")]
    fn after_libtorch(&self) -> Result<(), GpuError> {
        // SAFETY: null is libtorch's stream.
        unsafe { self.gpu.wait_for(LIBTORCH) }
    }
}

impl Drop for Session<'_> {
    fn drop(&mut self) {
        // libtorch may use the caches' memory for something else now. A device that can't be waited for is lost, and
        // every further operation says so.
        let waited = self.gpu.synchronize();
        if let (Some(captured), Ok(())) = (self.captured.take(), waited) {
            self.graphs.keep(captured);
        }
    }
}
