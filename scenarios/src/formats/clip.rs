//! Where a row's clip lies, and which part of it the question is about.
//!
//! The column with the clip may hold more than a path: a `file://` URL, the object that the Hub writes for an `Audio`
//! column, or the sound itself as base64. All become one text: a path, or a path and the member of an archive in it, which
//! only the crate `audio` reads. Sound that the row itself contains is written to the cache folder, because clips are
//! loaded later, and more than once.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::alphabet::{STANDARD, URL_SAFE};
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use percent_encoding::percent_decode_str;
use serde_json::{Map, Value};

use super::row::{Row, unfit};
use crate::cache::{fetched_clip, keep_clip};
use crate::error::ScenarioError;
use crate::rows::{RowCause, RowError};

/// Schemes of URLs that name a clip elsewhere, and are not downloaded.
const REMOTE: [&str; 6] = ["ftp", "s3", "gs", "hf", "az", "hdfs"];

/// What to write in the column with the clip.
const WRITE_A_PATH: &str = "write the path of its file";

/// What to do about a URL that could be downloaded.
const SET_FETCH: &str =
    "set data.fetch = true, which downloads such clips, or fetch the clip first and write its path";

/// What a column says about the clip.
enum Found {
    Path(String),
    Content(Vec<u8>),
    Url(String),
}

/// Where clips are that a row does not name by a path.
pub(super) struct Elsewhere<'a> {
    /// The cache folder.
    pub(super) cache: &'a Path,
    /// Whether clips at `http://` and `https://` URLs are downloaded into it.
    pub(super) fetch: bool,
}

/// Makes the column with the clip a plain text, and returns its URL if it is to be downloaded. A missing column is left to
/// the reader of the format.
///
/// Errors: the inner one if the row cannot be used; the outer one if its sound cannot be written to the cache.
pub(super) fn settle(
    row: &mut Row,
    key: &str,
    elsewhere: &Elsewhere<'_>,
) -> Result<Result<Option<String>, RowError>, ScenarioError> {
    let Some(value) = row.value(key) else { return Ok(Ok(None)) };
    let (path, url) = match find(key, value) {
        Err(error) => return Ok(Err(error)),
        Ok(Found::Path(path)) => {
            row.set(key, path.into());
            return Ok(Ok(None));
        }
        Ok(Found::Content(content)) => (keep_clip(elsewhere.cache, &content)?, None),
        Ok(Found::Url(url)) if elsewhere.fetch => (fetched_clip(elsewhere.cache, &url), Some(url)),
        Ok(Found::Url(url)) => {
            let scheme = url.split(':').next().unwrap_or_default().to_ascii_lowercase();
            let problem = format!("`{key}` is a URL ({scheme})");
            return Ok(Err(RowError::new(RowCause::BadColumn, problem, SET_FETCH)));
        }
    };
    // A relative path would be taken for one within `audio_root`.
    let path = std::path::absolute(&path).unwrap_or(path);
    match path.into_os_string().into_string() {
        Ok(path) => row.set(key, path.into()),
        Err(path) => return Ok(Err(not_utf8(key, &path))),
    }
    Ok(Ok(url))
}

fn find(key: &str, value: Value) -> Result<Found, RowError> {
    match value {
        Value::String(text) => of_text(key, text),
        Value::Object(fields) => of_object(key, fields),
        // A number becomes a text like everywhere; what else there may be is refused.
        Value::Number(number) => Ok(Found::Path(number.to_string())),
        other => Err(unfit(key, &other, WRITE_A_PATH)),
    }
}

fn of_text(key: &str, text: String) -> Result<Found, RowError> {
    let wrong = |problem: String, instead: &str| Err(RowError::new(RowCause::BadColumn, problem, instead));
    let Some((scheme, rest)) = text.split_once(':') else { return Ok(Found::Path(text)) };
    let scheme = scheme.to_ascii_lowercase();
    match scheme.as_str() {
        "data" => match rest.split_once(',') {
            Some((kind, content)) if kind.to_ascii_lowercase().ends_with(";base64") => {
                decode(key, content).map(Found::Content)
            }
            // A file may be called so.
            None => Ok(Found::Path(text)),
            Some(_) => {
                wrong(format!("`{key}` is a data URL without base64"), "write data:audio/wav;base64,…")
            }
        },
        "file" if rest.starts_with('/') => of_file_url(key, rest).map(Found::Path),
        "http" | "https" if rest.starts_with("//") => Ok(Found::Url(text)),
        scheme if REMOTE.contains(&scheme) && rest.starts_with("//") => {
            let instead = "fetch the clip first and write its path: nothing is fetched from the net";
            wrong(format!("`{key}` is a URL ({scheme})"), instead)
        }
        _ => Ok(Found::Path(text)),
    }
}

/// The path in a file URL, of which `rest` follows `file:`.
fn of_file_url(key: &str, rest: &str) -> Result<String, RowError> {
    let path = match rest.strip_prefix("//") {
        None => rest,
        Some(rest) => {
            let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
            if !host.is_empty() && !host.eq_ignore_ascii_case("localhost") {
                let problem = format!("`{key}` is a file URL of the host `{host}`");
                let instead = "write file:/// and the path on this machine";
                return Err(RowError::new(RowCause::BadColumn, problem, instead));
            }
            path
        }
    };
    let bytes: Vec<u8> = percent_decode_str(path).collect();
    OsString::from_vec(bytes).into_string().map_err(|path| not_utf8(key, &path))
}

