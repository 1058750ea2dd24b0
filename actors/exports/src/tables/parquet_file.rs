//! A table as a Parquet file: every column is optional and flat, so that a definition level is 1 for a value and 0 for null.

use std::fs::File;
use std::io;
use std::sync::Arc;

use parquet::basic::{Compression, LogicalType, Repetition, Type as Stored};
use parquet::data_type::{BoolType, ByteArray, ByteArrayType, DataType, DoubleType, Int64Type};
use parquet::errors::Result;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::{SerializedColumnWriter, SerializedFileWriter};
use parquet::schema::types::Type;
use serde_json::Value;

use super::TableWriter;
use super::columns::{Column, Kind};

/// Rows that are kept in memory before they are written as a row group.
const ROWS_PER_GROUP: usize = 16_384;

pub(super) struct ParquetFile {
    writer: SerializedFileWriter<File>,
    kinds: Vec<Kind>,
    /// The rows of the next group, by column.
    cells: Vec<Vec<Value>>,
}

impl ParquetFile {
    pub(super) fn new(file: File, columns: &[Column]) -> io::Result<Self> {
        let properties = WriterProperties::builder().set_compression(Compression::SNAPPY).build();
        let writer = SerializedFileWriter::new(file, Arc::new(schema(columns)?), Arc::new(properties))?;
        let kinds = columns.iter().map(|column| column.kind).collect();
        Ok(ParquetFile { writer, kinds, cells: vec![Vec::new(); columns.len()] })
    }

    fn write_group(&mut self) -> Result<()> {
        let mut group = self.writer.next_row_group()?;
        for (kind, cells) in self.kinds.iter().zip(&mut self.cells) {
            if let Some(mut column) = group.next_column()? {
                write_column(&mut column, *kind, cells)?;
                column.close()?;
            }
            cells.clear();
        }
        group.close()?;
        Ok(())
    }

    fn rows_in_memory(&self) -> usize {
        self.cells.first().map_or(0, Vec::len)
    }
}

impl TableWriter for ParquetFile {
    fn row(&mut self, cells: Vec<Value>) -> io::Result<()> {
        for (column, cell) in self.cells.iter_mut().zip(cells) {
            column.push(cell);
        }
        if self.rows_in_memory() >= ROWS_PER_GROUP {
            self.write_group()?;
        }
        Ok(())
    }

    fn finish(mut self: Box<Self>) -> io::Result<()> {
        if self.rows_in_memory() > 0 {
            self.write_group()?;
        }
        self.writer.close()?;
        Ok(())
    }
}

fn schema(columns: &[Column]) -> Result<Type> {
    let field = |column: &Column| {
        let (stored, logical) = match column.kind {
            Kind::Boolean => (Stored::BOOLEAN, None),
            Kind::Integer => (Stored::INT64, None),
            Kind::Float => (Stored::DOUBLE, None),
            Kind::Text => (Stored::BYTE_ARRAY, Some(LogicalType::String)),
        };
        let field = Type::primitive_type_builder(&column.name, stored).with_logical_type(logical);
        Ok(Arc::new(field.with_repetition(Repetition::OPTIONAL).build()?))
    };
    let fields = columns.iter().map(field).collect::<Result<Vec<_>>>()?;
    Type::group_type_builder("schema").with_fields(fields).build()
}

fn write_column(column: &mut SerializedColumnWriter, kind: Kind, cells: &[Value]) -> Result<()> {
    match kind {
        Kind::Boolean => write_values::<BoolType>(column, cells, Value::as_bool),
        Kind::Integer => write_values::<Int64Type>(column, cells, Value::as_i64),
        Kind::Float => write_values::<DoubleType>(column, cells, Value::as_f64),
        Kind::Text => write_values::<ByteArrayType>(column, cells, |cell| cell.as_str().map(ByteArray::from)),
    }
}

fn write_values<T: DataType>(
    column: &mut SerializedColumnWriter,
    cells: &[Value],
    value: impl Fn(&Value) -> Option<T::T>,
) -> Result<()> {
    let cells: Vec<Option<T::T>> = cells.iter().map(value).collect();
    let levels: Vec<i16> = cells.iter().map(|cell| i16::from(cell.is_some())).collect();
    let values: Vec<T::T> = cells.into_iter().flatten().collect();
    column.typed::<T>().write_batch(&values, Some(&levels), None)?;
    Ok(())
}
