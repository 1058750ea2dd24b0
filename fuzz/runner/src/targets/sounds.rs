//! Audio files: WAV headers and their samples, and the other containers.

use std::path::Path;

use audio::{Hearing, Problem};

use super::Target;

pub const WAV: Target = Target {
    name: "wav",
    dictionary: &[
        "RIFF",
        "RIFX",
        "RF64",
        "WAVE",
        "fmt ",
        "data",
        "fact",
        "LIST",
        "ds64",
        "bext",
        "\u{1}\0",
        "\u{2}\0",
        "\u{3}\0",
        "\u{11}\0",
        "\0\0\0\0",
        "\u{10}\0\0\0",
        "\u{12}\0\0\0",
        "\u{8}\0",
        "\u{10}\0",
        "\u{18}\0",
    ],
    longest: 16 * 1024,
    run,
};

pub const CONTAINER: Target = Target {
    name: "container",
    dictionary: &[
        "fLaC",
        "OggS",
        "vorbis",
        "OpusHead",
        "ID3",
        "TAG",
        "Xing",
        "Info",
        "LAME",
        "VBRI",
        "ftypM4A ",
        "moov",
        "trak",
        "mdia",
        "minf",
        "stbl",
        "stsd",
        "mp4a",
        "esds",
        "alac",
        "stsz",
        "stco",
        "co64",
        "stts",
        "stsc",
        "edts",
        "elst",
        "mdhd",
        "mvhd",
        "hdlr",
        "soun",
        "mdat",
        "FORM",
        "AIFF",
        "AIFC",
        "COMM",
        "SSND",
        "\0\0\0\0",
        "\0\0\0\u{1}",
    ],
    longest: 32 * 1024,
    run,
};

/// Most samples that one input may become; a header alone must not make more than the file could hold.
const MOST_SAMPLES: usize = 1 << 27;

fn run(input: &[u8]) {
    // AUDIO-2: samples or one error, never a panic. A panic inside the decoder is caught, and then it is an error.
    match audio::load_bytes(Path::new("fuzz.audio"), input.to_vec(), &Hearing::default()) {
        Ok(clip) => {
            let samples = clip.samples;
            assert!(!samples.is_empty() && samples.len() < MOST_SAMPLES, "{} samples", samples.len());
            assert!(samples.iter().all(|sample| sample.is_finite()), "a sample is not finite");
        }
        Err(error) if matches!(error.problem, Problem::Missing | Problem::Unreadable(_)) => {
            panic!("the bytes are in memory: {error}")
        }
        Err(error) => assert_eq!(error.to_string().lines().count(), 1, "{error}"),
    }
}
