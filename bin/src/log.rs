//! Logging: events selected by `RUST_LOG` are written to `run.log` in the run directory. Warnings and errors are also
//! shown in the terminal, above the progress bars; with `--verbose` more, with `--quiet` none.

use std::{
    fmt::{Debug, Write as _},
    fs::{File, OpenOptions},
    io::Write as _,
    path::PathBuf,
    sync::{Mutex, OnceLock, PoisonError},
};

use tracing::{
    Event, Level, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{
    EnvFilter, Layer,
    filter::{FilterExt as _, LevelFilter, Targets, filter_fn},
    layer::{Context, SubscriberExt as _},
    util::SubscriberInitExt as _,
};

use records::RunDir;
use traces::{Traces, is_span};

use crate::{
    cli::{LogFormat, Verbosity},
    failure::Failure,
    json_log,
    progress::Screen,
    streams::{self, errln},
};

/// The crates whose events are shown in the terminal.
const OWN_CRATES: [&str; 18] = [
    "annotation",
    "chat",
    "control",
    "distributed",
    "evaluation",
    "judges",
    "model",
    "plugins",
    "records",
    "report",
    "rewards",
    "run",
    "runtime",
    "sandbox",
    "scenarios",
    "storage",
    "traces",
    "workers",
];

/// Starts logging; a resumed run appends to its existing log. Spans of the run go to `traces` only.
pub fn start(
    run_dir: &RunDir,
    screen: Screen,
    verbosity: Verbosity,
    traces: Option<&Traces>,
) -> Result<(), Failure> {
    let path = run_dir.log();
    let file = OpenOptions::new().create(true).append(true).open(&path);
    let file =
        file.map_err(|error| Failure::Input(format!("{}: cannot be written: {error}", path.display())))?;
    let filter = EnvFilter::builder().with_default_directive(LevelFilter::INFO.into()).from_env();
    let filter = filter.map_err(|error| {
        Failure::Input(format!("RUST_LOG: {error}; write a level such as debug or run=debug,info"))
    })?;
    // A full disk fails the run by its records; the layer would print each event that it could not write.
    let format = verbosity.log_format;
    let to_file: Box<dyn Layer<_> + Send + Sync> = match format {
        LogFormat::Text => {
            let text = tracing_subscriber::fmt::layer().with_ansi(false).log_internal_errors(false);
            text.with_writer(Mutex::new(file)).boxed()
        }
        LogFormat::Json => JsonFile(Mutex::new(file)).boxed(),
    };
    tracing_subscriber::registry()
        .with(traces.map(Traces::layer))
        .with(to_file.with_filter(filter.and(filter_fn(|metadata| !is_span(metadata)))))
        .with(Shown { screen, format }.with_filter(own_events(verbosity)))
        .try_init()
        .map_err(|error| Failure::Running(format!("logging could not start: {error}")))?;
    // The supervisor reports the consequences of a panic to the user. The log records where it happened.
    std::panic::set_hook(Box::new(|panic| match model::memory::is_expected(&panic.to_string()) {
        true => tracing::debug!(target: "panic", "{panic}"),
        false => tracing::error!(target: "panic", "{panic}"),
    }));
    // Only one run is logged per process.
    let _ = LOG.set(path);
    Ok(())
}

/// The log, once it was started.
static LOG: OnceLock<PathBuf> = OnceLock::new();

/// Prints what a panic is before its text, until the log takes panics.
pub fn explain_panics() {
    let print = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        // Whoever attempted it says what it means.
        if model::memory::is_expected(&panic.to_string()) {
            return;
        }
        errln!("error: {}", defect());
        if streams::is_json() { errln!("error: {panic}") } else { print(panic) }
    }));
}

/// What the user can do about a panic that ends the command.
pub fn defect() -> String {
    let report = "this is a defect of the sandbox, not of your input; please report it";
    match LOG.get() {
        None => format!("{report} with the lines below"),
        Some(log) => format!(
            "{report} with the end of {}, and go on with: sandbox --resume {}",
            log.display(),
            log.parent().unwrap_or(log).display()
        ),
    }
}

/// Shows events in the terminal, for commands without a run directory.
pub fn to_terminal(verbosity: Verbosity) {
    let shown = Shown { screen: Screen::Plain, format: verbosity.log_format };
    let shown = shown.with_filter(own_events(verbosity));
    // Fails if a program that embeds this command logs already, which works too.
    let _ = tracing_subscriber::registry().with(shown).try_init();
}

/// The events of our crates that are shown. Libraries warn too, for example a decoder about a damaged file. Our own
/// message about the same problem is clearer.
fn own_events(verbosity: Verbosity) -> Targets {
    Targets::new().with_targets(OWN_CRATES.map(|name| (name, level(verbosity))))
}

/// The least severe level that is shown.
fn level(verbosity: Verbosity) -> LevelFilter {
    match verbosity {
        Verbosity { quiet: true, .. } => LevelFilter::OFF,
        Verbosity { verbose: 0, .. } => LevelFilter::WARN,
        Verbosity { verbose: 1, .. } => LevelFilter::INFO,
        Verbosity { verbose: 2, .. } => LevelFilter::DEBUG,
        Verbosity { verbose: 3.., .. } => LevelFilter::TRACE,
    }
}

/// A tracing layer that shows events in the terminal.
struct Shown {
    screen: Screen,
    format: LogFormat,
}

/// A tracing layer that appends events to a file as JSON.
struct JsonFile(Mutex<File>);

impl<S: Subscriber> Layer<S> for JsonFile {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let line = json_log::of_event(event) + "\n";
        let mut file = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // As in the other format, a full disk does not show here.
        let _ = file.write_all(line.as_bytes());
    }
}

impl<S: Subscriber> Layer<S> for Shown {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        if self.format == LogFormat::Json {
            self.screen.json_line(&json_log::of_event(event));
            return;
        }
        let level = match *event.metadata().level() {
            Level::ERROR => "error",
            Level::WARN => "warning",
            Level::INFO => "info",
            Level::DEBUG => "debug",
            Level::TRACE => "trace",
        };
        let mut line = Line::default();
        event.record(&mut line);
        let fields = if line.fields.is_empty() { String::new() } else { format!(" ({})", line.fields) };
        self.screen.line(&format!("{level}: {}{fields}", line.message));
    }
}

/// An event's message, and its other fields as text such as `arm grpo, seed 1`.
#[derive(Default)]
struct Line {
    message: String,
    fields: String,
}

impl Visit for Line {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.record_debug(field, &format_args!("{value}"));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        // Writing to a String cannot fail.
        let _ = if field.name() == "message" {
            write!(self.message, "{value:?}")
        } else {
            let comma = if self.fields.is_empty() { "" } else { ", " };
            write!(self.fields, "{comma}{} {value:?}", field.name())
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_v_shows_one_level_more_and_quiet_shows_none() {
        let shown = |verbose| level(Verbosity { verbose, ..Verbosity::default() });
        assert_eq!(
            [0, 1, 2, 3, 9].map(shown),
            [
                LevelFilter::WARN,
                LevelFilter::INFO,
                LevelFilter::DEBUG,
                LevelFilter::TRACE,
                LevelFilter::TRACE
            ]
        );
        assert_eq!(level(Verbosity { quiet: true, ..Verbosity::default() }), LevelFilter::OFF);
    }
}
