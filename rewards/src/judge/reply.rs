//! Reads the verdict from a judge's reply: one JSON object, anywhere in the reply.
//!
//! A reply with two different verdicts counts as malformed. Otherwise a judge that quotes JSON from the completion
//! could make the completion grade itself. A number with further words (`"0.85 out of 1"`), a percentage (`"90%"`) and
//! a decimal comma (`"0,9"`) are accepted because they are unambiguous. A grade outside its scale is an error and is not
//! clamped.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::Value;

use super::failure::{FailureCause, JudgeFailure};
use super::json::whole_surrogates;
use super::prompt::{Asked, Scale};
use crate::Verdict;

/// Greatest length of a reply that is parsed, in bytes; a verdict takes a line.
const LONGEST_REPLY: usize = 64 * 1024;

/// Reads the verdict from a reply to a request for these grades.
///
/// Errors: The reply is empty, truncated, a refusal, malformed, or has a grade outside its scale.
pub fn parse_reply(reply: &str, asked: Asked, scale: Scale) -> Result<Verdict, JudgeFailure> {
    let reply = whole_surrogates(reply);
    let (text, objects) = objects_of(&reply)?;
    let mut verdicts = Vec::new();
    for (_, object) in objects {
        if let Some(verdict) = object.verdict(asked, scale)
            && !verdicts.contains(&verdict)
        {
            verdicts.push(verdict);
        }
    }
    match verdicts.len() {
        1 => verdicts.remove(0).map_err(|failure| JudgeFailure {
            message: format!("{}: {}", failure.message, excerpt(text)),
            ..failure
        }),
        0 => match bare(text, asked, scale) {
            Some(verdict) => verdict,
            None => Err(without("verdict", text)),
        },
        _ => Err(malformed("the reply has several verdicts", text)),
    }
}

/// Reads the value of `key` from a reply that has one JSON object with it, anywhere. Equal repetitions count once.
///
/// Errors: The reply is empty, truncated or a refusal, or has no such value or several.
pub fn value_of(reply: &str, key: &str) -> Result<Value, JudgeFailure> {
    let reply = whole_surrogates(reply);
    let (text, objects) = objects_of(&reply)?;
    let mut values: Vec<Value> = Vec::new();
    let given = objects.into_iter().flat_map(|(_, object)| object.0);
    for (_, value) in given.filter(|(name, _)| name.eq_ignore_ascii_case(key)) {
        if !values.contains(&value) {
            values.push(value);
        }
    }
    match values.len() {
        1 => Ok(values.remove(0)),
        0 => Err(without(&format!("\"{key}\""), text)),
        _ => Err(malformed(&format!("the reply has several \"{key}\""), text)),
    }
}

/// A reply without the judge's own thinking, and the JSON objects in it.
type ReplyObjects<'a> = (&'a str, Vec<(Range<usize>, Object)>);

fn objects_of(reply: &str) -> Result<ReplyObjects<'_>, JudgeFailure> {
    let text = after_reasoning(reply)?.trim();
    if text.is_empty() {
        return Err(JudgeFailure::new(FailureCause::Empty, "the reply is empty"));
    }
    if text.len() > LONGEST_REPLY {
        return Err(malformed("the reply is far longer than a verdict", text));
    }
    let found = objects(text);
    Ok((text, found.ok_or_else(|| malformed("the reply is full of braces that do not match", text))?))
}

fn malformed(what: &str, text: &str) -> JudgeFailure {
    JudgeFailure::new(FailureCause::Malformed, format!("{what}: {}", excerpt(text)))
}

/// The failure of a reply that lacks what was asked for.
fn without(what: &str, text: &str) -> JudgeFailure {
    match refuses(text) {
        true => JudgeFailure::new(FailureCause::Refused, format!("declined: {}", excerpt(text))),
        false => malformed(&format!("no {what} in the reply"), text),
    }
}

