//! A table as JSON lines: every line has every column.

use std::fs::File;
use std::io::{self, BufWriter, Write};

use serde_json::{Map, Value};

use super::TableWriter;
use super::columns::Column;

pub(super) struct JsonFile {
    file: BufWriter<File>,
    names: Vec<String>,
}

impl JsonFile {
    pub(super) fn new(file: File, columns: &[Column]) -> Self {
        let names = columns.iter().map(|column| column.name.clone()).collect();
        JsonFile { file: BufWriter::new(file), names }
    }
}

impl TableWriter for JsonFile {
    fn row(&mut self, cells: Vec<Value>) -> io::Result<()> {
        let row: Map<String, Value> = self.names.iter().cloned().zip(cells).collect();
        serde_json::to_writer(&mut self.file, &row)?;
        self.file.write_all(b"\n")
    }

    fn finish(mut self: Box<Self>) -> io::Result<()> {
        self.file.flush()
    }
}
