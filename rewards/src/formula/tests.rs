use super::*;

pub(super) const COMPONENTS: [&str; 6] = ["accuracy", "e", "max_pitch", "my-reward", "think", "x"];
const WEIGHTS: [&str; 3] = ["my-reward", "think", "x"];

pub(super) fn parse(text: &str) -> Result<Formula, FormulaError> {
    Formula::parse(text, COMPONENTS, WEIGHTS)
}

/// The scores accuracy 2, e 3, max_pitch 5, my-reward 7, think 11 and x 13.
pub(super) fn scores() -> BTreeMap<String, f64> {
    let values = [2.0, 3.0, 5.0, 7.0, 11.0, 13.0];
    COMPONENTS.map(str::to_owned).into_iter().zip(values).collect()
}

/// my-reward 0.5, think 0.25, x -1.
pub(super) fn weights() -> Weights {
    let weights = [("my-reward", 0.5), ("think", 0.25), ("x", -1.0)];
    Weights {
        version: 3,
        values: weights.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
    }
}

fn eval(text: &str) -> Option<f64> {
    parse(text).unwrap_or_else(|error| panic!("{text}: {error}")).eval(&scores(), &weights())
}

fn refused(text: &str) -> String {
    let message = parse(text).expect_err(text).to_string();
    assert!(!message.contains('\n') && message.len() < 400, "one line: {message:?}");
    message
}

#[test]
fn arithmetic_has_the_usual_precedence_from_left_to_right() {
    for (text, expected) in [
        ("accuracy + e * x", 2.0 + 39.0),
        ("(accuracy + e) * x", 65.0),
        ("x - e - accuracy", 8.0),
        ("x - e + accuracy", 12.0),
        ("x / accuracy / accuracy * e", 9.75),
        ("x * w_think + w_x", 2.25),
        ("accuracy ^ e", 8.0),
        ("2 * accuracy ^ 2", 8.0),
        ("2 ^ -accuracy", 0.25),
        ("-(accuracy ^ 2)", -4.0),
        ("(-accuracy) ^ 2", 4.0),
        ("(accuracy ^ 2) ^ 3", 64.0),
        ("- -x", 13.0),
        ("+x - -x", 26.0),
        ("1e-3 * x + .5 + 2. + 1E2 + 1.5e+1", 0.013 + 117.5),
        ("7", 7.0),
        ("x+1+2", 16.0),
        ("\tx\n + 1 ", 14.0),
    ] {
        let found = eval(text).unwrap();
        assert!((found - expected).abs() < 1e-12, "{text} = {found}, not {expected}");
    }
}

#[test]
fn functions_nest_and_apply_to_their_whole_argument() {
    for (text, expected) in [
        ("max(0, min(1, x))", 1.0),
        ("min(max(accuracy, e), x)", 3.0),
        ("max(accuracy, e, x, max_pitch) + 1", 14.0),
        ("2 * min(x, e) ^ 2", 18.0),
        ("min(x - 20, e) * -1", 7.0),
        ("exp(x + 1 + 2 - 16)", 1.0),
        ("-exp(0 * x)", -1.0),
        ("exp(-(x - 13))", 1.0),
        ("abs(accuracy - e) * x", 13.0),
        ("abs (accuracy-e)", 1.0),
        (
            "sqrt(abs(-16)) + ln(exp(2)) + tanh(0) + floor(1.5) + ceil(1.5) + round(1.4)",
            4.0 + 2.0 + 1.0 + 2.0 + 1.0,
        ),
        ("max(-(accuracy), -e)", -2.0),
        ("max(accuracy ^ 2, e ^ 2)", 9.0),
    ] {
        let found = eval(text).unwrap();
        assert!((found - expected).abs() < 1e-12, "{text} = {found}, not {expected}");
    }
}

