//! OpenTelemetry spans of a run, off by default. The crates that do the work make spans by [`span!`]; the command line starts
//! [`Traces`], which sends them to a collector as OTLP over HTTP. `docs/traces.md` lists the spans and their attributes.
//!
//! - `TRACE-1` without a collector no span is made: [`span!`] costs a check of one number, and the log is the same.
//! - `TRACE-2` a collector that is slow, full or gone delays nothing and ends nothing. Spans wait in a queue of bounded length that a
//!   thread of its own empties; what does not fit is dropped. The first failure is said, and no other.

#![warn(missing_docs)]

mod exporter;

use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry::trace::{TraceContextExt as _, TracerProvider as _};
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{BatchConfigBuilder, BatchSpanProcessor, SdkTracerProvider};
use tracing::{Metadata, Subscriber};
use tracing_opentelemetry::OpenTelemetrySpanExt as _;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::registry::LookupSpan;

use exporter::{Exports, Warned};

#[doc(hidden)]
pub use tracing;

/// The target of the spans of [`span!`], by which logs leave them out.
pub const TARGET: &str = "spans";

/// Most spans that wait to be sent.
const QUEUE: usize = 8192;
/// Pause between two exports.
const PAUSE: Duration = Duration::from_secs(2);
/// Longest time of an export.
const EXPORT: Duration = Duration::from_secs(10);
/// Longest wait at the end for the last spans, if the collector took those before.
const LAST_SPANS: Duration = Duration::from_secs(5);

/// A span below the current one: its name, then its fields as in [`tracing::info_span!`].
#[macro_export]
macro_rules! span {
    ($($what:tt)*) => { $crate::tracing::info_span!(target: $crate::TARGET, $($what)*) };
}

/// Why spans can't be sent.
#[derive(Debug, thiserror::Error)]
#[error(
    "traces.endpoint {endpoint}: {problem}; write the address of a collector, such as http://127.0.0.1:4318"
)]
pub struct TracesError {
    endpoint: String,
    problem: String,
}

/// Sends spans to a collector.
pub struct Traces {
    provider: SdkTracerProvider,
    exports: Exports,
}

impl Traces {
    /// Starts to send spans of `run` to `endpoint`. Nothing is sent yet, so a collector that is gone shows later.
    ///
    /// Errors: the address can't be used.
    pub fn start(endpoint: &str, run: &str) -> Result<Self, TracesError> {
        let wrong = |problem: String| TracesError { endpoint: endpoint.to_owned(), problem };
        let url = address(endpoint);
        let client = client(&url).map_err(|error| wrong(error.to_string()))?;
        let exporter = SpanExporter::builder()
            .with_http()
            .with_http_client(client)
            .with_protocol(Protocol::HttpBinary)
            .with_endpoint(&url)
            .with_timeout(EXPORT)
            .build()
            .map_err(|error| wrong(error.to_string()))?;
        let exports = Exports::default();
        let batches =
            BatchConfigBuilder::default().with_max_queue_size(QUEUE).with_scheduled_delay(PAUSE).build();
        let exporter = Warned::new(exporter, url, exports.clone());
        let processor = BatchSpanProcessor::builder(exporter).with_batch_config(batches).build();
        let resource = Resource::builder()
            .with_service_name("audio-thinker-sandbox")
            .with_attributes([
                KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
                KeyValue::new("service.instance.id", run.to_owned()),
            ])
            .build();
        let provider =
            SdkTracerProvider::builder().with_span_processor(processor).with_resource(resource).build();
        Ok(Traces { provider, exports })
    }

    /// The layer of the subscriber that takes the spans.
    pub fn layer<S>(&self) -> impl Layer<S> + Send + Sync + use<S>
    where
        S: Subscriber + for<'a> LookupSpan<'a> + Send + Sync,
    {
        let layer = tracing_opentelemetry::layer()
            .with_tracer(self.provider.tracer("sandbox"))
            .with_location(false)
            .with_threads(false)
            .with_tracked_inactivity(false)
            .with_target(false);
        layer.with_filter(filter_fn(is_span))
    }

    /// Sends the last spans. A collector that did not take those before is not waited for.
    pub fn end(self) {
        if !self.exports.fail() {
            // What could not be sent was said.
            let _ = self.provider.shutdown_with_timeout(LAST_SPANS);
        }
    }
}

/// Whether something is a span of [`span!`].
pub fn is_span(metadata: &Metadata<'_>) -> bool {
    metadata.is_span() && metadata.target() == TARGET
}

/// The value of the header `traceparent` for a request that is sent within the current span, by which a server's spans become
/// its children (W3C Trace Context). `None` without a collector.
pub fn traceparent() -> Option<String> {
    let span = tracing::Span::current();
    if span.is_disabled() {
        return None;
    }
    let context = span.context();
    let span = context.span();
    let context = span.span_context();
    let flags = context.trace_flags().to_u8();
    context.is_valid().then(|| format!("00-{}-{}-{flags:02x}", context.trace_id(), context.span_id()))
}

/// The address that spans are posted to: `/v1/traces` of a collector that is named without a path.
fn address(endpoint: &str) -> String {
    let after_scheme = endpoint.split_once("://").map_or(endpoint, |(_, rest)| rest);
    match after_scheme.split_once('/') {
        None | Some((_, "")) => format!("{}/v1/traces", endpoint.trim_end_matches('/')),
        Some(_) => endpoint.to_owned(),
    }
}

fn client(url: &str) -> reqwest::Result<reqwest::blocking::Client> {
    // Fails if another part of the process has installed one already, which works too.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut builder = reqwest::blocking::Client::builder()
        .timeout(EXPORT)
        .redirect(reqwest::redirect::Policy::none())
        .user_agent(concat!("audio-thinker-sandbox/", env!("CARGO_PKG_VERSION")));
    if url.starts_with("http://") {
        // Without TLS no certificates are needed, and a minimal machine has none to load.
        builder = builder.tls_certs_only([]);
    }
    builder.build()
}

#[cfg(test)]
mod tests {
    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;

    #[test]
    fn an_address_without_a_path_gets_that_of_otlp() {
        for (endpoint, expected) in [
            ("http://127.0.0.1:4318", "http://127.0.0.1:4318/v1/traces"),
            ("http://127.0.0.1:4318/", "http://127.0.0.1:4318/v1/traces"),
            ("https://collector.example/otlp/v1/traces", "https://collector.example/otlp/v1/traces"),
        ] {
            assert_eq!(address(endpoint), expected);
        }
    }

    #[test]
    fn without_a_collector_there_are_no_spans() {
        // TRACE-1.
        let subscriber = tracing_subscriber::registry().with(
            tracing_subscriber::fmt::layer()
                .with_writer(std::io::sink)
                .with_filter(filter_fn(|metadata| !is_span(metadata))),
        );
        tracing::subscriber::with_default(subscriber, || {
            let span = span!("step", step = 1);
            assert!(span.is_disabled());
            span.in_scope(|| assert_eq!(traceparent(), None));
        });
    }
}
