//! A server with vLLM's protocol for token ids, clips and adapters, whose answers are right or wrong as a test says.
//!
//! It computes with a policy of its own: prompts are expanded from the WAV files that it gets, and adapters are opened from
//! the folders that it is told. So right answers pass every check of the sandbox, and wrong ones are those that vLLM gives
//! with status 200.

use std::collections::{HashMap, VecDeque};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine as _;
use model::{Adapter, Finish, Group, Policy, PolicyOptions, Prompt, SamplingParams};
use serde_json::{Value, json};
use tokio::io::BufReader;
use tokio::net::TcpListener;
use tokio::task::{JoinHandle, JoinSet};

use crate::scripted_server::{Request, read, write};

/// The base's name.
pub const BASE: &str = "base";

/// What happens to one completion.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fault {
    /// The clip is not heard: as many tokens as were sent.
    NoClip,
    /// The prompt is expanded twice.
    Twice,
    /// The base answers, by its name.
    AsBase,
    /// A token is drawn that the policy never draws.
    Suppressed,
    /// A token is beyond the vocabulary.
    Beyond,
    /// A log-probability is missing.
    NoLogprob,
    /// It was aborted.
    Aborted,
    /// This status.
    Status(u16),
    /// The connection is closed.
    Cut,
    /// No answer.
    Hang,
    /// The server was restarted with its base alone.
    Restarted,
    /// The server ends.
    Die,
}

/// How the server computes something else, for good.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Mistake {
    #[default]
    None,
    /// It serves another base.
    WrongBase,
    /// Adapters are loaded and not applied.
    IgnoredAdapter,
    /// Completions of a new adapter are drawn with the cache of the base.
    StaleCache,
    /// Conversations are rendered by another template.
    OtherTemplate,
    /// Clips are heard backwards.
    OtherFeatures,
    /// Log-probabilities of completions are far off, and those of prompts right.
    Skewed,
}

struct State {
    base: Policy,
    adapters: HashMap<String, Policy>,
    clips: HashMap<String, Vec<f32>>,
    faults: VecDeque<Option<Fault>>,
    /// Seeds of requests that wait until a completion was drawn with an adapter, and the beginning of its name.
    held: (Vec<u64>, String),
    mistake: Mistake,
    seen: Seen,
}

/// What the server was asked.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// Answered completions, without those of canaries and of clips.
    pub completions: usize,
    /// The names of their models, each once.
    pub models: Vec<String>,
    /// Clips that came with such requests, or to be kept for them.
    pub clips_sent: Vec<String>,
    /// Adapters that were loaded, in order.
    pub loaded: Vec<String>,
    /// The same completions, or slices of them, in the order of their answers.
    pub slices: Vec<Slice>,
}

/// A request for a completion, or for a slice of one, and its answer.
#[derive(Clone, Debug)]
pub struct Slice {
    pub model: String,
    pub seed: u64,
    /// Number of tokens of the prompt, with those that were drawn before.
    pub prompt: usize,
    /// The tokens that were drawn.
    pub ids: Vec<i64>,
}

/// A running server. It stops when dropped.
pub struct ScriptedVllm {
    pub url: String,
    state: Arc<Mutex<State>>,
    listening: JoinHandle<()>,
}

impl Drop for ScriptedVllm {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

impl ScriptedVllm {
    /// Starts a server that makes a mistake.
    pub async fn start(mistake: Mistake) -> Self {
        let base = open(mistake == Mistake::WrongBase, None);
        let state = State {
            base,
            adapters: HashMap::new(),
            clips: HashMap::new(),
            faults: VecDeque::new(),
            held: Default::default(),
            mistake,
            seen: Seen::default(),
        };
        let state = Arc::new(Mutex::new(state));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let listening = tokio::spawn(listen(listener, state.clone()));
        ScriptedVllm { url, state, listening }
    }

    /// The next completions have these faults, one each.
    pub fn fail(&self, faults: &[Fault]) {
        self.state.lock().unwrap().faults.extend(faults.iter().map(|fault| Some(*fault)));
    }

    /// The next completions have no fault, before those to come.
    pub fn answer(&self, completions: usize) {
        self.state.lock().unwrap().faults.extend(std::iter::repeat_n(None, completions));
    }

