//! Resampling to 16 kHz by fast convolution.
//!
//! Both rates are known and fixed, so a whole number of their common periods is transformed at a time (441 samples
//! become 160 at 44.1 kHz), filtered, and transformed back with as many frequencies more or fewer as the other rate has:
//! no interpolation, no delay. A general streaming resampler (rubato's FFT one) of this quality takes twice as long, for
//! want of knowing the whole clip: it transforms as many zeros as samples.
//!
//! 1. `RESAMPLE-1` The filter is a sinc under a Kaiser window: level to 97.8 % of the lower Nyquist frequency, -110 dB
//!    from that frequency on.
//! 2. `RESAMPLE-2` Blocks overlap by at least the filter's length: their outer samples, where a block's end wraps around
//!    to its start, are thrown away.

use std::cell::RefCell;
use std::collections::HashMap;
use std::f64::consts::PI;
use std::sync::Arc;

use realfft::num_complex::Complex;
use realfft::{ComplexToReal, RealFftPlanner, RealToComplex};

use super::SAMPLE_RATE;

/// Rates beyond these are a corrupt header: no recorder makes them, and a filter for them would take gigabytes.
const RATES: std::ops::RangeInclusive<u32> = 1_000..=768_000;

/// Samples at the lower of both rates that the filter reaches to either side: sets how steep it is.
const REACH: usize = 320;

/// Samples at the lower rate per block: long enough to make little of the overlap, short enough for the cache.
const BLOCK: usize = 5120;

/// Attenuation of aliases, in dB.
const ATTENUATION: f64 = 110.0;

/// Resamplers kept per thread: a data set has few rates, but a hostile one could have thousands.
const MAX_KEPT: usize = 16;

thread_local! {
    static RESAMPLERS: RefCell<HashMap<u32, Resampler>> = RefCell::new(HashMap::new());
}

/// Brings samples @ `rate` Hz to 16 kHz: `round(n · 16000 / rate)` of them, without delay, untouched if already there.
/// `None` if no recording has this rate.
///
/// # Shapes
/// `samples`: f32, mono, any number.
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
        let resampler = kept.entry(rate).or_insert_with(|| Resampler::new(rate));
        Some(resampler.run(&samples))
    })
}

/// One side of the conversion, in samples at its rate.
struct Side {
    /// The shortest stretch that is a whole number of samples at both rates.
    period: usize,
    block: usize,
    /// Samples at either end of a block that the filter spoils.
    margin: usize,
}

struct Resampler {
    from: Side,
    to: Side,
    forward: Arc<dyn RealToComplex<f32>>,
    backward: Arc<dyn ComplexToReal<f32>>,
    /// The filter's response at each frequency both rates have; real, as its taps are symmetric about 0.
    gains: Vec<f32>,
    input: Vec<f32>,
    input_spectrum: Vec<Complex<f32>>,
    output_spectrum: Vec<Complex<f32>>,
    output: Vec<f32>,
    scratch: Vec<Complex<f32>>,
}

impl Resampler {
    fn new(rate: u32) -> Self {
        let common = gcd(rate, SAMPLE_RATE);
        let (from, to) = ((rate / common) as usize, (SAMPLE_RATE / common) as usize);
        let margin = REACH.div_ceil(from.min(to));
        // Even, so that both blocks are; and at least half of it new samples.
        let periods = BLOCK.div_ceil(from.min(to)).max(4 * margin).next_multiple_of(2);
        let side = |period| Side { period, block: periods * period, margin: margin * period };
        let (from, to) = (side(from), side(to));

        let mut planner = RealFftPlanner::new();
        let forward = planner.plan_fft_forward(from.block);
        let backward = planner.plan_fft_inverse(to.block);
        let scratch = forward.get_scratch_len().max(backward.get_scratch_len());
        Self {
            gains: gains(&from, &to),
            input: forward.make_input_vec(),
            input_spectrum: forward.make_output_vec(),
            output_spectrum: backward.make_input_vec(),
            output: backward.make_output_vec(),
            scratch: vec![Complex::default(); scratch],
            from,
            to,
            forward,
            backward,
        }
    }

