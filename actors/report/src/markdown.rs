//! `summary.md`: the summary as Markdown tables with aligned columns, which also read well in a terminal.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use crate::across::RunComparison;
use crate::arm_summary::{ArmSummary, Evaluation, Score};
use crate::comparison::Comparison;
use crate::fit::{GiveUp, cut};
use crate::paper::Benchmarks;
use crate::plots::axes::signed;
use crate::summary::Summary;
use crate::tables::{cell_text, dash, markdown_table, plain_table, signed_range};
use statistics::Estimate;

/// Width to which the names of arms are shortened in a narrow terminal.
const SHORTEST_NAME: usize = 8;

impl Summary {
    /// The content of `summary.md`.
    pub(crate) fn markdown(&self) -> String {
        let mut out = format!("# {}\n\n", cell_text(&self.run));
        for conclusion in &self.conclusions {
            let _ = writeln!(out, "- {}", cell_text(&conclusion.text));
        }
        if !self.conclusions.is_empty() {
            out.push('\n');
        }
        if self.suites.is_empty() {
            out.push_str("Nothing has been evaluated yet.\n\n");
        }
        if !self.hypotheses.is_empty() {
            out.push_str("## Hypotheses\n\n");
            for answer in &self.hypotheses {
                let (name, claim) = (cell_text(&answer.name), cell_text(&answer.claim));
                let _ = writeln!(out, "- {name} ({claim}): {}", cell_text(&answer.sentence));
            }
            out.push_str(
                "\nThey were written before the run; p is corrected for their number. What else is compared below is \
                 exploratory.\n\n",
            );
        }
        for suite in &self.suites {
            let _ = writeln!(out, "## {}\n", cell_text(suite));
            out.push_str(&markdown_table(&self.results(suite, true)));
            out.push_str(
                "\nAccuracy in percent with 95 % intervals over questions and seeds; a question counts once, however many seeds \
                 were asked it. Think: percentage of completions that think. Consistent and Quality: of those completions. \
                 Paper: MMAU / MMAR / AIR-Bench.\n\n",
            );
            let by_difficulty = self.by_difficulty(suite);
            for (column, rows) in self.by_column(suite) {
                let _ = writeln!(out, "### By {column}\n");
                out.push_str(&markdown_table(&rows));
                out.push('\n');
            }
            if by_difficulty.len() > 1 {
                out.push_str("### By difficulty\n\n");
                out.push_str(&markdown_table(&by_difficulty));
                out.push('\n');
            }
        }
        if !self.contributions.is_empty() {
            out.push_str("## What each reward contributed\n\n");
            out.push_str(&markdown_table(&self.contribution_rows()));
            let partial = self.contributions.iter().filter_map(|comparison| comparison.questions.as_ref());
            for questions in partial {
                let _ = writeln!(out, "\nNot over the same questions: {}.", cell_text(questions));
            }
            out.push_str(
                "\nDifferences to the arm that each one extends, question by question, with 95 % intervals over questions and, \
                 with several seeds, over trainings. Verdicts are corrected for the whole table (Holm, 5 %); a difference \
                 below 2 points or 1 token counts as none.\n\n",
            );
        }
        if let Some(ablation) = &self.ablation {
            out.push_str(&ablation.markdown());
        }
        if !self.hearing.is_empty() {
            out.push_str("## What survives without hearing\n\n");
            out.push_str(&markdown_table(&self.hearing_rows()));
            out.push_str(
                "\nAccuracy in percent on each suite as it is and with its controls. Chance: what guessing gets right, as often \
                 as the policy names a choice at all. Survives: the accuracy with the control, divided by that of the suite as \
                 it is. A policy that answers by hearing falls to chance.\n\n",
            );
        }
        let groups = self.group_rows();
        if groups.len() > 1 {
            out.push_str("## Groups\n\n");
            out.push_str(&markdown_table(&groups));
            out.push('\n');
        }
        if !self.notes.is_empty() {
            out.push_str("## Notes\n\n");
            for note in &self.notes {
                let _ = writeln!(out, "- {}", cell_text(note));
            }
        }
        if !self.bookmarks.is_empty() {
            out.push_str("\n## Bookmarks\n\n");
            for bookmark in &self.bookmarks {
                let _ = writeln!(out, "- {}", cell_text(bookmark));
            }
        }
        out
    }

