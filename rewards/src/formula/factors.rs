//! The terms of a formula as a constant factor times the rest, for advantages that normalise each term on its own.
//!
//! - FORMULA-6 the products of factor and rest add up to the formula's value, up to rounding and a constant.

use super::Formula;
use super::token::{Slot, Token, TokenKind};

impl Formula {
    /// The terms of its outermost sum that use a component, each as a constant factor and the rest. The factor has the
    /// numbers and weights by which the term is multiplied or divided, and its sign.
    ///
    /// ```
    /// let formula = rewards::Formula::parse("accuracy - 2 * w_length * length / 3", ["accuracy", "length"], ["length"])?;
    /// let terms: Vec<_> = formula.weighted_terms().iter().map(|(f, r)| (f.text().to_owned(), r.text().to_owned())).collect();
    /// assert_eq!(terms[0], ("1".to_owned(), "(accuracy)".to_owned()));
    /// assert_eq!(terms[1], ("-1 * (2) * (w_length) / (3)".to_owned(), "(length)".to_owned()));
    /// # Ok::<(), rewards::FormulaError>(())
    /// ```
    pub fn weighted_terms(&self) -> Vec<(Formula, Formula)> {
        let parse = |text: &str| Formula::parse(text, self.component_names(), self.weight_names());
        let mut found = Vec::new();
        for term in self.terms() {
            let Ok(formula) = parse(term.text()) else { continue };
            if formula.component_names().next().is_none() {
                continue;
            }
            let sign = if term.is_subtracted() { "-1" } else { "1" };
            let (factor, rest) = formula.split(sign);
            // The parentheses may make a very long or deeply nested term too long; it then counts as a whole.
            let split = parse(&factor).and_then(|factor| Ok((factor, parse(&rest)?)));
            found.extend(split.or_else(|_| Ok::<_, super::FormulaError>((parse(sign)?, formula))).ok());
        }
        found
    }

    /// The texts of the constant factor of a term, after `sign`, and of the rest.
    fn split(&self, sign: &str) -> (String, String) {
        let text: Vec<char> = self.text().chars().collect();
        let (mut factor, mut rest) = (sign.to_owned(), String::new());
        for (operator, tokens) in factors(&self.tokens) {
            let (Some(first), Some(last)) = (tokens.first(), tokens.last()) else { continue };
            let written: String = text[first.range.start..last.range.end].iter().collect();
            let uses_component = tokens.iter().any(|token| match token.kind {
                TokenKind::Operand(slot) => matches!(self.slots[slot], Slot::Component(_)),
                _ => false,
            });
            match (uses_component, rest.is_empty(), operator) {
                (false, _, _) => factor += &format!(" {operator} ({written})"),
                (true, true, '*') => rest = format!("({written})"),
                (true, true, _) => rest = format!("1 / ({written})"),
                (true, false, _) => rest += &format!(" {operator} ({written})"),
            }
        }
        (factor, rest)
    }
}

/// The factors of a product with the operators in front of them; that of the first is `*`.
fn factors(tokens: &[Token]) -> Vec<(char, &[Token])> {
    let mut found = Vec::new();
    let (mut depth, mut start, mut operator) = (0_usize, 0, '*');
    for (place, token) in tokens.iter().enumerate() {
        match token.kind {
            TokenKind::Open | TokenKind::Call => depth += 1,
            TokenKind::Close => depth -= 1,
            TokenKind::Operator(next @ ('*' | '/')) if depth == 0 => {
                found.push((operator, &tokens[start..place]));
                (start, operator) = (place + 1, next);
            }
            TokenKind::Operator(_) | TokenKind::Operand(_) | TokenKind::Sign(_) | TokenKind::Comma => {}
        }
    }
    found.push((operator, &tokens[start..]));
    found
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use crate::{Formula, Weights};

    /// FORMULA-6 on formulas of every shape: with a = 2, b = 3, c = 5 and w_k = 0.25, the products add up to the value
    /// less the constant terms.
    #[test]
    fn factor_times_rest_adds_up_to_the_formula() {
        let components: BTreeMap<String, f64> =
            [("a", 2.0), ("b", 3.0), ("c", 5.0)].map(|(name, value)| (name.to_owned(), value)).into();
        let weights = Weights { version: 0, values: BTreeMap::from([("k".to_owned(), 0.25)]) };
        for (text, terms, constant) in [
            ("a + b + c", 3, 0.0),
            ("a - (b - w_k * c) + 7", 3, 7.0),
            ("2 * a * w_k / 4 * b", 1, 0.0),
            ("a * (1 + w_k * b) - 0.5 * c", 2, 0.0),
            ("-(a / b) + 6 / c", 2, 0.0),
            ("max(a, b) * -2 + a ^ 2 * 3 ^ w_k", 2, 0.0),
            ("3 * w_k", 0, 0.75),
        ] {
            let formula = Formula::parse(text, components.keys(), ["k"]).unwrap();
            let split = formula.weighted_terms();
            assert_eq!(split.len(), terms, "{text}");
            let sum: f64 = split
                .iter()
                .map(|(factor, rest)| {
                    assert_eq!(factor.component_names().count(), 0, "{text}");
                    factor.eval(&BTreeMap::new(), &weights).unwrap()
                        * rest.eval(&components, &weights).unwrap()
                })
                .sum();
            let value = formula.eval(&components, &weights).unwrap();
            assert!((sum + constant - value).abs() < 1e-12, "{text}: {sum} + {constant} is not {value}");
        }
    }
}
