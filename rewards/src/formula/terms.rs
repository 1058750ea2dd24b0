//! The terms of a formula: what each of them contributes, and how a component joins or leaves a formula.
//!
//! A formula is usually a sum such as `accuracy + w_think * think`. A person who asks why a completion got its reward
//! wants that sum term by term; a person who adds or removes a reward wants the sum longer or shorter by its terms.
//!
//! - FORMULA-4 the contributions of a formula's terms add up to its value, up to rounding.
//! - FORMULA-5 a formula without a component is a formula over the remaining names.

use std::collections::BTreeMap;
use std::ops::Not as _;

use super::Formula;
use super::token::{Slot, Token, TokenKind, WEIGHT_PREFIX};
use crate::Weights;

/// A term of the outermost sum of a formula.
#[derive(Clone, Debug)]
pub struct Term {
    subtracted: bool,
    formula: Formula,
}

impl Term {
    /// Its text, without the sign in front of it.
    pub fn text(&self) -> &str {
        self.formula.text()
    }

    /// Whether the formula subtracts it.
    pub fn is_subtracted(&self) -> bool {
        self.subtracted
    }

    /// Whether it uses a component.
    pub fn uses(&self, component: &str) -> bool {
        self.formula.uses(component)
    }

    /// What it adds to the formula's value: its own value, negated where the formula subtracts it. `None` if a
    /// component or weight it uses is missing or the value is not finite.
    pub fn contribution(&self, components: &BTreeMap<String, f64>, weights: &Weights) -> Option<f64> {
        let value = self.formula.eval(components, weights)?;
        Some(if self.subtracted { -value } else { value })
    }
}

impl Formula {
    /// Whether it uses a component.
    pub fn uses(&self, component: &str) -> bool {
        self.component_names().any(|name| name == component)
    }

    /// The terms of its outermost sum, from left to right; parentheses around a part of that sum are opened, so that `a
    /// - (b - c)` has the terms `a`, minus `b` and `c`. A formula that is no sum is one term.
    ///
    /// ```
    /// let formula = rewards::Formula::parse("accuracy - 0.1 * length", ["accuracy", "length"], [""; 0])?;
    /// let terms: Vec<_> = formula.terms().into_iter().map(|t| (t.is_subtracted(), t.text().to_owned())).collect();
    /// assert_eq!(terms, [(false, "accuracy".to_owned()), (true, "0.1 * length".to_owned())]);
    /// # Ok::<(), rewards::FormulaError>(())
    /// ```
    pub fn terms(&self) -> Vec<Term> {
        let text = Text(self.text().chars().collect());
        let term = |part: Part<'_>| {
            let parsed = Formula::parse(&text.of(part.tokens), self.component_names(), self.weight_names());
            Term { subtracted: part.subtracted, formula: parsed.expect("a term of a formula is a formula") }
        };
        sum_parts(&self.tokens, false).into_iter().map(term).collect()
    }

    /// The text of this formula with `+ w_WEIGHT * COMPONENT` at its end, or `+ COMPONENT` without a weight. Unchanged
    /// if it uses the component already.
    pub fn with_component(&self, component: &str, weight: Option<&str>) -> String {
        if self.uses(component) {
            return self.text().to_owned();
        }
        let factor = weight.map(|weight| Formula::name(&format!("{WEIGHT_PREFIX}{weight}")) + " * ");
        format!("{} + {}{}", self.text(), factor.unwrap_or_default(), Formula::name(component))
    }

    /// The text of this formula without the terms that use a component; `0` if none is left, and unchanged if it does
    /// not use the component. Where only a part of a parenthesised factor uses it, that part is removed and the factor
    /// stays: without `b`, `a * (1 + w_b * b)` is `a * 1`.
    pub fn without_component(&self, component: &str) -> String {
        let used = Slot::Component(component.to_owned());
        let Some(slot) = self.slots.iter().position(|slot| *slot == used) else {
            return self.text().to_owned();
        };
        let removal = Removal { text: Text(self.text().chars().collect()), slot };
        removal.sum(&self.tokens).map_or_else(|| "0".to_owned(), |kept| kept.text)
    }

    /// The text of this formula with another one in the place of a component, in parentheses if it is more than a name or a
    /// number; unchanged if it does not use the component.
    pub fn with_instead_of(&self, component: &str, other: &str) -> String {
        let used = Slot::Component(component.to_owned());
        let Some(slot) = self.slots.iter().position(|slot| *slot == used) else {
            return self.text().to_owned();
        };
        let in_braces = other.strip_prefix('{').and_then(|rest| rest.strip_suffix('}'));
        let is_operand = in_braces.is_some_and(|name| !name.contains(['{', '}']))
            || other.chars().all(|c| c.is_alphanumeric() || "_.".contains(c));
        let other = if is_operand { other.to_owned() } else { format!("({other})") };
        let text: Vec<char> = self.text().chars().collect();
        let (mut replaced, mut place) = (String::new(), 0);
        for token in self.tokens.iter().filter(|token| token.kind == TokenKind::Operand(slot)) {
            replaced.extend(&text[place..token.range.start]);
            replaced += &other;
            place = token.range.end;
        }
        replaced.extend(&text[place..]);
        replaced
    }
}

