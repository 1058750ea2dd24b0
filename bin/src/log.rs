//! Logging: events selected by `RUST_LOG` are written to `run.log` in the run directory. Warnings and errors are also
//! shown in the terminal, above the progress bars.

use std::{
    fmt::{Debug, Write as _},
    fs::OpenOptions,
    path::PathBuf,
    sync::{Mutex, OnceLock},
};

use tracing::{
    Event, Level, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{
    EnvFilter, Layer,
    filter::{LevelFilter, Targets},
    layer::{Context, SubscriberExt as _},
    util::SubscriberInitExt as _,
};

use records::RunDir;

use crate::{failure::Failure, progress::Screen, streams::errln};

/// The crates whose warnings are shown in the terminal.
const OWN_CRATES: [&str; 15] = [
    "annotation",
    "chat",
    "control",
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
    "workers",
];

/// Starts logging; a resumed run appends to its existing log.
pub fn start(run_dir: &RunDir, screen: Screen) -> Result<(), Failure> {
    let path = run_dir.log();
    let file = OpenOptions::new().create(true).append(true).open(&path);
    let file =
        file.map_err(|error| Failure::Input(format!("{}: cannot be written: {error}", path.display())))?;
    let filter = EnvFilter::builder().with_default_directive(LevelFilter::INFO.into()).from_env();
    let filter = filter.map_err(|error| {
        Failure::Input(format!("RUST_LOG: {error}; write a level such as debug or run=debug,info"))
    })?;
    // A full disk fails the run by its records; the layer would print each event that it could not write.
    let to_file = tracing_subscriber::fmt::layer()
        .with_ansi(false)
        .log_internal_errors(false)
        .with_writer(Mutex::new(file));
    tracing_subscriber::registry()
        .with(to_file.with_filter(filter))
        .with(Warnings { screen }.with_filter(own_warnings()))
        .try_init()
        .map_err(|error| Failure::Running(format!("logging could not start: {error}")))?;
    // The supervisor reports the consequences of a panic to the user. The log records where it happened.
    std::panic::set_hook(Box::new(|panic| tracing::error!(target: "panic", "{panic}")));
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
        errln!("error: {}", defect());
        print(panic);
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

/// Shows warnings and errors in the terminal, for commands without a run directory.
pub fn show_warnings() {
    let warnings = Warnings { screen: Screen::Plain }.with_filter(own_warnings());
    // Fails if a program that embeds this command logs already, which works too.
    let _ = tracing_subscriber::registry().with(warnings).try_init();
}

/// The warnings of our crates. Libraries warn too, for example a decoder about a damaged file. Our own message about the
/// same problem is clearer.
fn own_warnings() -> Targets {
    Targets::new().with_targets(OWN_CRATES.map(|name| (name, LevelFilter::WARN)))
}

/// A tracing layer that shows warnings and errors in the terminal.
struct Warnings {
    screen: Screen,
}

impl<S: Subscriber> Layer<S> for Warnings {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let level = if *event.metadata().level() == Level::ERROR { "error" } else { "warning" };
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
