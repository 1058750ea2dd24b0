//! Resampling to 16 kHz.
//!
//! Each decoded block passes through rubato's synchronous FFT resampler. Both rates are known and fixed, so each chunk
//! can be transformed, filtered, and cut or extended in frequency exactly. The filter passes everything up to 98 % of the
//! lower Nyquist frequency; aliases are below -100 dB.

use std::cell::RefCell;

use rubato::audioadapter_buffers::direct::InterleavedSlice;
use rubato::{Fft, FixedSync, Indexing, Resampler as _, WindowFunction};

/// Sampling rate of every loaded clip, in Hz: the only rate that Whisper-style encoders are trained on.
pub const SAMPLE_RATE: u32 = 16_000;

/// Rates that are resampled, in Hz. A rate outside is a corrupt header, and its filter would take gigabytes.
const RATES: std::ops::RangeInclusive<u32> = 1_000..=768_000;

/// Length of the filter in samples at the lower of the two rates. A longer filter has a passband that ends closer
/// to the Nyquist frequency.
const FILTER_POINTS: u32 = 640;

/// Most resamplers kept per thread. A data set has few rates, but a malicious one could have thousands.
const MAX_KEPT: usize = 16;

thread_local! {
    /// Resamplers that are not in use, because their filters take longer to make than a short clip to resample.
    static IDLE: RefCell<Vec<(u32, Fft<f32>)>> = const { RefCell::new(Vec::new()) };
}

/// Resamples a clip to 16 kHz without delay. A clip that is at 16 kHz already is returned unchanged (AUDIO-1). Returns
/// `None` for a rate outside 1 kHz to 768 kHz.
///
/// Shapes: `samples`: f32, mono, `n` samples at `rate` Hz → `round(n · 16000 / rate)` samples @ 16 kHz
pub fn resample(samples: &[f32], rate: u32) -> Option<Vec<f32>> {
    let mut resampler = Resampler::new(rate)?;
    let mut output = Vec::new();
    resampler.push(samples, &mut output);
    resampler.finish(&mut output);
    Some(output)
}

/// Resamples one recording, block by block.
pub(crate) struct Resampler {
    rate: u32,
    /// `None` at 16 kHz.
    fft: Option<Fft<f32>>,
    /// Samples that do not fill a chunk yet.
    waiting: Vec<f32>,
    /// Output samples to drop: the delay of the filter.
    delay: usize,
    /// Samples taken in and given out so far.
    taken: u64,
    given: u64,
    chunk: Vec<f32>,
}

impl Resampler {
    /// `None` for a rate outside 1 kHz to 768 kHz.
    pub fn new(rate: u32) -> Option<Self> {
        let mut fft = None;
        if rate != SAMPLE_RATE {
            if !RATES.contains(&rate) {
                return None;
            }
            let idle = IDLE.with_borrow_mut(|idle| {
                let place = idle.iter().position(|(of, _)| *of == rate)?;
                Some(idle.swap_remove(place).1)
            });
            fft = Some(match idle {
                Some(idle) => idle,
                None => make(rate)?,
            });
        }
        let delay = fft.as_ref().map_or(0, |fft| fft.output_delay());
        Some(Self { rate, fft, waiting: Vec::new(), delay, taken: 0, given: 0, chunk: Vec::new() })
    }

    /// Takes in some samples, and appends to `output` what can be given out already.
    pub fn push(&mut self, samples: &[f32], output: &mut Vec<f32>) {
        self.taken += samples.len() as u64;
        let Some(fft) = &mut self.fft else {
            output.extend_from_slice(samples);
            return;
        };
        let chunk = fft.input_frames_next();
        let mut rest = samples;
        if !self.waiting.is_empty() {
            let (head, tail) = rest.split_at(rest.len().min(chunk - self.waiting.len()));
            self.waiting.extend_from_slice(head);
            rest = tail;
            if self.waiting.len() < chunk {
                return;
            }
            let waiting = std::mem::take(&mut self.waiting);
            self.process(&waiting, output);
            self.waiting = waiting;
            self.waiting.clear();
        }
        while rest.len() >= chunk {
            self.process(&rest[..chunk], output);
            rest = &rest[chunk..];
        }
        self.waiting.extend_from_slice(rest);
    }

    /// Appends the rest, so that `round(n · 16000 / rate)` samples have been given out for `n` taken in.
    pub fn finish(mut self, output: &mut Vec<f32>) {
        let total = (self.taken * u64::from(SAMPLE_RATE) + u64::from(self.rate) / 2) / u64::from(self.rate);
        if self.fft.is_some() {
            let waiting = std::mem::take(&mut self.waiting);
            self.process(&waiting, output);
            while self.given < total {
                self.process(&[], output);
            }
            let excess = self.given - total;
            output.truncate(output.len() - excess as usize);
        }
    }

    /// Resamples one chunk; one that is too short is filled with zeros.
    fn process(&mut self, samples: &[f32], output: &mut Vec<f32>) {
        let Some(fft) = &mut self.fft else { return };
        self.chunk.resize(fft.output_frames_max(), 0.0);
        let room = self.chunk.len();
        let indexing = Indexing {
            input_offset: 0,
            output_offset: 0,
            partial_len: (samples.len() < fft.input_frames_next()).then_some(samples.len()),
            active_channels_mask: None,
        };
        let given = InterleavedSlice::new(samples, 1, samples.len()).ok().and_then(|input| {
            let mut target = InterleavedSlice::new_mut(&mut self.chunk, 1, room).ok()?;
            fft.process_into_buffer(&input, &mut target, Some(&indexing)).ok()
        });
        let (_, given) = given.expect("the buffers have the lengths that the resampler asks for");
        let dropped = self.delay.min(given);
        self.delay -= dropped;
        self.given += (given - dropped) as u64;
        output.extend_from_slice(&self.chunk[dropped..given]);
    }
}

impl Drop for Resampler {
    fn drop(&mut self) {
        let Some(mut fft) = self.fft.take() else { return };
        fft.reset();
        IDLE.with_borrow_mut(|idle| {
            if idle.len() >= MAX_KEPT {
                idle.clear();
            }
            idle.push((self.rate, fft));
        });
    }
}

fn make(rate: u32) -> Option<Fft<f32>> {
    // A block holds a whole number of periods of both rates: 441 samples become 160 at 44.1 kHz. The number of
    // periods is even, because the delay is half a block and must be a whole number of samples at both rates to
    // be cut off exactly.
    let common = gcd(rate, SAMPLE_RATE);
    let periods = FILTER_POINTS.div_ceil(rate.min(SAMPLE_RATE) / common).next_multiple_of(2);
    let block = (periods * (rate / common)) as usize;
    let window = WindowFunction::BlackmanHarris2;
    Fft::new_custom(rate as usize, SAMPLE_RATE as usize, block, 1, 1, window, FixedSync::Both).ok()
}

fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests;