    /// The table of results for a terminal of `width` characters. If it is too wide, these are given up in this order:
    /// the paper's columns, tokens, quality, consistency, the difficulties, thinking, the ends of the arms' names, and
    /// the ends of lines.
    #[must_use]
    pub fn terminal_table(&self, width: usize) -> String {
        let mut out = String::new();
        for suite in &self.suites {
            if self.suites.len() > 1 {
                let _ = writeln!(out, "{}", cut(suite, width));
            }
            let levels = self.difficulties(suite).len();
            out.push_str(&plain_table(&self.results(suite, true), width, &given_up(levels)));
        }
        if let Some(ablation) = &self.ablation {
            out.push_str(&ablation.terminal_tables(width));
        }
        if !self.hearing.is_empty() {
            out.push_str("\nwhat survives without hearing:\n");
            out.push_str(&plain_table(&self.hearing_rows(), width, &[]));
        }
        out
    }

    fn results(&self, suite: &str, with_paper: bool) -> Vec<Vec<String>> {
        let levels = self.difficulties(suite);
        let mut head = vec!["Arm".to_owned(), "Accuracy".to_owned()];
        head.extend(levels.iter().cloned());
        head.extend(["Think", "Consistent", "Quality", "Tokens"].map(str::to_owned));
        if with_paper {
            head.extend(["Paper: Qwen2-Audio", "Qwen2.5-Omni"].map(str::to_owned));
        }
        let mut rows = vec![head];
        for arm in &self.arms {
            let mut row = vec![marked(arm)];
            if let Some(eval) = arm.evals.get(suite) {
                let all = &eval.overall;
                let asked = eval.asked.as_ref().map_or_else(String::new, |asked| format!(" ({asked})"));
                row.push(format!("{}{asked}", interval(all.accuracy)));
                row.extend(
                    levels.iter().map(|level| percent(eval.at(level).and_then(|score| score.accuracy))),
                );
                row.push(percent(all.think_rate));
                row.push(percent(all.consistency));
                row.push(all.think_quality.map_or_else(dash, |quality| format!("{:.2}", quality.value)));
                row.push(all.completion_tokens.map_or_else(dash, |tokens| format!("{tokens:.1}")));
            } else {
                row.push("not evaluated".to_owned());
                row.extend(std::iter::repeat_n(dash(), levels.len() + 4));
            }
            if with_paper {
                row.push(arm.paper.map_or_else(dash, |paper| benchmarks(&paper.qwen2_audio)));
                row.push(arm.paper.map_or_else(dash, |paper| benchmarks(&paper.qwen2_5_omni)));
            }
            rows.push(row);
        }
        rows
    }

    fn by_difficulty(&self, suite: &str) -> Vec<Vec<String>> {
        let levels = self.difficulties(suite);
        let mut head = vec!["Arm".to_owned()];
        for level in &levels {
            head.extend([format!("{level}: accuracy"), "no-think".to_owned(), "n".to_owned()]);
        }
        let mut rows = vec![head];
        if levels.is_empty() {
            return rows;
        }
        for arm in &self.arms {
            let Some(eval) = arm.evals.get(suite) else {
                continue;
            };
            let mut row = vec![marked(arm)];
            for level in &levels {
                let score = eval.at(level);
                row.push(interval(score.and_then(|score| score.accuracy)));
                row.push(interval(score.and_then(Score::no_think_rate)));
                row.push(score.map_or_else(dash, |score| score.counts.n.to_string()));
            }
            rows.push(row);
        }
        rows
    }

