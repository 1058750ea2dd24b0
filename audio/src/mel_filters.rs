//! Whisper's mel filter bank: triangles evenly spaced on Slaney's mel scale, each of unit area (Slaney's norm).
//!
//! The weights equal those of `transformers.audio_utils.mel_filter_bank(norm="slaney", mel_scale="slaney")`.

/// A bank of triangular filters. Only the bins that a triangle covers are stored, 1 to 12 of the 201.
pub(super) struct MelFilters {
    /// For each filter, the first bin that it covers and the range of `weights` for the bins from there on.
    spans: Vec<(usize, std::ops::Range<usize>)>,
    weights: Vec<f32>,
}

impl MelFilters {
    /// `n_mels` filters from 0 Hz to half of `sampling_rate` (in Hz), over the `n_fft / 2 + 1` bins of a spectrum.
    pub(super) fn new(n_mels: usize, n_fft: usize, sampling_rate: usize) -> Self {
        let nyquist = (sampling_rate / 2) as f64;
        let bins = n_fft / 2 + 1;
        let top = hertz_to_mel(nyquist);
        let edges: Vec<f64> =
            (0..n_mels + 2).map(|i| mel_to_hertz(top * i as f64 / (n_mels + 1) as f64)).collect();

        let mut spans = Vec::with_capacity(n_mels);
        let mut weights = Vec::new();
        for edge in edges.windows(3) {
            let (low, centre, high) = (edge[0], edge[1], edge[2]);
            let weight = |bin: usize| {
                let hertz = nyquist * bin as f64 / (bins - 1) as f64;
                let triangle =
                    ((hertz - low) / (centre - low)).min((high - hertz) / (high - centre)).max(0.0);
                triangle * 2.0 / (high - low)
            };
            let first = (0..bins).find(|&bin| weight(bin) > 0.0).unwrap_or(0);
            let start = weights.len();
            weights.extend((first..bins).map(weight).take_while(|&w| w > 0.0).map(|w| w as f32));
            spans.push((first, start..weights.len()));
        }
        Self { spans, weights }
    }

    /// Computes the energies of the mel bands for `LANES` spectra at once, into `mel`.
    ///
    /// Shapes: `power: [bins][LANES]`, f32, squared magnitudes; `mel: [n_mels][LANES]`, f32, energies
    pub(super) fn apply<const LANES: usize>(&self, power: &[[f32; LANES]], mel: &mut [[f32; LANES]]) {
        for ((first, range), mel) in self.spans.iter().zip(mel) {
            let mut sum = [0.0; LANES];
            for (weight, power) in self.weights[range.clone()].iter().zip(&power[*first..]) {
                for (sum, power) in sum.iter_mut().zip(power) {
                    *sum += weight * power;
                }
            }
            *mel = sum;
        }
    }
}

/// Slaney's mel scale: linear (200/3 Hz per mel) up to 1 kHz, logarithmic (27 mels per factor of 6.4) above.
fn hertz_to_mel(hertz: f64) -> f64 {
    if hertz < 1000.0 { hertz * 3.0 / 200.0 } else { 15.0 + (hertz / 1000.0).ln() * 27.0 / 6.4f64.ln() }
}

fn mel_to_hertz(mel: f64) -> f64 {
    if mel < 15.0 { mel * 200.0 / 3.0 } else { 1000.0 * ((mel - 15.0) * 6.4f64.ln() / 27.0).exp() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mel_scale_is_slaneys() {
        assert_eq!(hertz_to_mel(200.0), 3.0);
        assert_eq!(hertz_to_mel(1000.0), 15.0);
        assert!((hertz_to_mel(6400.0) - 42.0).abs() < 1e-12);
        assert!((mel_to_hertz(42.0) - 6400.0).abs() < 1e-9);
    }

    #[test]
    fn triangles_have_unit_area() {
        // With fine bins (4 Hz) the sum over bins times the bin width is the area.
        let filters = MelFilters::new(20, 4000, 16_000);
        let power = vec![[1.0f32]; 2001];
        let mut mel = vec![[0.0f32]; 20];
        filters.apply(&power, &mut mel);
        for [energy] in mel {
            assert!((energy * 4.0 - 1.0).abs() < 1e-3, "area {}", energy * 4.0);
        }
    }

    #[test]
    fn a_bin_feeds_the_two_filters_around_it() {
        // 8 kHz is 45.245 mels; 128 filters are 0.35074 mels = 23.38 Hz apart at the bottom, so bin 1 (40 Hz) is
        // between the centres of filter 0 (23.38 Hz) and filter 1 (46.76 Hz): (46.76 - 40) / 23.38 = 0.2893 and
        // 0.7107, each times the norm 2 / 46.76 Hz.
        let filters = MelFilters::new(128, 400, 16_000);
        let mut power = vec![[0.0f32]; 201];
        power[1] = [1.0];
        let mut mel = vec![[0.0f32]; 128];
        filters.apply(&power, &mut mel);
        assert!((mel[0][0] - 0.012_37).abs() < 2e-5, "{}", mel[0][0]);
        assert!((mel[1][0] - 0.030_39).abs() < 2e-5, "{}", mel[1][0]);
        assert!(mel[2..].iter().all(|&[energy]| energy == 0.0));
    }
}
