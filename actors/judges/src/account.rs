//! What a run has spent on its judges' servers, and whether it may spend more (`[judge.budget]`).
//!
//! The [`Ledger`] counts for all judges of a run. With a file it outlives the process: a request is written there before it is
//! sent, and the tokens of a reply when it came.
//!
//! - `BUDGET-1` no request is sent beyond `requests`, over all processes that worked on the run, also if they were killed.
//! - `BUDGET-2` what was spent is never forgotten; a kill loses the tokens of the replies in flight only.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rewards::{FailureCause, JudgeFailure};
use scenarios::{JudgeBudget, OpenaiJudgeConfig};
use serde::{Deserialize, Serialize};

/// What was spent on judges' servers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Spent {
    /// Requests, each attempt counted.
    #[serde(skip_serializing_if = "is_zero")]
    pub requests: u64,
    /// Tokens of prompts and replies.
    #[serde(skip_serializing_if = "is_zero")]
    pub tokens: u64,
    /// At the prices of the servers that have some.
    #[serde(skip_serializing_if = "is_free")]
    pub cost: f64,
}

fn is_zero(count: &u64) -> bool {
    *count == 0
}

fn is_free(cost: &f64) -> bool {
    *cost == 0.0
}

impl Spent {
    fn add(&mut self, other: Spent) {
        self.requests += other.requests;
        self.tokens += other.tokens;
        self.cost += other.cost;
    }

    /// The limit that is reached, in words; `None` if none is.
    fn limit(&self, budget: &JudgeBudget) -> Option<String> {
        if budget.requests > 0 && self.requests >= budget.requests {
            return Some(format!(
                "{} requests were sent, and judge.budget.requests = {}",
                self.requests, budget.requests
            ));
        }
        if budget.tokens > 0 && self.tokens >= budget.tokens {
            return Some(format!(
                "{} tokens were used, and judge.budget.tokens = {}",
                self.tokens, budget.tokens
            ));
        }
        if budget.cost > 0.0 && self.cost >= budget.cost {
            return Some(format!("{:.4} was spent, and judge.budget.cost = {}", self.cost, budget.cost));
        }
        None
    }
}

/// What all judges of a run have spent.
#[derive(Debug, Default)]
pub struct Ledger(Mutex<Entries>);

#[derive(Debug, Default)]
struct Entries {
    spent: Spent,
    /// Where entries are appended; `None` for a ledger in memory.
    path: Option<PathBuf>,
    /// Opened for the first entry.
    file: Option<File>,
    warned: bool,
}

impl Ledger {
    /// Opens the ledger of a run, which goes on from what the file says. A line that was cut off by a kill is left out. The
    /// file is created with the first entry.
    ///
    /// Errors: the operating system's, if the file can't be read or written.
    pub fn open(path: &Path) -> io::Result<Self> {
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(error),
        };
        let mut spent = Spent::default();
        for entry in text.lines().filter_map(|line| serde_json::from_str(line).ok()) {
            spent.add(entry);
        }
        // One line instead of many; the new file takes the place of the old one as a whole.
        if !text.is_empty() {
            let draft = path.with_added_extension("new");
            std::fs::write(&draft, line(spent))?;
            std::fs::rename(draft, path)?;
        }
        Ok(Self(Mutex::new(Entries { spent, path: Some(path.to_owned()), ..Entries::default() })))
    }

    /// What was spent so far.
    pub fn spent(&self) -> Spent {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).spent
    }

    /// Takes a request from the budget (BUDGET-1), or says which limit is reached.
    fn take(&self, budget: &JudgeBudget) -> Option<String> {
        let mut entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let reached = entries.spent.limit(budget);
        if reached.is_none() {
            entries.add(Spent { requests: 1, ..Spent::default() });
        }
        reached
    }

    fn add(&self, entry: Spent) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).add(entry);
    }
}

impl Entries {
    fn add(&mut self, entry: Spent) {
        self.spent.add(entry);
        if let Err(error) = self.write(entry)
            && !std::mem::replace(&mut self.warned, true)
        {
            tracing::warn!("what judges cost could not be written, and is not known after a resume: {error}");
        }
    }

    fn write(&mut self, entry: Spent) -> io::Result<()> {
        let Some(path) = &self.path else { return Ok(()) };
        if self.file.is_none() {
            self.file = Some(OpenOptions::new().create(true).append(true).open(path)?);
        }
        // One write per line, so that a kill leaves whole lines and at most one that is cut off.
        self.file.as_mut().map_or(Ok(()), |file| file.write_all(line(entry).as_bytes()))
    }
}