#[test]
fn names_that_look_like_functions_or_constants_are_names() {
    assert_eq!(eval("max_pitch"), Some(5.0));
    assert_eq!(eval("e + e"), Some(6.0));
    assert_eq!(eval("{my-reward} * {w_my-reward} + { x }"), Some(16.5));
    let formula = parse("w_think * think + x * think").unwrap();
    assert_eq!(formula.component_names().collect::<Vec<_>>(), ["think", "x"]);
    assert_eq!(formula.weight_names().collect::<Vec<_>>(), ["think"]);
    assert_eq!(formula.text(), "w_think * think + x * think");
}

#[test]
fn many_names_keep_their_values() {
    let names: Vec<String> = (0..200).map(|index| format!("c{index}")).collect();
    let text = names.iter().take(150).rev().map(String::as_str).collect::<Vec<_>>().join("-");
    let components: BTreeMap<String, f64> =
        names.iter().enumerate().map(|(index, name)| (name.clone(), (index * index) as f64)).collect();
    let formula = Formula::parse(&text, &names, [""; 0]).unwrap();
    // 149² - (148² + … + 0²) = 149² - 148·149·297/6
    let expected = 149.0 * 149.0 - 148.0 * 149.0 * 297.0 / 6.0;
    assert_eq!(formula.eval(&components, &Weights::default()), Some(expected));
}

#[test]
fn a_missing_or_infinite_value_is_none() {
    assert_eq!(eval("1 / (x - 13)"), None);
    assert_eq!(eval("ln(-x)"), None);
    assert_eq!(eval("exp(exp(x))"), None);
    assert_eq!(eval("min(1, ln(-x))"), None, "not hidden by the other argument");
    assert_eq!(eval("max(ln(-x), 1)"), None);
    let formula = parse("x + w_x").unwrap();
    let x = BTreeMap::from([("x".to_owned(), 1.0)]);
    assert_eq!(formula.eval(&x, &Weights::default()), None, "no such weight");
    let weights = Weights { version: 0, values: BTreeMap::from([("x".to_owned(), 1.0)]) };
    assert_eq!(formula.eval(&BTreeMap::new(), &weights), None, "no such component");
    assert_eq!(formula.eval(&x, &weights), Some(2.0));
}

#[test]
fn unknown_names_are_refused_with_the_most_similar_one() {
    let known = "(known: accuracy, e, max_pitch, my-reward, think, x, w_my-reward, w_think, w_x)";
    assert_eq!(
        refused("accuracy + thinkk"),
        format!("formula, column 12: unknown name `thinkk`; did you mean `think`? {known}"),
    );
    assert_eq!(
        refused("2 * w_thnk"),
        format!("formula, column 5: unknown name `w_thnk`; did you mean `w_think`? {known}")
    );
    assert_eq!(refused("{zzzzzzz}"), format!("formula, column 1: unknown name `zzzzzzz` {known}"));
    assert_eq!(
        refused("sqr(x)"),
        "formula, column 1: unknown function `sqr`; did you mean `sqrt`? \
         (known: abs, exp, ln, sqrt, tanh, floor, ceil, round, min, max)",
    );
    assert_eq!(
        Formula::parse("w_x", ["w_x", "x"], ["x"]).unwrap_err().to_string(),
        "formula, column 1: `w_x` is both a component and the weight of one; rename the component",
    );
}

