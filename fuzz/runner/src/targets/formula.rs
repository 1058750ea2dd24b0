//! Shaping formulas, as a scenario or a control request contains them.

use std::collections::BTreeMap;

use rewards::{Formula, FormulaError, Weights};

use super::Target;

const COMPONENTS: [&str; 3] = ["accuracy", "format", "my-reward"];
const WEIGHTS: [&str; 2] = ["format", "my-reward"];

pub const TARGET: Target = Target {
    name: "formula",
    dictionary: &[
        "accuracy",
        "format",
        "{my-reward}",
        "w_format",
        "{w_my-reward}",
        "+",
        "-",
        "*",
        "/",
        "^",
        "(",
        ")",
        ",",
        "min(",
        "max(",
        "abs(",
        "exp(",
        "ln(",
        "sqrt(",
        "tanh(",
        "floor(",
        "ceil(",
        "round(",
        "1e308",
        "0.5",
        " ",
        "{",
        "}",
        "--",
        "((((((((",
    ],
    longest: 4 * 1024,
    run,
};

fn run(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let formula = match Formula::parse(&text, COMPONENTS, WEIGHTS) {
        Ok(formula) => formula,
        Err(error) => {
            // FORMULA-1: refused in one line.
            assert_eq!(error.to_string().lines().count(), 1, "{error}");
            return;
        }
    };
    let components: BTreeMap<String, f64> =
        COMPONENTS.iter().zip([1.0, 0.0, -3.5]).map(|(name, value)| ((*name).to_owned(), value)).collect();
    let values = WEIGHTS.iter().zip([0.5, 1e300]).map(|(name, value)| ((*name).to_owned(), value)).collect();
    let weights = Weights { version: 1, values };
    // FORMULA-3: a result is finite.
    assert!(formula.eval(&components, &weights).is_none_or(f64::is_finite));
    for term in formula.terms() {
        term.contribution(&components, &weights);
    }
    for name in COMPONENTS {
        for changed in [
            formula.without_component(name),
            formula.with_component(name, None),
            formula.with_component(name, Some("format")),
        ] {
            // The edited text may be longer or deeper than a formula may be; it is never anything but a formula.
            if let Err(error) = Formula::parse(&changed, COMPONENTS, WEIGHTS) {
                let too_large = matches!(error, FormulaError::TooLong { .. } | FormulaError::TooDeep { .. });
                assert!(too_large, "{text} → {changed}: {error}");
            }
        }
    }
}
