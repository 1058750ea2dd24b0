//! Requests to the control channel: bodies of every route, query strings, and the headers that the guard reads.

use super::Target;

pub const TARGET: Target = Target {
    name: "control",
    dictionary: &[
        "{", "}", "[", "]", "\"", ":", ",", "\"arms\":", "\"change\":", "\"weights\":", "\"formula\":", "\"rewards\":",
        "\"join_formula\":", "\"leave_formula\":", "\"weight_name\":", "\"reason\":", "\"n\":", "\"kind\":", "\"python\"",
        "null", "NaN", "1e400", "-1", "18446744073709551616", "\\u0000", "\\ud800", "\\u202e", "../", "%2e%2e", "%00",
        "?from=1&to=2", "&fields=", "&q=", "&limit=", "&sort=components.", "localhost:1", "[::1]:", "127.0.0.1:",
        "http://", "kind = \\\"python\\\"", "[[[[[[[[", "{\"a\":{\"a\":",
    ],
    longest: 64 * 1024,
    run: control::fuzzing::parse_request,
};
