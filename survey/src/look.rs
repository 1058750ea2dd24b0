//! The survey itself: source by source, then the contents of all.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use audio::{AudioError, Problem};
use scenarios::{DataSource, RowCause};

use crate::clips::{self, Clip};
use crate::content::{self, Read};
use crate::decode::{self, Heard, SILENCE};
use crate::report::{Cut, DecodedCounts, Finding, Lengths, RowCounts, SourceReport, Survey};
use crate::rows;
use crate::sources::{Role, Source};

/// Which clips are decoded, beyond reading their headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decode {
    /// This many of each source, spread evenly over it.
    Some(usize),
    /// All of them.
    All,
}

/// How to look at the data.
pub struct Options<'a> {
    /// Which clips are decoded.
    pub decode: Decode,
    /// Told what is being done, how much of it is done, and of how much.
    pub progress: &'a (dyn Fn(&str, usize, usize) + Sync),
}

impl Default for Options<'_> {
    fn default() -> Self {
        Self { decode: Decode::Some(50), progress: &|_, _, _| {} }
    }
}

/// Looks at the rows of each source, at the headers of all clips, and at the sound of some.
pub fn survey(sources: &[Source], options: &Options<'_>) -> Survey {
    let mut survey = Survey::default();
    let mut read = Vec::new();
    for source in sources {
        let dataset = match source.open() {
            Ok(dataset) => dataset,
            Err(error) => {
                survey.findings.push(Finding {
                    source: source.name.clone(),
                    kind: "no data".into(),
                    stops: true,
                    message: error.to_string(),
                });
                continue;
            }
        };
        let clips = clips::distinct(&dataset.questions);
        let mut look =
            Look { read: Read { source, dataset, clips }, findings: Vec::new(), lost: HashMap::new() };
        survey.sources.push(look.report(options));
        survey.findings.append(&mut look.findings);
        read.push(look.read);
    }
    let comparing = |total| move |done| (options.progress)("comparing", done, total);
    let total = read.iter().map(|source| source.clips.len()).sum();
    survey.findings.extend(content::findings(&read, &comparing(total)));
    survey.findings.sort_by_key(|finding| {
        let source = sources.iter().position(|source| source.name == finding.source);
        (!finding.stops, source, order(&finding.kind))
    });
    survey
}

/// The order of the kinds of findings: rows, clips, their sound, then what only some call a fault.
fn order(kind: &str) -> usize {
    const KINDS: [&str; 9] = [
        "unusable row",
        "missing",
        "unreadable",
        "prompt too long",
        "silent",
        "clipped",
        "leakage",
        "duplicate",
        "repeat",
    ];
    KINDS.iter().position(|known| *known == kind).unwrap_or(KINDS.len())
}

/// A source while it is looked at.
struct Look<'a> {
    read: Read<'a>,
    findings: Vec<Finding>,
    /// Why clips cannot be heard whose header can be read, by their place in the list.
    lost: HashMap<usize, RowCause>,
}

