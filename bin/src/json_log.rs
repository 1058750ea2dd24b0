//! What is logged as JSON, with `--log-format json`: one object per line, the same on standard error and in `run.log`.
//! docs/commands.md lists the fields.

use std::fmt::Debug;

use serde_json::{Map, Value, json};
use tracing::field::{Field, Visit};
use tracing::{Event, Level};

/// An event as a line.
pub fn of_event(event: &Event<'_>) -> String {
    let mut fields = Fields::default();
    event.record(&mut fields);
    let metadata = event.metadata();
    // Libraries that use the crate `log` name their target in a field.
    let target = fields.others.remove("log.target");
    let target = target.as_ref().and_then(Value::as_str).unwrap_or(metadata.target());
    fields.others.retain(|name, _| !name.starts_with("log."));
    let mut line = line(name(*metadata.level()), &fields.message);
    line.insert("target".to_owned(), json!(target));
    if !fields.others.is_empty() {
        line.insert("fields".to_owned(), Value::Object(fields.others));
    }
    Value::Object(line).to_string()
}

/// A line for the user that is no event, such as the address of the live page. The level stands in front of errors and warnings.
pub fn of_text(text: &str) -> String {
    let level = |word: &str| text.strip_prefix(word).and_then(|rest| rest.strip_prefix(": "));
    let (level, message) = match (level("error"), level("warning")) {
        (Some(message), _) => ("error", message),
        (None, Some(message)) => ("warn", message),
        (None, None) => ("info", text),
    };
    let mut line = line(level, message);
    line.insert("target".to_owned(), json!("sandbox"));
    Value::Object(line).to_string()
}

fn line(level: &str, message: &str) -> Map<String, Value> {
    let pairs = [("time", json!(records::now())), ("level", json!(level)), ("message", json!(message))];
    pairs.map(|(key, value)| (key.to_owned(), value)).into_iter().collect()
}

fn name(level: Level) -> &'static str {
    match level {
        Level::ERROR => "error",
        Level::WARN => "warn",
        Level::INFO => "info",
        Level::DEBUG => "debug",
        Level::TRACE => "trace",
    }
}

/// The message of an event, and its other fields: numbers and booleans as such, all else as text.
#[derive(Default)]
struct Fields {
    message: String,
    others: Map<String, Value>,
}

impl Fields {
    fn add(&mut self, field: &Field, value: Value) {
        self.others.insert(field.name().to_owned(), value);
    }
}

impl Visit for Fields {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.add(field, json!(value));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.add(field, json!(value));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.add(field, json!(value));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.add(field, json!(value));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            self.message = value.to_owned();
        } else {
            self.add(field, json!(value));
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.record_str(field, &format!("{value:?}"));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use tracing::Subscriber;
    use tracing_subscriber::Layer;
    use tracing_subscriber::layer::{Context, SubscriberExt as _};

    use super::*;

    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<String>>>);

    impl<S: Subscriber> Layer<S> for Kept {
        fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
            self.0.lock().unwrap().push(of_event(event));
        }
    }

    #[test]
    fn an_event_keeps_the_types_of_its_fields() {
        let kept = Kept::default();
        tracing::subscriber::with_default(tracing_subscriber::registry().with(kept.clone()), || {
            tracing::warn!(target: "run", arm = %"grpo", seed = 7_u64, kl = 0.5, dead = false, "two\n\"lines\"");
        });
        let lines = kept.0.lock().unwrap();
        assert!(!lines[0].contains('\n'), "{}", lines[0]);
        let line: Value = serde_json::from_str(&lines[0]).unwrap();
        assert_eq!(line["level"], "warn");
        assert_eq!(line["target"], "run");
        assert_eq!(line["message"], "two\n\"lines\"");
        assert_eq!(line["fields"], json!({ "arm": "grpo", "seed": 7, "kl": 0.5, "dead": false }));
        assert!(line["time"].as_str().unwrap().ends_with('Z'));
    }

    #[test]
    fn a_line_for_the_user_has_the_level_in_front_of_it() {
        let parsed = |text| serde_json::from_str::<Value>(&of_text(text)).unwrap();
        for (text, level, message) in [
            ("error: no such file", "error", "no such file"),
            ("warning: slow", "warn", "slow"),
            ("live page: http://127.0.0.1:1/", "info", "live page: http://127.0.0.1:1/"),
        ] {
            let line = parsed(text);
            assert_eq!((&line["level"], &line["message"]), (&json!(level), &json!(message)));
        }
    }
}
