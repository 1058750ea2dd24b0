//! `[judge]`: who says whether the thinking supports the answer, and how good it is.

use std::path::PathBuf;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{DType, Device};

/// `[judge]`: who says whether the thinking supports the answer, and how good it is. Members of a panel are written
/// `[[judge.members]]` and have the same keys.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct JudgeConfig {
    /// `rules` compares the thinking with the reasoning steps the data knows; `openai` asks a server with that API;
    /// `local` runs a Qwen3 from a Hugging Face directory; `panel` asks its members.
    pub kind: JudgeKind,

    /// openai: addresses up to and including `/v1`. Several serve the same model; one that fails is left alone for a
    /// while.
    pub base_url: OneOrMore,
    /// openai: the model's name on the server.
    pub model: String,
    /// openai: the environment variable that holds the key. The key itself never stands in a scenario.
    pub api_key_env: Option<String>,
    /// openai: requests in flight at once, over all arms that ask the same judge.
    pub concurrency: usize,
    /// openai: most requests a minute; 0: no limit.
    pub requests_per_minute: u32,
    /// openai: most tokens a minute, prompt and reply, by estimate; 0: no limit.
    pub tokens_per_minute: u32,
    /// openai: longest wait for a connection, in seconds.
    pub connect_timeout_seconds: f64,
    /// openai: longest wait for the whole reply to one request, in seconds.
    pub timeout_seconds: f64,
    /// openai: longest silence while a reply is read, in seconds.
    pub read_timeout_seconds: f64,
    /// openai: further attempts after a time-out, a broken connection, 429 or 5xx; nothing else is asked again.
    pub retries: u32,
    /// openai: pause before the first of them, in seconds; it doubles each time, up to 30, and is jittered. A server's
    /// `Retry-After` is respected, and another server that is well is asked at once.
    pub retry_pause_seconds: f64,
    /// openai: whether replies are held to a JSON Schema: `json_schema` asks the server to, `auto` too as long as the
    /// server accepts that, `none` relies on the parser.
    pub guided: Guided,
    /// openai, local: `text` takes the score as written; `logprobs` the expected value over the score tokens, where a server
    /// returns them.
    pub scoring: Scoring,
    /// openai: further fields of the request, such as `chat_template_kwargs = { enable_thinking = false }`.
    #[schemars(with = "serde_json::Map<String, serde_json::Value>")]
    pub extra: toml::Table,
    /// openai: price of a million prompt tokens, for `sandbox judge`.
    pub prompt_price: Option<f64>,
    /// openai: price of a million reply tokens, for `sandbox judge`.
    pub reply_price: Option<f64>,

    /// local: the model's directory; a Qwen3, or any model that can be a policy.
    pub path: Option<PathBuf>,
    /// local: where it runs; `auto`, `cpu` or `cuda:N`.
    pub device: Device,
    /// local: number format of its weights; `auto` is f32 on the CPU and the checkpoint's on a GPU.
    pub dtype: DType,
    /// local: completions judged in one batch.
    pub batch: usize,

    /// openai, local: `instruct` talks to a chat model by its template, `base` shows a base model graded examples.
    pub prompting: Prompting,
    /// openai, local: one request per grade, as in the paper, instead of one for both.
    pub separate: bool,
    /// openai: 0 always takes the likeliest token, as `local` does anyway.
    pub temperature: f64,
    /// openai: longest reply, in tokens. `local` writes nothing but the verdict.
    pub max_tokens: usize,
    /// openai, local: longest thinking that is shown whole, in characters; of a longer one the middle is left out.
    pub max_chars: usize,
    /// openai, local: special tokens of the judge's template, besides the common ones, to be taken out of what it is shown.
    pub special_tokens: Vec<String>,

    /// panel: what becomes of the members' scores.
    pub aggregate: Aggregate,
    /// panel: members that must have a score; 0: all of them.
    pub quorum: usize,
    /// panel: the members.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub members: Vec<JudgeConfig>,

    /// `[judge.cache]`: verdicts that are kept. `rules` needs none.
    pub cache: JudgeCacheConfig,
    /// What happens when more than `max_failed_fraction` of the verdicts of `failure_window` steps could not be had.
    /// Verdicts that could not be had never count as 0.
    pub on_failure: OnJudgeFailure,
    /// Steps over which failures are counted.
    pub failure_window: usize,
    /// Largest fraction of verdicts that may be missing.
    pub max_failed_fraction: f64,
    /// Sets of completions with known verdicts for `sandbox judge`: `builtin:soundscapes`, `builtin:general`,
    /// `builtin:attacks`, or JSONL files of the same form.
    pub calibration: Vec<JudgeSet>,
}

