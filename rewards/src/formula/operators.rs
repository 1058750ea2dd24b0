//! The operators a formula may use.
//!
//! exmex's own set gives `-` a higher precedence than `+` and `/` a higher one than `*`, and evaluates sums
//! and products of numbers first, after which a function can be applied to the wrong operation: its `exp(x +
//! 1 + 2)` is `x + exp(1 + 2)`. Here every binary operator is evaluated left to right within its precedence.

use exmex::{BinOp, MakeOperators, Operator};

/// The operators a formula may use.
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
            // These two stand alone within their parentheses, so their precedence does not matter. Unlike
            // f64::min and f64::max they pass NaN on: a value that cannot be had must not look like one that
            // can.
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