fn not_utf8(key: &str, path: &OsStr) -> RowError {
    let problem = format!("`{key}` leads to the path {}, which is not UTF-8", path.display());
    RowError::new(RowCause::BadColumn, problem, "rename the file or folder")
}

/// The Hub's object: `bytes` as base64 or null, and `path`; or decoded samples in `array`.
fn of_object(key: &str, mut fields: Map<String, Value>) -> Result<Found, RowError> {
    let wrong = |problem: String, instead: &str| Err(RowError::new(RowCause::BadColumn, problem, instead));
    let mut field = |name: &str| fields.remove(name).filter(|value| !value.is_null());
    match field("bytes") {
        Some(Value::String(text)) => {
            let key = format!("{key}.bytes");
            return match text.split_once(',') {
                Some((kind, _)) if kind.starts_with("data:") => of_text(&key, text),
                _ => decode(&key, &text).map(Found::Content),
            };
        }
        Some(other) => {
            return Err(unfit(&format!("{key}.bytes"), &other, "write the bytes of the file as base64"));
        }
        None => {}
    }
    if field("array").is_some() {
        let instead = "write the file's path, or its bytes as base64, without `array`";
        return wrong(format!("`{key}` holds decoded samples (`array`)"), instead);
    }
    match field("path") {
        Some(Value::String(text)) if !text.trim().is_empty() => of_text(&format!("{key}.path"), text),
        _ => wrong(format!("`{key}` has neither `bytes` nor `path`"), WRITE_A_PATH),
    }
}

/// Decodes base64, of either alphabet, with or without padding and line breaks.
fn decode(key: &str, text: &str) -> Result<Vec<u8>, RowError> {
    let wrong = |problem: String| {
        RowError::new(RowCause::BadColumn, problem, "write the bytes of the audio file as base64")
    };
    let text: Vec<u8> = text.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    if text.is_empty() {
        return Err(wrong(format!("`{key}` is empty")));
    }
    let alphabet = if text.iter().any(|byte| matches!(byte, b'-' | b'_')) { &URL_SAFE } else { &STANDARD };
    let config = GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    let decoded = GeneralPurpose::new(alphabet, config).decode(text);
    decoded.map_err(|error| wrong(format!("`{key}` is not base64: {}", error.to_string().to_lowercase())))
}

/// Takes out the part of the clip that the row is about: its start and its end, in seconds. `start_seconds` and
/// `end_seconds` are AudioSet's names.
///
/// Errors: one of them is not a number, is negative, or the end is not after the start.
pub(super) fn part(row: &mut Row) -> Result<(Option<f64>, Option<f64>), RowError> {
    let (start_key, start) = seconds(row, ["start", "start_seconds"])?;
    let (end_key, end) = seconds(row, ["end", "end_seconds"])?;
    if let Some(end) = end
        && end <= start.unwrap_or(0.0)
    {
        let start = start.map_or_else(|| "the beginning".into(), |start| format!("`{start_key}`, {start}"));
        let problem = format!("`{end_key}` is {end}, which is not after {start}");
        return Err(RowError::new(
            RowCause::BadColumn,
            problem,
            "write seconds from the beginning of the clip",
        ));
    }
    Ok((start, end))
}

/// Takes out a column of seconds, and returns under which of its names it was found.
fn seconds<'a>(row: &mut Row, keys: [&'a str; 2]) -> Result<(&'a str, Option<f64>), RowError> {
    let mut found = (keys[0], None);
    for key in keys {
        let Some(value) = row.value(key) else { continue };
        let number = match &value {
            Value::Number(number) => number.as_f64(),
            Value::String(text) if text.trim().is_empty() => continue,
            Value::String(text) => text.trim().parse().ok(),
            _ => None,
        };
        let Some(number) = number.filter(|number| number.is_finite() && *number >= 0.0) else {
            return Err(unfit(key, &value, "write seconds from the beginning of the clip, such as 2.5"));
        };
        if found.1.is_some_and(|other| other != number) {
            let problem = format!("`{}` and `{key}` differ", found.0);
            return Err(RowError::new(RowCause::BadColumn, problem, "write one of them"));
        }
        found = (key, Some(number));
    }
    Ok(found)
}

/// Whether there is the file that a clip lies in: the clip's own, or an archive in front of `!` or `#`. Whether the archive
/// has the clip shows when it is loaded.
pub(super) fn has_file(path: &Path) -> bool {
    let text = path.as_os_str().as_bytes();
    let archives = (0..text.len())
        .filter(|&at| matches!(text[at], b'!' | b'#'))
        .map(|at| OsStr::from_bytes(&text[..at]));
    path.is_file() || archives.into_iter().any(|archive| Path::new(archive).is_file())
}

/// The path as a text with forward slashes, if only that exists: tools for Windows write `clips\a.wav`.
pub(super) fn with_slashes(path: &Path) -> Option<PathBuf> {
    let text = path.to_str()?;
    if !text.contains('\\') || has_file(path) {
        return None;
    }
    let path = PathBuf::from(text.replace('\\', "/"));
    has_file(&path).then_some(path)
}
