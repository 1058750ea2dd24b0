//! Clips as a server hears them: WAV files, and what is in a chat request.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::scripted_server::Request;

/// A WAV file @ 16 kHz that is not silent.
pub fn wav(samples: usize) -> Vec<u8> {
    let bytes = (samples * 2) as u32;
    let mut file = [b"RIFF", &(bytes + 36).to_le_bytes()[..], b"WAVEfmt \x10\0\0\0\x01\0\x01\0"].concat();
    file.extend_from_slice(&16_000_u32.to_le_bytes());
    file.extend_from_slice(&32_000_u32.to_le_bytes());
    file.extend_from_slice(b"\x02\0\x10\0data");
    file.extend_from_slice(&bytes.to_le_bytes());
    file.extend((0..samples).flat_map(|i| ((i % 100) as i16 * 100 - 5_000).to_le_bytes()));
    file
}

/// The samples of the clip in a chat request, which must be a WAV file of 16-bit integers @ 16 kHz, mono; `None`
/// without a clip.
pub fn clip(request: &Request) -> Option<Vec<i16>> {
    let parts = request.body["messages"].as_array()?.last()?["content"].as_array()?.clone();
    let part = parts.iter().find(|part| part["type"] == "input_audio")?;
    assert_eq!(part["input_audio"]["format"], "wav");
    let wav = STANDARD.decode(part["input_audio"]["data"].as_str()?).unwrap();
    assert_eq!(&wav[..36], [b"RIFF", &wav[4..8], b"WAVEfmt ", &FORMAT].concat(), "16-bit PCM @ 16 kHz, mono");
    assert_eq!(wav[40..44], (wav.len() as u32 - 44).to_le_bytes());
    Some(wav[44..].chunks(2).map(|sample| i16::from_le_bytes(sample.try_into().unwrap())).collect())
}

/// The fields of `fmt `: its size, PCM, 1 channel, 16,000 Hz, 32,000 bytes per second, 2 bytes per frame, 16 bits.
const FORMAT: [u8; 20] = [16, 0, 0, 0, 1, 0, 1, 0, 0x80, 0x3e, 0, 0, 0, 0x7d, 0, 0, 2, 0, 16, 0];