#[test]
fn every_mistake_is_reported_in_one_line_with_its_column() {
    for (text, expected) in [
        ("", "the formula is empty; write for example `accuracy + 0.5 * format`"),
        (" \n ", "the formula is empty; write for example `accuracy + 0.5 * format`"),
        ("x +", "formula, column 4: the formula ends where a name or a number is expected"),
        ("* x", "formula, column 1: expected a name, a number or `(`, found `*`"),
        ("x * / x", "formula, column 5: expected a name, a number or `(`, found `/`"),
        ("x x", "formula, column 3: expected an operator before `x`, such as `*`"),
        ("2 x", "formula, column 3: expected an operator before `x`, such as `*`"),
        ("(x) (x)", "formula, column 5: expected an operator before `(`, such as `*`"),
        ("x (2)", "formula, column 3: expected an operator between `x` and `(`, such as `*`"),
        ("x ** 2", "formula, column 3: a power is written `a ^ b`"),
        ("x % 2", "formula, column 3: `%` is not an operator; the operators are + - * / ^"),
        ("x\u{0}", "formula, column 2: '\\0' is not an operator; the operators are + - * / ^"),
        ("x = 2", "formula, column 3: `=` is not an operator; the operators are + - * / ^"),
        ("(x + 2", "formula, column 1: `(` is not closed by `)`"),
        ("x + 2)", "formula, column 6: `)` has no matching `(`"),
        ("()", "formula, column 2: expected a name, a number or `(`, found `)`"),
        ("x, 2", "formula, column 2: a comma is only allowed in `min(a, b)` and `max(a, b)`"),
        ("exp(x, 2)", "formula, column 6: `exp` takes one argument"),
        ("min(x)", "formula, column 6: `min` takes at least two arguments"),
        ("min(x,)", "formula, column 7: expected a name, a number or `(`, found `)`"),
        ("min", "formula, column 1: `min` is a function; write `min(a, b)`"),
        ("exp x", "formula, column 1: `exp` is a function; write `exp(a)`"),
        ("x min e", "formula, column 3: expected an operator before `m`, such as `*`"),
        ("1.2.3", "formula, column 1: `1.2.3` is not a number"),
        ("x + 1e999", "formula, column 5: `1e999` is not a number"),
        (".", "formula, column 1: `.` is not a number"),
        ("{x", "formula, column 1: `{` is not closed by `}`"),
        ("-x ^ 2", "formula, column 4: `-a ^ b` is ambiguous; write `-(a ^ b)`"),
        ("2 - -x ^ 2", "formula, column 8: `-a ^ b` is ambiguous; write `-(a ^ b)`"),
        ("x ^ 2 ^ 3", "formula, column 7: `a ^ b ^ c` is ambiguous; add parentheses"),
    ] {
        assert_eq!(refused(text), expected, "{text}");
    }
}

#[test]
fn hostile_formulas_are_refused_in_one_line() {
    let deep = |levels: usize| format!("{}x{}", "(".repeat(levels), ")".repeat(levels));
    assert_eq!(eval(&deep(MAX_NESTING)), Some(13.0));
    assert_eq!(refused(&deep(MAX_NESTING + 1)), "formula, column 33: parentheses are nested deeper than 32");
    assert_eq!(refused(&"(".repeat(MAX_LENGTH)), "formula, column 33: parentheses are nested deeper than 32");
    assert_eq!(refused(&"exp(".repeat(500)), "formula, column 132: parentheses are nested deeper than 32");
    assert_eq!(
        refused(&"(".repeat(1_000_000)),
        "the formula has 1000000 characters; at most 2000 are allowed"
    );
    refused(&"min(x,".repeat(300));
    refused(&"y".repeat(MAX_LENGTH));
    refused(&"9".repeat(MAX_LENGTH));
    refused(&format!("{{{}}}", "\n\u{1b}".repeat(500)));
    assert_eq!(eval(&format!("{}x", "-".repeat(MAX_LENGTH - 1))), Some(-13.0));
    assert_eq!(eval(&format!("{}x", "x+".repeat(999))), Some(13_000.0));
}

/// A linear congruential generator, so that the random texts are the same in every run.
pub(super) struct Noise(pub(super) u64);

impl Noise {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % bound
    }
}

#[test]
fn any_text_is_refused_or_evaluates() {
    let pieces = [
        "x", "w_x", "e", "think", "(", ")", "(", ")", "+", "-", "*", "/", "^", ",", "min(", "max(", "exp(",
        "{", "}", "{x}", "2", ".5", "1e", "1e3", " ", "\n", "é", "🐕", "π", "PI", "sin", "\u{0}", "_",
    ];
    let mut noise = Noise(5);
    let mut parsed = 0;
    for _ in 0..50_000 {
        let text: String = (0..noise.below(9)).map(|_| pieces[noise.below(pieces.len())]).collect();
        if parse(&text).is_ok() {
            parsed += 1;
            eval(&text);
        } else {
            refused(&text);
        }
    }
    assert!(parsed > 500, "{parsed} formulas among the noise");
}

