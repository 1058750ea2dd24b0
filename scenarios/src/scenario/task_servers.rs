//! Which servers carry out the tasks that rewards give the judge.

use std::path::Path;

use rewards::JudgeTask;

use super::ranges::check_task_server;
use super::{JudgeConfig, JudgeKind, MemberKind, OpenaiJudgeConfig, Prompting, tree};
use crate::error::ScenarioError;

/// The servers of a judge: its own, or those of its panel.
pub fn judge_servers(judge: &JudgeConfig) -> Vec<OpenaiJudgeConfig> {
    match &judge.kind {
        JudgeKind::Openai(openai) => vec![openai.clone()],
        JudgeKind::Panel(panel) => {
            let servers = panel.members.iter().filter_map(|member| match &member.kind {
                MemberKind::Openai(openai) => Some(openai.clone()),
                MemberKind::Rules | MemberKind::Local(_) => None,
            });
            servers.collect()
        }
        JudgeKind::Rules | JudgeKind::Local(_) => Vec::new(),
    }
}

/// The servers of a task: its own (`[rewards.NAME.judge]`), or else that of the arm's `[judge]`, or those of its panel.
///
/// Errors: [`ScenarioError::Value`] if there is none, or one can't be used.
pub fn task_servers(judge: &JudgeConfig, task: &JudgeTask) -> Result<Vec<OpenaiJudgeConfig>, ScenarioError> {
    let own = task.own_judge();
    let servers = if own.is_empty() { judge_servers(judge) } else { vec![own_server(own)?] };
    let wrong = |problem: &str, instead: &str| {
        Err(ScenarioError::Value { problem: problem.to_owned(), instead: instead.to_owned() })
    };
    if servers.is_empty() {
        return wrong(
            "it asks a server, and the arm's [judge] is none",
            "set kind = \"openai\" in [judge], or judge = { base_url = \"http://127.0.0.1:8000/v1\", model = \"…\" } here",
        );
    }
    let priced = |server: &OpenaiJudgeConfig| server.prompt_price.is_some() && server.reply_price.is_some();
    if judge.budget.cost > 0.0 && !servers.iter().all(priced) {
        return wrong(
            "the arm has a judge.budget.cost, and this judge has no price",
            "set prompt_price and reply_price in `judge` here",
        );
    }
    if servers.iter().any(|server| server.prompting == Prompting::Base) {
        return wrong(
            "it needs a model that follows instructions, and `prompting` of its judge is \"base\"",
            "set prompting = \"instruct\", or name another judge here by judge = { base_url = …, model = … }",
        );
    }
    Ok(servers)
}

fn own_server(own: &toml::Table) -> Result<OpenaiJudgeConfig, ScenarioError> {
    let mut keys = own.clone();
    if keys.get("kind").and_then(toml::Value::as_str) == Some("openai") {
        keys.remove("kind");
    }
    let server: OpenaiJudgeConfig =
        keys.try_into().map_err(|error: toml::de::Error| ScenarioError::Value {
            problem: format!(
                "its `judge`: {}",
                error.message().split_whitespace().collect::<Vec<_>>().join(" ")
            ),
            instead: "write the keys of a [judge] with kind = \"openai\"".to_owned(),
        })?;
    // The caller adds the place of the whole table.
    let nowhere = tree::parse("", Path::new(""))?;
    match check_task_server(&server, &nowhere) {
        Err(ScenarioError::Invalid { problem, instead, .. }) => {
            Err(ScenarioError::Value { problem, instead })
        }
        checked => checked.map(|()| server),
    }
}

#[cfg(test)]
mod tests {
    use rewards::judge::rubric::RubricTask;

    use super::*;

    fn servers(judge: &str, own: &str) -> Result<Vec<String>, String> {
        let judge: JudgeConfig = toml::from_str(judge).unwrap();
        let task =
            JudgeTask::Rubric(RubricTask { judge: toml::from_str(own).unwrap(), ..RubricTask::default() });
        let servers = task_servers(&judge, &task).map_err(|error| error.to_string())?;
        Ok(servers.into_iter().map(|server| server.model).collect())
    }

    const SERVER: &str = "kind = \"openai\"\nbase_url = \"http://a/v1\"\nmodel = \"a\"";

    #[test]
    fn a_task_asks_its_own_server_or_those_of_the_arm() {
        assert_eq!(servers(SERVER, "").unwrap(), ["a"]);
        let own = "base_url = \"http://b/v1\"\nmodel = \"b\"";
        assert_eq!(servers(SERVER, own).unwrap(), ["b"]);
        assert_eq!(servers("kind = \"rules\"", &format!("kind = \"openai\"\n{own}")).unwrap(), ["b"]);
        let panel = "kind = \"panel\"\n[[members]]\nkind = \"rules\"\n[[members]]\nkind = \"openai\"\nbase_url = \"http://a/v1\"\nmodel = \"a\"\n[[members]]\nkind = \"openai\"\nbase_url = \"http://b/v1\"\nmodel = \"b\"";
        assert_eq!(servers(panel, "").unwrap(), ["a", "b"]);
    }

    #[test]
    fn a_task_without_a_server_that_can_be_used_is_refused_with_what_to_write() {
        let error = servers("kind = \"rules\"", "").unwrap_err();
        assert!(
            error.contains("asks a server") && error.contains("; set kind = \"openai\" in [judge]"),
            "{error}"
        );
        let error = servers(&format!("{SERVER}\nprompting = \"base\""), "").unwrap_err();
        assert!(error.contains("\"base\"; set prompting = \"instruct\""), "{error}");
        for (own, what) in [
            ("model = \"b\"", "base_url"),
            ("base_url = \"http://b/v1\"", "model"),
            ("base_url = \"http://b/v1\"\nmodel = \"b\"\nmodle = 3", "unknown field `modle`"),
            ("base_url = \"http://b/v1\"\nmodel = \"b\"\nretries = 1000", "retries"),
            ("base_url = \"http://b/v1\"\nmodel = 3", "invalid type"),
        ] {
            let error = servers(SERVER, own).unwrap_err();
            assert!(error.contains(what) && error.contains("; "), "{own}: {error}");
            assert!(!error.starts_with(':') && error.lines().count() == 1, "{error}");
        }
    }
}
