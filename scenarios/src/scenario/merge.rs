//! Merges one layer of a scenario over another, and splits arms into shared and own settings for the resolved file.
//!
//! - MERGE-1 tables are merged key by key; other values are replaced.
//! - MERGE-2 `[prompt]`, a data source, and a reward whose `kind` changes are replaced as a whole, since their keys
//!   belong together. If the `kind` of a judge changes, the keys that the new kind does not have are dropped; likewise
//!   keys that depend on the old value of `train` in `[policy]`, `schedule` in `[optimizer]` or `disk` in `[judge.cache]`.
//! - MERGE-3 `rewards.NAME = false` removes a reward, which must exist.

use toml::{Table as Values, Value};

use super::keys;
use super::tree::{Content, Entry, Node, Table};
use super::words::name_advice;
use crate::error::ScenarioError;

/// Merges `over` over `base`.
///
/// Errors: `over` removes a reward that `base` does not have.
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
    drop_keys_of_the_old_variant(lower, over, path);
    for (key, entry) in upper {
        if path.as_slice() == ["rewards"] && is_false(&entry.node) {
            if lower.remove(key).is_none() {
                return Err(no_such_reward(key, entry, lower.keys().map(String::as_str)));
            }
            continue;
        }
        path.push(key.clone());
        // A section that only `over` has is merged over an empty one, so that removals in it are checked too.
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
        "leave the line out, no reward is defined".to_owned()
    } else {
        name_advice(key, known, "the rewards are")
    };
    ScenarioError::at(&entry.key_place, format!("there is no reward `{key}` to remove"), instead)
}

fn is_false(node: &Node) -> bool {
    matches!(node.content, Content::Scalar(Value::Boolean(false)))
}

fn is_whole(path: &[String]) -> bool {
    path == ["prompt"] || path == ["data", "train"]
}

/// Whether the table at this path belongs together: all of it, or a reward of one kind.
pub(super) fn is_one_value(path: &[String]) -> bool {
    is_whole(path) || is_reward(path)
}

fn is_reward(path: &[String]) -> bool {
    path.len() == 2 && path[0] == "rewards"
}

fn changes_kind(base: &Node, over: &Node, path: &[String]) -> bool {
    let kind = |node: &Node| node.entry(&["kind"]).map(|entry| entry.node.to_value());
    is_reward(path) && kind(over).is_some_and(|new| kind(base) != Some(new))
}

/// Removes the keys from `lower` that it may not have any more, if `over` selects another variant.
fn drop_keys_of_the_old_variant(lower: &mut Table, over: &Node, path: &[String]) {
    let path: Vec<&str> = path.iter().map(String::as_str).collect();
    let text = |entry: &Entry| match &entry.node.content {
        Content::Scalar(Value::String(text)) => Some(text.clone()),
        Content::Scalar(_) | Content::Table(_) | Content::Array(_) => None,
    };
    if let Some(tagged) = keys::tagged(&path) {
        let (old, new) = (lower.get(&tagged.tag).and_then(text), over.text(&tagged.tag));
        let known = |value: &&str| tagged.variants.iter().any(|(variant, _)| variant == value);
        if let (Some(old), Some(new)) = (old, new.filter(known))
            && old != new
        {
            let (before, after) = (tagged.keys(Some(&old)), tagged.keys(Some(new)));
            // A key that is wrong for the old variant too is kept, so that it gets reported.
            lower.retain(|key, _| after.contains(&key.as_str()) || !before.contains(&key.as_str()));
        }
    }
    for dependent in keys::DEPENDENT.iter().filter(|dependent| dependent.section == path) {
        let value = match over.at(&[dependent.tag]).map(|node| &node.content) {
            Some(Content::Scalar(Value::String(text))) => Some(text.as_str()),
            Some(Content::Scalar(Value::Boolean(flag))) => Some(if *flag { "true" } else { "false" }),
            _ => None,
        };
        if value.is_some_and(|value| !dependent.values.contains(&value)) {
            lower.remove(dependent.key);
        }
    }
}

/// Whether the tables at this path are of the same variant; true for a table without variants.
fn same_variant(tables: &[Values], key: &str, path: &[String]) -> bool {
    let path: Vec<&str> = path.iter().map(String::as_str).collect();
    let Some(tagged) = keys::tagged(&path) else { return true };
    let tag = |table: &Values| table.get(key).and_then(|below| below.get(&tagged.tag)).cloned();
    tables.iter().all(|table| tag(table) == tag(&tables[0]))
}

