//! The requests to a server, as JSON. `docs/vllm.md` lists the routes.

use serde_json::{Map, Value, json};

use crate::asked::AskedPrompt;

/// The route that takes token ids and returns token ids.
pub(crate) const GENERATE: &str = "/inference/v1/generate";
/// Loads an adapter from a folder under a name.
pub(crate) const LOAD: &str = "/v1/load_lora_adapter";
/// Unloads an adapter by its name.
pub(crate) const UNLOAD: &str = "/v1/unload_lora_adapter";
/// Lists the base and the adapters.
pub(crate) const MODELS: &str = "/v1/models";
/// Says whether the engine works.
pub(crate) const HEALTH: &str = "/health";
/// Renders a conversation by the server's chat template.
pub(crate) const TOKENIZE: &str = "/tokenize";

/// How tokens are drawn.
#[derive(Clone, Debug)]
pub(crate) struct Draw {
    pub(crate) temperature: f64,
    pub(crate) max_tokens: usize,
    /// Ids that end a completion.
    pub(crate) eos: Vec<i64>,
    /// A bias for ids that are never drawn, by id.
    pub(crate) bias: Map<String, Value>,
}

impl Draw {
    /// Draws with a bias that excludes the suppressed ids.
    pub(crate) fn new(temperature: f64, max_tokens: usize, eos: &[i64], suppressed: &[i64]) -> Self {
        let bias = suppressed.iter().map(|id| (id.to_string(), json!(-100.0))).collect();
        Draw { temperature, max_tokens, eos: eos.to_vec(), bias }
    }
}

/// What a server is asked for.
pub(crate) struct Ask<'a> {
    /// The name of the base or of an adapter.
    pub(crate) model: &'a str,
    pub(crate) prompt: &'a AskedPrompt,
    /// Tokens of the completion that were drawn before.
    pub(crate) so_far: &'a [i64],
    /// Whether the server has the clips already.
    pub(crate) has_clips: bool,
    /// Separates the prefix cache of this request from that of others.
    pub(crate) salt: Option<&'a str>,
}

impl Ask<'_> {
    /// A request for one completion, or for its next tokens.
    pub(crate) fn completion(&self, draw: &Draw, seed: u64) -> Value {
        // Seeds are signed on the server.
        let seed = seed & (u64::MAX >> 1);
        let mut params = json!({
            "n": 1, "seed": seed, "temperature": draw.temperature, "top_p": 1.0, "top_k": 0, "logprobs": 0,
            "max_tokens": draw.max_tokens, "stop_token_ids": draw.eos, "detokenize": false,
        });
        if !draw.bias.is_empty() {
            params["logit_bias"] = draw.bias.clone().into();
        }
        self.body(params)
    }

    /// A request for the log-probabilities of the prompt.
    pub(crate) fn score(&self) -> Value {
        self.body(json!({
            "n": 1, "temperature": 1.0, "max_tokens": 1, "prompt_logprobs": 0, "logprobs": 0, "detokenize": false,
        }))
    }

    fn body(&self, params: Value) -> Value {
        let ids: Vec<i64> = self.prompt.ids.iter().chain(self.so_far).copied().collect();
        let mut body = json!({
            "model": self.model, "token_ids": ids, "return_token_ids": true, "sampling_params": params,
        });
        if !self.prompt.clips.is_empty() {
            let part = |clip: &crate::asked::AskedClip| {
                let url = if self.has_clips { Value::Null } else { json!(clip.url()) };
                json!({ "type": "audio_url", "url": url, "uuid": clip.uuid })
            };
            body["content_parts"] = self.prompt.clips.iter().map(part).collect();
        }
        if let Some(salt) = self.salt {
            body["cache_salt"] = json!(salt);
        }
        body
    }
}
