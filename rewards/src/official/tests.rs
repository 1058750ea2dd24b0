//! The rules against a second statement of them: the golden files of `tests/fixtures/scores.py`.

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::*;

fn read(path: &Path) -> Value {
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/scores").join(name)
}

/// Row, prediction and verdicts of each case.
fn cases(golden: &Value) -> impl Iterator<Item = (&Value, &str, &[Value])> {
    golden["cases"].as_array().unwrap().iter().map(|case| {
        let case = case.as_array().unwrap();
        let row = &golden["rows"][usize::try_from(case[0].as_u64().unwrap()).unwrap()];
        (row, case[1].as_str().unwrap(), &case[2..])
    })
}

fn string_match_agrees_with(golden: &Value) -> usize {
    let mut compared = 0;
    for (row, prediction, verdicts) in cases(golden) {
        let choices: Vec<String> = serde_json::from_value(row["choices"].clone()).unwrap();
        let right = string_match(prediction, row["answer"].as_str().unwrap(), &choices);
        assert_eq!(Value::from(right), verdicts[0], "{prediction:?} for {row}");
        compared += 1;
    }
    compared
}

#[test]
fn the_string_match_agrees_with_its_statement_in_python() {
    assert_eq!(string_match_agrees_with(&read(&golden("string_match.json"))), 4800);
}

/// `SCORE_CASES=FILE cargo test -p rewards -- --ignored cases_of_a_real_file` after `scores.py --cases`.
#[test]
#[ignore = "needs a file of cases that is not committed"]
fn the_string_match_agrees_on_the_cases_of_a_real_file() {
    let compared = string_match_agrees_with(&read(Path::new(&std::env::var("SCORE_CASES").unwrap())));
    println!("{compared} predictions compared");
}

#[test]
fn the_letter_rules_agree_with_their_statement_in_python() {
    let golden = read(&golden("letters.json"));
    let mut compared = 0;
    for (row, prediction, verdicts) in cases(&golden) {
        let mut question =
            Question { answer: row["answer_gt"].as_str().unwrap().to_owned(), ..Question::default() };
        for letter in ['A', 'B', 'C', 'D'] {
            let text = row[format!("choice_{}", letter.to_ascii_lowercase())].as_str().unwrap_or_default();
            if !text.is_empty() {
                question.choices.push(text.to_owned());
                question.letters.push(letter);
            }
        }
        let ours = [OfficialRule::AirBenchLetter, OfficialRule::MmsuLetter]
            .map(|rule| rule.score(prediction, &question).map_or(Value::Null, Value::from));
        assert_eq!(ours, verdicts, "{prediction:?} for {row}");
        compared += 1;
    }
    assert_eq!(compared, 3600);
}