/// A term of a sum, as its tokens.
struct Part<'a> {
    subtracted: bool,
    tokens: &'a [Token],
}

/// The parts of a sum; `subtracted` says whether the sum as a whole is subtracted.
fn sum_parts(tokens: &[Token], subtracted: bool) -> Vec<Part<'_>> {
    let mut parts = Vec::new();
    let (mut depth, mut start, mut negative) = (0_usize, 0, subtracted);
    for (place, token) in tokens.iter().enumerate() {
        match token.kind {
            TokenKind::Open | TokenKind::Call => depth += 1,
            TokenKind::Close => depth -= 1,
            TokenKind::Operator(sign @ ('+' | '-')) if depth == 0 => {
                parts.extend(open(&tokens[start..place], negative));
                start = place + 1;
                negative = subtracted != (sign == '-');
            }
            TokenKind::Operator(_) | TokenKind::Operand(_) | TokenKind::Sign(_) | TokenKind::Comma => {}
        }
    }
    parts.extend(open(&tokens[start..], negative));
    parts
}

/// The parts of a term: the signs in front of it become its own, and parentheses around all of it are opened.
fn open(mut tokens: &[Token], mut subtracted: bool) -> Vec<Part<'_>> {
    while let Some(Token { kind: TokenKind::Sign(sign), .. }) = tokens.first() {
        subtracted ^= *sign == '-';
        tokens = &tokens[1..];
    }
    if tokens.first().is_some_and(|first| first.kind == TokenKind::Open)
        && group_end(tokens) == tokens.len() - 1
    {
        return sum_parts(&tokens[1..tokens.len() - 1], subtracted);
    }
    vec![Part { subtracted, tokens }]
}

/// The place of the parenthesis that closes the one at the beginning of `tokens`.
fn group_end(tokens: &[Token]) -> usize {
    let mut depth = 0_usize;
    let closes = |token: &Token| {
        match token.kind {
            TokenKind::Open | TokenKind::Call => depth += 1,
            TokenKind::Close => depth -= 1,
            TokenKind::Operator(_) | TokenKind::Operand(_) | TokenKind::Sign(_) | TokenKind::Comma => {}
        }
        depth == 0
    };
    tokens.iter().position(closes).unwrap_or(tokens.len())
}

/// The characters of a formula.
struct Text(Vec<char>);

impl Text {
    /// The text from the first of these tokens to the last.
    fn of(&self, tokens: &[Token]) -> String {
        match (tokens.first(), tokens.last()) {
            (Some(first), Some(last)) => self.0[first.range.start..last.range.end].iter().collect(),
            _ => String::new(),
        }
    }

    /// The white space between two tokens that follow one another.
    fn between(&self, one: &Token, next: &Token) -> String {
        self.0[one.range.end..next.range.start].iter().collect()
    }
}

/// Takes the terms that use one component out of a text.
struct Removal {
    text: Text,
    /// The slot of the component to remove.
    slot: usize,
}

/// What is left of a sum.
struct Kept {
    text: String,
    /// It is one name or number, which needs no parentheses as a factor.
    is_operand: bool,
}

impl Removal {
    fn concerns(&self, tokens: &[Token]) -> bool {
        tokens.iter().any(|token| token.kind == TokenKind::Operand(self.slot))
    }

    /// What is left of a sum; `None` if nothing is.
    fn sum(&self, tokens: &[Token]) -> Option<Kept> {
        let mut kept = String::new();
        let mut is_operand = true;
        for Part { subtracted, tokens } in sum_parts(tokens, false) {
            let Some(term) = self.term(tokens) else { continue };
            is_operand &= kept.is_empty() && !subtracted && tokens.len() == 1;
            kept += &match (kept.is_empty(), subtracted) {
                (true, false) => term,
                // A formula must not begin `-a ^ b`.
                (true, true) if term.contains('^') => format!("-({term})"),
                (true, true) => format!("-{term}"),
                (false, false) => format!(" + {term}"),
                (false, true) => format!(" - {term}"),
            };
        }
        kept.is_empty().not().then_some(Kept { text: kept, is_operand })
    }

    /// What is left of a term; `None` if a factor can't do without the component.
    fn term(&self, tokens: &[Token]) -> Option<String> {
        if !self.concerns(tokens) {
            return Some(self.text.of(tokens));
        }
        let mut kept = String::new();
        let mut place = 0;
        while place < tokens.len() {
            let length = match tokens[place].kind {
                TokenKind::Open | TokenKind::Call => group_end(&tokens[place..]) + 1,
                _ => 1,
            };
            if place > 0 {
                kept += &self.text.between(&tokens[place - 1], &tokens[place]);
            }
            kept += &self.factor(&tokens[place..place + length])?;
            place += length;
        }
        Some(kept)
    }

    /// What is left of a factor, which is one token or a group in parentheses.
    fn factor(&self, tokens: &[Token]) -> Option<String> {
        if !self.concerns(tokens) {
            return Some(self.text.of(tokens));
        }
        if tokens[0].kind != TokenKind::Open {
            return None;
        }
        let kept = self.sum(&tokens[1..tokens.len() - 1])?;
        Some(if kept.is_operand { kept.text } else { format!("({})", kept.text) })
    }
}

#[cfg(test)]
mod tests;
