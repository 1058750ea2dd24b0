//! What a file is, by its first bytes.
//!
//! The name of a file says little: collections hold FLAC files called `.wav`, and web pages called `.mp3`. An extension
//! that contradicts the content is only a warning.

use std::io;

use super::error::Problem;
use super::input::Input;
use super::kind::Kind;
use super::{adts, mpeg};

/// Bytes that are looked at; text is recognised within them.
const LOOKED_AT: usize = 4096;

/// Finds out what a file is, and where its content begins: after ID3v2 tags, which may precede a file of any kind.
pub(crate) fn sniff(input: &Input) -> Result<(Kind, u64), Problem> {
    if input.length() == 0 {
        return Err(Problem::Empty);
    }
    let start = mpeg::end_of_id3v2(input, 0)?;
    let head = input.peek(start, LOOKED_AT)?;
    if let Some(kind) = by_magic(&head) {
        return Ok((kind, start));
    }
    if let Some(problem) = named(&head) {
        return Err(problem);
    }
    // The tests for formats without a magic number are weak, so they come last.
    if adts::starts(input, start)? {
        return Ok((Kind::Adts, start));
    }
    if mpeg::find_start(input, start)?.is_some() {
        return Ok((Kind::Mpeg, start));
    }
    Err(something_else(input, start, &head)?)
}

fn by_magic(head: &[u8]) -> Option<Kind> {
    let at = |position: usize, magic: &[u8]| head.get(position..position + magic.len()) == Some(magic);
    let wave_form = at(8, b"WAVE");
    Some(match () {
        () if wave_form && [b"RIFF", b"RIFX", b"RF64", b"BW64"].iter().any(|magic| at(0, *magic)) => {
            Kind::Wave
        }
        () if at(0, b"riff\x2e\x91\xcf\x11\xa5\xd6\x28\xdb\x04\xc1\x00\x00") => Kind::Wave64,
        () if at(0, b"FORM") && (at(8, b"AIFF") || at(8, b"AIFC")) => Kind::Aiff,
        () if at(0, b".snd") || at(0, b"dns.") => Kind::Au,
        () if at(0, b"caff\0\x01") => Kind::Caf,
        () if at(0, b"NIST_1A\n") => Kind::Sphere,
        () if at(0, b"fLaC") => Kind::Flac,
        () if at(0, b"OggS") => Kind::Ogg,
        () if at(4, b"ftyp") || at(4, b"moov") || (at(4, b"mdat") || at(4, b"wide") || at(4, b"free")) => {
            Kind::Mp4
        }
        () if at(0, b"\x1a\x45\xdf\xa3") => Kind::Matroska,
        () if at(0, b"wvpk") => Kind::WavPack,
        () => return None,
    })
}

/// Sound in a format that is recognised and not decoded.
fn named(head: &[u8]) -> Option<Problem> {
    let at = |position: usize, magic: &[u8]| head.get(position..position + magic.len()) == Some(magic);
    let what = match () {
        () if at(0, b"\x30\x26\xb2\x75\x8e\x66\xcf\x11") => "Windows Media Audio (WMA, ASF)",
        () if at(0, b"#!AMR-WB") => "AMR-WB",
        () if at(0, b"#!AMR") => "AMR",
        () if at(0, b"MAC ") => "Monkey's Audio (APE)",
        () if at(0, b"TTA1") || at(0, b"TTA2") => "True Audio (TTA)",
        () if at(0, b"tBaK") => "TAK",
        () if at(0, b"OFR ") => "OptimFROG",
        () if at(0, b"ajkg") => "shorten",
        () if at(0, b"MPCK") || at(0, b"MP+") => "Musepack",
        () if at(0, b"DSD ") || at(0, b"FRM8") => "DSD",
        () if at(0, b"RIFF") && at(8, b"AVI ") => "AVI video",
        () if at(0, b"FLV\x01") => "Flash video (FLV)",
        () if at(0, b"\0\0\x01\xba") => "an MPEG program stream",
        () if at(0, b"G") && at(188, b"G") && at(376, b"G") => "an MPEG transport stream",
        () if at(0, b"\x0b\x77") => "AC-3",
        () if at(0, b"\x7f\xfe\x80\x01") || at(0, b"\xfe\x7f\x01\x80") => "DTS",
        () if at(0, b".RMF") || at(0, b".ra\xfd") => "RealAudio",
        () if at(0, b"MThd") => "MIDI, which holds notes and no sound,",
        () if at(0, b"Creative Voice File\x1a") => "Creative Voice (VOC)",
        () if is_latm(head) => "LATM/LOAS AAC",
        () => return None,
    };
    Some(Problem::unsupported(what))
}

