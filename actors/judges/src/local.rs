//! A local judge: a model in this process, such as a Qwen3, Qwen2 or SmolLM2, from a Hugging Face directory.
//!
//! Decoding is constrained: each token is the likeliest one that continues a valid verdict ([`Policy::choose`]).
//! Therefore base models and untrained models give verdicts too, and no verdict is malformed. Prompts of similar length
//! are grouped into batches, which one thread decodes (`worker`).
//!
//! - `LOCAL-1` the weights are read once, when the first verdict is needed, and are owned by a dedicated thread.
//! - `LOCAL-2` a batch that fails, for example for lack of memory, is judged again in halves; a single prompt that
//!   fails has no verdict.
//!
//! [`Policy::choose`]: model::Policy::choose

use std::path::Path;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use model::config::{Architecture, ModelConfig};
use model::{Bases, Chosen, PolicyOptions, Processor, Prompt, Trained};
use rewards::judge::logits::{ReplyToken, weigh};
use rewards::judge::prompt::{Asked, JudgePrompt, Prompter};
use rewards::judge::reply::parse_reply;
use rewards::{FailureCause, JudgeFailure, JudgeRequest, Verdict};
use scenarios::{DType, LocalJudgeConfig, Prompting, Scoring};
use tch::Kind;
use tokio::time::Instant;

use self::worker::Worker;
use crate::cached::Identified;
use crate::error::JudgeError;
use crate::judgement::{AsyncJudge, Judgement, Usage, out_of_time};
use crate::prompting::local_prompter;

mod worker;

/// A judge whose model runs on the thread of `worker`.
pub struct LocalJudge {
    worker: Worker,
    processor: Processor,
    prompter: Prompter,
    settings: LocalJudgeConfig,
    /// Longest prompt with its reply that the model supports, in tokens.
    context: usize,
    identity: String,
}

/// One prompt to the model.
struct Question {
    /// Index of the request in the batch.
    place: usize,
    asked: Asked,
    prompt: Prompt,
}

impl LocalJudge {
    /// Opens the judge's configuration and tokenizer; the weights are read later. Fails if the directory has no model,
    /// or the device does not exist.
    pub fn new(settings: &LocalJudgeConfig, bases: Bases) -> Result<Self, JudgeError> {
        let folder = settings.path.clone();
        let device = model::device::resolve(&settings.device.to_string())?.device;
        let dtype = match settings.dtype {
            DType::Auto => None,
            DType::F32 => Some(Kind::Float),
            DType::Bf16 => Some(Kind::BFloat16),
            DType::Fastest => Some(model::speed::fastest_kind(device)),
        };
        let options = PolicyOptions { device, dtype, trained: Trained::NOTHING, ..PolicyOptions::default() };
        let config = ModelConfig::open(&folder)?;
        let processor = Processor::open(&folder)?;
        let is_base = is_base(config.architecture, &processor);
        if is_base && settings.prompting == Prompting::Instruct {
            tracing::info!("{} has no chat template and is prompted as a base model", folder.display());
        }
        let prompter = local_prompter(settings, &processor.special_tokens(), is_base);
        let identity = format!(
            "local {} {} separate={} scoring={:?} device={device:?} dtype={:?}",
            weights_fingerprint(&folder)?,
            prompter.fingerprint(),
            settings.separate,
            settings.scoring,
            settings.dtype,
        );
        Ok(Self {
            worker: Worker::new(folder, options, settings.cuda_graphs, bases)?,
            processor,
            prompter,
            settings: settings.clone(),
            context: usize::try_from(config.text.max_position_embeddings).unwrap_or(0),
            identity,
        })
    }

