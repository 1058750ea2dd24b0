//! How loud a clip is, and how much of it is silence.

use super::resample::SAMPLE_RATE;

/// Samples of the frames in which silence is looked for: 10 ms.
const FRAME: usize = SAMPLE_RATE as usize / 100;

/// Mean square below which a frame is silent: -60 dBFS.
const SILENT: f64 = 1e-6;

/// The levels of a clip, relative to full scale (±1).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Levels {
    /// The largest absolute sample in dBFS; minus infinity if all samples are 0.
    pub peak_dbfs: f64,
    /// The root of the mean square in dBFS; a square wave at full scale has 0, a sine -3.01. Minus infinity if all samples
    /// are 0.
    pub rms_dbfs: f64,
    /// The share of 10 ms frames whose RMS is below -60 dBFS, 0 to 1. A last frame that is shorter counts as one.
    pub silence: f64,
}

impl Levels {
    /// Measures a clip; one without samples is silent.
    ///
    /// Shapes: `samples`: any number @ 16 kHz, f32, mono
    pub fn of(samples: &[f32]) -> Self {
        let peak = samples.iter().fold(0.0f32, |peak, sample| peak.max(sample.abs()));
        let (mut energy, mut silent, mut frames) = (0.0, 0usize, 0usize);
        for frame in samples.chunks(FRAME) {
            let of_frame: f64 = frame.iter().map(|&sample| f64::from(sample) * f64::from(sample)).sum();
            energy += of_frame;
            frames += 1;
            silent += usize::from(of_frame < SILENT * frame.len() as f64);
        }
        Self {
            peak_dbfs: 20.0 * f64::from(peak).log10(),
            rms_dbfs: 10.0 * (energy / samples.len().max(1) as f64).log10(),
            silence: if frames == 0 { 1.0 } else { silent as f64 / frames as f64 },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_relative_to_full_scale() {
        // A square wave of 0.5: peak and RMS are both 20 · log10(0.5) = -6.0206 dB.
        let square: Vec<f32> = (0..1600).map(|i| if i % 2 == 0 { 0.5 } else { -0.5 }).collect();
        let levels = Levels::of(&square);
        assert!(
            (levels.peak_dbfs + 6.0206).abs() < 1e-4 && (levels.rms_dbfs + 6.0206).abs() < 1e-4,
            "{levels:?}"
        );
        assert_eq!(levels.silence, 0.0);
        // One sample of -1 among 99 zeros: the mean square is 0.01, which is -20 dB.
        let mut click = vec![0.0; 100];
        click[7] = -1.0;
        let levels = Levels::of(&click);
        assert!(levels.peak_dbfs == 0.0 && (levels.rms_dbfs + 20.0).abs() < 1e-9, "{levels:?}");
    }

    #[test]
    fn silence_is_the_share_of_frames_below_60_db() {
        // Frames of 160: two at 0.0009 (-60.9 dB) are silent, one at 0.0011 (-59.2 dB) is not, and neither is the last,
        // which has 80 samples.
        let samples = [vec![0.0009; 320], vec![-0.0011; 160], vec![0.25; 80]].concat();
        assert_eq!(Levels::of(&samples).silence, 0.5);
    }

    #[test]
    fn nothing_is_silent() {
        for samples in [&[][..], &[0.0; 200]] {
            let levels = Levels::of(samples);
            assert_eq!((levels.peak_dbfs, levels.rms_dbfs), (f64::NEG_INFINITY, f64::NEG_INFINITY));
            assert_eq!(levels.silence, 1.0);
        }
    }
}
