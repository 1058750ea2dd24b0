//! The chat template, a Jinja template rendered as Hugging Face does.

use std::path::{Path, PathBuf};

use minijinja::syntax::SyntaxConfig;
use minijinja::value::Serde;
use minijinja::{Environment, Error, ErrorKind, Value, context};
use serde_json::json;

use super::files::read_if_present;
use crate::config::Architecture;
use crate::error::{ModelError, ProcessorError};

/// The default for Qwen2-Audio, that of Hugging Face's processor: clips are numbered.
const QWEN2_AUDIO: &str = include_str!("chat_template.jinja");
/// The default for Qwen2.5-Omni: clips without numbers, as in the model's own template.
const QWEN2_5_OMNI: &str = include_str!("chat_template_omni.jinja");
/// The default for Qwen3: the turns and nothing else.
const QWEN3: &str = include_str!("chat_template_text.jinja");
const NAME: &str = "chat";

/// A compiled chat template, with the path of its file for messages.
pub(super) struct ChatTemplate {
    environment: Environment<'static>,
    path: PathBuf,
    /// Whether the content of a message is a string. Templates of text-only models do not take a list of parts.
    plain: bool,
}

impl ChatTemplate {
    /// Opens the template in `chat_template.jinja`, else in `chat_template.json`, else in
    /// `tokenizer_config.json`, else the default.
    pub(super) fn open(dir: &Path, architecture: Architecture) -> Result<ChatTemplate, ModelError> {
        let (source, path) = source(dir, architecture)?;
        ChatTemplate::compile(source, path, architecture == Architecture::Qwen3)
    }

    fn compile(source: String, path: PathBuf, plain: bool) -> Result<ChatTemplate, ModelError> {
        let mut environment = Environment::new();
        let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build();
        environment.set_syntax(syntax.map_err(|error| template_error(&path, &error))?);
        // Templates call methods of Python strings and lists.
        environment.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
        environment.add_function("raise_exception", |message: String| -> Result<Value, Error> {
            Err(Error::new(ErrorKind::InvalidOperation, message))
        });
        environment.add_template_owned(NAME, source).map_err(|error| template_error(&path, &error))?;
        Ok(ChatTemplate { environment, path, plain })
    }

    /// Renders a user turn of `clips` clips and a text, and the beginning of the assistant's turn.
    pub(super) fn render(&self, user_text: &str, clips: usize) -> Result<String, ModelError> {
        if self.plain {
            return self.render_messages(&json!([{"role": "user", "content": user_text}]), true);
        }
        let audio = json!({"type": "audio", "audio_url": "clip"});
        let mut content = vec![audio; clips];
        content.push(json!({"type": "text", "text": user_text}));
        self.render_messages(&json!([{"role": "user", "content": content}]), true)
    }

    /// Renders a system turn, a user turn and the beginning of the assistant's turn, with thinking switched off.
    pub(super) fn render_chat(&self, system: &str, user: &str) -> Result<String, ModelError> {
        let content = |text: &str| match self.plain {
            true => json!(text),
            false => json!([{"type": "text", "text": text}]),
        };
        let messages = json!([
            {"role": "system", "content": content(system)},
            {"role": "user", "content": content(user)},
        ]);
        self.render_with(context! {
            messages => Value::from(Serde(&messages)), add_generation_prompt => true, enable_thinking => false
        })
    }

    fn render_messages(&self, messages: &serde_json::Value, generate: bool) -> Result<String, ModelError> {
        self.render_with(
            context! { messages => Value::from(Serde(messages)), add_generation_prompt => generate },
        )
    }

    fn render_with(&self, variables: Value) -> Result<String, ModelError> {
        let template = self.environment.get_template(NAME);
        let rendered = template.and_then(|template| template.render(variables));
        rendered.map_err(|error| template_error(&self.path, &error))
    }
}

fn template_error(path: &Path, error: &Error) -> ModelError {
    ModelError::processor(path, ProcessorError::ChatTemplate { error: error.to_string() })
}

/// The text of the template and the path of its file. The default has the path of the file that would replace it.
fn source(dir: &Path, architecture: Architecture) -> Result<(String, PathBuf), ModelError> {
    let jinja = dir.join("chat_template.jinja");
    if let Some(source) = read_if_present(&jinja)? {
        return Ok((source, jinja));
    }
    for name in ["chat_template.json", "tokenizer_config.json"] {
        let path = dir.join(name);
        let Some(text) = read_if_present(&path)? else { continue };
        let json: serde_json::Value = serde_json::from_str(&text).map_err(|error| {
            ModelError::processor(&path, ProcessorError::Json { error: error.to_string() })
        })?;
        if let Some(source) = named_template(&json["chat_template"]) {
            return Ok((source, path));
        }
    }
    let default = match architecture {
        Architecture::Qwen2Audio => QWEN2_AUDIO,
        Architecture::Qwen25Omni => QWEN2_5_OMNI,
        Architecture::Qwen3 => QWEN3,
    };
    Ok((default.to_owned(), jinja))
}

