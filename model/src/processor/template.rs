//! The chat template: Jinja, as Hugging Face runs it.

use std::path::{Path, PathBuf};

use minijinja::syntax::SyntaxConfig;
use minijinja::value::Serde;
use minijinja::{Environment, Error, ErrorKind, Value, context};
use serde_json::json;

use super::read_if_present;
use crate::error::ModelError;

/// What Hugging Face's processor falls back to when a model brings none.
const DEFAULT: &str = include_str!("chat_template.jinja");
const NAME: &str = "chat";

/// A compiled chat template and the file it came from.
pub(super) struct ChatTemplate {
    environment: Environment<'static>,
    path: PathBuf,
}

impl ChatTemplate {
    /// From `chat_template.jinja`, else `chat_template.json`, else `tokenizer_config.json`, else the default.
    pub(super) fn open(dir: &Path) -> Result<ChatTemplate, ModelError> {
        let jinja = dir.join("chat_template.jinja");
        if let Some(source) = read_if_present(&jinja)? {
            return ChatTemplate::compile(source, jinja);
        }
        for name in ["chat_template.json", "tokenizer_config.json"] {
            let path = dir.join(name);
            let Some(text) = read_if_present(&path)? else { continue };
            let json: serde_json::Value = serde_json::from_str(&text)
                .map_err(|error| ModelError::processor(&path, error.to_string()))?;
            if let Some(source) = named_template(&json["chat_template"]) {
                return ChatTemplate::compile(source, path);
            }
        }
        ChatTemplate::compile(DEFAULT.to_owned(), dir.join("chat_template.jinja"))
    }

    fn compile(source: String, path: PathBuf) -> Result<ChatTemplate, ModelError> {
        let mut environment = Environment::new();
        let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build();
        environment.set_syntax(syntax.map_err(|error| ModelError::processor(&path, error.to_string()))?);
        environment.add_function("raise_exception", |message: String| -> Result<Value, Error> {
            Err(Error::new(ErrorKind::InvalidOperation, message))
        });
        environment
            .add_template_owned(NAME, source)
            .map_err(|error| ModelError::processor(&path, format!("chat template: {error}")))?;
        Ok(ChatTemplate { environment, path })
    }

    /// One user turn of `clips` clips and a text, and the opening of the assistant's turn.
    pub(super) fn render(&self, user_text: &str, clips: usize) -> Result<String, ModelError> {
        let audio = json!({"type": "audio", "audio_url": "clip"});
        let mut content = vec![audio; clips];
        content.push(json!({"type": "text", "text": user_text}));
        self.render_messages(&json!([{"role": "user", "content": content}]), true)
    }

    fn render_messages(&self, messages: &serde_json::Value, generate: bool) -> Result<String, ModelError> {
        let template = self.environment.get_template(NAME);
        let messages =
            context! { messages => Value::from(Serde(messages)), add_generation_prompt => generate };
        let rendered = template.and_then(|template| template.render(messages));
        rendered.map_err(|error| ModelError::processor(&self.path, format!("chat template: {error}")))
    }
}

/// A template, or the one called `default` of a list of named ones.
fn named_template(json: &serde_json::Value) -> Option<String> {
    let named = || json.as_array()?.iter().find(|entry| entry["name"] == "default")?["template"].as_str();
    json.as_str().or_else(named).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn default_template_renders_what_hugging_face_renders() {
        let golden = include_str!("../../../tests/fixtures/tokenizer/chat.json");
        let golden: serde_json::Value = serde_json::from_str(golden).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let template = ChatTemplate::open(dir.path()).unwrap();
        let rendered = template.render_messages(&golden["conversation"], true).unwrap();
        assert_eq!(rendered, golden["rendered"]);
    }

    #[test]
    fn template_is_found_in_any_of_its_places() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
        let rendered = || ChatTemplate::open(dir.path()).unwrap().render("hello", 1).unwrap();
        write("tokenizer_config.json", r#"{"chat_template": "one {{ messages[0].content[1].text }}"}"#);
        assert_eq!(rendered(), "one hello");
        let list = r#"{"chat_template": [{"name": "tool", "template": "no"}, {"name": "default", "template": "two"}]}"#;
        write("chat_template.json", list);
        assert_eq!(rendered(), "two");
        write("chat_template.jinja", "three");
        assert_eq!(rendered(), "three");
    }

    #[test]
    fn template_errors_name_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("chat_template.jinja");
        std::fs::write(&path, "{% if %}").unwrap();
        let message = ChatTemplate::open(dir.path()).err().unwrap().to_string();
        assert!(message.starts_with(&format!("{}: chat template:", path.display())), "{message}");
        std::fs::write(&path, "{{ raise_exception('no audio here') }}").unwrap();
        let message = ChatTemplate::open(dir.path()).unwrap().render("x", 0).unwrap_err().to_string();
        assert!(message.contains("no audio here"), "{message}");
    }
}
