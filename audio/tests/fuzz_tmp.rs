use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Instant;
use audio::Hearing;
static SEEN: Mutex<BTreeMap<String, usize>> = Mutex::new(BTreeMap::new());
struct R(u64);
impl R { fn n(&mut self, m: usize) -> usize { self.0 ^= self.0 << 13; self.0 ^= self.0 >> 7; self.0 ^= self.0 << 17; (self.0 % m.max(1) as u64) as usize } }
fn crc(b: &[u8], t: &[u32; 256]) -> u32 { b.iter().fold(0, |r, &x| (r << 8) ^ t[((r >> 24) as u8 ^ x) as usize]) }
fn fix(d: &mut [u8], t: &[u32; 256]) { let mut p = 0; while p + 27 <= d.len() && &d[p..p+4] == b"OggS" { let n = d[p+26] as usize; if p + 27 + n > d.len() { break } let l: usize = 27 + n + d[p+27..p+27+n].iter().map(|&x| x as usize).sum::<usize>(); if p + l > d.len() { break } d[p+22..p+26].fill(0); let c = crc(&d[p..p+l], t); d[p+22..p+26].copy_from_slice(&c.to_le_bytes()); p += l; } }
fn peak() -> u64 { let s = std::fs::read_to_string("/proc/self/status").unwrap(); s.lines().find(|l| l.starts_with("VmHWM")).unwrap().split_whitespace().nth(1).unwrap().parse().unwrap() }
#[test]
fn fuzz() {
    let mut t = [0u32; 256]; for i in 0..256u32 { let mut r = i << 24; for _ in 0..8 { r = if r & 0x8000_0000 != 0 { (r << 1) ^ 0x04c1_1db7 } else { r << 1 }; } t[i as usize] = r; }
    std::panic::set_hook(Box::new(|i| { let k = format!("{} {}", i.location().unwrap(), i.payload().downcast_ref::<String>().cloned().or(i.payload().downcast_ref::<&str>().map(|s| s.to_string())).unwrap_or_default().chars().take(60).collect::<String>()); *SEEN.lock().unwrap().entry(k).or_default() += 1; }));
    let per: usize = std::env::var("PER").unwrap().parse().unwrap();
    for f in std::env::var("FILES").unwrap().split_whitespace() {
        let d = std::fs::read(f).unwrap(); let ogg = f.ends_with("opus") || f.ends_with("ogg");
        let mut r = R(0x9e37_79b9_7f4a_7c15); let (mut ok, mut err, mut slow) = (0, 0, (0f64, 0)); let before = peak();
        let mut kinds = BTreeMap::<&str, usize>::new();
        for round in 0..per {
            let mut m = d.clone();
            match r.n(6) {
                0 => for _ in 0..1 + r.n(8) { let j = r.n(m.len()); m[j] = r.n(256) as u8 },
                1 => for _ in 0..1 + r.n(4) { let j = r.n(m.len().min(300)); m[j] ^= 1 << r.n(8) },
                2 => for _ in 0..1 + r.n(4) { let j = r.n(m.len().min(400)); m[j] = [0, 255, 127, 128][r.n(4)] },
                3 => { let l = r.n(m.len()); m.truncate(l) }
                4 => { let a = r.n(m.len()); let b = a + r.n(m.len() - a); m.drain(a..b.min(a + 2000)); }
                _ => for _ in 0..50 { let j = r.n(m.len()); m[j] ^= 1 << r.n(8) },
            }
            if ogg && r.n(8) > 0 { fix(&mut m, &t) }
            let h = match r.n(3) { 0 => Hearing::default(), 1 => Hearing { start: 0.05 + r.n(300) as f64 / 100.0, samples: Some(16_000), ..Hearing::default() }, _ => Hearing { position: 0.5, samples: Some(4000), ..Hearing::default() } };
            if let Ok(p) = std::env::var("SAVE") { std::fs::write(p, &m).unwrap() }
            let s = Instant::now();
            match audio::load_bytes("x".as_ref(), m, &h) { Ok(c) => { ok += 1; assert!(c.samples.iter().all(|x| x.is_finite())) }, Err(e) => { err += 1; *kinds.entry(e.problem.kind()).or_default() += 1 } }
            let e = s.elapsed().as_secs_f64(); if e > slow.0 { slow = (e, round) }
        }
        println!("FUZZ {} n {per} ok {ok} err {err} {kinds:?} slowest {:.0} ms (round {}) peak +{} kB panics {:?}", f.rsplit('/').next().unwrap(), slow.0 * 1e3, slow.1, peak() - before, SEEN.lock().unwrap());
        SEEN.lock().unwrap().clear();
    }
}
