//! The `fmt ` chunk, which WAV and Wave64 files share: Windows' WAVEFORMAT, WAVEFORMATEX and WAVEFORMATEXTENSIBLE.

use super::super::decoder::{Decoder, Warning};
use super::super::error::Problem;
use super::super::input::Input;
use super::super::mpeg;
use super::adpcm::{Adpcm, AdpcmLayout, Variant};
use super::chunks::Fields;
use super::gsm::{self, Gsm};
use super::place::Place;
use super::{Coding, Pcm, PcmLayout, SampleFormat, Stated};

const PCM: u32 = 0x0001;
const MS_ADPCM: u32 = 0x0002;
const FLOAT: u32 = 0x0003;
const A_LAW: u32 = 0x0006;
const MU_LAW: u32 = 0x0007;
const IMA_ADPCM: u32 = 0x0011;
const GSM: u32 = 0x0031;
const GSM_MSN: u32 = 0x0032;
const MPEG: u32 = 0x0050;
const MP3: u32 = 0x0055;
const EXTENSIBLE: u32 = 0xfffe;

/// Bytes of a `fmt ` chunk that are looked at.
pub(super) const FORMAT_BYTES: usize = 40;

/// Bytes of samples that are looked at in each of four places to tell Cool Edit's floats from integers.
const LOOKED_AT: usize = 4096;

/// What a `fmt ` chunk says.
#[derive(Debug)]
pub(super) struct WaveFormat {
    /// The codec: a WAVE_FORMAT_… number.
    tag: u32,
    pub channels: usize,
    /// Sampling rate in Hz.
    pub rate: u32,
    byte_rate: u32,
    block_align: usize,
    bits: usize,
    /// Of the extensible format; 0 where it is not stated.
    valid_bits: usize,
    /// The first two bytes of an extension; 0 where there is none.
    extra: u16,
    big_endian: bool,
}

impl WaveFormat {
    /// Reads a chunk of this length; fields that it is too short for are 0.
    pub fn parse(fields: &Fields, length: u64) -> Result<Self, Problem> {
        if length < 14 || fields.bytes.len() < 14 {
            let found = length.min(fields.bytes.len() as u64);
            return Err(Problem::corrupt(format!("its fmt chunk has {found} bytes; 16 are the least")));
        }
        let mut format = Self {
            tag: u32::from(fields.u16(0)),
            channels: usize::from(fields.u16(2)),
            rate: fields.u32(4),
            byte_rate: fields.u32(8),
            block_align: usize::from(fields.u16(12)),
            bits: usize::from(fields.u16(14)),
            valid_bits: 0,
            extra: if fields.u16(16) >= 2 { fields.u16(18) } else { 0 },
            big_endian: fields.big_endian,
        };
        if format.tag == EXTENSIBLE {
            format.valid_bits = usize::from(fields.u16(18));
            format.tag = sub_format(fields)?;
        }
        Ok(format)
    }

    /// Opens the decoder of the samples at `place`.
    pub fn decoder(self, input: Input, mut place: Place) -> Result<Box<dyn Decoder>, Problem> {
        super::check_header(self.channels, self.rate)?;
        let (format, valid_bits) = match self.tag {
            PCM => self.integers(&input, &mut place)?,
            FLOAT => self.floats(&mut place)?,
            MU_LAW => (SampleFormat { coding: Coding::MuLaw, bytes: 1, big_endian: false }, 8),
            A_LAW => (SampleFormat { coding: Coding::ALaw, bytes: 1, big_endian: false }, 8),
            MS_ADPCM | IMA_ADPCM => return self.adpcm(input, place),
            GSM | GSM_MSN if self.block_align == gsm::BLOCK.bytes as usize => {
                return Ok(Box::new(Gsm::open(input, place, self.channels, self.rate)?));
            }
            MP3 | MPEG => return self.mpeg(&input, &place),
            tag => return Err(Problem::unsupported(format!("{} in {}", codec_name(tag), place.container))),
        };
        let layout = PcmLayout {
            container: place.container,
            offset: place.offset,
            stated: place.stated,
            format,
            valid_bits: valid_bits as u32,
            channels: self.channels,
            rate: self.rate,
            warnings: place.warnings,
        };
        Ok(Box::new(Pcm::open(input, layout)?))
    }

