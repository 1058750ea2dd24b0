//! Checks the text of a formula and rewrites it for the expression crate.
//!
//! The text is scanned once, without recursion. Every name and number becomes a variable `v000`, `v001`, …, so that
//! names that begin like a function (`max_pitch`) or are a constant in exmex (`e`) cause no confusion; exmex sorts
//! variables by name, which is the order of the slots. `min(a, b, c)` becomes `((a) min (b) min (c))`, so that calls
//! can be nested and take any number of arguments.

use std::ops::Range;

use super::error::{FormulaError, MAX_LENGTH, MAX_NESTING};
use super::token::{Slot, Token, TokenKind, WEIGHT_PREFIX};
use crate::did_you_mean;

const UNARY: [&str; 8] = ["abs", "exp", "ln", "sqrt", "tanh", "floor", "ceil", "round"];
const N_ARY: [&str; 2] = ["min", "max"];

/// The names that a formula may use.
pub(super) struct Names {
    components: Vec<String>,
    /// Names of weights, without their prefix.
    weights: Vec<String>,
}

impl Names {
    pub(super) fn new<C, W>(components: C, weights: W) -> Self
    where
        C: IntoIterator<Item: AsRef<str>>,
        W: IntoIterator<Item: AsRef<str>>,
    {
        Self {
            components: components.into_iter().map(|name| name.as_ref().to_owned()).collect(),
            weights: weights.into_iter().map(|name| name.as_ref().to_owned()).collect(),
        }
    }

    fn slot(&self, name: &str, column: usize) -> Result<Slot, FormulaError> {
        let component = self.components.iter().any(|known| known == name);
        let weight = name.strip_prefix(WEIGHT_PREFIX).filter(|name| self.weights.iter().any(|w| w == name));
        match (component, weight) {
            (true, Some(_)) => Err(FormulaError::Ambiguous { column, name: name.to_owned() }),
            (true, None) => Ok(Slot::Component(name.to_owned())),
            (false, Some(weight)) => Ok(Slot::Weight(weight.to_owned())),
            (false, None) => Err(self.unknown(name, column)),
        }
    }

    fn unknown(&self, name: &str, column: usize) -> FormulaError {
        if is_function(name) {
            let arguments = if N_ARY.contains(&name) { "a, b" } else { "a" };
            return syntax(column, format!("`{name}` is a function; write `{name}({arguments})`"));
        }
        let weights = self.weights.iter().map(|weight| format!("{WEIGHT_PREFIX}{weight}"));
        let known: Vec<String> = self.components.iter().cloned().chain(weights).collect();
        let hint = did_you_mean(name, known.iter().map(String::as_str));
        FormulaError::UnknownName { column, what: "name", name: shown(name), hint }
    }
}

/// A formula rewritten for the expression crate.
pub(super) struct Scanned {
    pub(super) expression: String,
    /// The meanings of `v000`, `v001`, ….
    pub(super) slots: Vec<Slot>,
    pub(super) tokens: Vec<Token>,
}

/// Checks and rewrites a formula.
pub(super) fn scan(text: &str, names: &Names) -> Result<Scanned, FormulaError> {
    let length = text.chars().count();
    if length > MAX_LENGTH {
        return Err(FormulaError::TooLong { length });
    }
    if text.trim().is_empty() {
        return Err(FormulaError::Empty);
    }
    let mut scanner = Scanner {
        chars: text.chars().collect(),
        at: 0,
        names,
        open: vec![Frame::new(Call::None, 0)],
        expression: String::new(),
        slots: Vec::new(),
        tokens: Vec::new(),
    };
    let mut operand_expected = true;
    while let Some(c) = scanner.peek() {
        operand_expected = if operand_expected { scanner.operand(c)? } else { scanner.operator(c)? };
    }
    scanner.finish(operand_expected)
}

/// An open level of parentheses.
struct Frame {
    call: Call,
    column: usize,
    arguments: usize,
    /// Whether the current operand follows a minus sign.
    negated: bool,
    /// Whether the current operand is an exponent.
    powered: bool,
}

/// The function whose arguments the parentheses enclose, if any.
#[derive(Clone, Copy, PartialEq)]
enum Call {
    None,
    Unary(&'static str),
    NAry(&'static str),
}

impl Frame {
    fn new(call: Call, column: usize) -> Self {
        Self { call, column, arguments: 1, negated: false, powered: false }
    }
}

struct Scanner<'a> {
    chars: Vec<char>,
    at: usize,
    names: &'a Names,
    /// The open levels; the first is the formula itself, so this is never empty.
    open: Vec<Frame>,
    expression: String,
    slots: Vec<Slot>,
    tokens: Vec<Token>,
}

impl Scanner<'_> {
    /// Skips white space and returns the next character.
    fn peek(&mut self) -> Option<char> {
        while self.chars.get(self.at).is_some_and(|c| c.is_whitespace()) {
            self.at += 1;
        }
        self.chars.get(self.at).copied()
    }

