//! Where a clip lies: what the path-like text of a data row means, and the bytes behind it.
//!
//! A row names its clip by one text, which every part of the program passes on unchanged. It is
//!
//! - a file, if one of exactly that name exists;
//! - `ARCHIVE.tar!MEMBER`, a member of a tar archive, such as a WebDataset shard ([`tar`]);
//! - `FILE.parquet#COLUMN=ROW`, a cell of a Parquet file, such as the Hub makes of an `Audio` column ([`parquet`]);
//! - `file:///…`, a file by its URL.
//!
//! No archive is read whole: of a tar archive the headers are read once, of a Parquet file the footer and the page that
//! holds the row. Only this module knows the forms; to everything else the text is a name.

mod kept;
mod parquet;
mod tar;

pub use parquet::ParquetTable;

use std::ffi::OsStr;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use percent_encoding::percent_decode;

use super::error::Problem;
use super::input::Input;

/// Most entries of a folder that are looked at for a hint about a missing file.
const MOST_LOOKED_AT: usize = 20_000;

/// Extensions under which a collection may hold the same clip.
const EXTENSIONS: [&str; 18] = [
    "wav", "flac", "mp3", "ogg", "oga", "opus", "m4a", "mp4", "aac", "webm", "mka", "mkv", "aif", "aiff",
    "wv", "au", "caf", "w64",
];

/// Opens the bytes of a clip.
///
/// Errors: the file, the archive or the part of it does not exist or cannot be read; the text is the URL of another
/// machine.
pub(crate) fn open_place(path: &Path) -> Result<Input, Problem> {
    match Input::open(path) {
        Err(Problem::Missing) => {}
        found => return found,
    }
    let text = path.as_os_str().as_bytes();
    if let Some(rest) = strip_scheme(text, b"file") {
        let path = file_of_url(rest)?;
        // A file URL may name an archive too, but not another URL.
        return open_archived(&path).unwrap_or_else(|| open_file(&path));
    }
    if let Some(scheme) = scheme(text) {
        return Err(Problem::Url { scheme: scheme.to_owned() });
    }
    open_archived(path).unwrap_or_else(|| Err(missing(path)))
}

/// Opens a file; if there is none, the error says what there is instead.
fn open_file(path: &Path) -> Result<Input, Problem> {
    Input::open(path).map_err(|problem| match problem {
        Problem::Missing => missing(path),
        other => other,
    })
}

/// Opens a part of an archive; `None` if the text names none.
fn open_archived(path: &Path) -> Option<Result<Input, Problem>> {
    let text = path.as_os_str().as_bytes();
    let mut named = None;
    for (at, &byte) in text.iter().enumerate().filter(|&(_, byte)| matches!(byte, b'!' | b'#')) {
        let archive = Path::new(OsStr::from_bytes(&text[..at]));
        if archive.is_file() {
            let part = &text[at + 1..];
            return Some(if byte == b'!' { tar::open(archive, part) } else { open_cell(archive, part) });
        }
        let extension: &[&str] = if byte == b'!' { &["tar"] } else { &["parquet", "pq"] };
        let matches = |found: &OsStr| extension.iter().any(|one| found.eq_ignore_ascii_case(one));
        if named.is_none() && archive.extension().is_some_and(matches) {
            named = Some(archive);
        }
    }
    let archive = named?;
    let near = near(archive).map(|near| format!("; there is `{near}` in its folder")).unwrap_or_default();
    Some(Err(Problem::Absent { what: format!("there is no archive {}{near}", archive.display()) }))
}