    fn asked(&self) -> &'static [Asked] {
        if self.settings.separate { &[Asked::Consistency, Asked::Quality] } else { &[Asked::Both] }
    }

    fn question(&self, place: usize, request: &JudgeRequest, asked: Asked) -> Result<Question, JudgeFailure> {
        let prompt = match self.prompter.prompt(request, asked) {
            JudgePrompt::Chat { system, user } => {
                self.processor.chat(&system, &user).map_err(|error| model_failed(error.to_string()))?
            }
            JudgePrompt::Text(text) => {
                Prompt { ids: self.processor.encode_beginning(&text), clips: Vec::new() }
            }
        };
        let longest = self.prompter.replies(asked).iter().map(String::len).max().unwrap_or(0);
        if prompt.ids.len() + longest > self.context {
            let message = format!(
                "the prompt of {} tokens and its reply exceed the judge's context of {}; lower judge.max_chars",
                prompt.ids.len(),
                self.context
            );
            return Err(JudgeFailure::new(FailureCause::TooLong, message));
        }
        Ok(Question { place, asked, prompt })
    }

    /// Asks all questions, in batches of prompts of similar length, and adds the replies to `judgements`.
    async fn ask_all(&self, mut questions: Vec<Question>, deadline: Instant, judgements: &mut [Judgement]) {
        let began = Instant::now();
        questions.sort_by_key(|question| (question.asked == Asked::Quality, question.prompt.ids.len()));
        let mut rest = &questions[..];
        while let Some(first) = rest.first() {
            // Short prompts are padded to the longest of their batch, so a batch spans lengths up to 1.5 times the
            // shortest.
            let longest = first.prompt.ids.len() * 3 / 2;
            let similar =
                |question: &&Question| question.asked == first.asked && question.prompt.ids.len() <= longest;
            let count = rest.iter().take(self.settings.batch).take_while(similar).count();
            let (batch, others) = rest.split_at(count);
            rest = others;
            let prompts = batch.iter().map(|question| question.prompt.clone()).collect();
            let replies = self.worker.choose(prompts, self.prompter.replies(first.asked));
            let replied = match tokio::time::timeout_at(deadline, replies).await {
                Ok(Ok(replied)) => replied
                    .into_iter()
                    .map(|reply| reply.map_err(|error| model_failed(error.to_string())))
                    .collect(),
                Ok(Err(error)) => vec![Err(model_failed(error.to_string())); count],
                Err(_) => vec![Err(out_of_time()); count],
            };
            for (question, reply) in batch.iter().zip(replied) {
                self.add_reply(&mut judgements[question.place], question, reply, began);
            }
        }
    }

    /// Adds the reply to one question to its judgement.
    fn add_reply(
        &self,
        judgement: &mut Judgement,
        question: &Question,
        reply: Result<Chosen, JudgeFailure>,
        began: Instant,
    ) {
        judgement.usage.add(Usage {
            prompt_tokens: question.prompt.ids.len() as u64,
            reply_tokens: reply.as_ref().map_or(0, |chosen| chosen.tokens.len() as u64),
            seconds: began.elapsed().as_secs_f64(),
            ..Usage::default()
        });
        match reply.and_then(|chosen| self.verdict(question.asked, &chosen)) {
            Ok(verdict) => {
                let known = &mut judgement.verdict;
                known.consistency = known.consistency.or(verdict.consistency);
                known.think_quality = known.think_quality.or(verdict.think_quality);
            }
            Err(failure) => fail(judgement, failure),
        }
    }

    fn verdict(&self, asked: Asked, chosen: &Chosen) -> Result<Verdict, JudgeFailure> {
        let verdict = parse_reply(&chosen.text, asked, self.prompter.scale)?;
        if self.settings.scoring == Scoring::Text {
            return Ok(verdict);
        }
        let token = |token: &model::ChosenToken| ReplyToken {
            text: token.text.clone(),
            top: token.alternatives.clone(),
        };
        Ok(weigh(verdict, &chosen.tokens.iter().map(token).collect::<Vec<_>>(), asked))
    }
}

/// Whether a model is a base model: a Llama or Qwen2 that takes no turns. Models of the other families without a chat
/// template have the one of their family.
fn is_base(family: Architecture, processor: &Processor) -> bool {
    matches!(family, Architecture::Llama | Architecture::Qwen2) && !processor.takes_turns()
}

/// The failure of a request because the model failed.
fn model_failed(problem: String) -> JudgeFailure {
    JudgeFailure::new(FailureCause::Panicked, problem)
}

fn fail(judgement: &mut Judgement, failure: JudgeFailure) {
    judgement.verdict.note = Some(failure.to_string());
    judgement.failure.get_or_insert(failure);
}

impl Identified for LocalJudge {
    fn identity(&self) -> String {
        self.identity.clone()
    }
}

impl AsyncJudge for LocalJudge {
    fn judge_all<'a>(
        &'a self,
        requests: &'a [JudgeRequest],
        deadline: Instant,
    ) -> BoxFuture<'a, Vec<Judgement>> {
        async move {
            let mut judgements = vec![Judgement::default(); requests.len()];
            let mut questions = Vec::with_capacity(requests.len());
            for (place, request) in requests.iter().enumerate() {
                for &asked in self.asked() {
                    match self.question(place, request, asked) {
                        Ok(question) => questions.push(question),
                        Err(failure) => fail(&mut judgements[place], failure),
                    }
                }
            }
            self.ask_all(questions, deadline, &mut judgements).await;
            judgements
        }
        .boxed()
    }

    fn probe(&self) -> BoxFuture<'_, Result<(), JudgeError>> {
        // With no prompts, this only reads the weights.
        let replies = self.prompter.replies(Asked::Both);
        async { self.worker.choose(Vec::new(), replies).await.map(|_| ()) }.boxed()
    }
}

/// Identifies the weights in a directory by the sizes and modification times of its files. Hashing the contents of a
/// large model would take as long as judging with it.
fn weights_fingerprint(folder: &Path) -> Result<String, JudgeError> {
    let unreadable = |source: std::io::Error| JudgeError::Read { path: folder.to_owned(), source };
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.ends_with(".safetensors") || name.ends_with(".json") || name.ends_with(".jinja") {
            // A Hugging Face cache has symbolic links; the target's size and time are used.
            let about = std::fs::metadata(entry.path()).map_err(unreadable)?;
            let changed = about.modified().map_err(unreadable)?;
            let since = changed.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
            files.push(format!("{name}:{}:{}", about.len(), since.as_nanos()));
        }
    }
    files.sort();
    Ok(format!("{} [{}]", folder.display(), files.join(" ")))
}