/// A random formula and its value, which is computed while the formula is written.
pub(super) fn random_formula(noise: &mut Noise, depth: usize) -> (String, f64) {
    let mut text = String::new();
    // Sums of products of factors: (sum so far, product so far).
    let (mut sum, mut product) = (0.0, None::<f64>);
    let mut sign = 1.0;
    for term in 0..1 + noise.below(4) {
        let (factor_text, factor) = random_factor(noise, depth);
        match (term, noise.below(4)) {
            (0, _) => product = Some(factor),
            (_, 0 | 1) => {
                let divide = noise.below(3) == 0;
                text.push_str(if divide { " / " } else { "*" });
                // The sign of a zero may differ between the two, and with it that of an infinity.
                let quotient = |product: f64| if factor == 0.0 { f64::NAN } else { product / factor };
                product = product.map(|product| if divide { quotient(product) } else { product * factor });
            }
            (_, minus) => {
                text.push_str(if minus == 2 { "-" } else { " + " });
                sum += sign * product.unwrap_or(0.0);
                sign = if minus == 2 { -1.0 } else { 1.0 };
                product = Some(factor);
            }
        }
        text.push_str(&factor_text);
    }
    (text, sum + sign * product.unwrap_or(0.0))
}

fn random_factor(noise: &mut Noise, depth: usize) -> (String, f64) {
    let kind = if depth == 0 { noise.below(3) } else { noise.below(9) };
    match kind {
        0 => ("x".to_owned(), 13.0),
        1 => ("w_think".to_owned(), 0.25),
        2 => ("1.5".to_owned(), 1.5),
        3 => {
            let (text, value) = random_formula(noise, depth - 1);
            (format!("({text})"), value)
        }
        4 => {
            let (text, value) = random_formula(noise, depth - 1);
            (format!("-({text})"), -value)
        }
        5 => {
            let (text, value) = random_formula(noise, depth - 1);
            (format!("tanh({text})"), value.tanh())
        }
        6 => {
            let (text, value) = random_formula(noise, depth - 1);
            (format!("abs({text}) ^ 2"), value.abs().powf(2.0))
        }
        _ => {
            let (first, a) = random_formula(noise, depth - 1);
            let (second, b) = random_formula(noise, depth - 1);
            let value = if kind == 7 { a.min(b) } else { a.max(b) };
            let function = if kind == 7 { "min" } else { "max" };
            let value = if a.is_nan() || b.is_nan() { f64::NAN } else { value };
            (format!("{function}({first}, {second})"), value)
        }
    }
}

#[test]
fn random_formulas_have_the_value_computed_with_them() {
    let mut noise = Noise(3);
    let mut compared = 0;
    while compared < 3_000 {
        let (text, expected) = random_formula(&mut noise, 4);
        if !expected.is_finite() || text.len() > MAX_LENGTH {
            continue;
        }
        let found = eval(&text).unwrap_or_else(|| panic!("{text} has no value, not {expected}"));
        // Rounding may differ: a negated product is evaluated as a product with a negated factor.
        assert!(
            (found - expected).abs() <= 1e-9 * expected.abs().max(1.0),
            "{text} = {found}, not {expected}"
        );
        compared += 1;
    }
}

#[test]
fn formulas_are_send_and_sync() {
    fn crosses<T: Send + Sync + Clone>() {}
    crosses::<Formula>();
}

#[test]
fn a_written_name_parses_to_the_same_name() {
    for (name, written) in [
        ("think", "think"),
        ("_a2", "_a2"),
        ("größe", "größe"),
        ("my-reward", "{my-reward}"),
        ("2nd", "{2nd}"),
    ] {
        assert_eq!(Formula::name(name), written);
        let text = format!("{} * {}", Formula::name(&format!("w_{name}")), Formula::name(name));
        let formula = Formula::parse(&text, [name], [name]).unwrap();
        assert_eq!(formula.component_names().collect::<Vec<_>>(), [name]);
    }
}