/// Opens a cell of a Parquet file, written `COLUMN=ROW`. If it holds a path, that is relative to the file's folder.
fn open_cell(file: &Path, cell: &[u8]) -> Result<Input, Problem> {
    let parsed = std::str::from_utf8(cell).ok().and_then(|cell| cell.rsplit_once('='));
    let parsed = parsed.and_then(|(column, row)| Some((column, row.parse::<u64>().ok()?)));
    let Some((column, row)) = parsed.filter(|(column, _)| !column.is_empty()) else {
        let what = format!("`{}` names no cell", String::from_utf8_lossy(cell));
        return Err(Problem::Archive {
            what,
            remedy: "write `FILE.parquet#COLUMN=ROW`, with rows counted from 0".into(),
        });
    };
    match parquet::read_cell(file, column, row)? {
        parquet::Content::Bytes(input) => Ok(input),
        parquet::Content::Path(path) => {
            let named = Path::new(OsStr::from_bytes(&path)).to_owned();
            let place = file.parent().unwrap_or(Path::new("")).join(&named);
            Input::open(&place).map_err(|problem| match problem {
                Problem::Missing => {
                    let there = near(&place).map(|near| format!("; there is `{near}`")).unwrap_or_default();
                    let what = format!("row {row} has no bytes, only the path `{}`", named.display());
                    Problem::Absent {
                        what: format!("{what}, and there is no such file beside the Parquet file{there}"),
                    }
                }
                other => other,
            })
        }
    }
}

/// What follows `SCHEME:` in a URL of this scheme.
fn strip_scheme<'a>(text: &'a [u8], scheme: &[u8]) -> Option<&'a [u8]> {
    let (found, rest) = text.split_at_checked(scheme.len())?;
    found.eq_ignore_ascii_case(scheme).then(|| rest.strip_prefix(b":/")).flatten()
}

/// The scheme of a URL such as `https://…`. Paths lose their double slashes when they are joined to a folder, so the
/// scheme is looked for in every component.
fn scheme(text: &[u8]) -> Option<&str> {
    const SCHEMES: [&str; 9] = ["http", "https", "ftp", "s3", "gs", "hf", "az", "hdfs", "data"];
    let beginning = text.split(|&byte| byte == b'/').find_map(|component| {
        let name =
            component.strip_suffix(b":").or_else(|| component.starts_with(b"data:").then_some(b"data"))?;
        std::str::from_utf8(name).ok()
    })?;
    SCHEMES.into_iter().find(|scheme| beginning.eq_ignore_ascii_case(scheme))
}

/// The path of a file URL, of which `rest` follows `file:/`.
fn file_of_url(rest: &[u8]) -> Result<PathBuf, Problem> {
    let path = match rest.strip_prefix(b"/") {
        // file:/path
        None => [b"/", rest].concat(),
        Some(rest) => {
            let (host, path) =
                rest.split_at(rest.iter().position(|&byte| byte == b'/').unwrap_or(rest.len()));
            if !host.is_empty() && !host.eq_ignore_ascii_case(b"localhost") {
                let host = String::from_utf8_lossy(host);
                return Err(Problem::Absent {
                    what: format!(
                        "a file URL of the host `{host}`; write file:/// and the path on this machine"
                    ),
                });
            }
            path.to_vec()
        }
    };
    let path: Vec<u8> = percent_decode(&path).collect();
    Ok(PathBuf::from(std::ffi::OsString::from_vec(path)))
}

/// The error for a file that does not exist.
fn missing(path: &Path) -> Problem {
    near(path).map_or(Problem::Missing, |near| Problem::MissingNear { near })
}

/// The name of a file in the same folder that is probably meant: one that differs in case, else one that differs in
/// its extension.
fn near(path: &Path) -> Option<String> {
    let wanted = path.file_name()?.to_str()?.to_lowercase();
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let stem = |name: &str| {
        let (stem, extension) = name.rsplit_once('.')?;
        EXTENSIONS.contains(&extension).then(|| stem.to_owned())
    };
    let wanted_stem = stem(&wanted).unwrap_or_else(|| wanted.clone());
    let mut other: Option<String> = None;
    for entry in std::fs::read_dir(folder).ok()?.take(MOST_LOOKED_AT).flatten() {
        let Ok(name) = entry.file_name().into_string() else { continue };
        let found = name.to_lowercase();
        if found == wanted {
            return Some(name);
        }
        let same = stem(&found).is_some_and(|found| found == wanted_stem);
        // The order of a folder is not that of the names: take the first by name.
        if same && other.as_ref().is_none_or(|other| name < *other) {
            other = Some(name);
        }
    }
    other
}

#[cfg(test)]
mod tests;
