use super::*;

fn names() -> Names {
    let all = ["accuracy", "components.think", "eval.accuracy", "kl", "reward", "think_rate"];
    Names::of_list(all.map(str::to_owned).to_vec())
}

fn parse(text: &str) -> Result<AlarmCondition, Mistake> {
    AlarmCondition::parse(text, &names())
}

/// think_rate 0.01, reward 2, components.think missing, the mean of kl 3, eval.accuracy 0.5.
fn value(series: &Series) -> Option<f64> {
    match (series.name.as_str(), series.window) {
        ("think_rate", Window::Now) => Some(0.01),
        ("reward", Window::Now) => Some(2.0),
        ("kl", Window::Mean(5)) => Some(3.0),
        ("eval.accuracy", Window::Now) => Some(0.5),
        _ => None,
    }
}

fn truth(text: &str) -> Truth {
    parse(text).unwrap_or_else(|mistake| panic!("{text}: {mistake:?}")).truth(&value)
}

#[test]
fn a_condition_holds_if_all_of_its_comparisons_do() {
    for (text, expected) in [
        ("think_rate < 0.02", Truth::Holds),
        ("0.02 >= think_rate and reward <= 2", Truth::Holds),
        ("reward > 2", Truth::DoesNotHold),
        ("reward >= 2", Truth::Holds),
        ("mean(kl, 5) / 2 + {eval.accuracy} > max(1, reward) + 1e-9", Truth::DoesNotHold),
        ("mean(kl, 5) / 2 + {eval.accuracy} >= max(1, reward)", Truth::Holds),
        ("abs(think_rate - 1) > 0.9", Truth::Holds),
        // A number that is missing decides nothing, unless another comparison does.
        ("{components.think} > 0", Truth::Unknown),
        ("{components.think} > 0 and think_rate < 0.02", Truth::Unknown),
        ("{components.think} > 0 and think_rate > 0.02", Truth::DoesNotHold),
        ("mean(kl, 6) > 0", Truth::Unknown),
        ("reward / 0 > 1", Truth::Unknown),
    ] {
        assert_eq!(truth(text), expected, "{text}");
    }
}

#[test]
fn the_number_of_steps_is_read_at_the_end() {
    for (text, steps) in [
        ("think_rate < 0.02", 1),
        ("think_rate < 0.02 for 10 steps", 10),
        ("think_rate < 0.02 and reward > 1 for 1 step", 1),
        ("  mean({components.think}, 3)   <  0.02   for   7   steps  ", 7),
    ] {
        assert_eq!(parse(text).unwrap().steps, steps, "{text}");
    }
    let shown: Vec<String> = parse("mean(kl, 2) > first(kl, 3) and kl > mean(kl, 2)")
        .unwrap()
        .series()
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(shown, ["kl", "mean(kl, 2)", "first(kl, 3)"]);
}

#[test]
fn a_mistake_has_its_column_and_what_to_write_instead() {
    for (text, column, problem, instead) in [
        ("think_rat < 0.02", 1, "there is no number `think_rat`", "did you mean `think_rate`?"),
        (
            "reward > 1 and think_rat < 0.02",
            16,
            "there is no number `think_rat`",
            "did you mean `think_rate`?",
        ),
        (
            "1 < mean({component.think}, 3)",
            5,
            "there is no number `component.think`",
            "did you mean `{components.think}`?",
        ),
        ("average(kl, 3) > 1", 1, "unknown function `average`", "the functions are mean, "),
        ("think_rate", 1, "there is no `<`, `<=`, `>` or `>=`", "think_rate < 0.02"),
        ("think_rate == 1", 12, "`=` is not a comparison", "write `<`"),
        ("0 < think_rate < 1", 16, "there is a second comparison", "`and`"),
        ("think_rate < ", 13, "a side of the comparison is empty", "think_rate < 0.02"),
        ("", 1, "there is no `<`", "think_rate < 0.02"),
        ("think_rate < 1 and", 19, "there is no `<`", "think_rate < 0.02"),
        ("think_rate < 1 for ten steps", 16, "`for ten steps` names no number of steps", "for 10 steps"),
        ("think_rate < 1 for 0 steps", 16, "names no number of steps", "for 10 steps"),
        (
            "mean(kl) > 1",
            1,
            "`mean` takes a number's name and how many of its values",
            "mean(think_rate, 10)",
        ),
        ("mean(kl, 0) > 1", 1, "`0` is not a number of values from 1 to 1000", "mean("),
        ("mean(kl + 1, 2) > 1", 1, "`kl + 1` is not the name of a number", "mean("),
        ("mean(kl, 2 > 1", 1, "`mean(` is not closed by `)`", "mean("),
        ("reward > 2 kl", 12, "expected an operator before `k`, such as `*`", ""),
        ("{reward > 1", 1, "there is no `<`", ""),
    ] {
        let mistake = parse(text).map(|_| ()).expect_err(text);
        assert!(
            mistake.problem.contains(problem) && mistake.instead.contains(instead),
            "{text}: {mistake:?}"
        );
        assert_eq!(mistake.column, column, "{text}: {mistake:?}");
    }
}

/// Texts of the language's own words in a random order are read or refused, and never panic.
#[test]
fn any_text_is_read_or_refused() {
    let words = [
        "think_rate",
        "{",
        "}",
        "(",
        ")",
        ",",
        "mean(",
        "kl",
        "<",
        ">=",
        "and",
        "for",
        "3",
        " steps",
        " ",
        "é",
        "-",
        "1e9",
        "_0",
        "=",
        "max(",
    ];
    let mut noise = 5_u64;
    for _ in 0..20_000 {
        let mut text = String::new();
        for _ in 0..12 {
            noise = noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            text += words[(noise >> 33) as usize % words.len()];
        }
        if let Err(mistake) = parse(&text) {
            assert!(mistake.column >= 1 && mistake.column <= text.chars().count() + 1, "{text}: {mistake:?}");
        }
    }
}
