//! The operators a formula may use.
//!
//! exmex's default operators give `-` a higher precedence than `+`, and `/` a higher one than `*`. They also evaluate
//! sums and products of numbers first, after which a function may be applied to the wrong operand: `exp(x + 1 + 2)`
//! becomes `x + exp(1 + 2)`. These operators are evaluated from left to right within their precedence.

use exmex::{BinOp, MakeOperators, Operator};

/// The operator set that exmex is given.
#[derive(Clone, Debug)]
pub(crate) struct Operators;

impl MakeOperators<f64> for Operators {
    fn make<'a>() -> Vec<Operator<'a, f64>> {
        let binary = |apply, prio| BinOp { apply, prio, is_commutative: false };
        vec![
            Operator::make_bin("+", binary(|a, b| a + b, 0)),
            Operator::make_bin_unary("-", binary(|a, b| a - b, 0), |a| -a),
            Operator::make_bin("*", binary(|a, b| a * b, 1)),
            Operator::make_bin("/", binary(|a, b| a / b, 1)),
            Operator::make_bin("^", binary(f64::powf, 2)),
            // `scan` puts these two in parentheses of their own, so their precedence does not matter. Unlike f64::min
            // and f64::max they return NaN if an argument is NaN, so that an invalid value is not hidden.
            Operator::make_bin("min", binary(|a, b| if a.is_nan() || a < b { a } else { b }, 0)),
            Operator::make_bin("max", binary(|a, b| if a.is_nan() || a > b { a } else { b }, 0)),
            Operator::make_unary("abs", f64::abs),
            Operator::make_unary("exp", f64::exp),
            Operator::make_unary("ln", f64::ln),
            Operator::make_unary("sqrt", f64::sqrt),
            Operator::make_unary("tanh", f64::tanh),
            Operator::make_unary("floor", f64::floor),
            Operator::make_unary("ceil", f64::ceil),
            Operator::make_unary("round", f64::round),
        ]
    }
}
