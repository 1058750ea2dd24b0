//! NIST SPHERE, the format of the older speech corpora: a header of text, padded to 1024 bytes, and the samples.

use std::collections::HashMap;

use super::super::decoder::{Decoder, Warning};
use super::super::error::Problem;
use super::super::input::Input;
use super::{Coding, Pcm, PcmLayout, SampleFormat, Stated};

/// Longest header that is read, in bytes.
const LONGEST_HEADER: u64 = 1 << 20;

pub(crate) fn open(input: Input) -> Result<Box<dyn Decoder>, Problem> {
    // `NIST_1A`, and the length of the header in a line of 8 characters.
    let length = String::from_utf8_lossy(&input.peek(8, 8)?).trim().parse::<u64>().unwrap_or(0);
    if !(16..=LONGEST_HEADER.min(input.length())).contains(&length) {
        return Err(Problem::corrupt("its header does not state a length of its own that fits the file"));
    }
    let header = Header::parse(&input.peek(16, length as usize - 16)?);
    let format = header.format()?;
    let channels = header.number("channel_count")?.unwrap_or(1);
    let Some(rate) = header.number("sample_rate")? else {
        return Err(Problem::corrupt("its header has no sample_rate"));
    };
    super::check_header(channels as usize, rate)?;
    let mut warnings = Vec::new();
    let frame_bytes = u64::from(channels) * format.bytes as u64;
    let found = (input.length() - length) / frame_bytes;
    let stated = match header.number("sample_count")?.map(u64::from) {
        None => Stated::ToEnd,
        Some(0) if found > 0 => Stated::Unfinished,
        // Nothing follows the samples, so a longer file holds more of them. Some writers count all channels together.
        Some(count) if count < found || channels > 1 && count == found * u64::from(channels) => {
            let text = format!("its header states a sample_count of {count}, {found} found");
            warnings.push(Warning::new("length", text));
            Stated::ToEnd
        }
        Some(count) => Stated::Bytes(count.saturating_mul(frame_bytes)),
    };
    let bits = header.number("sample_sig_bits")?.filter(|bits| (1..8 * format.bytes as u32).contains(bits));
    let layout = PcmLayout {
        container: "NIST SPHERE",
        offset: length,
        stated,
        format,
        valid_bits: bits.unwrap_or(8 * format.bytes as u32),
        channels: channels as usize,
        rate,
        warnings,
    };
    Ok(Box::new(Pcm::open(input, layout)?))
}

/// The fields of the header: lines of a name, a type and a value.
struct Header(HashMap<String, String>);

impl Header {
    fn parse(bytes: &[u8]) -> Self {
        let text = String::from_utf8_lossy(bytes);
        let lines = text.lines().map(str::trim).take_while(|line| *line != "end_head");
        let field = |line: &str| {
            let (name, rest) = line.split_once(' ')?;
            let (_, value) = rest.trim_start().split_once(' ')?;
            Some((name.to_owned(), value.trim().to_owned()))
        };
        Self(lines.filter_map(field).collect())
    }

    fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// A field that is a whole number; some writers give rates as `16000.0`.
    fn number(&self, name: &str) -> Result<Option<u32>, Problem> {
        let Some(text) = self.text(name) else { return Ok(None) };
        let number = text.parse::<f64>().ok().filter(|number| (0.0..=f64::from(u32::MAX)).contains(number));
        match number {
            Some(number) => Ok(Some(number.round() as u32)),
            None => Err(Problem::corrupt(format!("its header states a {name} of {text:?}"))),
        }
    }

    fn format(&self) -> Result<SampleFormat, Problem> {
        let coding = self.text("sample_coding").unwrap_or("pcm");
        let (base, embedded) = coding.split_once(',').unwrap_or((coding, ""));
        if embedded.contains("shorten") {
            return Err(Problem::unsupported(
                "shorten in NIST SPHERE (`sph2pipe -f wav IN OUT.wav` unpacks it)",
            ));
        }
        let name = |coding| Problem::unsupported(format!("{coding:?} in NIST SPHERE"));
        if !embedded.is_empty() {
            return Err(name(coding));
        }
        let bytes = self.number("sample_n_bytes")?;
        match base {
            "ulaw" | "mu-law" | "mulaw" => {
                Ok(SampleFormat { coding: Coding::MuLaw, bytes: 1, big_endian: false })
            }
            "alaw" | "a-law" => Ok(SampleFormat { coding: Coding::ALaw, bytes: 1, big_endian: false }),
            "pcm" => pcm(bytes, self.text("sample_byte_format")),
            _ => Err(name(coding)),
        }
    }
}

/// Integers; their byte order is written as the places of their bytes, the lowest being 0.
fn pcm(bytes: Option<u32>, order: Option<&str>) -> Result<SampleFormat, Problem> {
    let bytes = bytes.map_or_else(|| order.map_or(2, str::len), |bytes| bytes as usize);
    let big_endian = match order {
        _ if bytes == 1 => false,
        Some("01" | "012" | "0123") => false,
        Some("10" | "210" | "3210") => true,
        Some(other) => {
            return Err(Problem::unsupported(format!("a sample_byte_format of {other:?} in NIST SPHERE")));
        }
        None => return Err(Problem::corrupt("its header has no sample_byte_format")),
    };
    if !(1..=4).contains(&bytes) {
        return Err(Problem::corrupt(format!("its header states a sample_n_bytes of {bytes}")));
    }
    Ok(SampleFormat { coding: Coding::Signed, bytes, big_endian })
}

