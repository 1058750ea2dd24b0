//! Audio files: WAV headers and their samples, the other containers, and the archives that hold clips.

use std::path::Path;

use audio::{Hearing, Problem};

use super::Target;
use crate::scratch;

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
        "\u{1a}E",
        "wvpk",
        "caff",
        ".snd",
        "NIST_1A\n",
        "sample_count -i ",
        "OpusTags",
        "dOps",
        "moof",
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

pub const ARCHIVE: Target = Target {
    name: "archive",
    dictionary: &[
        "ustar\0",
        "ustar  ",
        "././@LongLink",
        "path=",
        "size=",
        "PAR1",
        "clip.wav",
        "sound",
        "bytes",
        "0000644",
    ],
    longest: 16 * 1024,
    run: archive,
};

/// The first byte selects the kind: `t` for tar, else Parquet.
fn archive(input: &[u8]) {
    let Some((kind, content)) = input.split_first() else { return };
    let places = if *kind == b't' {
        scratch::file("clips.tar", content);
        ["clips.tar!clip.wav", "clips.tar!nothing"]
    } else {
        scratch::file("clips.parquet", content);
        ["clips.parquet#sound=1", "clips.parquet#audio=2"]
    };
    for place in places {
        // AUDIO-2: content or one error.
        if let Err(error) = audio::open(&scratch::folder().join(place)) {
            assert_eq!(error.to_string().lines().count(), 1, "{error}");
        }
    }
}

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
