use super::*;
use crate::formula::tests::{COMPONENTS, Noise, parse, random_formula, scores, weights};

/// The terms with their signs, as `+a`, `-b * c`.
fn terms(text: &str) -> Vec<String> {
    let signed = |term: Term| format!("{}{}", if term.is_subtracted() { '-' } else { '+' }, term.text());
    parse(text).unwrap_or_else(|error| panic!("{text}: {error}")).terms().into_iter().map(signed).collect()
}

#[test]
fn a_formula_is_taken_apart_at_its_outermost_signs() {
    for (text, expected) in [
        ("accuracy", vec!["+accuracy"]),
        ("accuracy + w_x * x - 2", vec!["+accuracy", "+w_x * x", "-2"]),
        ("1e-3 * x + 2", vec!["+1e-3 * x", "+2"]),
        ("{my-reward}-{w_my-reward}*e", vec!["+{my-reward}", "-{w_my-reward}*e"]),
        ("accuracy * (1 + w_think * think) + e", vec!["+accuracy * (1 + w_think * think)", "+e"]),
        ("min(x - e, 1) - max(x, e + 1)", vec!["+min(x - e, 1)", "-max(x, e + 1)"]),
        ("x ^ -2 + e", vec!["+x ^ -2", "+e"]),
        (" x\n + \te ", vec!["+x", "+e"]),
        ("abs (x) + e", vec!["+abs (x)", "+e"]),
    ] {
        assert_eq!(terms(text), expected, "{text}");
    }
}

#[test]
fn parentheses_and_signs_around_a_term_become_the_terms_own() {
    for (text, expected) in [
        ("accuracy - (x - e)", vec!["+accuracy", "-x", "+e"]),
        ("-(x + e) + 1", vec!["-x", "-e", "+1"]),
        ("((x + e))", vec!["+x", "+e"]),
        ("- -x", vec!["+x"]),
        ("x - -(e - +1)", vec!["+x", "+e", "-1"]),
        ("-(x ^ 2)", vec!["-x ^ 2"]),
        // Not all of the term.
        ("(x + e) * 2", vec!["+(x + e) * 2"]),
        ("(x + 1) * (e + 1)", vec!["+(x + 1) * (e + 1)"]),
        ("-(x + e) * 2", vec!["-(x + e) * 2"]),
    ] {
        assert_eq!(terms(text), expected, "{text}");
    }
}

#[test]
fn a_term_contributes_its_value_with_its_sign() {
    // accuracy 2, think 11, w_think 0.25: 2 - 2.75
    let formula = parse("accuracy - w_think * think").unwrap();
    let contributions = |components: &BTreeMap<String, f64>| -> Vec<_> {
        formula.terms().iter().map(|term| term.contribution(components, &weights())).collect()
    };
    assert_eq!(contributions(&scores()), [Some(2.0), Some(-2.75)]);
    let only_accuracy = BTreeMap::from([("accuracy".to_owned(), 2.0)]);
    assert_eq!(contributions(&only_accuracy), [Some(2.0), None]);
}

#[test]
fn contributions_of_random_formulas_add_up_to_their_value() {
    let (mut noise, mut compared) = (Noise(11), 0);
    while compared < 2_000 {
        let (text, _) = random_formula(&mut noise, 3);
        let Ok(formula) = parse(&text) else { continue };
        let terms = formula.terms();
        let Some(value) = formula.eval(&scores(), &weights()) else { continue };
        let parts: Option<Vec<f64>> =
            terms.iter().map(|term| term.contribution(&scores(), &weights())).collect();
        // The sum of two terms may be finite where one of them is not.
        let Some(parts) = parts else { continue };
        let largest = parts.iter().fold(1.0, |most: f64, part| most.max(part.abs()));
        let sum: f64 = parts.iter().sum();
        assert!((sum - value).abs() <= 1e-9 * largest, "{text} = {value}, its terms {parts:?}");
        compared += 1;
    }
}

