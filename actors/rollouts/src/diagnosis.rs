//! Why a server's canary differs from the policy's: further requests tell the known causes apart.

use model::Prompt;
use rand::Rng as _;
use serde_json::json;

use crate::canary::gap;
use crate::failed::Unready;
use crate::pool::Pool;
use crate::scorer::Scored;
use crate::server::Server;
use crate::versions::Version;
use crate::wire::TOKENIZE;

/// What conversations are rendered of, to compare chat templates.
const CONVERSATION: &str = "Which sound?";

impl Pool {
    /// The cause in words. `found` are the server's scores of the canary and `expected` the policy's; `of_prompt` says that
    /// they differ, else the drawn tokens do.
    pub(crate) async fn diagnose(
        &self,
        server: &Server,
        version: &Version,
        found: &[f32],
        expected: &[f32],
        of_prompt: bool,
    ) -> Result<String, Unready> {
        let Some(canary) = self.canary.get() else { return Ok(String::new()) };
        let name = Self::name(server, version);
        // A salt of its own keeps a request away from all that is cached.
        let salt = format!("{:032x}", rand::rng().random::<u128>());
        let fresh = match of_prompt {
            true => gap(&self.score(server, &name, &canary.asked, canary.from, Some(&salt)).await?, expected),
            false => self.gap_of_drawn(server, version, &name, Some(&salt)).await?,
        };
        if fresh <= self.tolerance {
            return Ok("stale prefix cache: they agree once nothing is read from the cache; POST /reset_prefix_cache, or \
                       restart the server"
                .to_owned());
        }
        let base = server.state().base.clone();
        let base_found = self.score(server, &base, &canary.asked, canary.from, Some(&salt)).await?;
        let own_base = self.scorer.score_base(canary.scored(Vec::new())).await.map_err(Unready::wrong)?;
        if gap(&base_found, &own_base) <= self.tolerance {
            let ignored = version.name.is_some() && gap(found, &base_found) <= self.tolerance;
            return Ok(match ignored {
                true => "ignored adapter: the server answers as its base does; it may know the adapter's layers by other \
                         names, or not apply adapters to this model",
                false => "the base agrees and the adapter does not: another adapter, or one that the server applies in \
                          part; compare --max-lora-rank and the folder's adapter_config.json",
            }
            .to_owned());
        }
        let text = Prompt { ids: self.processor.encode(CONVERSATION), clips: Vec::new() };
        let asked = self.asked(&text).map_err(Unready::wrong)?;
        let text_found = self.score(server, &base, &asked, 1, Some(&salt)).await?;
        let own_text = self.scorer.score_base(Scored { prompt: text, from: 1, after: Vec::new() }).await;
        let same_text = gap(&text_found, &own_text.map_err(Unready::wrong)?) <= self.tolerance;
        Ok(match same_text && !canary.asked.clips.is_empty() {
            true => "other audio features: the base agrees on text and not on a clip; compare preprocessor_config.json, and \
                     the audio libraries of the server",
            false => "wrong base: the server's base differs on text too; serve the folder of policy.path, in its dtype",
        }
        .to_owned())
    }

    /// Compares the server's chat template with the policy's, if it has one. Prompts are sent as token ids, but a server
    /// with another template serves another model, or another version of its files.
    pub(crate) async fn check_template(&self, server: &Server, base: &str) -> Result<(), Unready> {
        let body = json!({
            "model": base, "add_generation_prompt": true,
            "messages": [{ "role": "user", "content": [{ "type": "text", "text": CONVERSATION }] }],
        });
        let answer = self.http.post(&server.at(TOKENIZE), &body, self.settings.timeout).await;
        let answer = answer.map_err(Unready::server)?;
        let Some(tokens) = answer.body["tokens"].as_array().filter(|_| answer.is_ok()) else {
            tracing::info!(server = server.url(), "it renders no conversation: {}", answer.complaint());
            return Ok(());
        };
        let found: Option<Vec<i64>> = tokens.iter().map(serde_json::Value::as_i64).collect();
        let own =
            self.processor.prompt(CONVERSATION, &[]).map_err(|error| Unready::Wrong(error.to_string()))?;
        if found.as_ref() == Some(&own.ids) {
            return Ok(());
        }
        let found = self.processor.decode(&found.unwrap_or_default());
        Err(Unready::Wrong(format!(
            "{}: other chat template: it renders a question as {found:?}, and the policy as {:?}; serve the folder of \
             policy.path, with its tokenizer and template",
            server.url(),
            self.processor.decode(&own.ids)
        )))
    }
}
