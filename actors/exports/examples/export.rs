//! Exports a run: `cargo run -p exports --example export -- RUN FORMAT OUT`, with `tensorboard`, `parquet`, `csv` or `json` as
//! FORMAT. Event files go into OUT/ARM/seed-SEED/.

use std::error::Error;
use std::path::Path;

use exports::{EventFile, Format, export};
use records::{ArmId, RunDir};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [run, format, out] = &arguments[..] else { return Err("usage: export RUN FORMAT OUT".into()) };
    let (run, out) = (RunDir::new(run), Path::new(out));
    if format == "tensorboard" {
        for (arm, seeds) in run.arms()? {
            for (seed, folder) in seeds {
                let events = out.join(ArmId::new(arm.as_str(), seed).folder());
                println!("{}", EventFile::rewrite(&events, &folder)?.path().display());
            }
        }
        return Ok(());
    }
    let known = Format::ALL.into_iter().find(|known| known.name() == format);
    for path in export(&run, known.ok_or("FORMAT: tensorboard, parquet, csv or json")?, out)? {
        println!("{}", path.display());
    }
    Ok(())
}