fn line(entry: Spent) -> String {
    let mut line = serde_json::to_string(&entry).unwrap_or_default();
    line.push('\n');
    line
}

/// The budget of an arm's judge, and the ledger of the run that it is compared with.
#[derive(Clone, Debug)]
pub struct Account {
    pub ledger: Arc<Ledger>,
    pub budget: JudgeBudget,
}

impl Account {
    /// Takes a request from the budget.
    ///
    /// Errors: [`FailureCause::Budget`] if a limit is reached.
    pub fn take(&self) -> Result<(), JudgeFailure> {
        match self.ledger.take(&self.budget) {
            None => Ok(()),
            Some(limit) => {
                let message = format!("the judge's budget is spent: {limit}");
                Err(JudgeFailure::new(FailureCause::Budget, message))
            }
        }
    }

    /// Adds the tokens of a reply.
    pub fn add_tokens(&self, settings: &OpenaiJudgeConfig, prompt: u64, reply: u64) {
        let price = |tokens: u64, price: Option<f64>| tokens as f64 * price.unwrap_or_default() / 1e6;
        let cost = price(prompt, settings.prompt_price) + price(reply, settings.reply_price);
        self.ledger.add(Spent { requests: 0, tokens: prompt + reply, cost });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account(ledger: &Arc<Ledger>, budget: JudgeBudget) -> Account {
        Account { ledger: ledger.clone(), budget }
    }

    #[test]
    fn each_limit_ends_the_requests_and_the_limit_is_named() {
        let settings = OpenaiJudgeConfig {
            prompt_price: Some(2.0),
            reply_price: Some(10.0),
            ..OpenaiJudgeConfig::default()
        };
        let two = JudgeBudget { requests: 2, ..JudgeBudget::default() };
        let thousand = JudgeBudget { tokens: 1_000, ..JudgeBudget::default() };
        let money = JudgeBudget { cost: 0.003, ..JudgeBudget::default() };
        // 900 · 2 / 10⁶ + 100 · 10 / 10⁶ = 0.0028 for 1,000 tokens.
        for (budget, requests, named) in [
            (two, 2, "2 requests were sent, and judge.budget.requests = 2"),
            (thousand, 1, "1000 tokens were used, and judge.budget.tokens = 1000"),
            (money, 2, "0.0056 was spent, and judge.budget.cost = 0.003"),
        ] {
            let account = account(&Arc::default(), budget);
            for _ in 0..requests {
                account.take().unwrap();
                account.add_tokens(&settings, 900, 100);
            }
            let failure = account.take().unwrap_err();
            assert_eq!(failure.cause, FailureCause::Budget);
            assert!(failure.message.contains(named), "{failure}");
            assert_eq!(account.ledger.spent().requests, requests, "what is refused does not count");
        }
        let unlimited = account(&Arc::default(), JudgeBudget::default());
        assert!((0..1_000).all(|_| unlimited.take().is_ok()));
    }

    /// BUDGET-1, BUDGET-2: random requests by several processes after each other, of which each is killed at some byte.
    #[test]
    fn a_ledger_goes_on_after_any_kill() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("judge-spent.jsonl");
        let budget = JudgeBudget { requests: 50, ..JudgeBudget::default() };
        let mut noise = 7_u64;
        let mut below = |most: u64| {
            noise = noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (noise >> 33) % most
        };
        let (mut requests, mut tokens) = (0, 0);
        for _ in 0..40 {
            let account = account(&Arc::new(Ledger::open(&path).unwrap()), budget.clone());
            let spent = account.ledger.spent();
            assert_eq!((spent.requests, spent.tokens), (requests, tokens));
            for _ in 0..below(4) {
                assert_eq!(account.take().is_ok(), requests < 50);
                if requests < 50 {
                    requests += 1;
                    account.add_tokens(&OpenaiJudgeConfig::default(), 10, below(5));
                    tokens = account.ledger.spent().tokens;
                }
            }
            drop(account);
            if below(2) == 0 {
                // A kill within the write of the next line.
                let mut file = OpenOptions::new().create(true).append(true).open(&path).unwrap();
                file.write_all(&b"{\"tokens\":99"[..below(12) as usize]).unwrap();
            }
        }
        assert!(requests > 20, "{requests}");
    }

    #[test]
    fn a_run_without_requests_leaves_no_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("judge-spent.jsonl");
        drop(Ledger::open(&path).unwrap());
        assert!(!path.exists());
        assert!(Ledger::open(folder.path()).is_err(), "a folder is no ledger");
    }
}
