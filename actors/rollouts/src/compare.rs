//! Comparing a server with the policy by the canary.
//!
//! The first part compares the log-probabilities of the prompt's last tokens. vLLM computes these without its prefix cache,
//! so the second part draws some tokens and compares theirs.
//!
//! - `ROLLOUT-3` a server samples only from a version whose canary it passed.

use crate::asked::AskedPrompt;
use crate::canary::gap;
use crate::checks::Expected;
use crate::failed::{Failed, Unready};
use crate::pool::Pool;
use crate::server::Server;
use crate::versions::Version;
use crate::wire::{Ask, Draw};

/// Number of tokens that are drawn.
const DRAWN: usize = 8;

impl Pool {
    /// Compares a server's scores of the canary with the policy's.
    pub(crate) async fn check_canary(&self, server: &Server, version: &Version) -> Result<(), Unready> {
        let Some(canary) = self.canary.get() else { return Ok(()) };
        let own = || self.scorer.score(version.weights.clone(), canary.scored(Vec::new()));
        let expected = version.expected.get_or_try_init(own).await.map_err(Unready::wrong)?;
        let name = Self::name(server, version);
        let found = self.score(server, &name, &canary.asked, canary.from, None).await?;
        let of_prompt = gap(&found, expected);
        let of_drawn = match of_prompt <= self.tolerance {
            true => self.gap_of_drawn(server, version, &name, None).await?,
            false => 0.0,
        };
        let most = of_prompt.max(of_drawn);
        if most <= self.tolerance {
            self.note_gap(version.number, most);
            return Ok(());
        }
        let cause = self.diagnose(server, version, &found, expected, of_prompt > self.tolerance).await?;
        Err(Unready::Wrong(format!(
            "{}: its log-probabilities of version {} differ by {most:.4} from the policy's, more than \
             sampler.canary_tolerance = {} allows: {cause}",
            server.url(),
            version.number,
            self.tolerance
        )))
    }

    /// A server's log-probabilities of a prompt from place `from` on.
    pub(crate) async fn score(
        &self,
        server: &Server,
        model: &str,
        prompt: &AskedPrompt,
        from: usize,
        salt: Option<&str>,
    ) -> Result<Vec<f32>, Unready> {
        let ask = Ask { model, prompt, so_far: &[], has_clips: false, salt };
        let answer = self.ask(server, &ask.score(), false).await?;
        let scores = self.expected(model, prompt).scores(&answer.body, from);
        scores.map_err(|unusable| Failed::from(unusable).into())
    }

    /// Draws tokens after the canary, and compares their log-probabilities with the policy's.
    pub(crate) async fn gap_of_drawn(
        &self,
        server: &Server,
        version: &Version,
        model: &str,
        salt: Option<&str>,
    ) -> Result<f64, Unready> {
        let Some(canary) = self.canary.get() else { return Ok(0.0) };
        let draw = Draw { bias: serde_json::Map::new(), ..self.draw(1.0, DRAWN) };
        let ask = Ask { model, prompt: &canary.asked, so_far: &[], has_clips: false, salt };
        let answer = self.ask(server, &ask.completion(&draw, 1), false).await?;
        let expected = Expected { suppressed: &[], ..self.expected(model, &canary.asked) };
        let drawn = expected.completion(&answer.body, &draw).map_err(Failed::from)?;
        let scored = canary.scored(drawn.ids);
        let own = self.scorer.score(version.weights.clone(), scored).await.map_err(Unready::wrong)?;
        Ok(gap(&drawn.logprobs, &own[own.len() - drawn.logprobs.len()..]))
    }

    fn note_gap(&self, version: u64, gap: f64) {
        let mut noted = self.canary_gap.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        *noted = match *noted {
            Some((newest, most)) if newest == version => Some((newest, most.max(gap))),
            Some((newest, most)) if newest > version => Some((newest, most)),
            _ => Some((version, gap)),
        };
    }
}
