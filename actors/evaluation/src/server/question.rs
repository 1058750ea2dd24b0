//! A question as a server is asked: its user turn with its clip, and the answers as a policy's completions.

use std::sync::Arc;

use audio::Hearing;
use chat::{Answer, Chat, Failed, Plain};
use futures_util::future::try_join_all;
use rewards::{Judge, ParserOptions, Question, Readings, RewardItem, RulesJudge, parse_completion};
use runtime::seed::{Purpose, derive};
use scenarios::{ArmConfig, Control, JudgeKind, ServerConfig};
use serde_json::{Value, json};

use crate::clip::{ClipUnusable, hearing, sent_clip, user_content};
use crate::pass::{Ask, Pass};
use crate::sound::{downmix, window_position};

/// Asks the questions of an arm.
#[derive(Clone)]
pub(super) struct Asking<'a> {
    pub(super) arm: &'a ArmConfig,
    pub(super) server: &'a ServerConfig,
    pub(super) chat: &'a Chat,
    /// The seed of the run, for which random windows are drawn.
    pub(super) seed: u64,
    pub(super) parser: ParserOptions,
}

/// The answers to one question.
pub(super) struct Answers {
    /// As rewards see completions, one per sample.
    pub(super) items: Vec<RewardItem>,
    /// Where in its file the clip begins, in seconds; `None` for the beginning.
    pub(super) audio_start: Option<f64>,
    /// Whether the clip is longer than what was sent.
    pub(super) clip_was_cut: bool,
}

/// Why a question has no answer.
pub(super) enum Unasked {
    /// Its row can't be used.
    Row(ClipUnusable),
    /// The request failed.
    Server(Failed),
    /// The decoder's thread failed, which is a defect.
    Panicked(String),
}

impl Asking<'_> {
    /// Asks a question as often as the evaluation takes samples.
    pub(super) async fn ask(&self, pass: Pass, ask: &Ask) -> Result<Answers, Unasked> {
        let place = [pass.suite as u64, ask.row as u64];
        let clip = match pass.control {
            Some(Control::NoAudio) => None,
            control => {
                let (hearing, path) = (self.hearing(&ask.question, &place), ask.question.audio_path.clone());
                let heard = tokio::task::spawn_blocking(move || sent_clip(&path, &hearing, control)).await;
                let panicked = |error| Unasked::Panicked(format!("a clip could not be decoded: {error}"));
                Some(heard.map_err(panicked)?.map_err(Unasked::Row)?)
            }
        };
        let wav = clip.as_ref().map(|clip| clip.wav.as_slice());
        let content = user_content(&self.arm.prompt.render(&ask.question), wav);
        let sample = |sample: u64| {
            let place = [place[0], place[1], sample];
            // The first sample is that of an evaluation with a single one.
            let place = if sample == 0 { &place[..2] } else { &place };
            let seed = derive(self.arm.eval.seed, Purpose::Evaluation, place);
            self.sample(ask.question.clone(), content.clone(), seed)
        };
        let items = try_join_all((0..self.arm.eval.samples as u64).map(sample)).await?;
        Ok(Answers {
            items,
            audio_start: clip.as_ref().map(|clip| clip.start).filter(|&start| start > 0.0),
            clip_was_cut: clip.is_some_and(|clip| clip.was_cut),
        })
    }

    async fn sample(
        &self,
        question: Arc<Question>,
        content: Value,
        seed: u64,
    ) -> Result<RewardItem, Unasked> {
        let body = json!({
            "model": self.server.model,
            "messages": [{ "role": "user", "content": content }],
            "temperature": self.arm.eval.temperature,
            "max_tokens": self.arm.sampling.max_new_tokens,
            // Servers take 31 bits or more.
            "seed": seed >> 33,
            "stream": false,
        });
        let reply = self.chat.ask(&mut Plain::new(body)).await.map_err(Unasked::Server)?;
        Ok(self.item(question, &reply.answer))
    }

    /// An answer as a completion. Judging by rules costs nothing, so it is always done.
    fn item(&self, question: Arc<Question>, answer: &Answer) -> RewardItem {
        let completion = answer.completion();
        let parsed = parse_completion(&completion, &self.parser);
        let mut item = RewardItem {
            group: 0,
            readings: Readings::of(&completion, &parsed, &question),
            question,
            completion,
            parsed,
            completion_tokens: usize::try_from(answer.reply_tokens).unwrap_or(usize::MAX),
            completion_ids: Vec::new(),
            think_tokens: 0,
            truncated: answer.out_of_tokens,
            duration_seconds: None,
            verdict: None,
            graded: Vec::new(),
        };
        if matches!(self.arm.judge.kind, JudgeKind::Rules) {
            item.verdict = item.judge_request().map(|request| RulesJudge.judge(&request));
        }
        item
    }

    /// What is heard of a clip: the window that the server's limit allows.
    fn hearing(&self, question: &Question, place: &[u64]) -> Hearing {
        Hearing {
            downmix: downmix(self.arm),
            position: window_position(self.arm, self.seed, place),
            fallback: self.arm.audio.fallback.clone(),
            ..hearing(question, self.server.clip_seconds)
        }
    }
}