    /// For each column of `eval.by`, the accuracy of each arm by its values.
    fn by_column(&self, suite: &str) -> Vec<(String, Vec<Vec<String>>)> {
        let evals = || self.arms.iter().filter_map(|arm| Some((arm, arm.evals.get(suite)?)));
        let columns: BTreeSet<&String> = evals().flat_map(|(_, eval)| eval.by_column.keys()).collect();
        let table = |column: &String| {
            let groups = |eval: &Evaluation| eval.by_column.get(column).cloned().unwrap_or_default();
            let values: BTreeSet<String> =
                evals().flat_map(|(_, eval)| groups(eval)).map(|(value, _)| value).collect();
            let mut rows = vec![vec![column.clone()]];
            rows[0].extend(evals().map(|(arm, _)| marked(arm)));
            for value in values {
                let mut row = vec![value.clone()];
                row.extend(evals().map(|(_, eval)| {
                    let score = groups(eval).into_iter().find(|(name, _)| *name == value);
                    score.map_or_else(dash, |(_, score)| {
                        format!("{} (n = {})", interval(score.accuracy), score.counts.n)
                    })
                }));
                rows.push(row);
            }
            (column.clone(), rows)
        };
        columns.into_iter().map(table).filter(|(_, rows)| rows.len() > 1).collect()
    }

    fn contribution_rows(&self) -> Vec<Vec<String>> {
        comparison_rows(&self.contributions)
    }

    fn hearing_rows(&self) -> Vec<Vec<String>> {
        let mut rows = vec![["Arm", "Heard", "Accuracy", "Chance", "Survives"].map(str::to_owned).to_vec()];
        let mut suite = None;
        for hearing in &self.hearing {
            if self.suites.len() > 1 && suite.replace(&hearing.suite) != Some(&hearing.suite) {
                rows.push([hearing.suite.as_str(), "", "", "", ""].map(str::to_owned).to_vec());
            }
            rows.extend(hearing.rows());
        }
        rows
    }

    fn group_rows(&self) -> Vec<Vec<String>> {
        let mut rows =
            vec![["Arm", "Dispatched", "Trained", "Excluded", "Adds up"].map(str::to_owned).to_vec()];
        for arm in &self.arms {
            let Some(groups) = &arm.groups else { continue };
            let excluded = groups.excluded.iter().map(|(reason, count)| format!("{count} {reason}"));
            let excluded = excluded.collect::<Vec<_>>().join(", ");
            rows.push(vec![
                marked(arm),
                groups.dispatched.to_string(),
                groups.trained.to_string(),
                if excluded.is_empty() { "0".to_owned() } else { excluded },
                if groups.adds_up() { "yes" } else { "NO" }.to_owned(),
            ]);
        }
        rows
    }

    /// The difficulties of a suite, taken from the arm whose evaluation has the most of them.
    pub(super) fn difficulties(&self, suite: &str) -> Vec<String> {
        let levels = |arm: &ArmSummary| -> Vec<String> {
            let eval = arm.evals.get(suite);
            eval.into_iter().flat_map(|eval| &eval.by_difficulty).map(|(name, _)| name.clone()).collect()
        };
        self.arms.iter().map(levels).max_by_key(Vec::len).unwrap_or_default()
    }
}

/// The rows of a table of comparisons.
fn comparison_rows(comparisons: &[Comparison]) -> Vec<Vec<String>> {
    let mut rows =
        vec![["Added", "Metric", "Difference", "95 % interval", "Verdict"].map(str::to_owned).to_vec()];
    for comparison in comparisons {
        for (at, difference) in comparison.differences.iter().enumerate() {
            let added =
                if at == 0 { format!("{} ({})", comparison.adds, comparison.arm) } else { String::new() };
            let (value, range) = difference.estimate.map_or_else(
                || (dash(), dash()),
                |found| (format!("{} {}", signed(found.value, 1), difference.unit), signed_range(&found)),
            );
            rows.push(vec![added, difference.metric.clone(), value, range, difference.verdict.clone()]);
        }
    }
    rows
}

impl RunComparison {
    /// The accuracy of each arm, then the table of differences, for a terminal of `width` characters.
    #[must_use]
    pub fn terminal_table(&self, width: usize) -> String {
        let mut results =
            vec![["Arm", "Accuracy", "Consistent", "Think", "Tokens"].map(str::to_owned).to_vec()];
        for arm in &self.arms {
            let Some(eval) = arm.evals.get(&self.suite) else { continue };
            results.push(vec![
                marked(arm),
                interval(eval.overall.accuracy),
                percent(eval.overall.consistency),
                percent(eval.overall.think_rate),
                eval.overall.completion_tokens.map_or_else(dash, |tokens| format!("{tokens:.1}")),
            ]);
        }
        let mut out = format!("{}\n{}", cut(&self.suite, width), plain_table(&results, width, &[]));
        out.push('\n');
        out.push_str(&plain_table(&comparison_rows(&self.comparisons), width, &[]));
        out
    }
}