/// The part of a reply after the judge's own thinking. A `</think>` within a JSON object is a quotation.
fn after_reasoning(reply: &str) -> Result<&str, JudgeFailure> {
    const END: &str = "</think>";
    let mut ends = reply.rmatch_indices(END).map(|(place, _)| place).peekable();
    if ends.peek().is_some() {
        let searched = if reply.len() <= LONGEST_REPLY { reply } else { "" };
        let quoting: Vec<Range<usize>> =
            objects(searched).into_iter().flatten().map(|(place, _)| place).collect();
        let quoted = |end: &usize| quoting.iter().any(|object| object.contains(end));
        if let Some(end) = ends.find(|end| !quoted(end)) {
            return Ok(&reply[end + END.len()..]);
        }
    }
    if reply.trim_start().starts_with("<think>") {
        return Err(JudgeFailure::new(
            FailureCause::Truncated,
            "the judge was still thinking when its tokens ran out; raise judge.max_tokens or turn its thinking off",
        ));
    }
    Ok(reply)
}

/// The outermost JSON objects of a text with their places, in order. `None` if looking for them takes too long: a brace that
/// begins no object costs as much as was read until this was clear, up to 127 levels of nesting, and the next one begins anew.
fn objects(text: &str) -> Option<Vec<(Range<usize>, Object)>> {
    const PATIENCE: usize = 4;
    let mut left = PATIENCE * text.len() + 1024;
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(start) = text[at..].find('{') {
        let begin = at + start;
        let mut stream = serde_json::Deserializer::from_str(&text[begin..]).into_iter::<Object>();
        at = match stream.next() {
            Some(Ok(object)) => {
                let end = begin + stream.byte_offset();
                found.push((begin..end, object));
                end
            }
            Some(Err(error)) => {
                left = left.checked_sub(bytes_until(&text[begin..], &error))?;
                begin + 1
            }
            None => begin + 1,
        };
    }
    Some(found)
}

/// How many bytes were read before an error.
fn bytes_until(text: &str, error: &serde_json::Error) -> usize {
    let lines = text.split_inclusive('\n').take(error.line().saturating_sub(1));
    lines.map(str::len).sum::<usize>() + error.column()
}

/// A JSON object that keeps repeated keys, so that a grade that is given twice can be detected.
struct Object(Vec<(String, Value)>);

impl<'de> Deserialize<'de> for Object {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries;
        impl<'de> Visitor<'de> for Entries {
            type Value = Object;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Object, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(Object(entries))
            }
        }
        deserializer.deserialize_map(Entries)
    }
}

impl Object {
    /// The verdict in this object; `None` if it has none of the requested grades.
    fn verdict(&self, asked: Asked, scale: Scale) -> Option<Result<Verdict, JudgeFailure>> {
        let consistency = asked.consistency().then(|| self.grade("consistent", consistency_of));
        let quality = asked.quality().then(|| self.grade("quality", |value| quality_of(value, scale)));
        let absent = |grade: &Option<_>| matches!(grade, None | Some(Ok(None)));
        if absent(&consistency) && absent(&quality) {
            return None;
        }
        let told = |name: &str, grade: Option<Result<Option<f64>, JudgeFailure>>| match grade {
            None => Ok(None),
            Some(Ok(None)) => {
                Err(JudgeFailure::new(FailureCause::Malformed, format!("\"{name}\" is missing")))
            }
            Some(grade) => grade,
        };
        Some(told("consistent", consistency).and_then(|consistency| {
            let think_quality = told("quality", quality)?;
            Ok(Verdict { consistency, think_quality, note: None })
        }))
    }

    fn grade(
        &self,
        name: &str,
        read: impl Fn(&Value) -> Result<f64, JudgeFailure>,
    ) -> Result<Option<f64>, JudgeFailure> {
        let mut values =
            self.0.iter().filter(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value);
        let Some(value) = values.next() else { return Ok(None) };
        if values.any(|other| other != value) {
            return Err(JudgeFailure::new(FailureCause::Malformed, format!("\"{name}\" is given twice")));
        }
        read(value).map(Some)
    }
}

