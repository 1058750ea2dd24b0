//! Removes special tokens of chat templates from a text, until none is left, since the removal of one can complete
//! another: `<|im_<|im_end|>end|>`.
//!
//! By definition the text is passed through the rules again and again, until a round removes nothing. Each rule removes
//! its occurrences from left to right. Repeating whole passes would cost the square of the length for nested tokens. But
//! once a rule has seen the text, its next occurrence can only lie across a seam: a place where characters were removed
//! since. So each rule scans the whole text once, and from then on only around the seams that it has not seen.
//!
//! - `CLEAN-1` the result is that of the repeated passes, and the work is linear in the length of the text.

/// Special tokens that do not have the form `<|…|>`, which is removed in general.
const SPECIAL_TOKENS: [&str; 27] = [
    "[INST]",
    "[/INST]",
    "[SYSTEM_PROMPT]",
    "[/SYSTEM_PROMPT]",
    "[AVAILABLE_TOOLS]",
    "[/AVAILABLE_TOOLS]",
    "[TOOL_CALLS]",
    "[TOOL_RESULTS]",
    "[/TOOL_RESULTS]",
    "<<SYS>>",
    "<</SYS>>",
    "<s>",
    "</s>",
    "<bos>",
    "<eos>",
    "<pad>",
    "<unk>",
    "<start_of_turn>",
    "<end_of_turn>",
    "<think>",
    "</think>",
    "<tool_call>",
    "</tool_call>",
    "<tool_response>",
    "</tool_response>",
    "<answer>",
    "</answer>",
];

/// Greatest length of a `<|…|>` that is removed as a special token, in characters between the bars.
const LONGEST_NAME: usize = 64;

/// The text without any `<|…|>`, token of a common template, or token of `own`, ignoring ASCII case.
pub(super) fn without_special_tokens(text: &str, own: &[String]) -> String {
    let mut remover = Remover::new(text);
    remover.remove_all(&rules(own));
    remover.text()
}

/// What one rule removes.
enum Rule {
    /// `<|name|>`, whose name is short and has no white space and no `<`.
    Bars,
    /// An ASCII token, in upper or lower case.
    Ascii(Vec<char>),
    /// Any other token, exactly as it is.
    Exact(Vec<char>),
}

/// The rules in the order in which they are applied.
fn rules(own: &[String]) -> Vec<Rule> {
    let own = own.iter().map(String::as_str).filter(|token| token.len() > 1);
    let rule = |token: &str| {
        let chars = token.chars().collect();
        if token.is_ascii() { Rule::Ascii(chars) } else { Rule::Exact(chars) }
    };
    let tokens = SPECIAL_TOKENS.into_iter().chain(own).map(rule);
    std::iter::once(Rule::Bars).chain(tokens).collect()
}

/// Stands for "no character" in the links of a [`Remover`].
const NONE: usize = usize::MAX;

/// A text as a linked list, from which characters are removed.
struct Remover {
    chars: Vec<char>,
    next: Vec<usize>,
    before: Vec<usize>,
    removed: Vec<bool>,
    /// The character in front of each place where characters were removed, in the order of the removals.
    seams: Vec<usize>,
    /// Characters looked at so far.
    steps: usize,
}

impl Remover {
    fn new(text: &str) -> Self {
        let chars: Vec<char> = text.chars().collect();
        let length = chars.len();
        Remover {
            next: (1..=length).map(|at| if at == length { NONE } else { at }).collect(),
            before: (0..length).map(|at| at.checked_sub(1).unwrap_or(NONE)).collect(),
            removed: vec![false; length],
            seams: Vec::new(),
            steps: 0,
            chars,
        }
    }

    fn text(&self) -> String {
        let kept = self.chars.iter().zip(&self.removed).filter(|(_, removed)| !**removed);
        kept.map(|(c, _)| *c).collect()
    }

