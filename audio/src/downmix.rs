//! From several channels to one.

use super::decoder::{Block, Warning};

/// How a clip of several channels becomes mono.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Downmix {
    /// The first (left) channel alone, as R1-AQA's loader does.
    First,
    /// The second (right) channel alone; the only one of a mono file.
    Right,
    /// The mean of all channels, as librosa does.
    #[default]
    Mean,
    /// Weights after ITU-R BS.775: centre 1, left and right 1/√2, surrounds 1/2, LFE none, scaled to a sum of 1.
    Itu,
}

/// A name that is not one of a [`Downmix`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown downmix; write first, right, mean or itu")]
pub struct UnknownDownmix;

impl std::str::FromStr for Downmix {
    type Err = UnknownDownmix;

    fn from_str(name: &str) -> Result<Self, UnknownDownmix> {
        match name {
            "first" => Ok(Self::First),
            "right" => Ok(Self::Right),
            "mean" => Ok(Self::Mean),
            "itu" => Ok(Self::Itu),
            _ => Err(UnknownDownmix),
        }
    }
}

/// A mix this much fainter than its channels, in energy, has cancelled out: -30 dB.
const CANCELLED: f64 = 1e-3;

/// Mixes the blocks of one clip, and notices if channels cancel each other.
pub(crate) struct Mixer {
    downmix: Downmix,
    /// Energies of the mix, and of the channels on average.
    mixed: f64,
    channels: f64,
    most_channels: usize,
}

impl Mixer {
    pub fn new(downmix: Downmix) -> Self {
        Self { downmix, mixed: 0.0, channels: 0.0, most_channels: 0 }
    }

    /// Appends the mono mix of a block to `mono`.
    pub fn mix(&mut self, block: &Block, mono: &mut Vec<f32>) {
        let channels = block.channels.as_slice();
        self.most_channels = self.most_channels.max(channels.len());
        match (channels, self.downmix) {
            ([], _) => return,
            ([only], _) | ([only, ..], Downmix::First) => return mono.extend_from_slice(only),
            ([_, right, ..], Downmix::Right) => return mono.extend_from_slice(right),
            ([left, right], _) => mono.extend(left.iter().zip(right).map(|(l, r)| (l + r) * 0.5)),
            (_, Downmix::Mean) => {
                let share = 1.0 / channels.len() as f32;
                mono.extend(
                    (0..block.frames())
                        .map(|i| channels.iter().map(|channel| channel[i]).sum::<f32>() * share),
                );
            }
            (_, Downmix::Itu) => {
                let weights = itu_weights(channels.len());
                mono.extend((0..block.frames()).map(|i| {
                    channels.iter().zip(&weights).map(|(channel, weight)| channel[i] * weight).sum::<f32>()
                }));
            }
        }
        let start = mono.len() - block.frames();
        self.mixed += energy(&mono[start..]);
        self.channels += channels.iter().map(|channel| energy(channel)).sum::<f64>() / channels.len() as f64;
    }

    /// A warning if the channels cancelled out, so that what is heard is silence or what is left of it.
    pub fn warning(&self) -> Option<Warning> {
        (self.mixed < CANCELLED * self.channels).then(|| {
            let level = 10.0 * (self.mixed / self.channels).max(1e-20).log10();
            let text = format!(
                "its {} channels cancel each other: the mix is {level:.0} dB of them; downmix = \"first\" hears one",
                self.most_channels
            );
            Warning::new("cancelled", text)
        })
    }
}

fn energy(samples: &[f32]) -> f64 {
    let chunks = samples.chunks(1024);
    chunks.map(|chunk| f64::from(chunk.iter().map(|sample| sample * sample).sum::<f32>())).sum()
}

