//! The judges of a run. Arms with equal judge settings share one judge, so that its rate limits hold over all of them
//! and its verdicts are shared.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use rewards::RulesJudge;
use scenarios::{JudgeCacheConfig, JudgeConfig, JudgeKind};

use crate::cached::Cached;
use crate::error::JudgeError;
use crate::judgement::AsyncJudge;
use crate::local::LocalJudge;
use crate::openai::OpenAiJudge;
use crate::panel::Panel;
use crate::store::VerdictStore;

/// All judges opened so far, by their settings, and the verdict stores, by file.
#[derive(Default)]
pub struct Judges {
    opened: Mutex<Opened>,
}

#[derive(Default)]
struct Opened {
    judges: Vec<(JudgeConfig, Arc<dyn AsyncJudge>)>,
    stores: HashMap<Option<PathBuf>, Arc<VerdictStore>>,
}

impl Judges {
    /// Returns the judge with these settings, and creates it if no arm has opened it before.
    ///
    /// Errors: [`JudgeError`] if a setting is unusable or a local model can't be opened.
    pub fn open(&self, config: &JudgeConfig) -> Result<Arc<dyn AsyncJudge>, JudgeError> {
        self.opened.lock().unwrap_or_else(PoisonError::into_inner).open(config)
    }
}

impl Opened {
    fn open(&mut self, config: &JudgeConfig) -> Result<Arc<dyn AsyncJudge>, JudgeError> {
        if let Some((_, judge)) = self.judges.iter().find(|(known, _)| known == config) {
            return Ok(judge.clone());
        }
        let judge: Arc<dyn AsyncJudge> = match &config.kind {
            JudgeKind::Rules => Arc::new(RulesJudge),
            JudgeKind::Openai(openai) => {
                let judge = OpenAiJudge::new(openai)?;
                Arc::new(Cached { judge, store: self.store(&config.cache) })
            }
            JudgeKind::Local(local) => {
                let judge = LocalJudge::new(local)?;
                Arc::new(Cached { judge, store: self.store(&config.cache) })
            }
            JudgeKind::Panel(panel) => {
                let members = panel.members.iter().map(|member| self.open(&member.as_judge(&config.cache)));
                Arc::new(Panel {
                    members: members.collect::<Result<_, _>>()?,
                    aggregate: panel.aggregate,
                    quorum: if panel.quorum == 0 { panel.members.len() } else { panel.quorum },
                })
            }
        };
        self.judges.push((config.clone(), judge.clone()));
        Ok(judge)
    }

    fn store(&mut self, config: &JudgeCacheConfig) -> Arc<VerdictStore> {
        let default = || scenarios::cache_dir().join("judge-verdicts.sqlite");
        let file = config.disk.then(|| config.path.clone().unwrap_or_else(default));
        let open = || Arc::new(VerdictStore::open(file.as_deref(), config.max_entries, config.max_mb));
        self.stores.entry(file.clone()).or_insert_with(open).clone()
    }
}
