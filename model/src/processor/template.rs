//! The chat template, a Jinja template rendered as Hugging Face does.

use std::path::{Path, PathBuf};

use minijinja::syntax::SyntaxConfig;
use minijinja::value::Serde;
use minijinja::{Environment, Error, ErrorKind, Value, context};
use serde_json::json;

use super::files::read_if_present;
use super::turn::Turn;
use crate::config::Architecture;
use crate::error::{ModelError, ProcessorError};

/// The default for Qwen2-Audio, that of Hugging Face's processor: clips are numbered.
const QWEN2_AUDIO: &str = include_str!("chat_template.jinja");
/// The default for Qwen2.5-Omni: clips without numbers, as in the model's own template.
const QWEN2_5_OMNI: &str = include_str!("chat_template_omni.jinja");
/// The default for text-only models: the turns and nothing else.
const TEXT_ONLY: &str = include_str!("chat_template_text.jinja");
const NAME: &str = "chat";

/// A compiled chat template, with the path of its file for messages.
pub(super) struct ChatTemplate {
    environment: Environment<'static>,
    path: PathBuf,
    /// Whether the content of a message is a string. Templates of text-only models do not take a list of parts.
    plain: bool,
    /// Whether the model's directory has this template.
    own: bool,
    /// The tokens at the beginning and at the end of a text, which templates may name.
    ends: Ends,
}

/// `bos_token` and `eos_token` of `tokenizer_config.json`; empty if they are not set.
#[derive(Default)]
struct Ends {
    bos: String,
    eos: String,
}

impl ChatTemplate {
    /// Opens the template in `chat_template.jinja`, else in `chat_template.json`, else in
    /// `tokenizer_config.json`, else the default.
    pub(super) fn open(dir: &Path, architecture: Architecture) -> Result<ChatTemplate, ModelError> {
        let plain = architecture.is_text_only();
        let ends = Ends::open(dir)?;
        match source(dir)? {
            Some((source, path)) => ChatTemplate::compile(source, path, plain, true, ends),
            None => {
                let default = match architecture {
                    Architecture::Qwen2Audio => QWEN2_AUDIO,
                    Architecture::Qwen25Omni => QWEN2_5_OMNI,
                    Architecture::Qwen2 | Architecture::Qwen3 | Architecture::Llama => TEXT_ONLY,
                };
                // The path of the file that would replace it.
                let path = dir.join("chat_template.jinja");
                ChatTemplate::compile(default.to_owned(), path, plain, false, ends)
            }
        }
    }

    /// Whether the model's directory has this template; else it is the default of the architecture.
    pub(super) fn is_own(&self) -> bool {
        self.own
    }

    fn compile(
        source: String,
        path: PathBuf,
        plain: bool,
        own: bool,
        ends: Ends,
    ) -> Result<ChatTemplate, ModelError> {
        let mut environment = Environment::new();
        let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build();
        environment.set_syntax(syntax.map_err(|error| template_error(&path, &error))?);
        // Templates call methods of Python strings and lists.
        environment.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
        environment.add_function("raise_exception", |message: String| -> Result<Value, Error> {
            Err(Error::new(ErrorKind::InvalidOperation, message))
        });
        environment.add_template_owned(NAME, source).map_err(|error| template_error(&path, &error))?;
        Ok(ChatTemplate { environment, path, plain, own, ends })
    }

    /// Renders a user turn of `clips` clips and a text, and the beginning of the assistant's turn.
    pub(super) fn render(&self, user_text: &str, clips: usize) -> Result<String, ModelError> {
        self.render_messages(&json!([self.user(user_text, clips)]), true)
    }

    /// Renders the turns of a conversation, and the beginning of the assistant's next one.
    pub(super) fn render_turns(&self, turns: &[Turn]) -> Result<String, ModelError> {
        let mut messages = Vec::new();
        for turn in turns {
            messages.push(self.user(&turn.user, turn.clips.len()));
            if let Some(reply) = &turn.reply {
                messages.push(json!({"role": "assistant", "content": self.text(reply)}));
            }
        }
        self.render_messages(&json!(messages), true)
    }

    /// The message of a user turn of `clips` clips and a text.
    fn user(&self, text: &str, clips: usize) -> serde_json::Value {
        if self.plain {
            return json!({"role": "user", "content": text});
        }
        let audio = json!({"type": "audio", "audio_url": "clip"});
        let mut content = vec![audio; clips];
        content.push(json!({"type": "text", "text": text}));
        json!({"role": "user", "content": content})
    }

    /// The content of a message without clips.
    fn text(&self, text: &str) -> serde_json::Value {
        match self.plain {
            true => json!(text),
            false => json!([{"type": "text", "text": text}]),
        }
    }

    /// Renders a system turn, a user turn and the beginning of the assistant's turn, with thinking switched off.
    pub(super) fn render_chat(&self, system: &str, user: &str) -> Result<String, ModelError> {
        let content = |text: &str| self.text(text);
        let messages = json!([
            {"role": "system", "content": content(system)},
            {"role": "user", "content": content(user)},
        ]);
        self.render_with(context! {
            messages => Value::from(Serde(&messages)), add_generation_prompt => true, enable_thinking => false,
            bos_token => self.ends.bos.as_str(), eos_token => self.ends.eos.as_str()
        })
    }

