//! The environment of a child process: an allow-list, so that no child sees the keys and tokens of the others.
//!
//! - SECRET-3 a child process inherits [`INHERITED`], the variables that begin with `LC_`, and what its `env` names;
//!   nothing else.

use std::ffi::OsString;

use scenarios::{ProcessPlugin, ScenarioError};
use secrecy::ExposeSecret as _;

/// The variables that every child inherits, beside those of the locale: what a program needs to be found, to write
/// temporary files, to print dates and text, and to use the GPUs that this run may use.
pub const INHERITED: [&str; 7] = ["CUDA_VISIBLE_DEVICES", "HOME", "LANG", "LANGUAGE", "PATH", "TMPDIR", "TZ"];
/// What the names of the other variables of the locale begin with.
const LOCALE: &str = "LC_";

/// All variables of the child of `plugin`; its own come last and replace inherited ones. The module
/// `audio_thinker_reward` is on its `PYTHONPATH`.
///
/// Errors: A variable that `env` names is not set, or the module can't be unpacked.
pub fn environment(plugin: &ProcessPlugin) -> Result<Vec<(OsString, OsString)>, ScenarioError> {
    let is_inherited = |name: &OsString| {
        name.to_str().is_some_and(|name| INHERITED.contains(&name) || name.starts_with(LOCALE))
    };
    let mut variables: Vec<(OsString, OsString)> =
        std::env::vars_os().filter(|(name, _)| is_inherited(name)).collect();
    let mut own = plugin.env.filled()?;
    let python_path = own.remove("PYTHONPATH");
    variables.extend(own.into_iter().map(|(name, value)| (name.into(), value.expose_secret().into())));

    let module = scenarios::python_module()?;
    let folders = python_path.map(|folders| OsString::from(folders.expose_secret())).unwrap_or_default();
    let folders = std::env::split_paths(&folders).filter(|folder| !folder.as_os_str().is_empty());
    if let Ok(folders) = std::env::join_paths(folders.chain([module])) {
        variables.push(("PYTHONPATH".into(), folders));
    }
    Ok(variables)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(env: &str) -> Result<Vec<(String, String)>, ScenarioError> {
        let plugin: ProcessPlugin = toml::from_str(&format!("env = {env}")).unwrap();
        let text = |text: OsString| text.into_string().unwrap();
        Ok(environment(&plugin)?.into_iter().map(|(name, value)| (text(name), text(value))).collect())
    }

    fn names(env: &str) -> Vec<String> {
        of(env).unwrap().into_iter().map(|(name, _)| name).collect()
    }

    #[test]
    fn secret_3_a_child_inherits_the_allow_list_and_what_env_names() {
        // Cargo sets it for every test, and no list contains it.
        let foreign = "CARGO_MANIFEST_DIR";
        let allowed = |name: &String| {
            INHERITED.contains(&name.as_str()) || name.starts_with("LC_") || name == "PYTHONPATH"
        };
        let inherited = names("{}");
        assert!(inherited.iter().all(allowed), "{inherited:?}");
        assert!(inherited.contains(&"PATH".to_owned()) && std::env::var_os(foreign).is_some());
        assert!(names(&format!("[\"{foreign}\"]")).contains(&foreign.to_owned()));
        let set = of("{ A = \"x ${CARGO_MANIFEST_DIR}\" }").unwrap();
        let expected = ("A".to_owned(), format!("x {}", env!("CARGO_MANIFEST_DIR")));
        assert!(set.contains(&expected), "{set:?}");
        let error = of("[\"AT_NOT_SET_ANYWHERE\"]").unwrap_err().to_string();
        assert!(error.contains("`AT_NOT_SET_ANYWHERE` is not set"), "{error}");
    }

    #[test]
    fn the_module_comes_after_the_folders_of_env() {
        let path = |env: &str| of(env).unwrap().into_iter().find(|(name, _)| name == "PYTHONPATH").unwrap().1;
        let module = path("{}");
        assert!(!module.contains(':'), "{module}");
        assert_eq!(path("{ PYTHONPATH = \"/a:/b\" }"), format!("/a:/b:{module}"));
    }
}
