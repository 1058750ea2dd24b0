//! An exporter that says once that its collector can't be reached (TRACE-2).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use opentelemetry_otlp::SpanExporter as Otlp;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{SpanData, SpanExporter};

/// How the exports go.
#[derive(Clone, Debug, Default)]
pub(crate) struct Exports(Arc<Flags>);

#[derive(Debug, Default)]
struct Flags {
    last_failed: AtomicBool,
    told: AtomicBool,
}

impl Exports {
    /// Whether the last one failed.
    pub(crate) fn fail(&self) -> bool {
        self.0.last_failed.load(Ordering::Relaxed)
    }
}

/// The exporter of OTLP, which warns of its first failure.
#[derive(Debug)]
pub(crate) struct Warned {
    exporter: Otlp,
    url: String,
    exports: Exports,
}

impl Warned {
    pub(crate) fn new(exporter: Otlp, url: String, exports: Exports) -> Self {
        Warned { exporter, url, exports }
    }
}

impl SpanExporter for Warned {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let exported = self.exporter.export(batch).await;
        let flags = &self.exports.0;
        flags.last_failed.store(exported.is_err(), Ordering::Relaxed);
        if let Err(error) = &exported
            && !flags.told.swap(true, Ordering::Relaxed)
        {
            tracing::warn!(
                "traces can't be sent to {}: {error}; the run goes on, and spans are lost",
                self.url
            );
        }
        exported
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}
