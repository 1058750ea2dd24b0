//! From several channels to one.

/// How a clip of several channels becomes mono.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Downmix {
    /// The first (left) channel alone, as R1-AQA's loader does.
    First,
    /// The mean of all channels, as librosa does.
    #[default]
    Mean,
}

impl Downmix {
    /// Appends the mono mix of some channels to `samples`.
    ///
    /// Shapes: `channels`: one slice of f32 samples per channel, at the same rate.
    pub(super) fn append(self, channels: &[&[f32]], samples: &mut Vec<f32>) {
        match (channels, self) {
            ([], _) => {}
            ([only], _) | ([only, ..], Downmix::First) => samples.extend_from_slice(only),
            ([left, right], Downmix::Mean) => {
                samples.extend(left.iter().zip(*right).map(|(l, r)| (l + r) * 0.5));
            }
            (_, Downmix::Mean) => {
                let share = 1.0 / channels.len() as f32;
                let frames = channels.iter().map(|channel| channel.len()).min().unwrap_or(0);
                samples.extend(
                    (0..frames).map(|i| channels.iter().map(|channel| channel[i]).sum::<f32>() * share),
                );
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mean_weighs_channels_equally_and_first_takes_one() {
        let channels: [&[f32]; 3] = [&[0.25, 0.5], &[0.0, 0.25], &[0.5, 0.0]];
        let mixed = |count: usize, downmix: Downmix| {
            let mut samples = Vec::new();
            downmix.append(&channels[..count], &mut samples);
            samples
        };
        assert_eq!(mixed(1, Downmix::Mean), [0.25, 0.5]);
        assert_eq!(mixed(2, Downmix::Mean), [0.125, 0.375]);
        for (value, expected) in mixed(3, Downmix::Mean).iter().zip([0.25, 0.25]) {
            assert!((value - expected).abs() < 1e-6);
        }
        assert_eq!(mixed(3, Downmix::First), [0.25, 0.5]);
    }
}