/// The name of an arm, with a mark if it failed or its policy died.
fn marked(arm: &ArmSummary) -> String {
    arm.mark.as_ref().map_or_else(|| arm.name.clone(), |mark| format!("{} ({mark})", arm.name))
}

fn percent(estimate: Option<Estimate>) -> String {
    estimate.map_or_else(dash, |found| format!("{:.1}", found.value * 100.0))
}

fn interval(estimate: Option<Estimate>) -> String {
    estimate.map_or_else(dash, |found| {
        format!("{:.1} [{:.1}, {:.1}]", found.value * 100.0, found.low * 100.0, found.high * 100.0)
    })
}

fn benchmarks(paper: &Benchmarks) -> String {
    format!("{:.1} / {:.1} / {:.1}", paper.mmau, paper.mmar, paper.air)
}

/// The columns of the table of results that are given up, in this order, if a suite has so many difficulties.
fn given_up(levels: usize) -> Vec<GiveUp> {
    // Arm, accuracy, the difficulties, think, consistent, quality, tokens, and the paper's two.
    let think = 2 + levels;
    let mut order = vec![GiveUp::Column(think + 5), GiveUp::Column(think + 4)];
    order.extend([think + 3, think + 2, think + 1].map(GiveUp::Column));
    order.extend((2..think).rev().map(GiveUp::Column));
    order.extend([GiveUp::Column(think), GiveUp::Text { column: 0, least: SHORTEST_NAME }]);
    order
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fit::fit;

    #[test]
    fn columns_are_aligned_and_cell_text_is_escaped() {
        let rows = vec![vec!["Arm".into(), "x".into()], vec!["a|b\nc".into(), "–".into()]];
        assert_eq!(markdown_table(&rows), "| Arm    | x |\n|--------|---|\n| a\\|b c | – |\n");
        assert_eq!(cell_text("<b>![x](http://a)\u{1b}[1m"), "&lt;b>![x]\\(http://a)\\u001b[1m");
        let rows = vec![vec!["Arm".into(), "x".into()], vec!["base".into(), "1".into()]];
        assert_eq!(plain_table(&rows, usize::MAX, &[]), "Arm   x\n────  ─\nbase  1\n");
        assert_eq!(plain_table(&rows, 5, &[]), "Arm…\n────…\nbase…\n");
    }

    #[test]
    fn a_narrow_table_gives_up_the_paper_first_and_the_name_last() {
        let head =
            ["Arm", "Accuracy", "easy", "hard", "Think", "Consistent", "Quality", "Tokens", "Paper", "Omni"];
        let row = ["grpo+atar+cr+tr", "81.2 [79.0, 83.1]", "9", "8", "7", "6", "5", "4", "3", "2"];
        let rows = [head, row].map(|row| row.map(str::to_owned).to_vec());
        let order = given_up(2);
        let mut heads = Vec::new();
        for width in (1..200).rev() {
            let text = plain_table(&rows, width, &order);
            assert!(text.lines().all(|line| line.chars().count() <= width), "{width}: {text}");
            let shown = fit(&rows, width, &order).rows[0].join(" ");
            if heads.last() != Some(&shown) {
                heads.push(shown);
            }
        }
        let expected = [
            "Arm Accuracy easy hard Think Consistent Quality Tokens Paper Omni",
            "Arm Accuracy easy hard Think Consistent Quality Tokens Paper",
            "Arm Accuracy easy hard Think Consistent Quality Tokens",
            "Arm Accuracy easy hard Think Consistent Quality",
            "Arm Accuracy easy hard Think Consistent",
            "Arm Accuracy easy hard Think",
            "Arm Accuracy easy Think",
            "Arm Accuracy Think",
            "Arm Accuracy",
        ];
        assert_eq!(heads, expected);
        let narrow = plain_table(&rows, 30, &order);
        assert!(narrow.contains("grpo+atar+…  81.2 [79.0, 83.1]"), "{narrow}");
    }
}
