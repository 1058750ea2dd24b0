//! Opens a data file as text, whatever tool wrote it: unpacks gzip and zstd, skips the byte order mark of UTF-8, and names
//! what is no text, with what to write instead.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use crate::error::ScenarioError;

/// Bytes of a text that are looked at to tell what it is.
const LOOKED_AT: usize = 512;

/// The text of a file.
pub(super) type Text = Box<dyn BufRead + Send>;

/// Opens a file, unpacked and without a byte order mark.
///
/// Errors: it cannot be read, or is no text.
pub(super) fn open(path: &Path) -> Result<Text, ScenarioError> {
    let file = File::open(path).map_err(unreadable(path))?;
    let text = unpacked(path, Box::new(BufReader::with_capacity(1 << 17, file)))?;
    let mut text = BufReader::with_capacity(1 << 17, text);
    let start = text.fill_buf().map_err(unreadable(path))?;
    if let Some((what, instead)) = no_text(&start[..start.len().min(LOOKED_AT)], path) {
        return Err(refused(path, what, instead));
    }
    if start.starts_with(b"\xef\xbb\xbf") {
        text.consume(3);
    }
    Ok(Box::new(text))
}

/// Whether a file begins like a Parquet file.
pub(super) fn is_parquet(path: &Path) -> Result<bool, ScenarioError> {
    let mut start = [0; 4];
    let mut file = File::open(path).map_err(unreadable(path))?;
    match file.read_exact(&mut start) {
        Ok(()) => Ok(&start == b"PAR1"),
        Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(unreadable(path)(error)),
    }
}

pub(super) fn unreadable(path: &Path) -> impl Fn(std::io::Error) -> ScenarioError + '_ {
    move |source| ScenarioError::Read { path: path.into(), source, instead: "write the path of a data file" }
}

fn refused(path: &Path, what: &str, instead: &str) -> ScenarioError {
    ScenarioError::File { path: path.into(), problem: format!("it is {what}"), instead: instead.into() }
}

fn unpacked(path: &Path, mut packed: Text) -> Result<Text, ScenarioError> {
    let start = packed.fill_buf().map_err(unreadable(path))?;
    if start.starts_with(b"\x1f\x8b") {
        return Ok(Box::new(BufReader::new(flate2::bufread::MultiGzDecoder::new(packed))));
    }
    if start.starts_with(b"\x28\xb5\x2f\xfd") {
        return Ok(Box::new(BufReader::new(Zstd { frame: None, packed: Some(packed) })));
    }
    Ok(packed)
}

/// Frames of zstd, one after another, as `zstd` writes them for several inputs.
struct Zstd {
    frame: Option<ruzstd::decoding::StreamingDecoder<Text, ruzstd::decoding::FrameDecoder>>,
    packed: Option<Text>,
}

impl Read for Zstd {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let failed = |error: &dyn std::fmt::Display| std::io::Error::other(format!("zstd: {error}"));
        loop {
            if let Some(frame) = &mut self.frame {
                let count = frame.read(buffer)?;
                if count > 0 || buffer.is_empty() {
                    return Ok(count);
                }
                self.packed = self.frame.take().map(ruzstd::decoding::StreamingDecoder::into_inner);
            }
            let Some(mut packed) = self.packed.take() else { return Ok(0) };
            if packed.fill_buf()?.is_empty() {
                return Ok(0);
            }
            let frame = ruzstd::decoding::StreamingDecoder::new(packed).map_err(|error| failed(&error))?;
            self.frame = Some(frame);
        }
    }
}

/// What a file is that begins like this, if it is no text in UTF-8, and what to write instead.
fn no_text(start: &[u8], path: &Path) -> Option<(&'static str, &'static str)> {
    let nulls = |from: usize| start.iter().skip(from).step_by(2).take(64).filter(|&&byte| byte == 0).count();
    let looks_wide =
        start.len() >= 8 && (nulls(0) > start.len().min(128) / 4 || nulls(1) > start.len().min(128) / 4);
    let has = |part: &[u8]| start.windows(part.len()).any(|window| window == part);
    let is_xlsx = || {
        let office = has(b"[Content_Types].xml") || has(b"xl/");
        office || path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("xlsx"))
    };
    let csv = "export it as CSV in UTF-8";
    Some(match start {
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => {
            ("a text in UTF-16", "write it in UTF-8: `iconv -f UTF-16 -t UTF-8 IN > OUT`")
        }
        [b'P', b'K', 3, 4, ..] if is_xlsx() => ("an Excel workbook", csv),
        [b'P', b'K', 3, 4, ..] => ("a zip archive", "unpack it and write the path of the file in it"),
        [0xd0, 0xcf, 0x11, 0xe0, ..] => ("an old Excel workbook", csv),
        [0x80, 2..=5, ..] => (
            "a Python pickle, which may run code when it is read",
            "write it with `to_json(\"rows.jsonl\", orient=\"records\", lines=True)` or `to_parquet`",
        ),
        [b'A', b'R', b'R', b'O', b'W', b'1', ..] | [0xff, 0xff, 0xff, 0xff, ..] => {
            ("an Arrow file", "write it with `Dataset.to_parquet` or `to_json`")
        }
        [b'B', b'Z', b'h', ..] => ("compressed with bzip2", "compress it with gzip or zstd, or unpack it"),
        [0xfd, b'7', b'z', b'X', b'Z', ..] => {
            ("compressed with xz", "compress it with gzip or zstd, or unpack it")
        }
        _ if start.starts_with(b"SQLite format 3") => ("an SQLite database", csv),
        _ if start.starts_with(b"version https://git-lfs") => {
            ("a pointer of Git LFS, not the file", "fetch the file with `git lfs pull`")
        }
        _ if start[..start.len().min(15)].eq_ignore_ascii_case(b"<!DOCTYPE html>") => {
            ("a web page", "download the file itself, not the page that shows it")
        }
        _ if looks_wide => ("a text in UTF-16", "write it in UTF-8: `iconv -f UTF-16 -t UTF-8 IN > OUT`"),
        _ => return None,
    })
}
