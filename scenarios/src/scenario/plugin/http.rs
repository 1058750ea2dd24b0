//! The options of a reward behind an HTTP server.

use std::collections::BTreeMap;

use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use toml::Table;

use super::variables::fill;
use crate::error::ScenarioError;
use crate::scenario::secret::is_secret_header;

/// The options of a reward with `kind = "http"`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HttpPlugin {
    /// Address that each batch is posted to, with `http://` or `https://`; must be set.
    pub url: String,
    /// Headers of the request. `${NAME}` is replaced by an environment variable, so that secrets need not
    /// be in the scenario.
    pub headers: BTreeMap<String, String>,
    /// Address of the proxy that requests are sent through, in which `${NAME}` is replaced too. Empty: no proxy,
    /// whatever `HTTP_PROXY` and the like say.
    pub proxy: String,
    /// Options for the server itself, passed on unchanged.
    pub options: Table,
    /// Whether the judge has to be asked before this reward scores.
    pub needs_verdict: bool,
    /// Longest wait for the scores of a batch, in seconds; above 0, at most 86,400.
    pub timeout_seconds: f64,
}

impl Default for HttpPlugin {
    fn default() -> Self {
        Self {
            url: String::new(),
            headers: BTreeMap::new(),
            proxy: String::new(),
            options: Table::new(),
            needs_verdict: false,
            timeout_seconds: 60.0,
        }
    }
}

impl HttpPlugin {
    /// The headers with environment variables filled in.
    ///
    /// Errors: A variable is not set, or a brace is not closed.
    pub fn filled_headers(&self) -> Result<BTreeMap<String, SecretString>, ScenarioError> {
        let filled = self.headers.iter().map(|(name, value)| Ok((name.clone(), fill(value)?)));
        filled.collect()
    }

    /// The proxy's address with environment variables filled in; `None` without a proxy.
    ///
    /// Errors: as for [`HttpPlugin::filled_headers`].
    pub fn filled_proxy(&self) -> Result<Option<SecretString>, ScenarioError> {
        (!self.proxy.is_empty()).then(|| fill(&self.proxy)).transpose()
    }

    /// Whether the header of this name carries a secret: an environment variable, or a value under a name such as
    /// `authorization`.
    pub fn carries_secret(&self, header: &str) -> bool {
        self.headers.get(header).is_some_and(|value| value.contains("${") || is_secret_header(header))
    }
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret as _;

    use super::*;

    #[test]
    fn headers_take_values_from_the_environment() {
        let plugin = HttpPlugin {
            headers: [("a".to_owned(), "x ${PATH} y".to_owned())].into(),
            ..HttpPlugin::default()
        };
        let path = std::env::var("PATH").unwrap();
        assert_eq!(plugin.filled_headers().unwrap()["a"].expose_secret(), format!("x {path} y"));
    }
}