    fn render_messages(&self, messages: &serde_json::Value, generate: bool) -> Result<String, ModelError> {
        self.render_with(context! {
            messages => Value::from(Serde(messages)), add_generation_prompt => generate,
            bos_token => self.ends.bos.as_str(), eos_token => self.ends.eos.as_str()
        })
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

impl Ends {
    fn open(dir: &Path) -> Result<Ends, ModelError> {
        let path = dir.join("tokenizer_config.json");
        let Some(text) = read_if_present(&path)? else { return Ok(Ends::default()) };
        let json: serde_json::Value = serde_json::from_str(&text).map_err(|error| {
            ModelError::processor(&path, ProcessorError::Json { error: error.to_string() })
        })?;
        // A token is its text, or an object with its `content`.
        let token = |key: &str| {
            let token = &json[key];
            token.as_str().or_else(|| token["content"].as_str()).unwrap_or_default().to_owned()
        };
        Ok(Ends { bos: token("bos_token"), eos: token("eos_token") })
    }
}

/// The text of the directory's template and the path of its file; `None` if it has none.
fn source(dir: &Path) -> Result<Option<(String, PathBuf)>, ModelError> {
    let jinja = dir.join("chat_template.jinja");
    if let Some(source) = read_if_present(&jinja)? {
        return Ok(Some((source, jinja)));
    }
    for name in ["chat_template.json", "tokenizer_config.json"] {
        let path = dir.join(name);
        let Some(text) = read_if_present(&path)? else { continue };
        let json: serde_json::Value = serde_json::from_str(&text).map_err(|error| {
            ModelError::processor(&path, ProcessorError::Json { error: error.to_string() })
        })?;
        if let Some(source) = named_template(&json["chat_template"]) {
            return Ok(Some((source, path)));
        }
    }
    Ok(None)
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
        for text_only in [Architecture::Qwen2, Architecture::Qwen3, Architecture::Llama] {
            assert_eq!(rendered(text_only, 0), turn("What?"));
        }
    }

    #[test]
    fn a_template_may_name_the_tokens_at_the_ends_of_a_text() {
        // As Llama 3's own template does.
        let dir = tempfile::tempdir().unwrap();
        let config = r#"{"bos_token": {"content": "<s>"}, "eos_token": "</s>",
            "chat_template": "{% for m in messages %}{% set t = '[' + m.content + ']' %}{% if loop.first %}{% set t = bos_token + t %}{% endif %}{{ t + eos_token }}{% endfor %}"}"#;
        std::fs::write(dir.path().join("tokenizer_config.json"), config).unwrap();
        let template = ChatTemplate::open(dir.path(), Architecture::Llama).unwrap();
        assert!(template.is_own());
        assert_eq!(template.render_chat("be brief", "hello").unwrap(), "<s>[be brief]</s>[hello]</s>");
        assert_eq!(template.render("hello", 0).unwrap(), "<s>[hello]</s>");
        std::fs::remove_file(dir.path().join("tokenizer_config.json")).unwrap();
        assert!(!ChatTemplate::open(dir.path(), Architecture::Llama).unwrap().is_own());
    }

    #[test]
    fn a_conversation_has_its_clips_and_replies_in_their_turns() {
        let dir = tempfile::tempdir().unwrap();
        let clip = audio::LogMel {
            values: vec![0.0; 4],
            n_mels: 2,
            frames: 2,
            valid_frames: 2,
            truncated: false,
            samples: None,
        };
        let turn = |user: &str, clips: usize, reply: Option<&str>| Turn {
            user: user.to_owned(),
            clips: vec![clip.clone().into(); clips],
            reply: reply.map(str::to_owned),
        };
        let turns = [turn("What?", 1, Some("A dog.")), turn("And here?", 1, None)];
        let rendered =
            ChatTemplate::open(dir.path(), Architecture::Qwen2Audio).unwrap().render_turns(&turns).unwrap();
        let audio = |number: u8| format!("Audio {number}: <|audio_bos|><|AUDIO|><|audio_eos|>\n");
        let said = |role: &str, text: &str| format!("<|im_start|>{role}\n{text}<|im_end|>\n");
        let expected = [
            said("system", "You are a helpful assistant."),
            said("user", &format!("{}What?", audio(1))),
            said("assistant", "A dog."),
            said("user", &format!("{}And here?", audio(2))),
            "<|im_start|>assistant\n".to_owned(),
        ];
        assert_eq!(rendered, expected.concat());
        let text_only = ChatTemplate::open(dir.path(), Architecture::Llama).unwrap();
        let turns = [turn("What?", 0, Some("A dog.")), turn("Sure?", 0, None)];
        let expected = [said("user", "What?"), said("assistant", "A dog."), said("user", "Sure?")].concat();
        assert_eq!(text_only.render_turns(&turns).unwrap(), expected + "<|im_start|>assistant\n");
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