    fn column(&self) -> usize {
        self.at + 1
    }

    fn frame(&mut self) -> &mut Frame {
        let last = self.open.len() - 1;
        &mut self.open[last]
    }

    fn emit(&mut self, token: &str) {
        self.expression.push_str(token);
        self.expression.push(' ');
    }

    /// Records a token that ends before the present character.
    fn token(&mut self, kind: TokenKind, start: usize) {
        self.tokens.push(Token { kind, range: start..self.at });
    }

    fn emit_slot(&mut self, slot: Slot, range: Range<usize>) {
        let place = self.slots.iter().position(|known| *known == slot).unwrap_or_else(|| {
            self.slots.push(slot);
            self.slots.len() - 1
        });
        self.emit(&format!("v{place:03}"));
        self.tokens.push(Token { kind: TokenKind::Operand(place), range });
    }

    /// Reads a name, a number, a sign or an opening parenthesis. Returns whether an operand is still expected.
    fn operand(&mut self, c: char) -> Result<bool, FormulaError> {
        match c {
            '0'..='9' | '.' => self.number().map(|()| false),
            '{' => self.braced_name().map(|()| false),
            _ if is_name_start(c) => self.name_or_call(),
            '(' => self.enter(Call::None, self.at).map(|()| true),
            '-' | '+' => {
                if c == '-' {
                    self.emit("-");
                    self.frame().negated = true;
                }
                self.at += 1;
                self.token(TokenKind::Sign(c), self.at - 1);
                Ok(true)
            }
            _ => Err(self.syntax(format!("expected a name, a number or `(`, found {}", quoted(c)))),
        }
    }

    /// Reads an operator, a comma or a closing parenthesis. Returns whether an operand is expected next.
    fn operator(&mut self, c: char) -> Result<bool, FormulaError> {
        match c {
            '*' if self.chars.get(self.at + 1) == Some(&'*') => {
                Err(self.syntax("a power is written `a ^ b`".to_owned()))
            }
            '+' | '-' | '*' | '/' | '^' => {
                let Frame { powered, negated, .. } = *self.frame();
                if c == '^' && powered {
                    return Err(self.syntax("`a ^ b ^ c` is ambiguous; add parentheses".to_owned()));
                }
                if c == '^' && negated {
                    return Err(self.syntax("`-a ^ b` is ambiguous; write `-(a ^ b)`".to_owned()));
                }
                self.frame().powered = c == '^';
                self.frame().negated = false;
                self.emit(c.encode_utf8(&mut [0; 4]));
                self.at += 1;
                self.token(TokenKind::Operator(c), self.at - 1);
                Ok(true)
            }
            ',' => self.comma().map(|()| true),
            ')' => self.leave().map(|()| false),
            _ if is_name_start(c) || c.is_ascii_digit() || matches!(c, '(' | '{' | '.') => {
                Err(self.syntax(format!("expected an operator before {}, such as `*`", quoted(c))))
            }
            _ => Err(self.syntax(format!("{} is not an operator; the operators are + - * / ^", quoted(c)))),
        }
    }

    fn number(&mut self) -> Result<(), FormulaError> {
        let start = self.at;
        let digits = |scanner: &mut Self| {
            while scanner.chars.get(scanner.at).is_some_and(|c| c.is_ascii_digit() || *c == '.') {
                scanner.at += 1;
            }
        };
        digits(self);
        if matches!(self.chars.get(self.at), Some('e' | 'E')) {
            let signed = usize::from(matches!(self.chars.get(self.at + 1), Some('+' | '-')));
            if self.chars.get(self.at + 1 + signed).is_some_and(char::is_ascii_digit) {
                self.at += 1 + signed;
                digits(self);
            }
        }
        let text: String = self.chars[start..self.at].iter().collect();
        match text.parse::<f64>() {
            Ok(number) if number.is_finite() => {
                self.emit_slot(Slot::Number(number), start..self.at);
                Ok(())
            }
            _ => Err(syntax(start + 1, format!("`{}` is not a number", shown(&text)))),
        }
    }

    fn braced_name(&mut self) -> Result<(), FormulaError> {
        let (start, column) = (self.at, self.column());
        let Some(length) = self.chars[self.at..].iter().position(|c| *c == '}') else {
            return Err(self.syntax("`{` is not closed by `}`".to_owned()));
        };
        let name: String = self.chars[self.at + 1..self.at + length].iter().collect();
        self.at += length + 1;
        let slot = self.names.slot(name.trim(), column)?;
        self.emit_slot(slot, start..self.at);
        Ok(())
    }

