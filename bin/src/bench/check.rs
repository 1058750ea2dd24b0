//! `sandbox bench --check`: whether generation by CUDA graphs agrees with generation without on this GPU.

use model::speed::{Agreement, Gap};

use super::{Bench, named, running};
use crate::failure::Failure;
use crate::streams::{columns, outln};
use crate::table::Table;

/// Compares both for everything that the options train, and fails where they do not agree.
pub fn check(bench: &Bench<'_>) -> Result<(), Failure> {
    let mut compared = Vec::new();
    for &trains in &bench.options.train {
        compared.push(bench.open(trains)?.agreement().map_err(running)?);
    }
    if bench.options.json {
        outln!("{}", serde_json::to_string(&compared).map_err(Failure::running)?);
    } else {
        print(&compared);
    }
    let name = named(bench.options);
    match compared.iter().find(|agreement| !agreement.holds()) {
        None => Ok(()),
        Some(Agreement { launches: None, .. }) => Err(Failure::Running(format!(
            "{name}: nothing was decoded by CUDA graphs, so nothing was compared"
        ))),
        Some(_) => Err(Failure::Running(format!(
            "{name}: the log-probabilities of CUDA graphs are more than twice as far from the learner's as those without"
        ))),
    }
}

fn print(compared: &[Agreement]) {
    outln!("log-probabilities of drawn tokens, compared with the learner's: largest and mean difference");
    let mut table = Table::new(&["launches", "same completions", "with graphs", "without"]);
    let gap = |gap: Gap| format!("{:.1e} {:.1e}", gap.largest, gap.mean);
    for agreement in compared {
        table.row(vec![
            agreement.launches.map_or("none".to_owned(), |launches| launches.to_string()),
            format!("{} of {}", agreement.equal, agreement.completions),
            gap(agreement.replayed),
            gap(agreement.plain),
        ]);
    }
    outln!("{}", table.text(columns()).trim_end());
}