/// The weight of each channel in the order of WAV files. Files of 4 and 5 channels have no LFE; the last two channels are
/// surrounds.
fn itu_weights(channels: usize) -> Vec<f32> {
    const FRONT: f32 = std::f32::consts::FRAC_1_SQRT_2;
    let weights = match channels {
        3 => vec![FRONT, FRONT, 1.0],
        4 => vec![FRONT, FRONT, 0.5, 0.5],
        5 => vec![FRONT, FRONT, 1.0, 0.5, 0.5],
        6 => vec![FRONT, FRONT, 1.0, 0.0, 0.5, 0.5],
        7 => vec![FRONT, FRONT, 1.0, 0.0, 0.5, 0.5, 0.5],
        8 => vec![FRONT, FRONT, 1.0, 0.0, 0.5, 0.5, 0.5, 0.5],
        // No standard order.
        _ => vec![1.0; channels],
    };
    let sum: f32 = weights.iter().sum();
    weights.iter().map(|weight| weight / sum).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mixed(channels: &[&[f32]], downmix: Downmix) -> (Vec<f32>, Option<Warning>) {
        let block = Block { rate: 1, channels: channels.iter().map(|channel| channel.to_vec()).collect() };
        let (mut mixer, mut mono) = (Mixer::new(downmix), Vec::new());
        mixer.mix(&block, &mut mono);
        (mono, mixer.warning())
    }

    #[test]
    fn mean_weighs_channels_equally_and_first_and_right_take_one() {
        let channels: [&[f32]; 3] = [&[0.25, 0.5], &[0.0, 0.25], &[0.5, 0.0]];
        assert_eq!(mixed(&channels[..1], Downmix::Mean).0, [0.25, 0.5]);
        assert_eq!(mixed(&channels[..1], Downmix::Right).0, [0.25, 0.5]);
        assert_eq!(mixed(&channels[..2], Downmix::Mean).0, [0.125, 0.375]);
        for value in mixed(&channels, Downmix::Mean).0 {
            assert!((value - 0.25).abs() < 1e-6);
        }
        assert_eq!(mixed(&channels, Downmix::First).0, [0.25, 0.5]);
        assert_eq!(mixed(&channels, Downmix::Right).0, [0.0, 0.25]);
    }

    #[test]
    fn a_downmix_is_named_in_lower_case() {
        let names = ["first", "right", "mean", "itu"].map(|name| name.parse::<Downmix>().unwrap());
        assert_eq!(names, [Downmix::First, Downmix::Right, Downmix::Mean, Downmix::Itu]);
        let refused = "left".parse::<Downmix>().unwrap_err().to_string();
        assert_eq!(refused, "unknown downmix; write first, right, mean or itu");
    }

    #[test]
    fn itu_weights_leave_out_the_lfe_channel() {
        // (1/√2 + 1/√2 + 1 + 0.5 + 0.5): 3.414; the centre has 1 of it.
        let centre: [&[f32]; 6] = [&[0.0], &[0.0], &[1.0], &[0.0], &[0.0], &[0.0]];
        assert!((mixed(&centre, Downmix::Itu).0[0] - 1.0 / 3.414_213_6).abs() < 1e-6);
        let lfe: [&[f32]; 6] = [&[0.0], &[0.0], &[0.0], &[1.0], &[0.0], &[0.0]];
        assert_eq!(mixed(&lfe, Downmix::Itu).0, [0.0]);
    }

    #[test]
    fn opposite_phase_is_warned_about_and_stereo_with_one_silent_channel_is_not() {
        let (left, right): ([f32; 2], [f32; 2]) = ([0.5, -0.25], [-0.5, 0.25]);
        assert_eq!(mixed(&[&left, &right], Downmix::Mean).1.unwrap().kind, "cancelled");
        assert!(mixed(&[&left, &right], Downmix::First).1.is_none());
        assert!(mixed(&[&left, &[0.0, 0.0]], Downmix::Mean).1.is_none());
        assert!(mixed(&[&[0.0], &[0.0]], Downmix::Mean).1.is_none());
    }
}
