//! The steps, evaluations and rollouts of a run as tables, each with one line per row of all arms and seeds.
//!
//! A table is read twice: first for its columns, because nested maps such as `components` become columns whose names depend on
//! the run, then for its rows. Only a part of the rows is in memory at any time. Rows that a running arm appends in between
//! are left for the next export.

mod columns;
mod csv_file;
mod json_file;
mod parquet_file;
mod table;

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use records::{ArmDir, ArmFile, RecordsError, RunDir, for_each_line};
use serde_json::{Map, Value};

use crate::error::ExportError;
use columns::Column;
use table::Table;

/// The format of the exported files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Apache Parquet, compressed with Snappy.
    Parquet,
    /// Comma-separated values with a header; `null` and the empty text are both an empty field.
    Csv,
    /// JSON lines.
    Json,
}

impl Format {
    /// All formats.
    pub const ALL: [Format; 3] = [Format::Parquet, Format::Csv, Format::Json];

    /// Its name in commands.
    pub fn name(self) -> &'static str {
        match self {
            Format::Parquet => "parquet",
            Format::Csv => "csv",
            Format::Json => "json",
        }
    }

    /// How its files end.
    pub fn extension(self) -> &'static str {
        match self {
            Format::Json => "jsonl",
            Format::Parquet | Format::Csv => self.name(),
        }
    }

    fn create(self, file: File, columns: &[Column]) -> io::Result<Box<dyn TableWriter>> {
        Ok(match self {
            Format::Parquet => Box::new(parquet_file::ParquetFile::new(file, columns)?),
            Format::Csv => Box::new(csv_file::CsvFile::new(file, columns)?),
            Format::Json => Box::new(json_file::JsonFile::new(file, columns)),
        })
    }
}

/// Writes the rows of a table in one format.
trait TableWriter {
    /// Appends a row: a value for each column, of the column's kind or null.
    fn row(&mut self, cells: Vec<Value>) -> io::Result<()>;

    /// Writes what is still in memory.
    fn finish(self: Box<Self>) -> io::Result<()>;
}

/// The rows of one arm and seed.
struct Source {
    arm: String,
    seed: u64,
    folder: ArmDir,
}

/// Writes the tables `steps`, `evaluations` and `rollouts` of a run into a folder, which is made if it is missing, and returns
/// the paths of the three files. Files of these names are replaced, each when the new one is complete.
///
/// Errors: [`ExportError::Records`], [`ExportError::Unreadable`].
pub fn export(run_dir: &RunDir, format: Format, out: &Path) -> Result<Vec<PathBuf>, ExportError> {
    let mut sources = Vec::new();
    for (arm, seeds) in run_dir.arms()? {
        for (seed, folder) in seeds {
            folder.check_formats()?;
            sources.push(Source { arm: arm.clone(), seed, folder });
        }
    }
    fs::create_dir_all(out).map_err(RecordsError::writing(out))?;
    table::ALL.iter().map(|table| export_table(table, &sources, format, out)).collect()
}

fn export_table(
    table: &Table,
    sources: &[Source],
    format: Format,
    out: &Path,
) -> Result<PathBuf, ExportError> {
    let path = out.join(table.name).with_added_extension(format.extension());
    let draft = path.with_added_extension("part");
    let written = write_table(table, sources, format, &draft)
        .and_then(|()| Ok(fs::rename(&draft, &path).map_err(RecordsError::writing(&path))?));
    if written.is_err() {
        // The error that is returned says more than one of the removal could.
        let _ = fs::remove_file(&draft);
    }
    written.map(|()| path)
}

fn write_table(table: &Table, sources: &[Source], format: Format, path: &Path) -> Result<(), ExportError> {
    let mut columns = table.columns();
    let mut counts = Vec::new();
    for source in sources {
        let mut count = 0_u64;
        each_row(source, table.file, |row| {
            count += 1;
            columns.add(&row);
            Ok(())
        })?;
        counts.push(count);
    }

    let columns = columns.in_order();
    let writing = RecordsError::writing;
    let file = File::create(path).map_err(writing(path))?;
    let mut writer = format.create(file, &columns).map_err(writing(path))?;
    for (source, count) in sources.iter().zip(counts) {
        let mut left = count;
        each_row(source, table.file, |row| {
            if left > 0 {
                left -= 1;
                writer.row(columns::cells(&columns, &row)).map_err(writing(path))?;
            }
            Ok(())
        })?;
    }
    Ok(writer.finish().map_err(writing(path))?)
}

/// Calls `take` with each row of a file, with the fields `arm` and `seed` before its own, until it fails.
fn each_row(
    source: &Source,
    file: ArmFile,
    mut take: impl FnMut(Map<String, Value>) -> Result<(), RecordsError>,
) -> Result<(), ExportError> {
    let path = source.folder.file(file);
    let mut taken = Ok(());
    let unreadable = for_each_line(&path, |line| {
        let fields: Map<String, Value> = serde_json::from_slice(line)?;
        if taken.is_ok() {
            let arm_and_seed =
                [("arm".to_owned(), source.arm.clone().into()), ("seed".to_owned(), source.seed.into())];
            taken = take(arm_and_seed.into_iter().chain(fields).collect());
        }
        Ok(())
    })?;
    taken?;
    if unreadable > 0 { Err(ExportError::Unreadable { path, lines: unreadable }) } else { Ok(()) }
}

#[cfg(test)]
mod tests;