/// The template in a `chat_template` key: a string, or the entry named `default` in a list of named templates.
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
        let template = ChatTemplate::open(dir.path(), Architecture::Qwen2Audio).unwrap();
        let rendered = template.render_messages(&golden["conversation"], true).unwrap();
        assert_eq!(rendered, golden["rendered"]);
    }

    #[test]
    fn template_is_found_in_any_of_its_places() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
        let rendered =
            || ChatTemplate::open(dir.path(), Architecture::Qwen2Audio).unwrap().render("hello", 1).unwrap();
        write("tokenizer_config.json", r#"{"chat_template": "one {{ messages[0].content[1].text }}"}"#);
        assert_eq!(rendered(), "one hello");
        let list = r#"{"chat_template": [{"name": "tool", "template": "no"}, {"name": "default", "template": "two"}]}"#;
        write("chat_template.json", list);
        assert_eq!(rendered(), "two");
        write("chat_template.jinja", "three");
        assert_eq!(rendered(), "three");
    }

    #[test]
    fn templates_may_use_python_slices_and_string_methods() {
        // Qwen3's own template does this: it walks through the messages backwards and removes
        // thoughts from earlier answers.
        let dir = tempfile::tempdir().unwrap();
        let source = r"
{%- set ns = namespace(last=0) %}
{%- for message in messages[::-1] %}
    {%- if message.role == 'user' and not message.content.startswith('<tool_response>') %}
        {%- set ns.last = messages | length - 1 - loop.index0 %}
        {%- break %}
    {%- endif %}
{%- endfor %}
{%- for message in messages %}
    {%- set content = message.content.split('</think>')[-1].lstrip('\n') %}
    {{- message.role + ':' + content + ('!' if loop.index0 == ns.last else '') + ';' }}
{%- endfor %}
{%- if enable_thinking is defined and enable_thinking is false %}{{ 'off' }}{% endif %}";
        std::fs::write(dir.path().join("chat_template.jinja"), source).unwrap();
        let template = ChatTemplate::open(dir.path(), Architecture::Qwen3).unwrap();
        let messages = json!([
            {"role": "user", "content": "one"},
            {"role": "assistant", "content": "<think>so</think>\n\ntwo"},
            {"role": "user", "content": "three"},
            {"role": "user", "content": "<tool_response>"},
        ]);
        let rendered = template.render_messages(&messages, true).unwrap();
        assert_eq!(rendered, "user:one;assistant:two;user:three!;user:<tool_response>;");
        assert_eq!(template.render("hello", 0).unwrap(), "user:hello!;", "a string, not a list of parts");
        assert_eq!(template.render_chat("be brief", "hello").unwrap(), "system:be brief;user:hello!;off");
    }

    #[test]
    fn defaults_are_those_of_each_architecture() {
        let dir = tempfile::tempdir().unwrap();
        let rendered = |architecture, clips| {
            ChatTemplate::open(dir.path(), architecture).unwrap().render("What?", clips).unwrap()
        };
        let system = "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n";
        let turn = |text: &str| format!("<|im_start|>user\n{text}<|im_end|>\n<|im_start|>assistant\n");
        let clip = "<|audio_bos|><|AUDIO|><|audio_eos|>";
        assert_eq!(
            rendered(Architecture::Qwen25Omni, 2),
            format!("{system}{}", turn(&format!("{clip}{clip}What?")))
        );
        let numbered = turn(&format!("Audio 1: {clip}\nWhat?"));
        assert_eq!(rendered(Architecture::Qwen2Audio, 1), format!("{system}{numbered}"));
        assert_eq!(rendered(Architecture::Qwen3, 0), turn("What?"));
    }

    #[test]
    fn template_errors_name_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("chat_template.jinja");
        std::fs::write(&path, "{% if %}").unwrap();
        let message = ChatTemplate::open(dir.path(), Architecture::Qwen2Audio).err().unwrap().to_string();
        assert!(message.starts_with(&format!("{}: chat template:", path.display())), "{message}");
        std::fs::write(&path, "{{ raise_exception('no audio here') }}").unwrap();
        let message = ChatTemplate::open(dir.path(), Architecture::Qwen2Audio)
            .unwrap()
            .render("x", 0)
            .unwrap_err()
            .to_string();
        assert!(message.contains("no audio here"), "{message}");
    }
}
