use super::*;

/// The definition: passes over the whole text until one removes nothing.
fn by_passes(text: &str, own: &[String]) -> String {
    let mut text = text.to_owned();
    loop {
        let mut cleaned = without_bars(&text);
        let own = own.iter().map(String::as_str).filter(|token| token.len() > 1);
        for token in SPECIAL_TOKENS.into_iter().chain(own) {
            cleaned = without(&cleaned, token);
        }
        if cleaned.len() == text.len() {
            return text;
        }
        text = cleaned;
    }
}

fn without(text: &str, token: &str) -> String {
    if !token.is_ascii() {
        return text.replace(token, "");
    }
    let (mut kept, mut rest) = (String::new(), text);
    while let Some(c) = rest.chars().next() {
        let is_here = rest.as_bytes().get(..token.len());
        if is_here.is_some_and(|bytes| bytes.eq_ignore_ascii_case(token.as_bytes())) {
            rest = &rest[token.len()..];
        } else {
            kept.push(c);
            rest = &rest[c.len_utf8()..];
        }
    }
    kept
}

fn without_bars(text: &str) -> String {
    let (mut kept, mut rest) = (String::new(), text);
    while let Some(start) = rest.find("<|") {
        let inside = &rest[start + 2..];
        let length = inside.find("|>").filter(|&length| {
            let name = &inside[..length];
            name.chars().count() <= LONGEST_NAME && !name.contains(|c: char| c.is_whitespace() || c == '<')
        });
        kept.push_str(&rest[..start]);
        match length {
            Some(length) => rest = &inside[length + 2..],
            None => {
                kept.push_str("<|");
                rest = inside;
            }
        }
    }
    kept + rest
}

/// Pseudo-random numbers below a limit, the same ones in every run of the test.
fn draws(mut state: u64) -> impl FnMut(usize) -> usize {
    move |below| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below
    }
}

/// CLEAN-1: the result is that of the definition, for texts of fragments of tokens that complete, contain and overlap
/// one another.
#[test]
fn the_result_is_that_of_repeated_passes() {
    let own = ["▁EOT", "aa", "abab", "ba", "é", "x", "<|a|>", "|>b", "<s", "é<s>é"].map(str::to_owned);
    let short = "a".repeat(LONGEST_NAME / 2);
    let pieces = [
        "<|", "|>", "<", ">", "|", "a", "b", "A", "B", " ", "\u{3000}", "é", "É", "▁E", "OT", "[", "]",
        "[IN", "ST]", "[inst]", "[/INST", "<s>", "</s>", "<</SYS>", "<<SYS", ">>", "</think>", "<thi", "nk>",
        "<|im_", "end|>", "x", "<answer>", "<ans", "wer>", &short, "狗",
    ];
    let mut draw = draws(7);
    let mut shortened = 0;
    for round in 0..6_000 {
        let text: String = (0..draw(60)).map(|_| pieces[draw(pieces.len())]).collect();
        let own = &own[..round % (own.len() + 1)];
        let expected = by_passes(&text, own);
        assert_eq!(without_special_tokens(&text, own), expected, "{text:?} without {own:?}");
        shortened += usize::from(expected.len() < text.len());
    }
    assert!(shortened > 3_000, "most texts contain tokens: {shortened}");
}

/// Texts of `n` parts on which repeated passes, or the search for the end of each `<|`, cost the square of `n`.
fn attacks(n: usize) -> Vec<String> {
    let nested = |open: &str, close: &str| open.repeat(n) + &close.repeat(n);
    vec![
        nested("<|a", "|>"),
        nested("<|", "|>"),
        nested("[IN", "ST]"),
        nested("<thi", "nk>"),
        nested("<|im_", "end|>"),
        nested("<|a[IN", "ST]|>"),
        nested("</answ", "er>"),
        nested("▁E", "OT"),
        "<|".repeat(n),
        "<|aaaaaaaa".repeat(n),
        "[INST]".repeat(n),
        format!("{}{}", "<<".repeat(n), "s>SYS>>".repeat(n)),
    ]
}

fn steps(text: &str, own: &[String]) -> usize {
    let mut remover = Remover::new(text);
    remover.remove_all(&rules(own));
    remover.steps
}

/// CLEAN-1: twice the text takes twice the steps, and no character is looked at more often than the rules and their
/// reach explain.
#[test]
fn nested_tokens_are_removed_in_linear_time() {
    let own = ["▁EOT".to_owned()];
    for (one, two) in attacks(2_000).iter().zip(attacks(4_000)) {
        let (once, twice) = (steps(one, &own), steps(&two, &own));
        let name: String = one.chars().take(12).collect();
        assert!(twice <= 2 * once + once / 50, "{name}: {once} steps, then {twice}");
        let of_a_char = twice / two.chars().count();
        assert!(of_a_char < 400, "{name}: {of_a_char} steps for each character");
    }
    let nested = attacks(3_000).swap_remove(0);
    assert_eq!(without_special_tokens(&nested, &own), "");
}
