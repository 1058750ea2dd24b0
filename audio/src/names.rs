//! The names of codecs in containers, so that one without a decoder can be named.

use std::io;

use super::input::Input;
use super::kind::Kind;
use super::mp4_boxes;

/// Where the codec of the first sound track is looked for, in bytes.
const LOOKED_AT: usize = 1 << 16;

/// What a container says of the codec of its first sound track, in the words that people use, or else in its own.
pub(crate) fn codec_in(kind: Kind, input: &Input) -> io::Result<Option<String>> {
    Ok(match kind {
        Kind::Matroska => matroska(&input.peek(0, LOOKED_AT)?),
        Kind::Mp4 => mp4_boxes::sample_entry(input)?.map(|(code, object)| match object {
            Some(object) if code == *b"mp4a" => object_type(object),
            _ => known(&code),
        }),
        // The format of the `desc` chunk, which comes first.
        Kind::Caf => input.peek(28, 4)?.first_chunk().map(known),
        _ => None,
    })
}

/// The name that people use for a codec, by symphonia's.
pub(crate) fn of(short_name: &str) -> String {
    let name = match short_name {
        "aac" => "AAC",
        "alac" => "ALAC",
        "flac" => "FLAC",
        "mp1" => "MP1",
        "mp2" => "MP2",
        "mp3" => "MP3",
        "opus" => "Opus",
        "vorbis" => "Vorbis",
        other => other,
    };
    name.to_owned()
}

/// The codec's name in Matroska begins with `A_`, after its length with the highest bit set.
fn matroska(head: &[u8]) -> Option<String> {
    let start = head.windows(3).position(|window| window[0] > 0x82 && window[1..] == *b"A_")?;
    let length = usize::from(head[start] & 0x7f);
    let name: String = head[start + 1..]
        .iter()
        .take(length)
        .map(|&byte| char::from(byte))
        .take_while(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '/' | '.' | '-'))
        .collect();
    Some(match name.as_str() {
        "A_AC3" => "AC-3".to_owned(),
        "A_EAC3" => "E-AC-3".to_owned(),
        "A_MS/ACM" => "Windows Media Audio or another codec of Windows (A_MS/ACM)".to_owned(),
        _ => name,
    })
}

/// The codec of a code of four characters, as MP4 and CAF have them.
fn known(code: &[u8; 4]) -> String {
    let name = match code {
        b"ac-3" => "AC-3",
        b"ec-3" => "E-AC-3",
        b"samr" => "AMR",
        b"sawb" => "AMR-WB",
        b"alac" => "ALAC",
        b"ima4" => "IMA ADPCM (ima4)",
        b"Opus" | b"opus" => "Opus",
        b"fLaC" | b"flac" => "FLAC",
        b".mp3" => "MP3",
        b"mp4a" | b"aac " => "AAC",
        b"aach" | b"aacp" => "HE-AAC",
        _ => return format!("the codec `{}`", code.escape_ascii()),
    };
    name.to_owned()
}

/// The codec of an object type of MPEG-4, which stands in `esds`.
fn object_type(object: u8) -> String {
    let name = match object {
        0x40 | 0x66..=0x68 => "AAC",
        0x69 | 0x6b => "MP3",
        0xa5 => "AC-3",
        0xa6 => "E-AC-3",
        0xa9..=0xac => "DTS",
        0xad => "Opus",
        0xdd => "Vorbis",
        _ => return format!("the object type {object:#04x}"),
    };
    name.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codecs_are_named_by_their_containers() {
        let mkv = b"\x1a\x45\xdf\xa3...\x86\x8dA_PCM/INT/LIT\x83\x01";
        assert_eq!(
            codec_in(Kind::Matroska, &Input::of_bytes(*mkv)).unwrap().as_deref(),
            Some("A_PCM/INT/LIT")
        );
        assert_eq!(known(b"samr"), "AMR");
        assert_eq!(known(b"a\0b\""), r#"the codec `a\x00b\"`"#);
    }
}
