use std::path::{Path, PathBuf};
use std::time::Instant;

use scenarios::Experiment;

use super::*;

fn config(text: &str) -> ArmConfig {
    let rewards = "[rewards]\naccuracy = { kind = \"accuracy\" }\n[shaping]\nformula = \"accuracy\"\n";
    let text = format!("{rewards}{text}\n[[arm]]\nname = \"a\"\n");
    let Experiment { arms, .. } =
        scenarios::scenario::parse(&text, Path::new("a.toml"), &[], &[], None).unwrap();
    arms.into_iter().next().unwrap()
}

fn processor() -> Processor {
    Processor::open(&scenarios::builtin::builtin_tiny_policy().unwrap()).unwrap()
}

/// A WAV file of noise.
fn clip(folder: &Path, name: &str, samples: usize) -> PathBuf {
    let path = folder.join(name);
    let mut noise = vec![0.0; samples];
    fill_with_noise(&mut noise, &path, 0);
    std::fs::write(&path, audio::wav_16_bit(&noise)).unwrap();
    path
}

fn hear(source: &AudioSource, path: &Path, sound: Sound) -> HeardClip {
    source(&ClipRequest { path: path.to_owned(), sound, ..ClipRequest::default() }).unwrap()
}

#[test]
fn a_long_clip_is_heard_in_windows_that_are_its_parts() {
    let (folder, processor) = (tempfile::tempdir().unwrap(), processor());
    let window = processor.window_seconds().unwrap() * 16_000;
    let source = audio_source(&config("[loader]\nwindow = \"all\""), &processor, Arc::default()).unwrap();
    let path = clip(folder.path(), "a.wav", 2 * window + 8_000);
    let heard = hear(&source, &path, Sound::Own);
    let samples = audio::load(&path, &Hearing::default()).unwrap().samples;
    let expected: Vec<_> =
        samples.chunks(window).map(|part| Arc::new(processor.extract(part).unwrap())).collect();
    assert_eq!(heard.windows, expected);
    assert!(!heard.goes_on && heard.windows.iter().all(|window| !window.truncated));

    // 160 samples more than a window are one frame, which has no token.
    assert_eq!(processor.clip_tokens(0.01), 0);
    let barely = hear(&source, &clip(folder.path(), "b.wav", window + 160), Sound::Own);
    assert_eq!(barely.windows.len(), 1);
    let short = hear(&source, &clip(folder.path(), "c.wav", 160), Sound::Own);
    assert_eq!(short.windows.len(), 1);
    // Another noise in each window.
    let noise = hear(&source, &path, Sound::Noise);
    assert_eq!(noise.windows.len(), 3);
    assert_ne!(noise.windows[0], noise.windows[1]);
    assert!(hear(&source, &path, Sound::Silence).windows.iter().all(|window| window.is_silent()));
}

#[test]
fn a_clip_of_more_than_the_most_windows_goes_on() {
    let (folder, processor) = (tempfile::tempdir().unwrap(), processor());
    let window = processor.window_seconds().unwrap() * 16_000;
    let source = audio_source(&config("[loader]\nwindow = \"all\""), &processor, Arc::default()).unwrap();
    let whole = hear(&source, &clip(folder.path(), "a.wav", MOST_WINDOWS * window), Sound::Own);
    assert_eq!((whole.windows.len(), whole.goes_on), (MOST_WINDOWS, false));
    let longer = hear(&source, &clip(folder.path(), "b.wav", MOST_WINDOWS * window + 1), Sound::Own);
    assert_eq!((longer.windows.len(), longer.goes_on), (MOST_WINDOWS, true));
}

// FEATURES-1
#[test]
fn features_of_the_cache_are_those_that_were_computed() {
    let (folder, processor) = (tempfile::tempdir().unwrap(), processor());
    let cached = |rest: &str| {
        let text = format!("[loader]\ncache_dir = \"{}\"\n{rest}", folder.path().join("cache").display());
        audio_source(&config(&text), &processor, Arc::default()).unwrap()
    };
    let window = processor.window_seconds().unwrap() * 16_000;
    let path = clip(folder.path(), "a.wav", 2 * window + 8_000);
    let bits = |clip: &HeardClip| -> Vec<u32> {
        clip.windows.iter().flat_map(|one| one.values.iter().map(|value| value.to_bits())).collect()
    };
    for rest in ["", "window = \"center\"", "window = \"all\""] {
        let plain = audio_source(&config(&format!("[loader]\n{rest}")), &processor, Arc::default()).unwrap();
        let request = ClipRequest { path: path.clone(), position: 0.5, ..ClipRequest::default() };
        let expected = plain(&request).unwrap();
        let source = cached(rest);
        for time in ["written", "read"] {
            let heard = source(&request).unwrap();
            assert_eq!(bits(&heard), bits(&expected), "{rest} {time}");
            assert_eq!((heard.start, heard.goes_on), (expected.start, expected.goes_on));
            assert_eq!(heard.windows, expected.windows);
        }
    }
    // What is in the cache is what is heard: a clip that is silent by now is found by its new content.
    std::fs::write(&path, audio::wav_16_bit(&vec![0.0; 16_000])).unwrap();
    assert!(hear(&cached(""), &path, Sound::Own).windows[0].is_silent());
    // Controls are not kept.
    let entries = || std::fs::read_dir(folder.path().join("cache")).unwrap().count();
    let before = entries();
    hear(&cached(""), &path, Sound::Noise);
    assert_eq!(entries(), before);
}

#[test]
fn a_cache_folder_that_cannot_be_made_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    let text = format!("[loader]\ncache_dir = \"{}\"", file.join("cache").display());
    let message = audio_source(&config(&text), &processor(), Arc::default()).err().unwrap().to_string();
    assert!(message.starts_with(&file.join("cache").display().to_string()), "{message}");
    assert!(message.contains("set loader.cache_dir to a folder that can be written"), "{message}");
}

/// Prints how long 200 clips take without the cache, when it is filled, and when it is read.
#[test]
#[ignore = "a measurement"]
fn time_of_the_feature_cache() {
    let (folder, processor) = (tempfile::tempdir().unwrap(), processor());
    for seconds in [5, 30] {
        let paths: Vec<PathBuf> = (0..200)
            .map(|number| {
                let path = folder.path().join(format!("{seconds}-{number}.wav"));
                // At 44.1 kHz, as most collections are; the header's rate is at byte 24.
                let mut noise = vec![0.0; seconds * 44_100];
                fill_with_noise(&mut noise, &path, 0);
                let mut wav = audio::wav_16_bit(&noise);
                wav[24..28].copy_from_slice(&44_100u32.to_le_bytes());
                wav[28..32].copy_from_slice(&88_200u32.to_le_bytes());
                std::fs::write(&path, wav).unwrap();
                path
            })
            .collect();
        let cache = folder.path().join(format!("cache-{seconds}"));
        let cached = audio_source(
            &config(&format!("[loader]\ncache_dir = \"{}\"", cache.display())),
            &processor,
            Arc::default(),
        )
        .unwrap();
        let plain = audio_source(&config(""), &processor, Arc::default()).unwrap();
        for (name, source) in [("without", &plain), ("filled", &cached), ("read", &cached)] {
            let started = Instant::now();
            paths.iter().for_each(|path| drop(hear(source, path, Sound::Own)));
            println!("{seconds} s, {name}: {:.2} s for 200 clips", started.elapsed().as_secs_f64());
        }
    }
}
