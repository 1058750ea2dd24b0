//! temporary
use super::decoder::{Block, Fault};
use super::input::Input;
use std::io::Write;

#[test]
fn dump() {
    let list = std::env::var("DUMP").unwrap();
    let seek: Option<u64> = std::env::var("SEEK").ok().map(|s| s.parse().unwrap());
    for file in list.split_whitespace() {
        let input = Input::open(file.as_ref()).unwrap();
        let out = format!("/tmp/dump/{}.f32", file.rsplit('/').next().unwrap());
        let (_, mut d) = match super::load::open_decoder(input) { Ok(d) => d, Err(e) => { println!("DUMP {file} ERROR {e}"); continue } };
        let info = d.info().clone();
        let mut o = std::io::BufWriter::new(std::fs::File::create(&out).unwrap());
        let (mut n, mut faults) = (0u64, 0);
        let mut block = Block::default();
        let mut at = 0;
        if let Some(s) = seek { at = match d.seek(s) { Ok(a) => a, Err(e) => { println!("DUMP {file} SEEK ERROR {e:?}"); continue } }; assert!(at <= s, "{at} {s}"); }
        loop { match d.next(&mut block) {
            Ok(true) => { for i in 0..block.frames() { for c in &block.channels { o.write_all(&c[i].to_le_bytes()).unwrap(); } } n += block.frames() as u64; }
            Ok(false) => break, Err(Fault::Packet(e)) => { faults += 1; if faults < 3 { println!("fault {e}") } }
            Err(e) => { println!("DUMP {file} END {e:?}"); break } } }
        println!("DUMP {file} at {at} frames {n} info {info:?} faults {faults} w {:?}", d.warnings());
    }
}
