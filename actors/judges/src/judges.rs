//! The judges of a run. Arms with equal judge settings share one judge, so that its rate limits hold over all of them
//! and its verdicts are shared.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use model::Bases;
use rewards::{JudgeTask, RulesJudge};
use scenarios::{JudgeBudget, JudgeCacheConfig, JudgeConfig, JudgeKind, OpenaiJudgeConfig, task_servers};

use crate::account::{Account, Ledger, Spent};
use crate::cached::Cached;
use crate::error::JudgeError;
use crate::judgement::AsyncJudge;
use crate::local::LocalJudge;
use crate::openai::OpenAiJudge;
use crate::openai::server::OpenAiServer;
use crate::panel::Panel;
use crate::store::VerdictStore;
use crate::tasks::Grader;

/// All judges opened so far, by their settings, and the verdict stores, by file.
#[derive(Default)]
pub struct Judges {
    opened: Mutex<Opened>,
}

#[derive(Default)]
struct Opened {
    judges: Vec<(JudgeConfig, Arc<dyn AsyncJudge>)>,
    /// By the settings of their servers and of their cache.
    graders: Vec<(GraderSettings, Arc<Grader>)>,
    servers: Vec<(OpenaiJudgeConfig, Arc<OpenAiServer>)>,
    stores: HashMap<Option<PathBuf>, Arc<VerdictStore>>,
    /// What all of them have spent.
    ledger: Arc<Ledger>,
    bases: Bases,
}

type GraderSettings = (Vec<OpenaiJudgeConfig>, JudgeCacheConfig, JudgeBudget);

impl Judges {
    /// The judges of a run with this ledger. Local judges share their weights with the policies that are opened with `bases`.
    pub fn new(ledger: Ledger, bases: Bases) -> Self {
        Self { opened: Mutex::new(Opened { ledger: Arc::new(ledger), bases, ..Opened::default() }) }
    }

    /// What was spent on their servers.
    pub fn spent(&self) -> Spent {
        self.opened.lock().unwrap_or_else(PoisonError::into_inner).ledger.spent()
    }

    /// Returns the judge with these settings, and creates it if no arm has opened it before.
    ///
    /// Errors: [`JudgeError`] if a setting is unusable or a local model can't be opened.
    pub fn open(&self, config: &JudgeConfig) -> Result<Arc<dyn AsyncJudge>, JudgeError> {
        self.opened.lock().unwrap_or_else(PoisonError::into_inner).open(config)
    }

    /// Returns what carries out `task` for an arm with these judge settings, and creates it if no arm has opened it before.
    ///
    /// Errors: [`JudgeError`] if neither the task nor the arm has a server, or a setting is unusable.
    pub(crate) fn grader(&self, config: &JudgeConfig, task: &JudgeTask) -> Result<Arc<Grader>, JudgeError> {
        let servers = task_servers(config, task).map_err(|error| JudgeError::Setting(error.to_string()))?;
        self.opened.lock().unwrap_or_else(PoisonError::into_inner).grader(servers, config)
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
                let judge = OpenAiJudge::new(self.server(openai)?, self.account(&config.budget));
                Arc::new(Cached { judge, store: self.store(&config.cache) })
            }
            JudgeKind::Local(local) => {
                let judge = LocalJudge::new(local, self.bases.clone())?;
                Arc::new(Cached { judge, store: self.store(&config.cache) })
            }
            JudgeKind::Panel(panel) => {
                let members = panel.members.iter().map(|member| {
                    let budget = config.budget.clone();
                    self.open(&JudgeConfig { budget, ..member.as_judge(&config.cache) })
                });
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

    fn grader(
        &mut self,
        servers: Vec<OpenaiJudgeConfig>,
        config: &JudgeConfig,
    ) -> Result<Arc<Grader>, JudgeError> {
        let settings = (servers, config.cache.clone(), config.budget.clone());
        if let Some((_, grader)) = self.graders.iter().find(|(known, _)| *known == settings) {
            return Ok(grader.clone());
        }
        let servers = settings.0.iter().map(|server| self.server(server)).collect::<Result<_, _>>()?;
        let grader = Arc::new(Grader::new(servers, self.store(&config.cache), self.account(&config.budget)));
        self.graders.push((settings, grader.clone()));
        Ok(grader)
    }

    fn server(&mut self, config: &OpenaiJudgeConfig) -> Result<Arc<OpenAiServer>, JudgeError> {
        if let Some((_, server)) = self.servers.iter().find(|(known, _)| known == config) {
            return Ok(server.clone());
        }
        let server = Arc::new(OpenAiServer::new(config)?);
        self.servers.push((config.clone(), server.clone()));
        Ok(server)
    }

    fn account(&self, budget: &JudgeBudget) -> Account {
        Account { ledger: self.ledger.clone(), budget: budget.clone() }
    }

    fn store(&mut self, config: &JudgeCacheConfig) -> Arc<VerdictStore> {
        let default = || scenarios::cache_dir().join("judge-verdicts.sqlite");
        let file = config.disk.then(|| config.path.clone().unwrap_or_else(default));
        let open = || Arc::new(VerdictStore::open(file.as_deref(), config.max_entries, config.max_mb));
        self.stores.entry(file.clone()).or_insert_with(open).clone()
    }
}
