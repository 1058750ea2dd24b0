//! The formats that are decoded, their names, and the extensions of their files.

use std::path::Path;

use super::decoder::Warning;

/// The formats that are decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// RIFF, RIFX, RF64 or BW64 with the form `WAVE`.
    Wave,
    /// Sony's WAV with lengths of 64 bits.
    Wave64,
    /// AIFF, and AIFC, which may be compressed.
    Aiff,
    /// Sun AU, also called SND.
    Au,
    /// Apple Core Audio Format.
    Caf,
    /// NIST SPHERE, the format of speech corpora.
    Sphere,
    Flac,
    Ogg,
    /// MP4, M4A, MOV, 3GP.
    Mp4,
    /// Matroska and WebM.
    Matroska,
    /// MPEG audio, layers 1 to 3, without a container.
    Mpeg,
    /// AAC in ADTS frames.
    Adts,
    WavPack,
}

impl Kind {
    /// The extensions that a file of this kind may have.
    fn extensions(self) -> &'static [&'static str] {
        match self {
            Self::Wave => &["wav", "wave", "bwf", "rf64"],
            Self::Wave64 => &["w64"],
            Self::Aiff => &["aif", "aiff", "aifc"],
            Self::Au => &["au", "snd"],
            Self::Caf => &["caf"],
            Self::Sphere => &["sph", "nist", "wav", "wv1", "wv2"],
            Self::Flac => &["flac", "fla"],
            Self::Ogg => &["ogg", "oga", "ogv", "opus", "spx"],
            Self::Mp4 => &["mp4", "m4a", "m4b", "m4v", "mov", "3gp", "3g2", "alac", "aac", "qt"],
            Self::Matroska => &["mkv", "mka", "webm", "weba"],
            Self::Mpeg => &["mp3", "mp2", "mp1", "mpa", "mpga"],
            Self::Adts => &["aac", "adts"],
            Self::WavPack => &["wv"],
        }
    }

    /// What to call it in a message.
    pub fn name(self) -> &'static str {
        match self {
            Self::Wave => "WAV",
            Self::Wave64 => "Wave64",
            Self::Aiff => "AIFF",
            Self::Au => "AU",
            Self::Caf => "CAF",
            Self::Sphere => "NIST SPHERE",
            Self::Flac => "FLAC",
            Self::Ogg => "Ogg",
            Self::Mp4 => "MP4",
            Self::Matroska => "Matroska",
            Self::Mpeg => "MPEG audio",
            Self::Adts => "ADTS AAC",
            Self::WavPack => "WavPack",
        }
    }

    /// A warning if the file's name has the extension of another kind of audio or video file.
    pub fn contradicts(self, path: &Path) -> Option<Warning> {
        let extension = path.extension()?.to_str()?.to_ascii_lowercase();
        let all = [
            Self::Wave,
            Self::Wave64,
            Self::Aiff,
            Self::Au,
            Self::Caf,
            Self::Sphere,
            Self::Flac,
            Self::Ogg,
            Self::Mp4,
            Self::Matroska,
            Self::Mpeg,
            Self::Adts,
            Self::WavPack,
        ];
        let known = |kind: &Self| kind.extensions().contains(&extension.as_str());
        (!known(&self) && all.iter().any(known)).then(|| {
            Warning::new("extension", format!("named .{extension}, but its content is {}", self.name()))
        })
    }
}