/// Whether the bytes are LOAS frames: a sync word of 11 bits and a length of 13 bits each, three in a row.
fn is_latm(head: &[u8]) -> bool {
    let mut position = 0;
    for _ in 0..3 {
        let Some(&[a, b, c]) = head.get(position..position + 3).and_then(|bytes| bytes.first_chunk()) else {
            return false;
        };
        if a != 0x56 || b & 0xe0 != 0xe0 {
            return false;
        }
        position += 3 + (usize::from(b & 0x1f) << 8 | usize::from(c));
    }
    true
}

/// What a file that holds no sound is.
fn something_else(input: &Input, start: u64, head: &[u8]) -> io::Result<Problem> {
    const FETCH: &str = "fetch the clip again, from its own address";
    const UNPACK: &str = "unpack it, or name a member as `ARCHIVE.tar!MEMBER`";
    const DROP: &str = "correct the path";
    let at = |position: usize, magic: &[u8]| head.get(position..position + magic.len()) == Some(magic);
    let text = std::str::from_utf8(head).map_or_else(|error| &head[..error.valid_up_to()], str::as_bytes);
    let text = String::from_utf8_lossy(text);
    let is_text = text.len() + 4 > head.len()
        && !text.is_empty()
        && text.chars().all(|c| !c.is_control() || matches!(c, '\n' | '\r' | '\t' | '\x0c'));
    let begins = text.trim_start_matches(['\u{feff}', ' ', '\n', '\r', '\t']);
    let lower: String = begins.chars().take(1000).collect::<String>().to_ascii_lowercase();
    let (what, remedy) = match () {
        () if begins.starts_with("version https://git-lfs") => ("a Git LFS pointer", "run `git lfs pull`"),
        () if lower.starts_with("<!doctype html")
            || lower.starts_with("<html")
            || lower.starts_with("<head") =>
        {
            ("an HTML page", FETCH)
        }
        () if lower.starts_with('<') && (lower.contains("<html") || lower.contains("<!doctype html")) => {
            ("an HTML page", FETCH)
        }
        () if lower.starts_with("<?xml") || lower.starts_with("<error") => ("an XML document", FETCH),
        () if is_text && (begins.starts_with('{') || begins.starts_with('[')) => ("JSON", FETCH),
        () if at(0, b"PK\x03\x04") || at(0, b"PK\x05\x06") => ("a zip archive", UNPACK),
        () if at(257, b"ustar") => ("a tar archive", UNPACK),
        () if at(0, b"\x1f\x8b") => ("a gzip file", "unpack it with `gunzip`"),
        () if at(0, b"BZh") => ("a bzip2 file", "unpack it with `bunzip2`"),
        () if at(0, b"\xfd7zXZ\0") => ("an xz file", "unpack it with `unxz`"),
        () if at(0, b"\x28\xb5\x2f\xfd") => ("a zstd file", "unpack it with `unzstd`"),
        () if at(0, b"7z\xbc\xaf\x27\x1c") => ("a 7z archive", UNPACK),
        () if at(0, b"Rar!") => ("a rar archive", UNPACK),
        () if at(0, b"%PDF") => ("a PDF", DROP),
        () if at(0, b"\x89PNG") || at(0, b"\xff\xd8\xff") || at(0, b"GIF8") => ("a picture", DROP),
        () if at(0, b"\x93NUMPY") => {
            ("a NumPy array", "write its samples as WAV, with soundfile.write for one")
        }
        () if at(0, b"PAR1") => ("a Parquet file", "name a row as `FILE.parquet#COLUMN=ROW`"),
        () if at(0, b"\x7fELF") || at(0, b"MZ") => ("a program", DROP),
        () if is_text => ("text", FETCH),
        () if all_zero(input, start, head)? => ("a file of zero bytes only", "fetch the clip again"),
        () => return Ok(Problem::NotAudio),
    };
    Ok(Problem::SomethingElse { what, remedy })
}

/// Whether the start, the middle and the end of a file are zeros, as after a download that reserved its space.
fn all_zero(input: &Input, start: u64, head: &[u8]) -> io::Result<bool> {
    let zeros = |bytes: &[u8]| bytes.iter().all(|&byte| byte == 0);
    let rest = input.length().saturating_sub(start);
    Ok(!head.is_empty()
        && zeros(head)
        && zeros(&input.peek(start + rest / 2, LOOKED_AT)?)
        && zeros(&input.peek(start + rest.saturating_sub(LOOKED_AT as u64), LOOKED_AT)?))
}
