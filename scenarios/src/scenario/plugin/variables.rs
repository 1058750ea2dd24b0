//! Environment variables that the options of a plug-in name. Their values are read when a plug-in is started and are in
//! no scenario, file or message.

use std::collections::BTreeMap;
use std::env::VarError;
use std::fmt;

use secrecy::{ExposeSecret as _, SecretString};
use serde::de::{self, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use crate::error::ScenarioError;
use crate::scenario::secret::is_variable_name;

/// The variables of a child process beside those that every child inherits. A list of names passes on the sandbox's own;
/// a table sets values, in which `${NAME}` is replaced by the sandbox's own variable.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(transparent)]
pub struct ChildEnv(BTreeMap<String, String>);

impl ChildEnv {
    /// These variables, and one more unless it is among them.
    pub(super) fn or(mut self, name: &str, value: &str) -> Self {
        self.0.entry(name.to_owned()).or_insert_with(|| value.to_owned());
        self
    }

    /// The variables with their values filled in.
    ///
    /// Errors: A variable is not set, or a brace is not closed. The message does not contain the value.
    pub fn filled(&self) -> Result<BTreeMap<String, SecretString>, ScenarioError> {
        self.0.iter().map(|(name, value)| Ok((name.clone(), fill(value)?))).collect()
    }

    /// The value of one of the variables, filled in; `None` if it is not among them.
    ///
    /// Errors: as for [`ChildEnv::filled`].
    pub fn filled_value(&self, name: &str) -> Result<Option<SecretString>, ScenarioError> {
        self.0.get(name).map(|value| fill(value)).transpose()
    }
}

impl<'de> Deserialize<'de> for ChildEnv {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Variables;
        impl<'de> Visitor<'de> for Variables {
            type Value = ChildEnv;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(r#"a list of names such as ["HF_TOKEN"], or a table of texts such as { OMP_NUM_THREADS = "1" }"#)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut names: A) -> Result<ChildEnv, A::Error> {
                let mut variables = BTreeMap::new();
                while let Some(name) = names.next_element::<String>()? {
                    check_name(&name)?;
                    let value = format!("${{{name}}}");
                    variables.insert(name, value);
                }
                Ok(ChildEnv(variables))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<ChildEnv, A::Error> {
                let mut variables = BTreeMap::new();
                while let Some((name, value)) = entries.next_entry::<String, String>()? {
                    check_name(&name)?;
                    variables.insert(name, value);
                }
                Ok(ChildEnv(variables))
            }
        }
        deserializer.deserialize_any(Variables)
    }
}

fn check_name<E: de::Error>(name: &str) -> Result<(), E> {
    if is_variable_name(name) {
        return Ok(());
    }
    // The text may be a secret, so it is not repeated.
    let problem = "it contains a text that is not the name of a variable; write names such as env = [\"HF_TOKEN\"], or \
                   values such as env = { OMP_NUM_THREADS = \"1\" }";
    Err(E::custom(problem))
}

/// Replaces every `${NAME}` by the environment variable of that name.
///
/// Errors: A variable is not set, or a brace is not closed. The message does not contain the text.
pub(super) fn fill(text: &str) -> Result<SecretString, ScenarioError> {
    let Some((before, rest)) = text.split_once("${") else { return Ok(text.into()) };
    let Some((name, after)) = rest.split_once('}') else {
        let problem = "a `${` is not closed";
        return Err(ScenarioError::value(problem, "write ${NAME} for an environment variable"));
    };
    if !is_variable_name(name) {
        let problem = "there is no name of a variable between `${` and `}`";
        return Err(ScenarioError::value(problem, "write ${NAME} for an environment variable"));
    }
    let value: SecretString = match std::env::var(name) {
        Ok(value) => value.into(),
        Err(VarError::NotPresent) => {
            let problem = format!("the environment variable `{name}` is not set");
            return Err(ScenarioError::value(problem, "export it, or leave it out"));
        }
        Err(VarError::NotUnicode(_)) => {
            let problem = format!("the environment variable `{name}` is not UTF-8");
            return Err(ScenarioError::value(problem, "export another value"));
        }
    };
    let after = fill(after)?;
    Ok(format!("{before}{}{}", value.expose_secret(), after.expose_secret()).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<ChildEnv, toml::de::Error> {
        #[derive(Deserialize)]
        struct Options {
            env: ChildEnv,
        }
        toml::from_str::<Options>(text).map(|options| options.env)
    }

    #[test]
    fn a_list_passes_variables_on_and_a_table_sets_them() {
        let path = std::env::var("PATH").unwrap();
        let filled = |text: &str| read(text).unwrap().filled();
        assert_eq!(filled("env = [\"PATH\"]").unwrap()["PATH"].expose_secret(), path);
        let set = filled("env = { A = \"1\", B = \"x:${PATH}\" }").unwrap();
        assert_eq!((set["A"].expose_secret(), set["B"].expose_secret()), ("1", format!("x:{path}").as_str()));
        let error = filled("env = [\"AT_NOT_SET_ANYWHERE\"]").unwrap_err().to_string();
        assert_eq!(
            error,
            "the environment variable `AT_NOT_SET_ANYWHERE` is not set; export it, or leave it out"
        );
    }

    #[test]
    fn secret_2_no_message_repeats_what_should_be_a_name_or_a_value() {
        for text in ["env = [\"A=hunter2\"]", "env = [\"hunter2-x\"]", "env = { \"hunter2-x\" = \"1\" }"] {
            let error = read(text).unwrap_err();
            let error = error.message();
            assert!(error.contains("write names such as") && !error.contains("hunter2"), "{error}");
        }
        for text in ["hunter2 ${PATH", "hunter2 ${}", "${hunter2 x}"] {
            let error = fill(text).unwrap_err().to_string();
            assert!(error.contains("write ${NAME}") && !error.contains("hunter2"), "{error}");
        }
        assert!(!format!("{:?}", fill("hunter2").unwrap()).contains("hunter2"));
    }
}