    fn run(&mut self, samples: &[f32]) -> Vec<f32> {
        let (from, to) = (self.from.period as u64, self.to.period as u64);
        let length = ((2 * samples.len() as u64 * to + from) / (2 * from)) as usize;
        let mut result = Vec::with_capacity(length);
        let step = self.from.block - 2 * self.from.margin;
        let mut position = 0;
        while result.len() < length {
            self.load(samples, position);
            self.convolve();
            let inner = &self.output[self.to.margin..self.to.block - self.to.margin];
            result.extend_from_slice(&inner[..inner.len().min(length - result.len())]);
            position += step;
        }
        result
    }

    /// The block around `position..`, with silence before and after the clip.
    fn load(&mut self, samples: &[f32], position: usize) {
        let silence = self.from.margin.saturating_sub(position);
        let start = (position + silence - self.from.margin).min(samples.len());
        let end = (position + self.from.block - self.from.margin).min(samples.len());
        let (before, rest) = self.input.split_at_mut(silence);
        let (sound, after) = rest.split_at_mut(end - start);
        before.fill(0.0);
        sound.copy_from_slice(&samples[start..end]);
        after.fill(0.0);
    }

    fn convolve(&mut self) {
        let fits = "buffers made by these very plans fit them";
        self.forward
            .process_with_scratch(&mut self.input, &mut self.input_spectrum, &mut self.scratch)
            .expect(fits);
        let (kept, added) = self.output_spectrum.split_at_mut(self.gains.len());
        for ((kept, value), gain) in kept.iter_mut().zip(&self.input_spectrum).zip(&self.gains) {
            *kept = value * gain;
        }
        added.fill(Complex::default());
        // Of a real signal these two have no imaginary part; rounding must not give them one.
        for end in [0, self.output_spectrum.len() - 1] {
            self.output_spectrum[end].im = 0.0;
        }
        self.backward
            .process_with_scratch(&mut self.output_spectrum, &mut self.output, &mut self.scratch)
            .expect(fits);
    }
}

/// The response of the low-pass filter at the frequencies of a block, over the length of the forward transform.
fn gains(from: &Side, to: &Side) -> Vec<f32> {
    // The filter's taps are samples at the higher rate.
    let (high, low) = if from.period > to.period { (from, to) } else { (to, from) };
    // Kaiser's formulas: the window's shape, and the width of the slope in units of the lower Nyquist frequency.
    let beta = 0.1102 * (ATTENUATION - 8.7);
    let slope = (ATTENUATION - 8.0) / (2.285 * PI * 2.0 * REACH as f64);
    let ratio = low.period as f64 / high.period as f64;
    let cutoff = (1.0 - slope / 2.0) * ratio;
    let reach = REACH as f64 / ratio;
    let tap = |n: usize| {
        let x = PI * cutoff * n as f64;
        let sinc = if n == 0 { 1.0 } else { x.sin() / x };
        let edge = n as f64 / reach;
        sinc * bessel_i0(beta * (1.0 - edge * edge).max(0.0).sqrt())
    };

    let mut taps = vec![0.0f64; high.block];
    taps[0] = tap(0);
    for n in 1..=reach as usize {
        taps[n] = tap(n);
        taps[high.block - n] = taps[n];
    }
    let level = taps.iter().sum::<f64>() * from.block as f64;
    let plan = RealFftPlanner::new().plan_fft_forward(high.block);
    let mut response = plan.make_output_vec();
    plan.process(&mut taps, &mut response).expect("buffers made by this very plan fit it");
    response[..low.block / 2 + 1].iter().map(|gain| (gain.re / level) as f32).collect()
}

/// The modified Bessel function of order 0, by its power series.
fn bessel_i0(x: f64) -> f64 {
    let mut term = 1.0;
    let mut sum = 1.0;
    for k in 1..60 {
        term *= (x / 2.0 / f64::from(k)).powi(2);
        sum += term;
    }
    sum
}

fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests;
