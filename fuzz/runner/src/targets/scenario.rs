//! Scenario files, up to the checks that need no other file.

use std::path::Path;

use scenarios::scenario::parse;

use super::Target;

pub const TARGET: Target = Target {
    name: "scenario",
    dictionary: &[
        "[run]",
        "[data]",
        "[data.soundscapes]",
        "[sampling]",
        "[grpo]",
        "[sft]",
        "[optimizer]",
        "[rewards]",
        "[rewards.x]",
        "[shaping]",
        "[eval]",
        "[checkpoint]",
        "[judge]",
        "[[judge.members]]",
        "[control]",
        "[loader]",
        "[supervision]",
        "[limits]",
        "[policy]",
        "[policy.lora]",
        "[[arm]]",
        "name = ",
        "kind = ",
        "\"openai\"",
        "\"rules\"",
        "\"python\"",
        "\"process\"",
        "\"http\"",
        "seeds = [7]",
        "steps = ",
        "formula = ",
        "weights = ",
        "schedule",
        "{",
        "}",
        "[",
        "]",
        "=",
        ".",
        ",",
        "\"",
        "'''",
        "\"\"\"",
        "\n",
        "#",
        "inf",
        "nan",
        "1e400",
        "true",
        "1979-05-27T07:32:00Z",
        "[[[[[[[[",
        "a.a.a.a.a.a.a.a.",
    ],
    longest: 16 * 1024,
    run,
};

fn run(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let path = Path::new("/nowhere/fuzz.toml");
    match parse(&text, path, &[], &[], None) {
        Ok(experiment) => {
            // What is stored with a run can be read, and has the same meaning.
            let stored = experiment.to_toml();
            let again =
                parse(&stored, path, &[], &[], None).unwrap_or_else(|error| panic!("{error} in\n{stored}"));
            assert_eq!(again.to_toml(), stored);
        }
        Err(error) => assert_eq!(error.to_string().lines().count(), 1, "{error}"),
    }
    // The text of `--set` is parsed by itself.
    let first: String = text.lines().next().unwrap_or_default().chars().take(200).collect();
    let _ = parse("[[arm]]\nname = \"a\"\n", path, &[first], &[], None);
}
