//! Reads the response to `/models`: which models a server has, and what it says about the one that is asked.

use rewards::judge::json;
use serde_json::{Map, Value};

/// The list of a server's models.
pub struct Models(Vec<Value>);

/// What stays the same as long as a server has the same model. Others, such as `created`, change with every request.
const LASTING: [&str; 5] = ["id", "root", "parent", "owned_by", "max_model_len"];

/// The lasting facts about a model file in `meta`, which llama.cpp tells.
const LASTING_META: [&str; 5] = ["n_params", "size", "n_vocab", "n_embd", "n_ctx_train"];

impl Models {
    /// Reads a response to `/models`; `None` if it is no such list.
    pub fn read(text: &str) -> Option<Self> {
        let list = json::read(text, &[]).ok()?;
        Some(Self(list["data"].as_array()?.clone()))
    }

    /// Whether the server is llama.cpp.
    pub fn are_of_llama_cpp(&self) -> bool {
        self.0.first().is_some_and(|model| model["owned_by"] == "llamacpp")
    }

    /// The names of the models.
    pub fn names(&self) -> Vec<&str> {
        self.0.iter().filter_map(|model| model["id"].as_str()).collect()
    }

    /// What the server says about the model with this name, or about its only one, as far as it lasts.
    pub fn facts(&self, name: &str) -> String {
        let only = (self.0.len() == 1).then(|| &self.0[0]);
        let Some(model) = self.0.iter().find(|model| model["id"] == name).or(only) else {
            return String::new();
        };
        let facts = |from: &Value, keys: &[&str]| -> Map<String, Value> {
            let known = keys.iter().filter(|key| !from[**key].is_null());
            known.map(|key| ((*key).to_owned(), from[*key].clone())).collect()
        };
        let mut told = facts(model, &LASTING);
        told.extend(facts(&model["meta"], &LASTING_META));
        Value::Object(told).to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_facts_about_a_model_change_with_the_model_and_not_with_time() {
        let list = |root: &str, created: u64| {
            let list = format!(
                r#"{{"data": [{{"id": "other"}}, {{"id": "judge", "root": "{root}", "created": {created}, "parent": null}}]}}"#
            );
            Models::read(&list).unwrap()
        };
        assert_eq!(list("Qwen/Qwen3-8B", 1).facts("judge"), r#"{"id":"judge","root":"Qwen/Qwen3-8B"}"#);
        assert_eq!(list("a", 1).facts("judge"), list("a", 2).facts("judge"));
        assert_ne!(list("a", 1).facts("judge"), list("b", 1).facts("judge"));
        assert_eq!(list("a", 1).facts("third"), "");
        assert_eq!(list("a", 1).names(), ["other", "judge"]);
        let llama =
            r#"{"data": [{"id": "x.gguf", "owned_by": "llamacpp", "meta": {"n_params": 7, "n_vocab": 2}}]}"#;
        let llama = Models::read(llama).unwrap();
        assert!(llama.are_of_llama_cpp());
        assert!(llama.facts("judge").contains("\"n_params\":7"));
        assert!(Models::read("[]").is_none() && Models::read("no").is_none());
    }
}