    /// Requests with these seeds wait until a completion is asked of an adapter whose name begins so.
    pub fn hold(&self, seeds: &[u64], until: &str) {
        self.state.lock().unwrap().held = (seeds.to_vec(), until.to_owned());
    }

    /// What it was asked so far.
    pub fn seen(&self) -> Seen {
        self.state.lock().unwrap().seen.clone()
    }

    /// Faults that have not happened yet, and adapters that are loaded.
    pub fn left(&self) -> (usize, usize) {
        let state = self.state.lock().unwrap();
        (state.faults.len(), state.adapters.len())
    }
}

fn open(another: bool, adapter: Option<PathBuf>) -> Policy {
    let options = PolicyOptions {
        adapter: adapter.map(Adapter::Directory),
        from_scratch: another.then_some(1),
        ..PolicyOptions::default()
    };
    Policy::open(&scenarios::builtin_tiny_policy().unwrap(), &options).unwrap()
}

async fn listen(listener: TcpListener, state: Arc<Mutex<State>>) {
    // Dropped with the listener, so that a server that ends takes its connections with it.
    let mut connections = JoinSet::new();
    let (die, mut died) = tokio::sync::mpsc::channel(1);
    loop {
        let stream = tokio::select! {
            Ok((stream, _)) = listener.accept() => stream,
            _ = died.recv() => return,
        };
        stream.set_nodelay(true).unwrap();
        let (state, die) = (state.clone(), die.clone());
        connections.spawn(async move {
            let mut stream = BufReader::new(stream);
            while let Some(request) = read(&mut stream).await {
                while state.lock().unwrap().holds(&request) {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                let state = state.clone();
                let answer = tokio::task::spawn_blocking(move || state.lock().unwrap().answer(&request));
                match answer.await.unwrap() {
                    Answer::Json(status, body) => {
                        if !write(&mut stream, status, "", &body.to_string()).await {
                            return;
                        }
                    }
                    Answer::Hang => tokio::time::sleep(Duration::from_secs(600)).await,
                    Answer::Cut => return,
                    Answer::Die => {
                        die.send(()).await.unwrap();
                        std::future::pending::<()>().await;
                    }
                }
            }
        });
    }
}

enum Answer {
    Json(u16, Value),
    Hang,
    Cut,
    Die,
}

fn error(status: u16, message: &str) -> Answer {
    Answer::Json(status, json!({ "error": { "message": message, "code": status } }))
}

impl State {
    fn holds(&self, request: &Request) -> bool {
        let seed = request.body["sampling_params"]["seed"].as_u64();
        let (seeds, until) = &self.held;
        seed.is_some_and(|seed| seeds.contains(&seed))
            && !self.seen.models.iter().any(|name| name.starts_with(until))
    }

    fn answer(&mut self, Request { path, body, .. }: &Request) -> Answer {
        let name = body["lora_name"].as_str().unwrap_or_default().to_owned();
        match path.as_str() {
            "/health" => Answer::Json(200, json!({})),
            "/v1/models" => {
                let adapters = self.adapters.keys().map(|name| json!({ "id": name, "parent": BASE }));
                let models: Vec<Value> =
                    std::iter::once(json!({ "id": BASE, "parent": null })).chain(adapters).collect();
                Answer::Json(200, json!({ "data": models }))
            }
            "/tokenize" => {
                let text = body["messages"][0]["content"][0]["text"].as_str().unwrap();
                let mut ids = self.base.processor().prompt(text, &[]).unwrap().ids;
                if self.mistake == Mistake::OtherTemplate {
                    ids.remove(0);
                }
                Answer::Json(200, json!({ "tokens": ids }))
            }
            "/v1/load_lora_adapter" => {
                let folder = PathBuf::from(body["lora_path"].as_str().unwrap());
                assert!(folder.is_absolute() && folder.is_dir(), "{}", folder.display());
                assert!(!self.adapters.contains_key(&name), "{name} is loaded");
                let applied = (self.mistake != Mistake::IgnoredAdapter).then_some(folder);
                self.adapters.insert(name.clone(), open(self.mistake == Mistake::WrongBase, applied));
                self.seen.loaded.push(name);
                Answer::Json(200, json!("Success"))
            }
            "/v1/unload_lora_adapter" => match self.adapters.remove(&name) {
                Some(_) => Answer::Json(200, json!("Success")),
                None => error(404, "no such adapter"),
            },
            "/inference/v1/generate" => self.generate(body),
            other => panic!("{other}"),
        }
    }

    fn generate(&mut self, body: &Value) -> Answer {
        let params = &body["sampling_params"];
        // The requests of canaries and those that bring clips draw without a bias.
        let counts = params["logit_bias"].is_object();
        let fault = if counts { self.faults.pop_front().flatten() } else { None };
        let model = body["model"].as_str().unwrap().to_owned();
        match fault {
            Some(Fault::Status(status)) => return error(status, "as scripted"),
            Some(Fault::Cut) => return Answer::Cut,
            Some(Fault::Hang) => return Answer::Hang,
            Some(Fault::Die) => return Answer::Die,
            Some(Fault::Restarted) => {
                self.adapters.clear();
                self.clips.clear();
            }
            _ => {}
        }
        if model != BASE && !self.adapters.contains_key(&model) {
            return error(404, "The model does not exist.");
        }
        let prompt = match self.prompt(body, counts, fault) {
            Ok(prompt) => prompt,
            Err(message) => return error(400, &message),
        };
        if counts && !self.seen.models.contains(&model) {
            self.seen.models.push(model.clone());
        }
        let policy = match (&self.adapters.get(&model), self.mistake) {
            (Some(_), Mistake::StaleCache)
                if body["cache_salt"].is_null() && params["prompt_logprobs"].is_null() =>
            {
                &self.base
            }
            (Some(adapter), _) if fault != Some(Fault::AsBase) => adapter,
            _ => &self.base,
        };
        let mut answer = json!({
            "model": if fault == Some(Fault::AsBase) { BASE } else { &model },
            "prompt_token_ids": prompt.ids, "mm_placeholders": placeholders(policy, &prompt),
        });
        if !params["prompt_logprobs"].is_null() {
            answer["prompt_logprobs"] = prompt_logprobs(policy, &prompt);
        }
        let choice = self.choice(policy, &prompt, params, fault);
        if counts && fault.is_none() {
            let ids = choice["token_ids"].as_array().unwrap().iter().map(|id| id.as_i64().unwrap());
            let seed = params["seed"].as_u64().unwrap();
            self.seen.completions += 1;
            self.seen.slices.push(Slice { model, seed, prompt: prompt.ids.len(), ids: ids.collect() });
        }
        answer["choices"] = json!([choice]);
        Answer::Json(200, answer)
    }

    /// The expanded prompt, with the features of its clips.
    fn prompt(&mut self, body: &Value, counts: bool, fault: Option<Fault>) -> Result<Prompt, String> {
        let mut heard = Vec::new();
        for part in body["content_parts"].as_array().map(Vec::as_slice).unwrap_or_default() {
            let uuid = part["uuid"].as_str().unwrap().to_owned();
            if let Some(url) = part["url"].as_str() {
                self.clips.insert(uuid.clone(), samples(url));
                let to_be_kept = body["sampling_params"]["max_tokens"] == 1
                    && body["sampling_params"]["prompt_logprobs"].is_null();
                if counts || to_be_kept {
                    self.seen.clips_sent.push(uuid.clone());
                }
            }
            let Some(samples) = self.clips.get(&uuid) else {
                return Err("Cache miss for audio at index 0 but data is not provided.".to_owned());
            };
            heard.push(samples.clone());
        }
        let processor = self.base.processor();
        if fault == Some(Fault::NoClip) {
            heard.clear();
        }
        let mut ids: Vec<i64> = Vec::new();
        let (mut clips, mut next) = (Vec::new(), heard.into_iter());
        for id in body["token_ids"].as_array().unwrap().iter().map(|id| id.as_i64().unwrap()) {
            let clip = if Some(id) == processor.audio_token_id() { next.next() } else { None };
            let Some(mut samples) = clip else {
                ids.push(id);
                continue;
            };
            let tokens = processor.clip_tokens(samples.len() as f64 / 16_000.0);
            let times = if fault == Some(Fault::Twice) { 2 } else { 1 };
            ids.extend(std::iter::repeat_n(id, tokens * times));
            if self.mistake == Mistake::OtherFeatures {
                samples.reverse();
            }
            clips.push(Arc::new(processor.extract(&samples).unwrap()));
        }
        Ok(Prompt { ids, clips })
    }

    fn choice(&self, policy: &Policy, prompt: &Prompt, params: &Value, fault: Option<Fault>) -> Value {
        let draw = SamplingParams {
            temperature: params["temperature"].as_f64().unwrap(),
            max_new_tokens: params["max_tokens"].as_u64().unwrap() as usize,
            ..SamplingParams::default()
        };
        let seed = params["seed"].as_u64().unwrap_or_default();
        assert!(i64::try_from(seed).is_ok(), "vLLM's seeds are signed");
        // A prompt that the policy can't take is answered all the same, as vLLM does.
        let drawn = policy.generate(std::slice::from_ref(prompt), 1, &draw, &[seed]);
        let Ok(mut drawn) = drawn else { return json!({ "token_ids": [0], "finish_reason": "length" }) };
        let drawn = drawn.remove(0);
        let (mut ids, mut logprobs) = (drawn.ids, drawn.logprobs);
        if self.mistake == Mistake::Skewed && params["logit_bias"].is_object() {
            logprobs[0] -= 5.0;
        }
        match fault {
            Some(Fault::Suppressed) => ids[0] = policy.processor().suppressed_ids()[0],
            Some(Fault::Beyond) => ids[0] = policy.config().text.vocab_size,
            Some(Fault::NoLogprob) => drop(logprobs.pop()),
            _ => {}
        }
        let finish = match (fault, drawn.finish) {
            (Some(Fault::Aborted), _) => "abort",
            (_, Finish::Eos) => "stop",
            (_, Finish::Length) => "length",
        };
        let content: Vec<Value> = ids
            .iter()
            .zip(logprobs)
            .map(|(id, logprob)| json!({ "token_id": id, "logprob": logprob }))
            .collect();
        json!({ "token_ids": ids, "finish_reason": finish, "logprobs": { "content": content } })
    }
}

fn placeholders(policy: &Policy, prompt: &Prompt) -> Value {
    if prompt.clips.is_empty() {
        return Value::Null;
    }
    let audio = policy.processor().audio_token_id().unwrap();
    let mut found: Vec<(usize, usize)> = Vec::new();
    for (place, _) in prompt.ids.iter().enumerate().filter(|(_, id)| **id == audio) {
        match found.last_mut() {
            Some((offset, length)) if *offset + *length == place => *length += 1,
            _ => found.push((place, 1)),
        }
    }
    let places = found.into_iter().map(|(offset, length)| json!({ "offset": offset, "length": length }));
    json!({ "audio": places.collect::<Vec<_>>() })
}

/// Those of the tokens after the clips; vLLM gives all.
fn prompt_logprobs(policy: &Policy, prompt: &Prompt) -> Value {
    let audio = policy.processor().audio_token_id();
    let from = prompt.ids.iter().rposition(|id| Some(*id) == audio).map_or(1, |last| last + 1);
    let (head, tail) = prompt.ids.split_at(from);
    let head = Prompt { ids: head.to_vec(), clips: prompt.clips.clone() };
    let scored = policy.logprobs(&[Group { prompt: &head, completions: vec![tail] }], 1.0).unwrap();
    let scored = Vec::<f32>::try_from(scored.logprobs.get(0)).unwrap();
    let scored =
        tail.iter().zip(scored).map(|(id, logprob)| json!({ id.to_string(): { "logprob": logprob } }));
    std::iter::repeat_n(Value::Null, from).chain(scored).collect()
}

/// The samples of a WAV file of floats in a `data:` address.
fn samples(url: &str) -> Vec<f32> {
    let encoded = url.strip_prefix("data:audio/wav;base64,").unwrap();
    let file = base64::engine::general_purpose::STANDARD.decode(encoded).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("clip.wav");
    std::fs::write(&path, file).unwrap();
    audio::load(&path, &audio::Hearing::default()).unwrap().samples
}