    /// Integers, and floats that Cool Edit calls integers.
    fn integers(&self, input: &Input, place: &mut Place) -> Result<(SampleFormat, usize), Problem> {
        let bytes = self.sample_bytes(&mut place.warnings)?;
        if bytes == 4 && self.valid_bits == 0 && !self.big_endian {
            // Floats "24.0" and "16.8"; the first are told from integers of 24 bits in 4 bytes by their values only.
            let full_scale = match self.bits {
                24 if are_floats(input, place.offset)? => Some(8_388_608.0),
                32 if self.extra == 1 => Some(32_768.0),
                _ => None,
            };
            if let Some(full_scale) = full_scale {
                return Ok((
                    SampleFormat { coding: Coding::ScaledFloat(full_scale), bytes, big_endian: false },
                    32,
                ));
            }
        }
        let coding = if bytes == 1 { Coding::Unsigned } else { Coding::Signed };
        let stated = if self.valid_bits > 0 { self.valid_bits } else { self.bits };
        let valid_bits = if (1..=8 * bytes).contains(&stated) { stated } else { 8 * bytes };
        Ok((SampleFormat { coding, bytes, big_endian: self.big_endian }, valid_bits))
    }

    fn floats(&self, place: &mut Place) -> Result<(SampleFormat, usize), Problem> {
        let bytes = self.sample_bytes(&mut place.warnings)?;
        if !matches!(bytes, 4 | 8) {
            return Err(Problem::unsupported(format!("float of {} bit in {}", 8 * bytes, place.container)));
        }
        Ok((SampleFormat { coding: Coding::Float, bytes, big_endian: self.big_endian }, 8 * bytes))
    }

    /// Bytes per sample.
    ///
    /// They are in the header three times: as bits, as bytes per frame and as bytes per second. Where the first two
    /// contradict each other, the third decides. Bits that do not fill their bytes are normal.
    fn sample_bytes(&self, warnings: &mut Vec<Warning>) -> Result<usize, Problem> {
        let by_bits = self.bits.div_ceil(8);
        let by_frame =
            if self.block_align.is_multiple_of(self.channels) { self.block_align / self.channels } else { 0 };
        let has_rate = |bytes: usize| {
            let byte_rate = bytes as u64 * self.channels as u64 * u64::from(self.rate);
            byte_rate == u64::from(self.byte_rate)
        };
        let bytes = match (by_bits, by_frame) {
            _ if by_bits == by_frame => by_bits,
            (0, _) => by_frame,
            _ if by_frame > by_bits && (!self.bits.is_multiple_of(8) || has_rate(by_frame)) => by_frame,
            _ if self.block_align == 0 || has_rate(by_bits) => {
                let text =
                    format!("its header states {} bytes per frame of {} bit", self.block_align, self.bits);
                warnings.push(Warning::new("block align", text));
                by_bits
            }
            _ => 0,
        };
        if !(1..=8).contains(&bytes) {
            return Err(Problem::corrupt(format!(
                "its header states {} bytes per frame for {} channels of {} bit",
                self.block_align, self.channels, self.bits
            )));
        }
        Ok(bytes)
    }

    fn adpcm(self, input: Input, place: Place) -> Result<Box<dyn Decoder>, Problem> {
        let variant = if self.tag == MS_ADPCM { Variant::Ms } else { Variant::ImaWav };
        if self.big_endian || self.bits != 4 {
            let order = if self.big_endian { "big-endian " } else { "" };
            let what = format!("{order}{} of {} bit in {}", variant.name(), self.bits, place.container);
            return Err(Problem::unsupported(what));
        }
        let layout = AdpcmLayout {
            container: place.container,
            offset: place.offset,
            stated: place.stated,
            variant,
            block_bytes: self.block_align,
            channels: self.channels,
            rate: self.rate,
            warnings: place.warnings,
        };
        Ok(Box::new(Adpcm::open(input, layout)?))
    }

