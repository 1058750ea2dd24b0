//! `sandbox reshape`: the advantages of recorded completions under other conditions.

use report::{ReshapeError, Reshaped, reshape};

use crate::cli::ReshapeOptions;
use crate::failure::Failure;
use crate::run::existing_run_dir;
use crate::streams::{columns, outln};
use crate::table::Table;

pub fn reshape_run(options: &ReshapeOptions) -> Result<(), Failure> {
    let run_dir = existing_run_dir(&options.dir)?;
    let reshaped = reshape(&run_dir, &options.set, &options.arms);
    let reshaped = reshaped.map_err(|error: ReshapeError| Failure::input(error))?;
    if options.json {
        outln!("{}", serde_json::to_string_pretty(&reshaped).map_err(Failure::running)?);
        return Ok(());
    }
    outln!("{}", figures(&reshaped).text(columns()));
    outln!("{}", favoured(&reshaped).text(columns()));
    if options.set.is_empty() {
        outln!("nothing is changed; --set shaping.formula=… or --set shaping.weights.NAME=… changes it");
    }
    Ok(())
}

fn figures(reshaped: &[Reshaped]) -> Table {
    let heads = [
        "arm",
        "seed",
        "steps",
        "completions",
        "changed signs",
        "rank correlation",
        "largest",
        "with variance",
    ];
    let mut table = Table::new(&heads);
    for arm in reshaped {
        table.row(vec![
            arm.id.arm.clone(),
            arm.id.seed.to_string(),
            arm.steps.to_string(),
            arm.completions.to_string(),
            percent(arm.changed_signs),
            arm.rank_correlation.map_or_else(|| "–".to_owned(), |rank| format!("{rank:.3}")),
            format!("{:.3}", arm.largest_difference),
            format!("{} → {}", percent(arm.groups_with_variance[0]), percent(arm.groups_with_variance[1])),
        ]);
    }
    table
}

/// Whom the rewards favour: mean advantages by mode, and by difficulty and mode.
fn favoured(reshaped: &[Reshaped]) -> Table {
    let mut table = Table::new(&["arm", "seed", "completions that", "mean advantage"]);
    for arm in reshaped {
        for (which, [before, after]) in arm.by_mode.iter().chain(&arm.by_difficulty) {
            table.row(vec![
                arm.id.arm.clone(),
                arm.id.seed.to_string(),
                which.clone(),
                format!("{} → {}", signed(*before), signed(*after)),
            ]);
        }
    }
    table
}

fn percent(share: Option<f64>) -> String {
    share.map_or_else(|| "–".to_owned(), |share| format!("{:.1} %", 100.0 * share))
}

fn signed(number: Option<f64>) -> String {
    number.map_or_else(|| "–".to_owned(), |number| format!("{number:+.3}"))
}
