//! `sandbox annotate SOURCE`: asks servers for chains of thought to fine-tune on. The crate `annotation` does the work.

use annotation::{
    AnnotationArgs, AnnotationEvent, AnnotationSummary, Budget, CaptionSource, Stopped, annotate as ask,
};
use chat::Settings;
use scenarios::{RowFilter, Split, Worlds, causes_in_words, open_dataset_filtered};
use tokio::sync::watch;

use crate::cli::{AnnotateOptions, Verbosity};
use crate::failure::Failure;
use crate::progress::{Count, Screen};
use crate::signals::stop_on_signal;
use crate::source::source;
use crate::streams::{errln, outln};

/// Annotates the rows that the options name, and prints a summary.
pub fn annotate(options: &AnnotateOptions, verbosity: Verbosity) -> Result<(), Failure> {
    let args = args(options)?;
    let screen = Screen::new(verbosity.quiet || options.json);
    if let Some(problem) = args.dataset.problems.first() {
        let (count, rows) = (args.dataset.problems.len(), args.dataset.rows());
        screen.line(&format!(
            "{count} of {rows} rows can't be used and are left out; the first: {}",
            problem.message
        ));
    }
    let runtime = tokio::runtime::Runtime::new()
        .map_err(|error| Failure::Running(format!("the async runtime could not be started: {error}")))?;
    let (stop, stopped) = watch::channel(false);
    stop_on_signal(stop, screen.clone(), "stopping after the rows in work")?;
    let mut count = Count::new(&screen, "rows");
    let outcome = {
        let mut show = |event| match event {
            AnnotationEvent::Rows { done, total } => count.show(done, total),
            AnnotationEvent::Warning(message) => tracing::warn!("{message}"),
        };
        runtime.block_on(ask(args, &mut show, &stopped))
    };
    count.finish();
    runtime.shutdown_background();
    let summary = outcome.map_err(|error| match error.is_input() {
        true => Failure::input(error),
        false => Failure::Running(format!("{error}; the same command goes on from here")),
    })?;
    print(options, &summary)?;
    match summary.stopped {
        Some(Stopped::Interrupted) => {
            errln!("to continue: the same command again");
            Err(Failure::Interrupted)
        }
        Some(Stopped::Budget) | None => Ok(()),
    }
}

fn args(options: &AnnotateOptions) -> Result<AnnotationArgs, Failure> {
    let positive = |value: f64| value > 0.0 && value.is_finite();
    if !positive(options.clip_seconds) {
        return Err(Failure::Input(format!(
            "--clip-seconds {}: write a number above 0",
            options.clip_seconds
        )));
    }
    if !(options.temperature >= 0.0 && options.temperature.is_finite()) {
        return Err(Failure::Input(format!("--temperature {}: write 0 or more", options.temperature)));
    }
    let rows = source("", &options.source, options.audio_root.as_deref())?;
    let filter = RowFilter { limit: options.limit, ..RowFilter::default() };
    let dataset = open_dataset_filtered(&rows, &Worlds::default(), Split::Train, &filter)?;
    let settings = |url: &String, model: &String, key: &Option<String>| Settings {
        servers: vec![url.clone()],
        model: model.clone(),
        api_key_env: key.clone(),
        concurrency: options.concurrency as usize,
        ..Settings::default()
    };
    let captions = match (&options.captions, options.no_caption) {
        (Some(path), _) => CaptionSource::File(path.clone()),
        (None, true) => CaptionSource::None,
        (None, false) => {
            let model = options.caption_model.as_ref().unwrap_or(&options.model);
            let (url, key) = match &options.caption_server {
                Some(url) => (url, &options.caption_api_key_env),
                None => (&options.server, &options.api_key_env),
            };
            CaptionSource::Server {
                settings: Box::new(settings(url, model, key)),
                clip_seconds: options.clip_seconds,
            }
        }
    };
    Ok(AnnotationArgs {
        dataset,
        out: options.out.clone(),
        server: settings(&options.server, &options.model, &options.api_key_env),
        captions,
        attempts: options.attempts,
        temperature: options.temperature,
        max_tokens: options.max_tokens,
        seed: options.seed,
        budget: Budget { requests: options.max_requests, tokens: options.max_tokens_total },
    })
}

fn print(options: &AnnotateOptions, summary: &AnnotationSummary) -> Result<(), Failure> {
    if options.json {
        let json = serde_json::to_string(summary)
            .map_err(|error| Failure::Running(format!("the summary cannot be written as JSON: {error}")))?;
        outln!("{json}");
        return Ok(());
    }
    outln!("{}: {} of {} rows have a chain of thought", options.out.display(), summary.kept, summary.rows);
    for (cause, count) in &summary.dropped {
        outln!("  dropped             {count} {cause}");
    }
    if !summary.unusable.is_empty() {
        outln!("  unusable            {}", causes_in_words(&summary.unusable));
    }
    if summary.open > 0 {
        let why = match summary.stopped {
            Some(Stopped::Budget) => "the budget is spent; raise it to go on",
            Some(Stopped::Interrupted) => "interrupted",
            None => "the server failed; the same command asks again",
        };
        outln!("  not done            {} ({why})", summary.open);
    }
    outln!(
        "  requests            {} with {} prompt and {} reply tokens",
        summary.requests,
        summary.prompt_tokens,
        summary.reply_tokens
    );
    Ok(())
}