impl Look<'_> {
    fn report(&mut self, options: &Options<'_>) -> SourceReport {
        let name = self.read.source.name.clone();
        let progress = |what: &str, total: usize| {
            let what = format!("{name}: {what}");
            move |done: usize| (options.progress)(&what, done, total)
        };
        for problem in &self.read.dataset.problems {
            let message = problem.message.clone();
            self.findings.push(Finding {
                source: name.clone(),
                kind: "unusable row".into(),
                stops: false,
                message,
            });
        }
        let total = self.read.clips.len();
        clips::read_headers(
            &mut self.read.clips,
            self.read.source.fallback.as_deref(),
            None,
            &progress("reading headers", total),
        );
        self.report_clips();

        let readable: Vec<usize> =
            (0..total).filter(|&index| self.read.clips[index].info().is_some()).collect();
        let chosen = match options.decode {
            Decode::Some(count) => decode::sample(readable.len(), count),
            Decode::All => (0..readable.len()).collect(),
        };
        let chosen: Vec<usize> = chosen.into_iter().map(|index| readable[index]).collect();
        let clips: Vec<&Clip> = chosen.iter().map(|&index| &self.read.clips[index]).collect();
        let source = self.read.source;
        let decoding = progress("decoding", chosen.len());
        let heard = decode::decode(&clips, source, source.model.window_seconds, &decoding);
        let heard: Vec<(usize, Result<Heard, AudioError>)> = chosen.into_iter().zip(heard).collect();

        let lengths = self.lengths(&heard);
        let decoded = (!heard.is_empty()).then(|| self.report_heard(&heard));
        let too_long = rows::prompts(&self.read.dataset, &self.read.clips, &source.model);
        let (prompt_tokens, too_long) =
            too_long.map_or((None, Vec::new()), |(counts, long)| (Some(counts), long));
        for (_, message) in &too_long {
            self.add("prompt too long", message.clone());
        }
        if let Some(message) = rows::hidden_choices(&self.read.dataset, &source.model) {
            self.add("hidden choices", message);
        }
        let gold_positions = rows::gold_positions(&self.read.dataset);
        if let Some(message) = rows::lopsided(&self.read.dataset.path, &gold_positions) {
            self.add("gold positions", message);
        }
        // The built-in worlds draw their questions, so that some come twice.
        if !matches!(source.data, DataSource::World(_)) {
            for message in rows::repeats(&self.read.dataset) {
                self.add("repeat", message);
            }
        }
        let too_long: HashSet<usize> = too_long.into_iter().map(|(index, _)| index).collect();
        SourceReport {
            name: source.name.clone(),
            role: source.role,
            arms: source.arms.clone(),
            file: self.read.dataset.path.clone(),
            rows: self.rows(&too_long),
            clips: clips::count(&self.read.clips),
            lengths,
            decoded,
            gold_positions,
            prompt_tokens,
        }
    }

    fn add(&mut self, kind: &str, message: String) {
        let source = self.read.source.name.clone();
        self.findings.push(Finding { source, kind: kind.into(), stops: false, message });
    }

    /// Adds a finding about a clip, with the place of its first row and the number of the others.
    fn add_clip(&mut self, kind: &str, index: usize, what: &str) {
        let clip = &self.read.clips[index];
        let others = match clip.rows - 1 {
            0 => String::new(),
            1 => " (and 1 more row)".to_owned(),
            more => format!(" (and {more} more rows)"),
        };
        self.add(kind, format!("{}{others}: {}: {what}", self.read.place(clip), clip.path.display()));
    }

    fn report_clips(&mut self) {
        for index in 0..self.read.clips.len() {
            let Some(error) = self.read.clips[index].error() else { continue };
            let kind = if matches!(error.problem, Problem::Missing) { "missing" } else { "unreadable" };
            let what = error.problem.to_string();
            let (kind, what) = match self.read.not_fetched(&self.read.clips[index]) {
                Some(url) => {
                    ("not fetched", format!("{url} is not fetched yet; `sandbox check --fetch` fetches it"))
                }
                None => (kind, what),
            };
            self.add_clip(kind, index, &what);
        }
    }

    fn report_heard(&mut self, heard: &[(usize, Result<Heard, AudioError>)]) -> DecodedCounts {
        let mut counts = DecodedCounts { clips: heard.len(), ..DecodedCounts::default() };
        for (index, heard) in heard {
            let path = self.read.clips[*index].path.clone();
            let heard = match heard {
                Ok(heard) => heard,
                Err(error) => {
                    counts.failed.entry(error.problem.kind()).or_default().add(&path);
                    self.add_clip("unreadable", *index, &error.problem.to_string());
                    self.lost.insert(*index, RowCause::AudioUnreadable);
                    continue;
                }
            };
            if heard.peak < SILENCE {
                counts.silent.add(&path);
                let what = format!("no sound: its loudest sample is {:.1e} of full scale", heard.peak);
                self.add_clip("silent", *index, &what);
            }
            if heard.peak == 0.0 {
                self.lost.insert(*index, RowCause::AudioSilent);
            }
            if let Some(share) = heard.clipped {
                counts.clipped.add(&path);
                let what = format!("clipped: {:.1} % of its samples are at full scale", 100.0 * share);
                self.add_clip("clipped", *index, &what);
            }
            for warning in &heard.warnings {
                counts.warnings.entry(warning.kind).or_default().add(&path);
                self.add_clip(warning.kind, *index, &warning.text);
            }
        }
        counts
    }

    /// The lengths of the clips, and a finding if the model does not hear the ends of some.
    fn lengths(&mut self, heard: &[(usize, Result<Heard, AudioError>)]) -> Lengths {
        let window = self.read.source.model.window_seconds;
        let cut = window.map(|window_seconds| Cut { window_seconds, ..Cut::default() });
        let mut lengths = Lengths { cut, ..Lengths::default() };
        let decoded = |index: usize| {
            let (_, heard) = heard.get(heard.binary_search_by_key(&index, |(index, _)| *index).ok()?)?;
            heard.as_ref().ok()?.seconds
        };
        for (index, clip) in self.read.clips.iter().enumerate() {
            if clip.info().is_some() {
                lengths.add(clip.seconds().or_else(|| decoded(index)));
            }
        }
        if let Some(cut) = lengths.cut.as_ref().filter(|cut| cut.clips > 0) {
            let file = self.read.dataset.path.display();
            let message = format!(
                "{file}: {} of {} clips are longer than the {} s that the model hears; their ends are cut off",
                cut.clips, lengths.known, cut.window_seconds
            );
            self.add("cut", message);
        }
        lengths
    }

    /// Counts the rows that can be asked, and adds a finding if they are too few.
    fn rows(&mut self, too_long: &HashSet<usize>) -> RowCounts {
        let dataset = &self.read.dataset;
        let mut counts = RowCounts { total: dataset.rows(), ..RowCounts::default() };
        for problem in &dataset.problems {
            *counts.unusable.entry(problem.cause.name()).or_default() += 1;
        }
        let mut lost: HashMap<&Path, RowCause> = HashMap::new();
        for (index, clip) in self.read.clips.iter().enumerate() {
            let not_fetched = self.read.not_fetched(clip).is_some();
            let unreadable = clip.error().filter(|_| !not_fetched).map(|_| RowCause::AudioUnreadable);
            if let Some(cause) = unreadable.or_else(|| self.lost.get(&index).copied()) {
                lost.insert(&clip.path, cause);
            }
        }
        for (index, question) in dataset.questions.iter().enumerate() {
            let long = too_long.contains(&index).then_some(RowCause::PromptTooLong);
            match lost.get(question.audio_path.as_path()).copied().or(long) {
                Some(cause) => *counts.unusable.entry(cause.name()).or_default() += 1,
                None => counts.usable += 1,
            }
        }
        if let Some(message) = self.too_few(&counts) {
            let source = self.read.source.name.clone();
            self.findings.push(Finding { source, kind: "too few rows".into(), stops: true, message });
        }
        counts
    }

    /// Why a run would be refused for lack of rows.
    fn too_few(&self, counts: &RowCounts) -> Option<String> {
        let causes: Vec<String> =
            counts.unusable.iter().map(|(cause, count)| format!("{count} {cause}")).collect();
        let (file, causes, unusable) =
            (self.read.dataset.path.display(), causes.join(", "), counts.total - counts.usable);
        let most = self.read.source.max_unusable_fraction;
        if counts.usable == 0 {
            return Some(format!(
                "{file}: none of its {} rows can be used ({causes}); correct them",
                counts.total
            ));
        }
        (self.read.source.role == Role::Train && unusable as f64 > most * counts.total as f64).then(|| {
            format!(
                "{file}: {unusable} of {} rows cannot be used ({causes}), and data.max_unusable_fraction is {most}; \
                 correct them, or raise it",
                counts.total
            )
        })
    }
}
