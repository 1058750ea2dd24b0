//! What is heard of a clip, and what controls put in its place; the same for policies and for servers.

use std::path::Path;

use audio::Downmix;
use rand::Rng;
use runtime::seed::{Purpose, derive, generator};
use scenarios::{ArmConfig, AudioWindow};

/// Highest sample of the noise: its level is −24.8 dB of full scale.
const NOISE: f32 = 0.1;

/// Puts white noise in the place of the samples. It is drawn for the path of the clip and the number of the window, so that
/// all evaluations hear the same.
pub fn fill_with_noise(samples: &mut [f32], path: &Path, window: usize) {
    let path = path.as_os_str().as_encoded_bytes();
    let mut place: Vec<u64> = path.iter().map(|&byte| u64::from(byte)).collect();
    if window > 0 {
        place.push(window as u64);
    }
    let mut rng = generator(0, Purpose::Noise, &place);
    samples.iter_mut().for_each(|sample| *sample = rng.random_range(-NOISE..NOISE));
}

/// How the arm turns several channels into one.
pub fn downmix(config: &ArmConfig) -> Downmix {
    match config.loader.downmix {
        scenarios::Downmix::First => Downmix::First,
        scenarios::Downmix::Right => Downmix::Right,
        scenarios::Downmix::Mean => Downmix::Mean,
        scenarios::Downmix::Itu => Downmix::Itu,
    }
}

/// Which part of a clip longer than the window is heard, from 0 for the first to 1 for the last. `place` is what a random
/// window is drawn for.
pub fn window_position(config: &ArmConfig, seed: u64, place: &[u64]) -> f64 {
    match config.loader.window {
        AudioWindow::First | AudioWindow::All => 0.0,
        AudioWindow::Center => 0.5,
        AudioWindow::Random => derive(seed, Purpose::Window, place) as f64 / u64::MAX as f64,
    }
}