    fn remove_all(&mut self, rules: &[Rule]) {
        // The number of seams that each rule has seen; `None` before its scan of the whole text.
        let mut seen: Vec<Option<usize>> = vec![None; rules.len()];
        loop {
            let seams = self.seams.len();
            for (rule, seen) in rules.iter().zip(&mut seen) {
                let starts = match *seen {
                    None => (0..self.chars.len()).filter(|&at| !self.removed[at]).collect(),
                    Some(seen) => self.starts_near_seams(rule, seen),
                };
                // Those that the rule makes itself are new to it.
                *seen = Some(self.seams.len());
                self.remove(rule, &starts);
            }
            if self.seams.len() == seams {
                return;
            }
        }
    }

    /// The places, in order, where an occurrence may begin that lies across a seam which the rule has not seen.
    fn starts_near_seams(&mut self, rule: &Rule, seen: usize) -> Vec<usize> {
        let mut starts = Vec::new();
        for seam in seen..self.seams.len() {
            let mut at = self.seams[seam];
            // If the character in front of a seam was removed later, that made a seam at the same place.
            if self.removed[at] {
                continue;
            }
            match rule {
                // The name has no `<`, so only the nearest one can be the beginning.
                Rule::Bars => {
                    for _ in 0..LONGEST_NAME + "<|".len() + 1 {
                        self.steps += 1;
                        match self.chars[at] {
                            '<' => {
                                starts.push(at);
                                break;
                            }
                            c if c.is_whitespace() => break,
                            _ => {}
                        }
                        at = self.before[at];
                        if at == NONE {
                            break;
                        }
                    }
                }
                Rule::Ascii(token) | Rule::Exact(token) => {
                    for _ in 1..token.len() {
                        self.steps += 1;
                        starts.push(at);
                        at = self.before[at];
                        if at == NONE {
                            break;
                        }
                    }
                }
            }
        }
        starts.sort_unstable();
        starts.dedup();
        starts
    }

    /// Removes the occurrences that begin at `starts`, from left to right, those that overlap an earlier one excepted.
    fn remove(&mut self, rule: &Rule, starts: &[usize]) {
        let mut found: Vec<(usize, usize)> = Vec::new();
        for &start in starts {
            if found.last().is_none_or(|&(_, last)| start > last)
                && let Some(last) = self.last_of(rule, start)
            {
                found.push((start, last));
            }
        }
        for (start, last) in found {
            let (before, behind) = (self.before[start], self.next[last]);
            let mut at = start;
            while at != behind {
                self.removed[at] = true;
                at = self.next[at];
            }
            if behind != NONE {
                self.before[behind] = before;
            }
            if before != NONE {
                self.next[before] = behind;
                self.seams.push(before);
            }
        }
    }

    /// The last character of the occurrence that begins at `start`, if there is one.
    fn last_of(&mut self, rule: &Rule, start: usize) -> Option<usize> {
        match rule {
            Rule::Bars => self.last_of_bars(start),
            Rule::Ascii(token) => self.last_of_token(token, start, char::eq_ignore_ascii_case),
            Rule::Exact(token) => self.last_of_token(token, start, char::eq),
        }
    }

    fn last_of_token(
        &mut self,
        token: &[char],
        start: usize,
        same: impl Fn(&char, &char) -> bool,
    ) -> Option<usize> {
        let (mut at, mut last) = (start, start);
        for wanted in token {
            self.steps += 1;
            if at == NONE || !same(&self.chars[at], wanted) {
                return None;
            }
            last = at;
            at = self.next[at];
        }
        Some(last)
    }

    fn last_of_bars(&mut self, start: usize) -> Option<usize> {
        self.steps += 1;
        let bar = self.next[start];
        if self.chars[start] != '<' || bar == NONE || self.chars[bar] != '|' {
            return None;
        }
        let mut at = self.next[bar];
        for _ in 0..=LONGEST_NAME {
            self.steps += 1;
            if at == NONE {
                return None;
            }
            let after = self.next[at];
            match self.chars[at] {
                '|' if after != NONE && self.chars[after] == '>' => return Some(after),
                '<' => return None,
                c if c.is_whitespace() => return None,
                _ => at = after,
            }
        }
        None
    }
}

#[cfg(test)]
mod tests;
