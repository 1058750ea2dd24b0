//! A survey as text: a block for each source, then the findings, no line of the blocks longer than 100 characters.

use std::collections::BTreeMap;
use std::fmt;

use crate::report::{DecodedCounts, Finding, Lengths, NAMED, Named, SourceReport, Survey};
use crate::rows::letter;

/// Most characters of a line.
const WIDTH: usize = 100;

/// Where the values begin, after their labels.
const INDENT: usize = 12;

impl fmt::Display for Survey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let blocks: Vec<String> = self.sources.iter().map(block).chain(findings(&self.findings)).collect();
        f.write_str(&blocks.join("\n"))
    }
}

impl SourceReport {
    /// The source in one line, such as `train: 800 rows, 640 clips, 1.9 h, 3 missing, 2 unreadable`.
    pub fn one_line(&self) -> String {
        let unusable = self.rows.unusable.values().sum::<usize>();
        let rows = match unusable {
            0 => format!("{} rows", thousands(self.rows.total)),
            _ => format!("{} rows ({} unusable)", thousands(self.rows.total), thousands(unusable)),
        };
        let clips = &self.clips;
        let head = format!("{}: {rows}, {} clips", self.name, thousands(clips.distinct));
        let mut parts = Vec::new();
        if self.lengths.known > 0 {
            parts.push(duration(self.lengths.hours));
        }
        if clips.missing.count > 0 {
            parts.push(named("missing", &clips.missing));
        }
        let unreadable: usize = clips.unreadable.values().map(|named| named.count).sum();
        if unreadable > 0 {
            parts.push(format!("{} unreadable", thousands(unreadable)));
        }
        let joined = parts.join(", ");
        match clips.distinct - clips.looked_at {
            0 if parts.is_empty() => head,
            0 => format!("{head}, {joined}"),
            _ if parts.is_empty() => format!("{head}; 0 looked at"),
            _ => format!("{head}; {} looked at: {joined}", thousands(clips.looked_at)),
        }
    }
}

/// The block of a source.
fn block(report: &SourceReport) -> String {
    let mut out = format!("{}: {}\n", report.name, report.file.display());
    let mut line = |label: &str, parts: Vec<String>| out.push_str(&wrapped(label, &parts));
    line("rows", rows(report));
    line("clips", clips(report));
    let clips = &report.clips;
    line("formats", counted(&clips.formats, |format| (*format).to_owned()));
    line("codecs", counted(&clips.codecs, String::clone));
    line("rates", counted(&clips.rates, |rate| format!("{} kHz", f64::from(*rate) / 1000.0)));
    line(
        "channels",
        counted(&clips.channels, |channels| match channels {
            1 => "mono".to_owned(),
            2 => "stereo".to_owned(),
            more => format!("of {more} channels"),
        }),
    );
    line("length", lengths(&report.lengths));
    line("window", window(&report.lengths));
    line("decoded", report.decoded.as_ref().map(decoded).unwrap_or_default());
    line("answers", answers(&report.gold_positions));
    line("prompts", prompts(report));
    out
}

fn rows(report: &SourceReport) -> Vec<String> {
    let rows = &report.rows;
    let mut parts = vec![thousands(rows.total), format!("{} usable", thousands(rows.usable))];
    parts.extend(rows.unusable.iter().map(|(cause, count)| format!("{} {cause}", thousands(*count))));
    parts
}

fn clips(report: &SourceReport) -> Vec<String> {
    let clips = &report.clips;
    let mut parts = vec![thousands(clips.distinct), format!("{} found", thousands(clips.found))];
    if clips.missing.count > 0 {
        parts.push(named("missing", &clips.missing));
    }
    parts.extend(clips.unreadable.iter().map(|(kind, clips)| named(kind, clips)));
    parts
}

fn lengths(lengths: &Lengths) -> Vec<String> {
    const CLASSES: [&str; 7] = ["< 1 s", "1–5 s", "5–10 s", "10–30 s", "30–60 s", "60–300 s", "> 300 s"];
    if lengths.known + lengths.unknown == 0 {
        return Vec::new();
    }
    let classes = CLASSES.iter().zip(&lengths.histogram).filter(|(_, count)| **count > 0);
    let mut parts = vec![duration(lengths.hours)];
    parts.extend(classes.map(|(class, count)| format!("{class}: {}", thousands(*count))));
    if lengths.unknown > 0 {
        parts.push(format!("unknown: {}", thousands(lengths.unknown)));
    }
    parts
}

fn window(lengths: &Lengths) -> Vec<String> {
    let Some(cut) = &lengths.cut else { return Vec::new() };
    let window = format!("{} s", cut.window_seconds);
    if cut.clips == 0 {
        return vec![window, "no clip is longer".into()];
    }
    let of_clips = 100.0 * cut.clips as f64 / lengths.known.max(1) as f64;
    let of_sound = 100.0 * cut.hours / lengths.hours.max(f64::MIN_POSITIVE);
    let longer = format!("{} clips ({of_clips:.1} %) are longer", thousands(cut.clips));
    vec![window, longer, format!("{} ({of_sound:.1} % of the sound) are not heard", duration(cut.hours))]
}

fn decoded(decoded: &DecodedCounts) -> Vec<String> {
    let mut parts = vec![format!("{} clips", thousands(decoded.clips))];
    let kinds = [("silent", &decoded.silent), ("clipped", &decoded.clipped)];
    let failed = decoded.failed.iter().map(|(kind, clips)| (*kind, clips));
    let warnings = decoded.warnings.iter().map(|(kind, clips)| (*kind, clips));
    let found = failed.chain(kinds).chain(warnings).filter(|(_, clips)| clips.count > 0);
    let found: Vec<String> = found.map(|(kind, clips)| named(kind, clips)).collect();
    if found.is_empty() {
        parts.push("none silent, clipped or odd".into());
    }
    parts.extend(found);
    parts
}

