//! `kind = "openai"`: a judge behind a server with OpenAI's API.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::required::must_be_set;
use super::wording::{Prompting, Scoring};

/// A model behind a server with OpenAI's API, such as vLLM, SGLang, llama.cpp, Ollama or transformers serve.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct OpenaiJudgeConfig {
    /// The server's address, up to and including `/v1`; must be set. A list names servers of the same model: requests
    /// are spread over them, and a server that fails gets none for a while.
    #[schemars(transform = must_be_set)]
    pub base_url: OneOrMore,
    /// The model's name on the server; must be set.
    #[schemars(transform = must_be_set)]
    pub model: String,
    /// Name of the environment variable that holds the API key. The key itself is never written to a file. Default:
    /// no key is sent.
    pub api_key_env: Option<String>,
    /// Address of a proxy for the requests, such as `http://proxy:3128`, or `environment` for the one that `HTTPS_PROXY`,
    /// `HTTP_PROXY` and `NO_PROXY` name. Servers on this machine are asked directly. Default: no proxy is used,
    /// whatever the environment says.
    pub proxy: Option<String>,
    /// Most requests in flight at once, over all arms that use the same judge; 1 to 100,000.
    pub concurrency: usize,
    /// Most requests per minute; 0 sets no limit.
    pub requests_per_minute: u32,
    /// Most tokens per minute, prompt and reply, by estimate; 0 sets no limit.
    pub tokens_per_minute: u32,
    /// Longest wait for a connection, in seconds; above 0, at most 86,400.
    pub connect_timeout_seconds: f64,
    /// Longest wait for the whole reply to one request, in seconds; above 0, at most 86,400.
    pub timeout_seconds: f64,
    /// Longest silence while a reply is read, in seconds; above 0, at most 86,400.
    pub read_timeout_seconds: f64,
    /// Further attempts after a time-out, a broken connection, status 429 or a 5xx; 0 to 100. Other
    /// failures are not retried.
    pub retries: u32,
    /// Pause before the first of these attempts, in seconds; above 0, at most 86,400. It doubles with each
    /// attempt up to 30 s and is jittered. A `Retry-After` header is respected. While another server is well, it
    /// is asked without a pause.
    pub retry_pause_seconds: f64,
    /// Longest pause that a server gets by its `Retry-After` header, in seconds; 0 to 86,400. 0 ignores the header.
    pub max_retry_after_seconds: f64,
    /// Whether the server constrains replies to a JSON Schema: `auto` asks for it until the server refuses it once,
    /// `json_schema` always asks for it, `none` leaves it to the parser.
    pub guided: Guided,
    /// `text` takes each grade as it is written; `logprobs` takes its expected value over the alternatives of its
    /// token, if the server returns log-probabilities.
    pub scoring: Scoring,
    /// Further fields of the request body, such as `chat_template_kwargs = { enable_thinking = false }`.
    #[schemars(with = "serde_json::Map<String, serde_json::Value>")]
    pub extra: toml::Table,
    /// Whether the model hears the clip: what the policy hears of it is sent as `input_audio`, in front of the text. The model has
    /// to take audio.
    pub hears_clip: bool,
    /// Longest part of a clip that is sent, in seconds from where the policy begins to hear; above 0, at most 600. A second is
    /// 43 kB.
    pub clip_seconds: f64,
    /// Price of a million prompt tokens, 0 or more, in any currency; `sandbox judge` prints the cost. Default: none.
    pub prompt_price: Option<f64>,
    /// Price of a million reply tokens, likewise.
    pub reply_price: Option<f64>,
    /// How the model is asked: `instruct` through its chat template, `base` by graded examples that it continues.
    pub prompting: Prompting,
    /// Ask for each grade in a request of its own, as the paper does, instead of for both in one.
    pub separate: bool,
    /// Sampling temperature, 0 or more; 0 always takes the likeliest token.
    pub temperature: f64,
    /// Longest reply, in tokens; at least 1.
    pub max_tokens: usize,
    /// Longest reply with its reasoning, in tokens; at least 1. It is sent instead of `max_tokens`, which the servers of
    /// some models refuse. Default: not sent.
    pub max_completion_tokens: Option<usize>,
    /// Longest thinking that is shown in full, in characters; at least 200. The middle of a longer one is cut out.
    pub max_chars: usize,
    /// Special tokens of the model's template that are removed from what it is shown, besides the common ones.
    pub special_tokens: Vec<String>,
}

impl Default for OpenaiJudgeConfig {
    fn default() -> Self {
        Self {
            base_url: OneOrMore(Vec::new()),
            model: String::new(),
            api_key_env: None,
            proxy: None,
            concurrency: 8,
            requests_per_minute: 0,
            tokens_per_minute: 0,
            connect_timeout_seconds: 5.0,
            timeout_seconds: 60.0,
            read_timeout_seconds: 30.0,
            retries: 4,
            retry_pause_seconds: 0.5,
            max_retry_after_seconds: 60.0,
            guided: Guided::Auto,
            scoring: Scoring::Text,
            extra: toml::Table::new(),
            hears_clip: false,
            clip_seconds: 30.0,
            prompt_price: None,
            reply_price: None,
            prompting: Prompting::Instruct,
            separate: false,
            temperature: 0.0,
            max_tokens: 64,
            max_completion_tokens: None,
            max_chars: 6_000,
            special_tokens: Vec::new(),
        }
    }
}

impl OpenaiJudgeConfig {
    /// Most tokens of a reply, under either of the names of this limit.
    pub fn longest_reply(&self) -> usize {
        self.max_completion_tokens.unwrap_or(self.max_tokens)
    }

    /// The key that sets [`Self::longest_reply`], for messages.
    pub fn reply_limit(&self) -> &'static str {
        match self.max_completion_tokens {
            Some(_) => "judge.max_completion_tokens",
            None => "judge.max_tokens",
        }
    }
}

/// Whether the server constrains replies to a JSON Schema (guided decoding).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Guided {
    /// Asks for it until the server refuses it once.
    #[default]
    Auto,
    /// Always asks for it; a server without it gives no verdicts.
    JsonSchema,
    /// Never asks for it; the parser reads the reply as it is.
    None,
}

/// A text or a list of texts, such as the addresses of servers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OneOrMore(pub Vec<String>);

impl Serialize for OneOrMore {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0.as_slice() {
            [one] => one.serialize(serializer),
            more => more.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for OneOrMore {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Texts;
        impl<'de> serde::de::Visitor<'de> for Texts {
            type Value = OneOrMore;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a text in quotes, or a list of them")
            }

            fn visit_str<E>(self, text: &str) -> Result<OneOrMore, E> {
                Ok(OneOrMore(vec![text.to_owned()]))
            }

            fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut list: A) -> Result<OneOrMore, A::Error> {
                let mut texts = Vec::new();
                while let Some(text) = list.next_element()? {
                    texts.push(text);
                }
                Ok(OneOrMore(texts))
            }
        }
        deserializer.deserialize_any(Texts)
    }
}

impl JsonSchema for OneOrMore {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "OneOrMore".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "anyOf": [{ "type": "string" }, { "type": "array", "items": { "type": "string" } }],
            "examples": ["http://127.0.0.1:8000/v1"]
        })
    }
}
