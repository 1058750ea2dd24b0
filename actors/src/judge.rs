//! The judge pool: reads the thinking of completions and says whether it supports the answer and how good it is.
//!
//! Verdicts are kept by what they judge: the same thinking about the same question gets the same verdict.

use std::sync::Arc;
use std::time::Instant;

use dashmap::DashMap;
use ractor::{Actor, ActorProcessingErr, ActorRef};
use rewards::{Judge, JudgeRequest, Verdict};

use crate::slot::Request;

/// The answer to [`JudgeMsg::Judge`].
pub struct Judged {
    /// In the order of the requests.
    pub verdicts: Vec<Verdict>,
    /// Time spent in the judge.
    pub seconds: f64,
}

/// What a judge pool is made of.
#[derive(Clone)]
pub struct JudgeArgs {
    /// Who judges.
    pub judge: Arc<dyn Judge>,
}

/// Messages to the judge pool.
pub enum JudgeMsg {
    /// Judge these completions.
    Judge(Request<Vec<JudgeRequest>, Judged>),
}

/// The actor in front of the judge.
pub struct JudgePool;

/// Verdicts kept in memory; beyond them, judging costs what it costs.
const MOST_VERDICTS: usize = 100_000;

/// Question id, thinking, answer.
type VerdictKey = (String, String, String);

/// The judge and its memory.
#[derive(Clone)]
pub struct JudgeState {
    judge: Arc<dyn Judge>,
    verdicts: Arc<DashMap<VerdictKey, Verdict>>,
}

impl Actor for JudgePool {
    type Msg = JudgeMsg;
    type State = JudgeState;
    type Arguments = JudgeArgs;

    async fn pre_start(
        &self,
        _: ActorRef<JudgeMsg>,
        args: JudgeArgs,
    ) -> Result<JudgeState, ActorProcessingErr> {
        Ok(JudgeState { judge: args.judge, verdicts: Arc::default() })
    }

    async fn handle(
        &self,
        _: ActorRef<JudgeMsg>,
        message: JudgeMsg,
        state: &mut JudgeState,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            JudgeMsg::Judge(request) => {
                if let Some((requests, reply)) = request.begin() {
                    // A task of its own, so that the requests of several steps overlap.
                    let state = state.clone();
                    tokio::spawn(async move {
                        let arrived = Instant::now();
                        let verdicts = requests.iter().map(|request| state.verdict(request)).collect();
                        reply.send(Judged { verdicts, seconds: arrived.elapsed().as_secs_f64() });
                    });
                }
            }
        }
        Ok(())
    }
}

impl JudgeState {
    fn verdict(&self, request: &JudgeRequest) -> Verdict {
        let key = (request.question.id.clone(), request.think.clone(), request.answer.clone());
        if let Some(kept) = self.verdicts.get(&key) {
            return kept.clone();
        }
        let verdict = self.judge.judge(request);
        if self.verdicts.len() < MOST_VERDICTS {
            self.verdicts.insert(key, verdict.clone());
        }
        verdict
    }
}