fn answers(positions: &[usize]) -> Vec<String> {
    positions
        .iter()
        .enumerate()
        .map(|(index, count)| format!("{} {}", letter(index), thousands(*count)))
        .collect()
}

fn prompts(report: &SourceReport) -> Vec<String> {
    let Some(tokens) = &report.prompt_tokens else { return Vec::new() };
    let mut parts = vec![
        format!("{} to {} tokens", thousands(tokens.min), thousands(tokens.max)),
        format!("median {}", thousands(tokens.median)),
        format!("95 % up to {}", thousands(tokens.p95)),
    ];
    if let Some(context) = tokens.context {
        let room = thousands(context.saturating_sub(tokens.completion));
        parts.push(match tokens.too_long {
            0 => format!("all fit into {room}"),
            too_long => format!("{} do not fit into {room}", thousands(too_long)),
        });
    }
    parts
}

/// The findings: the first of each source and kind, and how many more there are.
fn findings(findings: &[Finding]) -> Option<String> {
    if findings.is_empty() {
        return None;
    }
    let stopping = findings.iter().filter(|finding| finding.stops).count();
    let stop = match stopping {
        0 => String::new(),
        count => format!(", {} of which a run would be refused for", thousands(count)),
    };
    let mut out = format!("{}{stop}\n", counted_findings(findings.len()));
    for group in findings.chunk_by(|a, b| (&a.source, &a.kind, a.stops) == (&b.source, &b.kind, b.stops)) {
        for finding in &group[..group.len().min(NAMED)] {
            out.push_str(&format!("  {}: {}\n", finding.kind, finding.message));
        }
        if group.len() > NAMED {
            let (kind, more) = (&group[0].kind, thousands(group.len() - NAMED));
            out.push_str(&format!("  {kind}: {more} more in {}; --json lists all\n", group[0].source));
        }
    }
    Some(out)
}

fn counted_findings(count: usize) -> String {
    if count == 1 { "1 finding".into() } else { format!("{} findings", thousands(count)) }
}

fn named(kind: &str, clips: &Named) -> String {
    format!("{} {kind}", thousands(clips.count))
}

/// Counts of things, the most frequent first.
fn counted<K: Ord>(counts: &BTreeMap<K, usize>, name: impl Fn(&K) -> String) -> Vec<String> {
    let mut counts: Vec<_> = counts.iter().collect();
    counts.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
    counts.into_iter().map(|(key, count)| format!("{} {}", thousands(*count), name(key))).collect()
}

/// A labelled line of parts, broken between parts where it would be too long; nothing without parts.
fn wrapped(label: &str, parts: &[String]) -> String {
    let mut out = String::new();
    let mut line = format!("  {label:<width$}", width = INDENT - 2);
    for (index, part) in parts.iter().enumerate() {
        let part = if index + 1 < parts.len() { format!("{part}, ") } else { part.clone() };
        let full = line.chars().count() + part.trim_end().chars().count() > WIDTH;
        if full && line.chars().count() > INDENT {
            out.push_str(line.trim_end());
            out.push('\n');
            line = " ".repeat(INDENT);
        }
        line.push_str(&part);
    }
    if !parts.is_empty() {
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out
}

/// Hours, or minutes or seconds if there are few.
fn duration(hours: f64) -> String {
    match hours {
        hours if hours >= 1.0 => format!("{hours:.1} h"),
        hours if hours * 60.0 >= 1.0 => format!("{:.1} min", hours * 60.0),
        hours => format!("{:.1} s", hours * 3600.0),
    }
}

/// A number with its thousands separated: 20,000.
fn thousands(number: usize) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_durations_are_easy_to_read() {
        assert_eq!(
            [7, 999, 1000, 20_000, 1_234_567].map(thousands),
            ["7", "999", "1,000", "20,000", "1,234,567"]
        );
        assert_eq!([1.94, 0.5, 0.01].map(duration), ["1.9 h", "30.0 min", "36.0 s"]);
    }

    #[test]
    fn a_long_line_is_broken_between_its_parts() {
        let parts: Vec<String> = (0..9).map(|index| format!("{index}").repeat(20)).collect();
        let text = wrapped("codecs", &parts);
        assert!(
            text.lines().count() == 3 && text.lines().all(|line| line.chars().count() <= WIDTH),
            "{text}"
        );
        // 12 + 3 · 22 + 20 = 98: four parts and their commas.
        assert_eq!(text.lines().next().unwrap().chars().count(), 12 + 4 * 22 - 1);
        assert_eq!(wrapped("codecs", &[]), "");
    }

    #[test]
    fn the_fourth_finding_of_a_kind_is_counted_and_not_listed() {
        let finding = |kind: &str, number: usize| Finding {
            source: "train".into(),
            kind: kind.into(),
            stops: false,
            message: format!("clip {number}"),
        };
        let mut all: Vec<Finding> = (0..5).map(|number| finding("missing", number)).collect();
        all.push(finding("silent", 9));
        let expected = "6 findings\n  missing: clip 0\n  missing: clip 1\n  missing: clip 2\n  missing: 2 more in train; \
                        --json lists all\n  silent: clip 9\n";
        assert_eq!(findings(&all).unwrap(), expected);
        assert_eq!(findings(&[]), None);
    }
}
