//! A table as comma-separated values.

use std::fs::File;
use std::io;

use serde_json::Value;

use super::TableWriter;
use super::columns::Column;

pub(super) struct CsvFile(csv::Writer<File>);

impl CsvFile {
    pub(super) fn new(file: File, columns: &[Column]) -> io::Result<Self> {
        let mut writer = csv::Writer::from_writer(file);
        writer.write_record(columns.iter().map(|column| &column.name))?;
        Ok(CsvFile(writer))
    }
}

impl TableWriter for CsvFile {
    fn row(&mut self, cells: Vec<Value>) -> io::Result<()> {
        let fields = cells.into_iter().map(|cell| match cell {
            Value::Null => String::new(),
            Value::String(text) => text,
            other => other.to_string(),
        });
        Ok(self.0.write_record(fields)?)
    }

    fn finish(mut self: Box<Self>) -> io::Result<()> {
        self.0.flush()
    }
}