    fn name_or_call(&mut self) -> Result<bool, FormulaError> {
        let start = self.at;
        while self.chars.get(self.at).is_some_and(|c| is_name_start(*c) || c.is_numeric()) {
            self.at += 1;
        }
        let name: String = self.chars[start..self.at].iter().collect();
        let end = self.at;
        if self.peek() != Some('(') {
            let slot = self.names.slot(&name, start + 1)?;
            self.emit_slot(slot, start..end);
            return Ok(false);
        }
        let unary = UNARY.into_iter().find(|function| *function == name).map(Call::Unary);
        let call = unary.or_else(|| N_ARY.into_iter().find(|function| *function == name).map(Call::NAry));
        match call {
            Some(call) => self.enter(call, start).map(|()| true),
            None if self.names.slot(&name, start + 1).is_ok() => {
                Err(self
                    .syntax(format!("expected an operator between `{}` and `(`, such as `*`", shown(&name))))
            }
            None => {
                let hint = did_you_mean(&name, UNARY.into_iter().chain(N_ARY));
                Err(FormulaError::UnknownName {
                    column: start + 1,
                    what: "function",
                    name: shown(&name),
                    hint,
                })
            }
        }
    }

    /// Reads an opening parenthesis; `start` is where its function's name begins, if it has one.
    fn enter(&mut self, call: Call, start: usize) -> Result<(), FormulaError> {
        let column = self.column();
        if self.open.len() > MAX_NESTING {
            return Err(FormulaError::TooDeep { column });
        }
        match call {
            Call::None => self.emit("("),
            Call::Unary(function) => self.emit(&format!("{function} (")),
            Call::NAry(_) => self.emit("( ("),
        }
        self.open.push(Frame::new(call, column));
        self.at += 1;
        self.token(if call == Call::None { TokenKind::Open } else { TokenKind::Call }, start);
        Ok(())
    }

    fn comma(&mut self) -> Result<(), FormulaError> {
        match self.frame().call {
            Call::NAry(function) => self.emit(&format!(") {function} (")),
            Call::Unary(function) => return Err(self.syntax(format!("`{function}` takes one argument"))),
            Call::None => {
                return Err(self.syntax("a comma is only allowed in `min(a, b)` and `max(a, b)`".to_owned()));
            }
        }
        let frame = self.frame();
        frame.arguments += 1;
        (frame.negated, frame.powered) = (false, false);
        self.at += 1;
        self.token(TokenKind::Comma, self.at - 1);
        Ok(())
    }

    fn leave(&mut self) -> Result<(), FormulaError> {
        if self.open.len() == 1 {
            return Err(self.syntax("`)` has no matching `(`".to_owned()));
        }
        match *self.frame() {
            Frame { call: Call::NAry(function), arguments: 1, .. } => {
                return Err(self.syntax(format!("`{function}` takes at least two arguments")));
            }
            Frame { call: Call::NAry(_), .. } => self.emit(") )"),
            Frame { call: Call::None | Call::Unary(_), .. } => self.emit(")"),
        }
        self.open.pop();
        self.at += 1;
        self.token(TokenKind::Close, self.at - 1);
        Ok(())
    }

    fn finish(mut self, operand_expected: bool) -> Result<Scanned, FormulaError> {
        if operand_expected {
            return Err(self.syntax("the formula ends where a name or a number is expected".to_owned()));
        }
        if self.open.len() > 1 {
            return Err(syntax(self.frame().column, "`(` is not closed by `)`".to_owned()));
        }
        Ok(Scanned { expression: self.expression, slots: self.slots, tokens: self.tokens })
    }

    fn syntax(&self, problem: String) -> FormulaError {
        syntax(self.column(), problem)
    }
}

fn syntax(column: usize, problem: String) -> FormulaError {
    FormulaError::Syntax { column, problem }
}

fn is_name_start(c: char) -> bool {
    c == '_' || c.is_alphabetic()
}

/// The name as it is written in a formula: in braces if it needs them.
pub(super) fn written(name: &str) -> String {
    let plain = |(at, c): (usize, char)| is_name_start(c) || (at > 0 && c.is_numeric());
    if name.char_indices().all(plain) { name.to_owned() } else { format!("{{{name}}}") }
}

fn is_function(name: &str) -> bool {
    UNARY.contains(&name) || N_ARY.contains(&name)
}

/// A character for a one-line message.
fn quoted(c: char) -> String {
    if c.is_control() { format!("{c:?}") } else { format!("`{c}`") }
}

/// A name for a one-line message: without control characters, at most 40 characters.
fn shown(name: &str) -> String {
    let mut shown: String = name.chars().take(40).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if name.chars().count() > 40 {
        shown.push('…');
    }
    shown
}
