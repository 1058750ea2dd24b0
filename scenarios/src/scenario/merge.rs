//! Layers of a scenario: an arm over the base, `--set` over both; and back, for the resolved file.
//!
//! - MERGE-1 tables merge key by key, everything else is replaced.
//! - MERGE-2 `[prompt]`, a data source and a reward whose `kind` changes are replaced as a whole: what they say belongs
//!   together.
//! - MERGE-3 `rewards.NAME = false` takes a reward out; there must be one.

use toml::{Table as Values, Value};

use super::tree::{Content, Entry, Node};
use super::words::name_advice;
use crate::error::ScenarioError;

/// Lays `over` on top of `base`.
///
/// # Errors
/// A reward is taken out that is not there.
pub(crate) fn overlay(base: &mut Node, over: &Node) -> Result<(), ScenarioError> {
    overlay_at(base, over, &mut Vec::new())
}

fn overlay_at(base: &mut Node, over: &Node, path: &mut Vec<String>) -> Result<(), ScenarioError> {
    let replaced = is_whole(path) || changes_kind(base, over, path);
    let (Content::Table(lower), Content::Table(upper)) = (&mut base.content, &over.content) else {
        *base = over.clone();
        return Ok(());
    };
    if replaced {
        *base = over.clone();
        return Ok(());
    }
    for (key, entry) in upper {
        if path.as_slice() == ["rewards"] && is_false(&entry.node) {
            if lower.remove(key).is_none() {
                return Err(no_such_reward(key, entry, lower.keys().map(String::as_str)));
            }
            continue;
        }
        path.push(key.clone());
        // A section that only `over` has is laid over an empty one, so that what it takes out is looked at too.
        let fresh = || Entry {
            key_place: entry.key_place.clone(),
            node: if entry.node.as_table().is_some() {
                Node::empty(entry.node.place.clone())
            } else {
                entry.node.clone()
            },
        };
        overlay_at(&mut lower.entry(key.clone()).or_insert_with(fresh).node, &entry.node, path)?;
        path.pop();
    }
    Ok(())
}

fn no_such_reward<'a>(key: &str, entry: &Entry, known: impl Iterator<Item = &'a str>) -> ScenarioError {
    let known: Vec<&str> = known.collect();
    let instead = if known.is_empty() {
        "leave the line out, there is none".to_owned()
    } else {
        name_advice(key, known, "the rewards are")
    };
    ScenarioError::at(&entry.key_place, format!("there is no reward `{key}` to take out"), instead)
}

fn is_false(node: &Node) -> bool {
    matches!(node.content, Content::Scalar(Value::Boolean(false)))
}

fn is_whole(path: &[String]) -> bool {
    path == ["prompt"] || path == ["data", "train"]
}

fn is_reward(path: &[String]) -> bool {
    path.len() == 2 && path[0] == "rewards"
}

fn changes_kind(base: &Node, over: &Node, path: &[String]) -> bool {
    let kind = |node: &Node| node.entry(&["kind"]).map(|entry| entry.node.to_value());
    is_reward(path) && kind(over).is_some_and(|new| kind(base) != Some(new))
}

/// Splits tables into what all of them share and what is left of each, so that [`overlay`] puts them together again.
pub(crate) fn factor(tables: &mut [Values]) -> Values {
    factor_at(tables, &mut Vec::new())
}

