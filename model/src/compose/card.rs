//! `README.md` of a composed model: what it is made of, and under which licences.

use std::fmt::Write as _;
use std::path::Path;

use super::Parts;
use super::tokens::Tokens;

/// The text of the card.
pub(super) fn text(parts: &Parts, tokens: &Tokens) -> String {
    let mut out = String::from(
        "# A composed audio-language model\n\n\
         An encoder and a language model behind one projector, in the layout of Qwen2-Audio \
         (`Qwen2AudioForConditionalGeneration`). The licences of both parts apply.\n\n\
         | part | from | licence |\n|---|---|---|\n",
    );
    for (part, dir) in [("encoder", &parts.audio), ("language model", &parts.text)] {
        let _ = writeln!(out, "| {part} | {} | {} |", source(dir), licence(dir));
    }
    let projector = match &parts.projector {
        Some(file) => format!("`{}`", file.file_name().unwrap_or_default().to_string_lossy()),
        None => format!("fresh, seed {}; the model hears nothing before it is trained", parts.seed),
    };
    let _ = writeln!(out, "| projector | {projector} | |");
    if !tokens.added.is_empty() {
        let added = tokens.added.iter().map(|token| format!("`{token}`")).collect::<Vec<_>>().join(", ");
        let _ = writeln!(
            out,
            "\nTokens that the tokenizer did not have, with the mean of all embeddings as theirs: {added}."
        );
    }
    out
}

/// The model's name on the hub, if the directory lies in its cache, or else the directory's name.
fn source(dir: &Path) -> String {
    let mut names = dir.iter().rev().map(|part| part.to_string_lossy());
    let hub = names.find_map(|name| Some(name.strip_prefix("models--")?.replace("--", "/")));
    hub.unwrap_or_else(|| {
        let whole = dir.canonicalize().unwrap_or_else(|_| dir.to_owned());
        whole.file_name().unwrap_or_default().to_string_lossy().into_owned()
    })
}

/// What the part says of its licence: `license` in its card, or the first line of its licence file.
fn licence(dir: &Path) -> String {
    let read = |name: &str| std::fs::read_to_string(dir.join(name)).ok();
    let card = read("README.md").unwrap_or_default();
    let head =
        card.strip_prefix("---").and_then(|text| text.split_once("\n---")).map_or("", |(head, _)| head);
    let stated = head.lines().find_map(|line| line.strip_prefix("license:")).map(str::trim);
    if let Some(stated) = stated.filter(|stated| !stated.is_empty()) {
        return stated.trim_matches(['"', '\'']).to_owned();
    }
    let file = ["LICENSE", "LICENSE.txt", "LICENSE.md"].into_iter().find_map(read);
    let line =
        file.and_then(|text| text.lines().map(str::trim).find(|line| !line.is_empty()).map(str::to_owned));
    line.unwrap_or_else(|| "not stated; see its source".to_owned())
}
