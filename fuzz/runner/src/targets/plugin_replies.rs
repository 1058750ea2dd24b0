//! Lines that a plug-in prints, and bodies that a plug-in's server sends.

use super::Target;

pub const TARGET: Target = Target {
    name: "plugin-reply",
    dictionary: &[
        "{",
        "}",
        "[",
        "]",
        "\"",
        ":",
        ",",
        "\\",
        "\"type\":",
        "\"scores\"",
        "\"ready\"",
        "\"error\"",
        "\"id\":",
        "\"protocol\":",
        "\"message\":",
        "\"columns\":",
        "NaN",
        "Infinity",
        "-Infinity",
        "null",
        "1e400",
        "-0",
        "18446744073709551616",
        "\\u0000",
        "\\ud800",
        "[[[[[[[[",
        "NaNNaNNaN",
    ],
    longest: 16 * 1024,
    run: |input| plugins::fuzzing::parse_reply(&String::from_utf8_lossy(input)),
};