fn number_of(value: &Value) -> Option<f64> {
    match value {
        Value::Number(number) => number.as_f64(),
        Value::Bool(flag) => Some(f64::from(u8::from(*flag))),
        Value::String(text) => number_phrase(text),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

/// Reads `0.85`, `0,85`, `85%`, `0.85/1`, `0.85 out of 1`, `yes` or `no`; a fraction counts as its quotient.
fn number_phrase(text: &str) -> Option<f64> {
    let text = text.trim().trim_end_matches('.').to_lowercase();
    match text.as_str() {
        "yes" | "true" => return Some(1.0),
        "no" | "false" => return Some(0.0),
        _ => {}
    }
    let number = |text: &str| {
        let decimal = with_decimal_point(text.trim());
        decimal.parse::<f64>().ok().filter(|number| number.is_finite())
    };
    if let Some(percents) = text.strip_suffix('%') {
        return number(percents).map(|percents| percents / 100.0);
    }
    match text.split_once(" out of ").or_else(|| text.split_once('/')) {
        Some((part, whole)) => {
            let (part, whole) = (number(part)?, number(whole)?);
            (whole > 0.0).then_some(part / whole)
        }
        None => number(&text),
    }
}

/// Replaces a decimal comma by a point: `0,9` but not `1,000`, which may be a thousand.
fn with_decimal_point(text: &str) -> Cow<'_, str> {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    match text.split_once(',') {
        Some((whole, part)) if digits(whole) && digits(part) && part.len() < 3 => {
            Cow::Owned(format!("{whole}.{part}"))
        }
        _ => Cow::Borrowed(text),
    }
}

fn unreadable(name: &str, value: &Value) -> JudgeFailure {
    JudgeFailure::new(FailureCause::Malformed, format!("\"{name}\" is {}", excerpt(&value.to_string())))
}

fn off_scale(name: &str, number: f64, scale: &str) -> JudgeFailure {
    JudgeFailure::new(FailureCause::OutOfRange, format!("\"{name}\" is {number}, not {scale}"))
}

fn consistency_of(value: &Value) -> Result<f64, JudgeFailure> {
    let number = number_of(value).ok_or_else(|| unreadable("consistent", value))?;
    if number == 0.0 || number == 1.0 {
        return Ok(number);
    }
    Err(off_scale("consistent", number, "0 or 1"))
}

fn quality_of(value: &Value, scale: Scale) -> Result<f64, JudgeFailure> {
    let number = number_of(value).ok_or_else(|| unreadable("quality", value))?;
    match scale {
        // Rounded to 0.1, the steps of the paper's scale.
        Scale::Tenths if (0.0..=1.0).contains(&number) => Ok((number * 10.0).round() / 10.0),
        Scale::Tenths => Err(off_scale("quality", number, "a number from 0 to 1")),
        Scale::Digit if (0.0..=9.0).contains(&number) && number.fract() == 0.0 => Ok(number / 9.0),
        Scale::Digit => Err(off_scale("quality", number, "a digit from 0 to 9")),
    }
}

/// The verdict of a reply that is only a number, if one grade was asked for.
fn bare(text: &str, asked: Asked, scale: Scale) -> Option<Result<Verdict, JudgeFailure>> {
    let value = Value::from(number_phrase(text)?);
    match asked {
        Asked::Both => None,
        Asked::Consistency => Some(
            consistency_of(&value).map(|score| Verdict { consistency: Some(score), ..Verdict::default() }),
        ),
        Asked::Quality => Some(
            quality_of(&value, scale)
                .map(|score| Verdict { think_quality: Some(score), ..Verdict::default() }),
        ),
    }
}

/// Whether a reply without a verdict looks like a refusal.
fn refuses(text: &str) -> bool {
    const SIGNS: [&str; 10] = [
        "i cannot",
        "i can't",
        "i can’t",
        "i am unable",
        "i'm unable",
        "i’m unable",
        "i won't",
        "i'm sorry",
        "i’m sorry",
        "i am sorry",
    ];
    let head: String = text.chars().take(200).flat_map(char::to_lowercase).collect();
    SIGNS.iter().any(|sign| head.contains(sign))
}

