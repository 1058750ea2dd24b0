//! The dimensions of a spectrogram, and the file that states them: `preprocessor_config.json`.

use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::error::{FeatureConfigError, FeatureError};
use super::resample::SAMPLE_RATE;

/// The dimensions of a spectrogram. The default is that of Whisper large-v3 and Qwen2-Audio.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct FeatureConfig {
    /// Length that every clip is padded or cut to, in seconds.
    pub chunk_length_seconds: usize,
    /// Mel bands of each frame.
    pub n_mels: usize,
    /// Length of a frame in samples; must be even.
    pub n_fft: usize,
    /// Samples from the start of a frame to the start of the next.
    pub hop: usize,
    /// Samples per second; must be 16 000.
    pub sampling_rate: usize,
}

impl Default for FeatureConfig {
    fn default() -> Self {
        Self { chunk_length_seconds: 30, n_mels: 128, n_fft: 400, hop: 160, sampling_rate: 16_000 }
    }
}

/// The keys of `preprocessor_config.json` that are used here, with Hugging Face's defaults.
#[derive(Deserialize)]
#[serde(default)]
struct PreprocessorConfig {
    chunk_length: usize,
    feature_size: usize,
    n_fft: usize,
    hop_length: usize,
    sampling_rate: usize,
    padding_value: f64,
    dither: f64,
    do_normalize: bool,
}

impl Default for PreprocessorConfig {
    fn default() -> Self {
        Self {
            chunk_length: 30,
            feature_size: 80,
            n_fft: 400,
            hop_length: 160,
            sampling_rate: 16_000,
            padding_value: 0.0,
            dither: 0.0,
            do_normalize: false,
        }
    }
}

impl FeatureConfig {
    /// Reads `preprocessor_config.json` of a model directory, or `processor_config.json` where only that exists. Fails
    /// if the file is missing, is not JSON, or asks for other features than Whisper's.
    pub(super) fn open(dir: &Path) -> Result<FeatureConfig, FeatureError> {
        let (path, json) = read_section(dir)?;
        let error = |problem| FeatureError { path: path.clone(), problem };
        // In a file shared with an image processor, `do_normalize` is about images.
        let of_images = json.get("image_processor_type").is_some();
        let json: PreprocessorConfig = serde_json::from_value(json)
            .map_err(|e| error(FeatureConfigError::Json { error: e.to_string() }))?;
        for (key, unsupported) in [
            ("padding_value", json.padding_value != 0.0),
            ("dither", json.dither != 0.0),
            ("do_normalize", json.do_normalize && !of_images),
        ] {
            if unsupported {
                return Err(error(FeatureConfigError::Unsupported { key }));
            }
        }
        let config = FeatureConfig {
            chunk_length_seconds: json.chunk_length,
            n_mels: json.feature_size,
            n_fft: json.n_fft,
            hop: json.hop_length,
            sampling_rate: json.sampling_rate,
        };
        config.check().map_err(error)?;
        Ok(config)
    }

    /// Checks that a spectrogram of these dimensions can be computed.
    pub(super) fn check(&self) -> Result<(), FeatureConfigError> {
        let FeatureConfig { chunk_length_seconds: chunk, n_mels, n_fft, hop, sampling_rate } = *self;
        if sampling_rate != SAMPLE_RATE as usize {
            return Err(FeatureConfigError::SampleRate { found: sampling_rate, expected: SAMPLE_RATE });
        }
        for (key, found, range) in [
            ("chunk_length", chunk, 1..=3600),
            ("feature_size", n_mels, 1..=1024),
            ("n_fft", n_fft, 16..=16_000),
            ("hop_length", hop, 1..=16_000),
        ] {
            if !range.contains(&found) {
                let (low, high) = range.into_inner();
                return Err(FeatureConfigError::OutOfRange { key, found, low, high });
            }
        }
        if n_fft % 2 != 0 {
            return Err(FeatureConfigError::OddFft { found: n_fft });
        }
        Ok(())
    }
}

/// The feature extractor's settings in a model directory, and the file that they are from. transformers 5 writes them
/// into a section of `processor_config.json`.
fn read_section(dir: &Path) -> Result<(PathBuf, serde_json::Value), FeatureError> {
    let read = |path: &Path| -> Result<serde_json::Value, FeatureError> {
        let error = |problem| FeatureError { path: path.into(), problem };
        let text =
            fs::read_to_string(path).map_err(|e| error(FeatureConfigError::Read { error: e.to_string() }))?;
        serde_json::from_str(&text).map_err(|e| error(FeatureConfigError::Json { error: e.to_string() }))
    };
    let (old, new) = (dir.join("preprocessor_config.json"), dir.join("processor_config.json"));
    if !old.exists() && new.exists() {
        let mut json = read(&new)?;
        if let Some(extractor) = json.get_mut("feature_extractor") {
            return Ok((new, extractor.take()));
        }
    }
    Ok((old.clone(), read(&old)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hub_configurations_are_read_and_others_refused() {
        let dir = tempfile::tempdir().unwrap();
        let open = |json: &str| {
            fs::write(dir.path().join("preprocessor_config.json"), json).unwrap();
            FeatureConfig::open(dir.path())
        };
        let qwen = r#"{"feature_size": 128, "chunk_length": 300, "n_fft": 400, "hop_length": 160, "sampling_rate": 16000,
            "n_samples": 4800000, "return_attention_mask": true, "processor_class": "Qwen2_5OmniProcessor"}"#;
        let expected = FeatureConfig { chunk_length_seconds: 300, ..Default::default() };
        assert_eq!(open(qwen).unwrap(), expected);
        assert_eq!(open("{}").unwrap().n_mels, 80);

        let refusal = |json: &str| open(json).unwrap_err().to_string();
        assert!(
            refusal(r#"{"sampling_rate": 8000}"#)
                .contains("`sampling_rate` is 8000; clips are loaded at 16000 Hz")
        );
        assert!(refusal(r#"{"hop_length": 0}"#).ends_with("`hop_length` is 0; write 1 to 16000"));
        assert!(refusal(r#"{"dither": 0.1}"#).contains("`dither`"));
        assert!(refusal(r#"{"n_fft": 401}"#).contains("write an even number"));
        assert!(refusal("nonsense").contains("bad JSON"));
        let missing = FeatureConfig::open(&dir.path().join("none")).unwrap_err().to_string();
        assert!(missing.contains("none/preprocessor_config.json: cannot be read"), "{missing}");
    }

    #[test]
    fn files_of_transformers_5_and_files_shared_with_images_are_read() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, json: &str| fs::write(dir.path().join(name), json).unwrap();
        let seconds = || FeatureConfig::open(dir.path()).unwrap().chunk_length_seconds;
        write(
            "processor_config.json",
            r#"{"feature_extractor": {"chunk_length": 7, "feature_size": 128}, "processor_class": "Qwen2AudioProcessor"}"#,
        );
        assert_eq!(seconds(), 7);
        let images =
            r#"{"chunk_length": 300, "do_normalize": true, "image_processor_type": "Qwen2VLImageProcessor"}"#;
        write("preprocessor_config.json", images);
        assert_eq!(seconds(), 300, "the older file comes first, and its normalisation is that of images");
        write("preprocessor_config.json", r#"{"do_normalize": true}"#);
        assert!(FeatureConfig::open(dir.path()).unwrap_err().to_string().contains("`do_normalize`"));
    }
}