/// Moves the entries that all tables share into a table of their own. [`overlay`] puts the parts together again.
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
        } else if all_tables && !is_whole(path) && !is_reward(path) && same_variant(tables, &key, path) {
            let mut below: Vec<Values> = tables
                .iter_mut()
                .filter_map(|table| table.remove(&key).and_then(|value| value.try_into().ok()))
                .collect();
            let was_empty: Vec<bool> = below.iter().map(Values::is_empty).collect();
            let common = factor_at(&mut below, path);
            if !common.is_empty() {
                shared.insert(key.clone(), Value::Table(common));
            }
            // An empty table is not the same as a missing one, which would get its default.
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
    fn tables_are_merged_and_values_replaced() {
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
    fn a_judge_of_another_kind_keeps_the_keys_that_both_kinds_have() {
        let base =
            "[judge]\nkind = \"openai\"\nbase_url = \"u\"\nprompting = \"base\"\non_failure = \"pause\"";
        assert_eq!(
            merged(base, "judge = { kind = \"local\", path = \"p\" }"),
            value("[judge]\nkind = \"local\"\npath = \"p\"\nprompting = \"base\"\non_failure = \"pause\""),
        );
        assert_eq!(
            merged(base, "judge.model = \"m\""),
            value(&format!("{base}\nmodel = \"m\"")),
            "same kind: merged"
        );
        assert_eq!(
            merged("[judge]\nkind = \"openai\"\npath = \"p\"", "judge.kind = \"rules\""),
            value("[judge]\nkind = \"rules\"\npath = \"p\""),
            "a key that the old kind does not have is kept to be reported"
        );
    }

    #[test]
    fn keys_that_depend_on_a_value_are_dropped_with_it() {
        let base = "[policy]\ntrain = \"lora\"\nadapter = \"a\"\nlora.rank = 4\ndtype = \"bf16\"";
        assert_eq!(
            merged(base, "policy.train = \"full\""),
            value("[policy]\ntrain = \"full\"\ndtype = \"bf16\"")
        );
        assert_eq!(
            merged(
                "[optimizer]\nschedule = \"linear\"\nfinal_lr_fraction = 0.1",
                "optimizer.schedule = \"cosine\""
            ),
            value("[optimizer]\nschedule = \"cosine\"\nfinal_lr_fraction = 0.1")
        );
        assert_eq!(
            merged(
                "[optimizer]\nschedule = \"linear\"\nfinal_lr_fraction = 0.1",
                "optimizer.schedule = \"constant\""
            ),
            value("[optimizer]\nschedule = \"constant\"")
        );
        assert_eq!(
            merged("judge.cache = { path = \"a\", max_mb = 3 }", "judge.cache.disk = false"),
            value("judge.cache = { max_mb = 3, disk = false }")
        );
        assert_eq!(
            merged("judge.cache = { path = \"a\" }", "judge.cache.disk = true"),
            value("judge.cache = { path = \"a\", disk = true }")
        );
    }

    #[test]
    fn judges_of_different_kinds_are_not_split() {
        let mut arms: Vec<Values> = ["openai", "local"]
            .map(|kind| {
                value(&format!("[judge]\nkind = \"{kind}\"\nprompting = \"base\"")).try_into().unwrap()
            })
            .into();
        assert!(factor(&mut arms).is_empty(), "a shared [judge] would have a key and no kind");
        assert_eq!(arms[1]["judge"]["prompting"].as_str(), Some("base"));
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
    fn false_removes_a_reward_that_must_exist() {
        let base = "[rewards]\nthink = { kind = \"think\" }\nformat = { kind = \"format\" }";
        assert_eq!(merged(base, "rewards.think = false"), value("rewards.format.kind = \"format\""));
        let error = overlay(&mut node(base), &node("[rewards]\nthnk = false")).unwrap_err();
        assert_eq!(
            error.to_string(),
            "x.toml:2:1: there is no reward `thnk` to remove; did you mean `think`?"
        );
    }

    #[test]
    fn split_tables_are_merged_back_to_the_same() {
        let arms = [
            value("[rewards.a]\nkind = \"x\"\no = 1\n[grpo]\nlr = 1\nclip = 2\n[prompt]\nstyle = \"think\""),
            value(
                "[rewards.a]\nkind = \"x\"\n[grpo]\nlr = 3\nclip = 2\n[prompt]\nstyle = \"think\"\ntext = \"t\"",
            ),
        ];
        let mut rest: Vec<Values> = arms.iter().map(|arm| arm.clone().try_into().unwrap()).collect();
        let shared = factor(&mut rest);
        assert_eq!(Value::Table(shared.clone()), value("grpo.clip = 2"), "only what all arms share");
        for (arm, rest) in arms.iter().zip(rest) {
            let mut base = node(&shared.to_string());
            overlay(&mut base, &node(&rest.to_string())).unwrap();
            assert_eq!(&base.to_value(), arm);
        }
    }
}
