//! Replies of judges that are models.

use rewards::judge::prompt::{Asked, Scale};
use rewards::judge::reply::parse_reply;

use super::Target;

pub const TARGET: Target = Target {
    name: "judge-reply",
    dictionary: &[
        "{",
        "}",
        "[",
        "]",
        "{\"consistent\": 1, \"quality\": 0.9}",
        "\"consistent\"",
        "\"quality\"",
        ":",
        ",",
        "true",
        "null",
        "yes",
        "out of 10",
        "%",
        "/10",
        "```json",
        "```",
        "<think>",
        "</think>",
        "NaN",
        "1e999",
        "I cannot",
        "\\u0000",
        "\\ud800",
        "{\"a\":",
        "[[[[[[[[",
        "{\"a\":{\"a\":",
    ],
    longest: 80 * 1024,
    run,
};

fn run(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    for asked in [Asked::Both, Asked::Consistency, Asked::Quality] {
        for scale in [Scale::Tenths, Scale::Digit] {
            match parse_reply(&text, asked, scale) {
                // Whatever a judge says, a grade is on its scale (and never clamped to it).
                Ok(verdict) => {
                    let grades = [verdict.consistency, verdict.think_quality];
                    assert!(grades.iter().flatten().all(|grade| (0.0..=1.0).contains(grade)), "{grades:?}");
                }
                Err(failure) => {
                    assert!(failure.message.lines().count() <= 1, "{}", failure.message);
                    assert!(failure.message.len() < 2000, "a message quotes the reply at length");
                }
            }
        }
    }
}