impl Default for JudgeConfig {
    fn default() -> Self {
        Self {
            kind: JudgeKind::Rules,
            base_url: OneOrMore(Vec::new()),
            model: String::new(),
            api_key_env: None,
            concurrency: 8,
            requests_per_minute: 0,
            tokens_per_minute: 0,
            connect_timeout_seconds: 5.0,
            timeout_seconds: 60.0,
            read_timeout_seconds: 30.0,
            retries: 4,
            retry_pause_seconds: 0.5,
            guided: Guided::Auto,
            scoring: Scoring::Text,
            extra: toml::Table::new(),
            prompt_price: None,
            reply_price: None,
            path: None,
            device: Device::Auto,
            dtype: DType::Auto,
            batch: 16,
            prompting: Prompting::Instruct,
            separate: false,
            temperature: 0.0,
            max_tokens: 64,
            max_chars: 6_000,
            special_tokens: Vec::new(),
            aggregate: Aggregate::Mean,
            quorum: 0,
            members: Vec::new(),
            cache: JudgeCacheConfig::default(),
            on_failure: OnJudgeFailure::Exclude,
            failure_window: 10,
            max_failed_fraction: 0.5,
            calibration: JudgeSet::builtin(),
        }
    }
}

/// The judges there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum JudgeKind {
    /// Rules over the known reasoning steps; no model.
    #[default]
    Rules,
    /// A server with OpenAI's API: vLLM, SGLang, llama.cpp, Ollama, transformers serve, …
    Openai,
    /// A Qwen3 in this process.
    Local,
    /// Several judges.
    Panel,
}

/// Whether replies are held to a JSON Schema by the server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Guided {
    /// As long as the server accepts it.
    #[default]
    Auto,
    /// Always.
    JsonSchema,
    /// Never.
    None,
}

/// How a score is read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Scoring {
    /// As written.
    #[default]
    Text,
    /// The expected value over the score tokens.
    Logprobs,
}

/// Whom the prompt is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Prompting {
    /// A model that follows instructions, by its chat template.
    #[default]
    Instruct,
    /// A base model, by examples.
    Base,
}

/// What becomes of the scores of a panel's members.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Aggregate {
    /// Their mean.
    #[default]
    Mean,
    /// Their median.
    Median,
}

/// What happens when too many verdicts cannot be had.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnJudgeFailure {
    /// Their completions leave the groups; the arm goes on as long as `supervision.max_missing_fraction` allows.
    #[default]
    Exclude,
    /// The arm pauses with the reason, after a checkpoint.
    Pause,
    /// The arm ends with the reason, after a checkpoint.
    Abort,
}

/// `[judge.cache]`: verdicts kept by what was judged, by whom and how; failures never are.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct JudgeCacheConfig {
    /// Whether verdicts are kept on disk for later runs and runs beside this one; in memory they are anyway.
    pub disk: bool,
    /// The file. Default: `judge-verdicts.sqlite` in the cache folder.
    pub path: Option<PathBuf>,
    /// Most verdicts kept in memory.
    pub max_entries: usize,
    /// Largest file, in MB; the verdicts that were not asked for longest go first.
    pub max_mb: u64,
}

impl Default for JudgeCacheConfig {
    fn default() -> Self {
        Self { disk: true, path: None, max_entries: 200_000, max_mb: 256 }
    }
}

/// A text, or a list of texts.
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
                f.write_str("an address in quotes, or a list of them")
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

/// A set of completions with known verdicts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JudgeSet {
    /// Thinking from the soundscape world, right, wrong and contradictory.
    Soundscapes,
    /// Hand-written thinking about everyday sound, speech and music.
    General,
    /// Thinking that talks to the judge.
    Attacks,
    /// A JSONL file.
    File(PathBuf),
}

impl JudgeSet {
    /// The sets that come with the program.
    pub fn builtin() -> Vec<Self> {
        vec![Self::Soundscapes, Self::General, Self::Attacks]
    }

    /// As it is written in a scenario.
    pub fn name(&self) -> String {
        match self {
            Self::Soundscapes => "builtin:soundscapes".to_owned(),
            Self::General => "builtin:general".to_owned(),
            Self::Attacks => "builtin:attacks".to_owned(),
            Self::File(path) => path.display().to_string(),
        }
    }
}

impl Serialize for JudgeSet {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.name().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for JudgeSet {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        if let Some(known) = Self::builtin().into_iter().find(|set| set.name() == name) {
            return Ok(known);
        }
        if name.starts_with("builtin:") {
            return Err(serde::de::Error::invalid_value(
                serde::de::Unexpected::Str(&name),
                &"\"builtin:soundscapes\", \"builtin:general\", \"builtin:attacks\" or the path of a JSONL file",
            ));
        }
        Ok(Self::File(name.into()))
    }
}

impl JsonSchema for JudgeSet {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "JudgeSet".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "examples": ["builtin:soundscapes", "builtin:general", "builtin:attacks"]
        })
    }
}
