//! The few messages of `wandb_internal.proto` that a run with curves needs. The numbers are those of the fields there.

use serde_json::Value;

use super::WandbRun;
use crate::protobuf::Message;

/// One record of the file.
pub(super) enum Record<'a> {
    /// The first record: who wrote the file.
    Header,
    /// What the run is.
    Run { id: &'a str, run: &'a WandbRun, group: &'a str, name: &'a str, start: f64 },
    /// `step` exists, and needs no plot of its own.
    StepMetric,
    /// Every metric is plotted over `step`: an evaluation and a training step may have the same.
    EveryMetric,
    /// One row of the curves.
    History { items: &'a [(&'a str, Value)], row: u64 },
    /// The last value of each metric.
    Summary(&'a [(&'a str, Value)]),
    /// How and after how long the run ended.
    Exit { code: u64, seconds: u64 },
}

impl Record<'_> {
    /// The bytes of the record with this number, from 1.
    pub(super) fn encoded(&self, number: u64) -> Vec<u8> {
        let mut record = Message::default();
        record.varint(1, number);
        let (field, content) = match self {
            Record::Header => (21, header()),
            Record::Run { id, run, group, name, start } => (17, run_record(id, run, group, name, *start)),
            Record::StepMetric => (12, metric(1, "step", None)),
            Record::EveryMetric => (12, metric(2, "*", Some("step"))),
            Record::History { items, row } => (2, history(items, *row)),
            Record::Summary(items) => (3, each_item(items)),
            Record::Exit { code, seconds } => {
                let mut exit = Message::default();
                exit.varint(1, *code);
                exit.varint(2, *seconds);
                (18, exit)
            }
        };
        record.bytes(field, &content.0);
        record.0
    }
}

fn header() -> Message {
    let mut version = Message::default();
    version.bytes(1, concat!("audio-thinker-sandbox ", env!("CARGO_PKG_VERSION")).as_bytes());
    // The oldest reader that knows the format.
    version.bytes(2, b"0.0.1");
    let mut header = Message::default();
    header.bytes(1, &version.0);
    header
}

fn run_record(id: &str, run: &WandbRun, group: &str, name: &str, start: f64) -> Message {
    let mut config = Message::default();
    for (key, value) in &run.config {
        let mut item = Message::default();
        item.bytes(1, key.as_bytes());
        item.bytes(16, value.to_string().as_bytes());
        config.bytes(1, &item.0);
    }
    let mut time = Message::default();
    time.varint(1, start as u64);
    time.varint(2, (start.fract() * 1e9) as u64);
    let mut record = Message::default();
    record.bytes(1, id.as_bytes());
    if let Some(entity) = &run.entity {
        record.bytes(2, entity.as_bytes());
    }
    record.bytes(3, run.project.as_bytes());
    record.bytes(4, &config.0);
    record.bytes(6, group.as_bytes());
    record.bytes(8, name.as_bytes());
    record.bytes(17, &time.0);
    record
}

/// A metric by its name (field 1) or by a pattern (field 2).
fn metric(by: u64, name: &str, over: Option<&str>) -> Message {
    let mut options = Message::default();
    // With a step metric: each row has its value. Without: hidden.
    options.varint(if over.is_some() { 1 } else { 2 }, 1);
    // Stated, not only seen in a row.
    options.varint(3, 1);
    let mut metric = Message::default();
    metric.bytes(by, name.as_bytes());
    if let Some(over) = over {
        metric.bytes(4, over.as_bytes());
    }
    metric.bytes(6, &options.0);
    metric
}

fn history(items: &[(&str, Value)], row: u64) -> Message {
    let mut history = each_item(items);
    let mut step = Message::default();
    step.varint(1, row);
    history.bytes(2, &step.0);
    history
}

/// Names and values, as the fields 1 of a message.
fn each_item(items: &[(&str, Value)]) -> Message {
    let mut message = Message::default();
    for (name, value) in items {
        let mut item = Message::default();
        item.bytes(2, name.as_bytes());
        item.bytes(16, value.to_string().as_bytes());
        message.bytes(1, &item.0);
    }
    message
}
