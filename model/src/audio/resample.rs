//! Resampling to 16 kHz.
//!
//! `load_audio` resamples each decoded clip with rubato's synchronous FFT resampler. Both rates are known and fixed, so
//! each block can be transformed, filtered, and cut or extended in frequency exactly. The filter passes everything up
//! to 98 % of the lower Nyquist frequency; aliases are below -100 dB.

use std::cell::RefCell;
use std::collections::HashMap;
use std::collections::hash_map::Entry;

use rubato::audioadapter_buffers::direct::InterleavedSlice;
use rubato::{Fft, FixedSync, Resampler, WindowFunction};

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
    static RESAMPLERS: RefCell<HashMap<u32, Fft<f32>>> = RefCell::new(HashMap::new());
}

/// Resamples a clip to 16 kHz without delay. A clip that is at 16 kHz already is returned unchanged (AUDIO-1). Returns
/// `None` for a rate outside 1 kHz to 768 kHz.
///
/// Shapes: `samples`: f32, mono, `n` samples at `rate` Hz → `round(n · 16000 / rate)` samples @ 16 kHz
pub fn resample(samples: Vec<f32>, rate: u32) -> Option<Vec<f32>> {
    if rate == SAMPLE_RATE {
        return Some(samples);
    }
    if !RATES.contains(&rate) {
        return None;
    }
    RESAMPLERS.with_borrow_mut(|kept| {
        if kept.len() >= MAX_KEPT && !kept.contains_key(&rate) {
            kept.clear();
        }
        let resampler = match kept.entry(rate) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => new.insert(resampler(rate)?),
        };
        run(resampler, &samples, rate)
    })
}

fn resampler(rate: u32) -> Option<Fft<f32>> {
    // A block holds a whole number of periods of both rates: 441 samples become 160 at 44.1 kHz. The number of
    // periods is even, because the delay is half a block and must be a whole number of samples at both rates to
    // be cut off exactly.
    let common = gcd(rate, SAMPLE_RATE);
    let periods = FILTER_POINTS.div_ceil(rate.min(SAMPLE_RATE) / common).next_multiple_of(2);
    let block = (periods * (rate / common)) as usize;
    let window = WindowFunction::BlackmanHarris2;
    Fft::new_custom(rate as usize, SAMPLE_RATE as usize, block, 1, 1, window, FixedSync::Both).ok()
}

fn run(resampler: &mut Fft<f32>, samples: &[f32], rate: u32) -> Option<Vec<f32>> {
    let length = (samples.len() as u64 * u64::from(SAMPLE_RATE) + u64::from(rate) / 2) / u64::from(rate);
    let room = resampler.process_all_needed_output_len(samples.len());
    let mut output = vec![0.0; room];
    resampler.reset();
    let input = InterleavedSlice::new(samples, 1, samples.len()).ok()?;
    let mut target = InterleavedSlice::new_mut(&mut output, 1, room).ok()?;
    resampler.process_all_into_buffer(&input, &mut target, samples.len(), None).ok()?;
    output.truncate(length as usize);
    Some(output)
}

fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests;