    /// MPEG audio, which is found by its own headers.
    fn mpeg(&self, input: &Input, place: &Place) -> Result<Box<dyn Decoder>, Problem> {
        let found = input.length().saturating_sub(place.offset);
        let length = match place.stated {
            Stated::Bytes(length) => length,
            Stated::ToEnd | Stated::Unfinished => found,
        };
        if length > found && length - found > length / 100 {
            // Samples by the `fact` chunk, or else by the average bit rate.
            let rates = (u128::from(self.rate), u128::from(self.byte_rate.max(1)));
            let by_rate = |bytes: u64| (u128::from(bytes) * rates.0 / rates.1) as u64;
            let (promised, found) = match place.fact {
                Some(fact) => (fact, (u128::from(fact) * u128::from(found) / u128::from(length)) as u64),
                None => (by_rate(length), by_rate(found)),
            };
            return Err(Problem::Truncated { promised, found });
        }
        mpeg::open(input.part(place.offset, length))
    }
}

/// The tag in the sub-format of an extensible format: a GUID that begins with the tag.
fn sub_format(fields: &Fields) -> Result<u32, Problem> {
    const MICROSOFT: &[u8] = b"\x80\0\0\xaa\0\x38\x9b\x71";
    const AMBISONIC: &[u8] = b"\x86\x44\xc8\xc1\xca\0\0\0";
    let Some(end) = fields.bytes.get(32..40) else {
        return Err(Problem::corrupt("its fmt chunk is too short for the extensible format that it states"));
    };
    if end != MICROSOFT && end != AMBISONIC {
        let guid: String = fields.bytes[24..40].iter().map(|byte| format!("{byte:02x}")).collect();
        return Err(Problem::unsupported(format!("WAV with the sub-format {guid}")));
    }
    // sox writes the first number of the GUID into a big-endian file as two of 16 bits.
    let tag = fields.u32(24);
    Ok(if fields.big_endian && tag & 0xffff == 0 { tag >> 16 } else { tag })
}

/// Whether samples of 4 bytes are floats with full scale at 2²³: not all silent, and of magnitudes that are audible and
/// not much above full scale. Integers have exponents from the whole range.
fn are_floats(input: &Input, offset: u64) -> Result<bool, Problem> {
    let length = input.length().saturating_sub(offset) / 4;
    let mut audible = false;
    for part in 0..4 {
        let bytes = input.peek(offset + length * part / 4 * 4, LOOKED_AT)?;
        for sample in bytes.as_chunks::<4>().0 {
            let value = f32::from_le_bytes(*sample);
            audible |= value != 0.0;
            if value != 0.0 && !(1e-6..1e8).contains(&value.abs()) {
                return Ok(false);
            }
        }
    }
    Ok(audible)
}

/// What a tag stands for. Tags are from Microsoft's mmreg.h.
fn codec_name(tag: u32) -> String {
    let name = match tag {
        0x0010 => "OKI ADPCM",
        0x0017 => "Dialogic OKI ADPCM",
        0x0014 => "G.723 ADPCM",
        0x0020 => "Yamaha ADPCM",
        0x0022 => "TrueSpeech",
        GSM | GSM_MSN => "GSM 6.10",
        0x0040 => "G.721 ADPCM",
        0x0042 | 0x0111 => "G.723.1",
        0x0045 | 0x0064 => "G.726 ADPCM",
        0x0065 | 0x028f => "G.722",
        0x0083 | 0x0133 => "G.729",
        0x000a => "Windows Media Audio Voice",
        0x0160 | 0x0161 => "Windows Media Audio (WMA)",
        0x0162 => "Windows Media Audio Professional",
        0x0163 => "Windows Media Audio Lossless",
        0x00ff | 0x1600 | 0x1601 | 0x1610 | 0x4143 | 0x706d | 0xa106 => "AAC",
        0x1602 => "AAC in LATM",
        0x0092 | 0x2000 => "AC-3",
        0x2001 => "DTS",
        0x0270 => "ATRAC3",
        0x0101 => "IBM µ-law",
        0x0102 => "IBM A-law",
        0x0057 | 0x0058 => "AMR",
        0x674f..=0x6751 | 0x676f..=0x6771 => "Vorbis",
        0x704f => "Opus",
        0xa109 => "Speex",
        0xf1ac => "FLAC",
        0x5756 => "WavPack",
        _ => return format!("codec 0x{tag:04x}"),
    };
    name.to_owned()
}