#[test]
fn a_component_joins_with_or_without_a_weight_and_only_once() {
    let formula = parse("accuracy - x").unwrap();
    assert_eq!(formula.with_component("think", Some("think")), "accuracy - x + w_think * think");
    assert_eq!(formula.with_component("think", Some("x")), "accuracy - x + w_x * think");
    assert_eq!(formula.with_component("think", None), "accuracy - x + think");
    assert_eq!(
        formula.with_component("my-reward", Some("my-reward")),
        "accuracy - x + {w_my-reward} * {my-reward}"
    );
    assert_eq!(formula.with_component("x", Some("x")), "accuracy - x");
}

#[test]
fn a_component_leaves_with_its_terms() {
    for (text, component, expected) in [
        ("accuracy + w_x * x", "x", "accuracy"),
        ("accuracy + w_x * x", "accuracy", "w_x * x"),
        ("accuracy + w_x * x", "think", "accuracy + w_x * x"),
        ("accuracy - w_x * x - e", "accuracy", "-w_x * x - e"),
        ("accuracy - x ^ 2", "accuracy", "-(x ^ 2)"),
        ("accuracy - (x - e)", "x", "accuracy + e"),
        ("accuracy + {my-reward}*2 - e", "my-reward", "accuracy - e"),
        ("x + x * e + accuracy", "x", "accuracy"),
        ("w_x * x", "x", "0"),
        ("min(x, e) + accuracy", "x", "accuracy"),
        ("max(x + e, 1) * accuracy", "x", "0"),
        // Spelt as before where nothing is removed.
        ("accuracy*(1+ e) + x", "x", "accuracy*(1+ e)"),
    ] {
        assert_eq!(parse(text).unwrap().without_component(component), expected, "{text} without {component}");
    }
}

#[test]
fn a_parenthesised_factor_loses_only_the_terms_that_use_the_component() {
    for (text, component, expected) in [
        ("accuracy * (1 + w_think * think) + e", "think", "accuracy * 1 + e"),
        ("accuracy * (1 + w_think * think) + e", "accuracy", "e"),
        ("accuracy * (1 + e + think)", "think", "accuracy * (1 + e)"),
        ("accuracy / (2 * e + think)", "think", "accuracy / (2 * e)"),
        ("accuracy * (think - e)", "think", "accuracy * (-e)"),
        ("accuracy * (think + w_think * think) + e", "think", "e"),
        ("accuracy ^ (1 + think)", "think", "accuracy ^ 1"),
        ("(1 + think) * (1 + x) * 2", "think", "1 * (1 + x) * 2"),
    ] {
        assert_eq!(parse(text).unwrap().without_component(component), expected, "{text} without {component}");
    }
}

#[test]
fn another_formula_stands_in_a_components_place() {
    for (text, component, other, expected) in [
        ("x * (1 + w_think * think) + e", "x", "accuracy", "accuracy * (1 + w_think * think) + e"),
        ("x * 2 - x", "x", "accuracy - e", "(accuracy - e) * 2 - (accuracy - e)"),
        ("accuracy + {my-reward}*2", "my-reward", "{my-reward}", "accuracy + {my-reward}*2"),
        ("exp(x)", "x", "0.5", "exp(0.5)"),
        ("accuracy", "x", "e", "accuracy"),
        // A name that another begins with.
        ("think + w_think * x", "think", "e", "e + w_think * x"),
    ] {
        let found = parse(text).unwrap().with_instead_of(component, other);
        assert_eq!(found, expected, "{text} with {other} instead of {component}");
        assert!(parse(&found).is_ok(), "{found}");
    }
}

#[test]
fn random_formulas_without_a_component_are_formulas_over_the_other_names() {
    let mut noise = Noise(23);
    for _ in 0..3_000 {
        let (text, _) = random_formula(&mut noise, 3);
        let Ok(formula) = parse(&text) else { continue };
        let without = formula.without_component("x");
        let others = COMPONENTS.into_iter().filter(|name| *name != "x");
        let parsed = Formula::parse(&without, others, formula.weight_names());
        assert!(parsed.is_ok(), "{text} without x is {without}: {}", parsed.unwrap_err());
        assert!(formula.uses("x") || without == text);
    }
}