fn factor_at(tables: &mut [Values], path: &mut Vec<String>) -> Values {
    let mut shared = Values::new();
    let keys: Vec<String> = tables.first().map(|table| table.keys().cloned().collect()).unwrap_or_default();
    for key in keys {
        path.push(key.clone());
        let all_same = tables.iter().all(|table| table.get(&key) == tables[0].get(&key));
        let all_tables = tables.iter().all(|table| table.get(&key).is_some_and(Value::is_table));
        if all_same {
            if let Some(value) = tables[0].get(&key).cloned() {
                shared.insert(key.clone(), value);
            }
            tables.iter_mut().for_each(|table| drop(table.remove(&key)));
        } else if all_tables && !is_whole(path) && !is_reward(path) {
            let mut below: Vec<Values> = tables
                .iter_mut()
                .filter_map(|table| table.remove(&key).and_then(|value| value.try_into().ok()))
                .collect();
            let was_empty: Vec<bool> = below.iter().map(Values::is_empty).collect();
            let common = factor_at(&mut below, path);
            if !common.is_empty() {
                shared.insert(key.clone(), Value::Table(common));
            }
            // A table that says nothing is not the same as none: it stands for no default either.
            for ((table, rest), was_empty) in tables.iter_mut().zip(below).zip(was_empty) {
                if was_empty || !rest.is_empty() {
                    table.insert(key.clone(), Value::Table(rest));
                }
            }
        }
        path.pop();
    }
    shared
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::tree;
    use super::*;

    fn node(text: &str) -> Node {
        tree::parse(text, Path::new("x.toml")).unwrap()
    }

    fn merged(base: &str, over: &str) -> Value {
        let mut base = node(base);
        overlay(&mut base, &node(over)).unwrap();
        base.to_value()
    }

    fn value(text: &str) -> Value {
        node(text).to_value()
    }

    #[test]
    fn tables_merge_and_values_are_replaced() {
        assert_eq!(
            merged("[grpo]\nlr = 1\nclip = 2\n[eval]\nsuites = [1, 2]", "eval.suites = [3]\ngrpo.lr = 4"),
            value("[grpo]\nlr = 4\nclip = 2\n[eval]\nsuites = [3]"),
        );
    }

    #[test]
    fn a_reward_of_another_kind_does_not_inherit_options() {
        let base = "[rewards.r]\nkind = \"think\"\nscope = \"step\"";
        assert_eq!(
            merged(base, "rewards.r.kind = \"format\""),
            value("rewards.r.kind = \"format\""),
            "another kind: replaced"
        );
        assert_eq!(
            merged(base, "rewards.r.scope = \"group\""),
            value("[rewards.r]\nkind = \"think\"\nscope = \"group\""),
            "same kind: merged"
        );
    }

    #[test]
    fn prompts_and_data_sources_are_replaced_as_a_whole() {
        assert_eq!(merged("prompt.style = \"think\"", "prompt.file = \"a\""), value("prompt.file = \"a\""));
        assert_eq!(
            merged("data.train = { path = \"a\", audio_root = \"b\" }", "data.train = { path = \"c\" }"),
            value("data.train = { path = \"c\" }"),
        );
    }

    #[test]
    fn false_takes_a_reward_out_and_must_find_it() {
        let base = "[rewards]\nthink = { kind = \"think\" }\nformat = { kind = \"format\" }";
        assert_eq!(merged(base, "rewards.think = false"), value("rewards.format.kind = \"format\""));
        let error = overlay(&mut node(base), &node("[rewards]\nthnk = false")).unwrap_err();
        assert_eq!(
            error.to_string(),
            "x.toml:2:1: there is no reward `thnk` to take out; did you mean `think`?"
        );
    }

    #[test]
    fn what_is_factored_out_merges_back_to_the_same() {
        let arms = [
            value("[rewards.a]\nkind = \"x\"\no = 1\n[grpo]\nlr = 1\nclip = 2\n[prompt]\nstyle = \"think\""),
            value(
                "[rewards.a]\nkind = \"x\"\n[grpo]\nlr = 3\nclip = 2\n[prompt]\nstyle = \"think\"\ntext = \"t\"",
            ),
        ];
        let mut rest: Vec<Values> = arms.iter().map(|arm| arm.clone().try_into().unwrap()).collect();
        let shared = factor(&mut rest);
        assert_eq!(Value::Table(shared.clone()), value("grpo.clip = 2"), "only what is the same everywhere");
        for (arm, rest) in arms.iter().zip(rest) {
            let mut base = node(&shared.to_string());
            overlay(&mut base, &node(&rest.to_string())).unwrap();
            assert_eq!(&base.to_value(), arm);
        }
    }
}