#[cfg(test)]
mod tests {
    use super::super::tests::{decode, kinds};
    use super::*;

    fn file(fields: &str, samples: &[u8]) -> Vec<u8> {
        let mut bytes = format!("NIST_1A\n   1024\n{fields}\nend_head\nsample_rate -i 1\n").into_bytes();
        bytes.resize(1024, b' ');
        bytes.extend(samples);
        bytes
    }

    fn heard(bytes: &[u8]) -> (Vec<f32>, Vec<&'static str>) {
        let mut decoder = open(Input::of_bytes(bytes)).unwrap();
        assert_eq!((decoder.info().format, decoder.info().rate), ("NIST SPHERE", 16_000));
        (decode(decoder.as_mut()).swap_remove(0), kinds(decoder.as_mut()))
    }

    fn refused(bytes: &[u8]) -> String {
        open(Input::of_bytes(bytes)).err().unwrap().to_string()
    }

    /// The header of TIMIT's files.
    const TIMIT: &str = "channel_count -i 1\nsample_rate -i 16000\nsample_min -i -10\nsample_n_bytes -i 2\n\
        sample_byte_format -s2 01\nsample_sig_bits -i 16";

    #[test]
    fn integers_are_read_in_their_byte_order() {
        assert_eq!(
            heard(&file(&format!("{TIMIT}\nsample_count -i 2"), &[0, 0x40, 0, 0xc0])),
            (vec![0.5, -0.5], vec![])
        );
        assert_eq!(heard(&file(&TIMIT.replace("01", "10"), &[0x40, 0])), (vec![0.5], vec![]));
        assert_eq!(
            heard(&file("sample_rate -r 16000.0\nsample_byte_format -s1 1", &[0x40])),
            (vec![0.5], vec![])
        );
    }

    #[test]
    fn g711_is_read() {
        // 0x80 ^ 0x55 = 0xd5: segment 5, mantissa 5: (80 + 264) << 4 = 5504.
        for (coding, value) in [("-s4 ulaw", 32_124.0), ("-s6 mu-law", 32_124.0), ("-s4 alaw", 5_504.0)] {
            let fields = format!("sample_rate -i 16000\nsample_n_bytes -i 1\nsample_coding {coding}");
            assert_eq!(heard(&file(&fields, &[0x80])).0, [value / 32_768.0], "{coding}");
        }
    }

    #[test]
    fn codecs_without_a_decoder_are_named() {
        let coded = |coding: &str| refused(&file(&format!("{TIMIT}\nsample_coding -s9 {coding}"), &[0; 9]));
        assert!(coded("pcm,embedded-shorten-v2.00").starts_with("shorten in NIST SPHERE (`sph2pipe -f wav"));
        assert!(coded("ulaw,embedded-wavpack").starts_with("\"ulaw,embedded-wavpack\" in NIST SPHERE"));
        assert!(
            refused(&file(&TIMIT.replace("01", "shortpack"), &[0; 9]))
                .contains("sample_byte_format of \"shortpack\"")
        );
    }

    #[test]
    fn wrong_counts_are_tolerated_with_a_warning() {
        let samples = [0, 0x40].repeat(10);
        let counted = |count| heard(&file(&format!("{TIMIT}\nsample_count -i {count}"), &samples));
        assert_eq!(counted(10), (vec![0.5; 10], vec![]));
        assert_eq!(counted(0), (vec![0.5; 10], vec!["unfinished header"]));
        for count in [4, 12, 1_000] {
            assert_eq!(counted(count), (vec![0.5; 10], vec!["length"]), "{count}");
        }
        let problem = refused(&file(&format!("{TIMIT}\nsample_count -i 10000"), &samples));
        assert!(problem.contains("promises 10000 samples, 10 found"));
        // All channels counted together.
        let stereo = TIMIT.replace("channel_count -i 1", "channel_count -i 2");
        let (samples, warnings) = heard(&file(&format!("{stereo}\nsample_count -i 20000"), &[0; 40_000]));
        assert_eq!((samples.len(), warnings), (10_000, vec!["length"]));
    }

    #[test]
    fn bad_headers_are_named() {
        assert!(refused(b"NIST_1A\n   1024\nsample_rate -i 16000\n").contains("length of its own"));
        assert!(refused(b"NIST_1A\n99999999999999\n").contains("length of its own"));
        assert!(refused(&file("channel_count -i 1", &[0; 2])).contains("no sample_byte_format"));
        assert!(refused(&file("sample_byte_format -s2 01", &[0; 2])).contains("no sample_rate"));
        assert!(refused(&file(&TIMIT.replace("16000", "-5"), &[0; 2])).contains("sample_rate of \"-5\""));
        assert!(refused(&file(&TIMIT.replace("count -i 1", "count -i 0"), &[0; 2])).contains("0 channels"));
        assert!(
            refused(&file(&TIMIT.replace("n_bytes -i 2", "n_bytes -i 9"), &[0; 2]))
                .contains("sample_n_bytes of 9")
        );
        let huge = TIMIT.replace("count -i 1", "count -i 4294967295") + "\nsample_count -i 4294967295";
        assert!(refused(&file(&huge, &[0; 2])).contains("truncated"));
    }
}