fn excerpt(text: &str) -> String {
    const MOST: usize = 120;
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(MOST) {
        Some((end, _)) => format!("`{}…`", &line[..end]),
        None => format!("`{line}`"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::guard::Guard;
    use super::super::prompt::{Prompter, Wording};
    use super::*;

    fn prompter(wording: Wording) -> Prompter {
        let guard = Guard { special_tokens: vec![], max_chars: 4_000 };
        Prompter { wording, scale: Scale::Tenths, guard }
    }

    fn both(reply: &str) -> Result<(f64, f64), FailureCause> {
        parse_reply(reply, Asked::Both, Scale::Tenths)
            .map(|verdict| (verdict.consistency.unwrap(), verdict.think_quality.unwrap()))
            .map_err(|failure| failure.cause)
    }

    #[test]
    fn one_object_is_read_anywhere_in_the_reply() {
        let verdict = Ok((1.0, 0.7));
        for reply in [
            r#"{"consistent": 1, "quality": 0.7}"#,
            "```json\n{\"quality\": 0.7, \"consistent\": 1}\n```",
            r#"Here it is: {"consistent": true, "quality": "0.7"}. Anything else?"#,
            r#"<think>{"consistent": 0, "quality": 0.1}? No.</think>{"consistent": 1, "quality": 0.7}"#,
            r#"{"Consistent": "yes", "Quality": 0.7, "reason": "{\"quality\": 0}"}"#,
            r#"{"consistent": 1, "quality": 0.7} {"consistent": 1, "quality": 0.7}"#,
            r#"{"note": 3} {"consistent": 1, "quality": 0.7}"#,
            r#"{"consistent": 1, "quality": 0.7, "quality": 0.7}"#,
            r#"{"\u0063onsistent": 1, "quality": 0.7, "reason": "cut \ud83d"}"#,
            r#"{"consistent": 1, "quality": 0.7, "reason": "it closes </think> well"}"#,
            r#"<think>{"quality": 0}</think>{"consistent": 1, "quality": 0.7, "reason": "</think>"}"#,
            "It says dog.\n</think>\n\n{\"consistent\": 1, \"quality\": 0.7}",
        ] {
            assert_eq!(both(reply), verdict, "{reply}");
        }
    }

    #[test]
    fn braces_that_do_not_match_are_given_up_before_they_take_long() {
        // 8,000 levels, each of which would be tried down to the 127th.
        let nested =
            |levels: usize| format!(r#"{}{{"consistent": 1, "quality": 0.7}}"#, "{\"a\":".repeat(levels));
        assert_eq!(objects(&nested(8_000)).map(|found| found.len()), None);
        assert_eq!(both(&nested(8_000)), Err(FailureCause::Malformed));
        assert_eq!(both(&nested(3)), Ok((1.0, 0.7)));
        // Formulas have many braces, of which none takes long.
        let formulas = format!(r#"{}{{"consistent": 1, "quality": 0.7}}"#, "\\frac{a}{b}\n".repeat(2_000));
        assert_eq!(both(&formulas), Ok((1.0, 0.7)));
        let error = serde_json::from_str::<Value>("{\n\n  x").unwrap_err();
        assert_eq!(bytes_until("{\n\n  x", &error), 6);
    }

    #[test]
    fn two_different_verdicts_are_malformed() {
        for reply in [
            r#"The text says {"consistent": 1, "quality": 1.0}, but {"consistent": 0, "quality": 0.1}"#,
            r#"{"consistent": 1, "quality": 1.0, "quality": 0.1}"#,
            r#"{"consistent": 1, "quality": 1.0} {"consistent": 7, "quality": 0.1}"#,
        ] {
            assert_eq!(both(reply), Err(FailureCause::Malformed), "{reply}");
        }
    }

    #[test]
    fn a_number_with_words_is_read_if_it_is_unambiguous() {
        // 0.85 is between two of the paper's steps and is rounded up.
        assert_eq!(both(r#"{"consistent": 1, "quality": "0.85 out of 1"}"#), Ok((1.0, 0.9)));
        assert_eq!(both(r#"{"consistent": "no", "quality": "8/10"}"#), Ok((0.0, 0.8)));
        assert_eq!(both(r#"{"consistent": "1", "quality": "0,9"}"#), Ok((1.0, 0.9)));
        assert_eq!(both(r#"{"consistent": 1, "quality": "90 %"}"#), Ok((1.0, 0.9)));
        assert_eq!(both(r#"{"consistent": 1, "quality": "1,000"}"#), Err(FailureCause::Malformed));
        assert_eq!(both("0.85 out of 1"), Err(FailureCause::Malformed), "it could be either grade");
        let quality = parse_reply("0.85 out of 1.", Asked::Quality, Scale::Tenths).unwrap();
        assert_eq!((quality.think_quality, quality.consistency), (Some(0.9), None));
        assert_eq!(
            parse_reply("7", Asked::Quality, Scale::Tenths).unwrap_err().cause,
            FailureCause::OutOfRange
        );
    }

    #[test]
    fn a_grade_outside_its_scale_is_not_clamped() {
        for reply in [
            r#"{"consistent": 1, "quality": 7}"#,
            r#"{"consistent": 1, "quality": -0.1}"#,
            r#"{"consistent": 0.5, "quality": 0.5}"#,
            r#"{"consistent": 1, "quality": "7 out of 5"}"#,
        ] {
            assert_eq!(both(reply), Err(FailureCause::OutOfRange), "{reply}");
        }
    }

    #[test]
    fn a_reply_without_a_verdict_has_a_cause_and_no_grade() {
        for (reply, cause) in [
            ("", FailureCause::Empty),
            (" \n", FailureCause::Empty),
            ("<think></think>\n", FailureCause::Empty),
            ("<think>Let me see", FailureCause::Truncated),
            ("I'm sorry, but I can't grade this.", FailureCause::Refused),
            ("Good reasoning!", FailureCause::Malformed),
            (r#"{"consistent": 1, "qua"#, FailureCause::Malformed),
            (r#"{"consistent": 1}"#, FailureCause::Malformed),
            (r#"{"consistent": null, "quality": 0.5}"#, FailureCause::Malformed),
            (r#"[1, 0.5]"#, FailureCause::Malformed),
            (r#"{"verdict": "good"}"#, FailureCause::Malformed),
            (r#"{"consistent": 1, "quality": "NaN"}"#, FailureCause::Malformed),
        ] {
            assert_eq!(both(reply), Err(cause), "{reply}");
        }
        let long = "{".repeat(LONGEST_REPLY) + "}";
        assert_eq!(both(&long), Err(FailureCause::Malformed));
        assert_eq!(both(&"{".repeat(20_000)), Err(FailureCause::Malformed), "in linear time");
    }

    #[test]
    fn a_digit_is_divided_by_nine() {
        let reply = r#"{"consistent": 0, "quality": 6}"#;
        let verdict = parse_reply(reply, Asked::Both, Scale::Digit).unwrap();
        assert_eq!((verdict.consistency, verdict.think_quality), (Some(0.0), Some(6.0 / 9.0)));
        let reply = r#"{"consistent": 0, "quality": 0.5}"#;
        let failure = parse_reply(reply, Asked::Both, Scale::Digit).unwrap_err();
        assert_eq!(failure.cause, FailureCause::OutOfRange);
    }

    #[test]
    fn the_possible_replies_are_all_verdicts_and_each_is_read_back() {
        for scale in [Scale::Tenths, Scale::Digit] {
            for (wording, asked) in [(Wording::Base, Asked::Both), (Wording::Instruct, Asked::Quality)] {
                let replies = Prompter { scale, ..prompter(wording) }.replies(asked);
                let grades = if scale == Scale::Tenths { 11 } else { 10 };
                let pairs = if asked == Asked::Both { 2 } else { 1 };
                assert_eq!(replies.len(), pairs * grades, "{replies:?}");
                let verdict = |reply: &String| parse_reply(reply, asked, scale).unwrap();
                let mut verdicts: Vec<_> = replies.iter().map(verdict).collect();
                assert_eq!(verdicts[grades - 1].think_quality, Some(1.0));
                verdicts.dedup();
                assert_eq!(verdicts.len(), replies.len());
            }
        }
        let both = prompter(Wording::Base).replies(Asked::Both);
        assert_eq!(both[14], " {\"consistent\": 1, \"quality\": 0.3}");
        let one = prompter(Wording::Instruct).replies(Asked::Consistency);
        assert_eq!(one, ["{\"consistent\": 0}", "{\"consistent\": 1}"]);
    }
}
