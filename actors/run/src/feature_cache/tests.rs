use super::*;

fn clip(values: &[f32], frames: usize) -> HeardClip {
    let n_mels = values.len() / frames;
    let window =
        LogMel { values: values.to_vec(), n_mels, frames, valid_frames: 1, truncated: false, samples: None };
    let warning = Warning::known("length", "its header lies".to_owned()).unwrap();
    HeardClip { start: 0.1 + 0.2, warnings: [warning].into(), ..HeardClip::from(window) }
}

fn bits(clip: &HeardClip) -> Vec<Vec<u32>> {
    clip.windows.iter().map(|window| window.values.iter().map(|value| value.to_bits()).collect()).collect()
}

fn key(number: u8) -> Key {
    Key(hex(&[number; 32]))
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let folders = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    folders.flat_map(|folder| fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path())).collect()
}

// FEATURES-1
#[test]
fn what_is_read_is_bit_for_bit_what_was_written() {
    let folder = tempfile::tempdir().unwrap();
    let cache = FeatureCache::open(folder.path(), 1 << 20).unwrap();
    assert!(cache.get(&key(1)).is_none());
    // Two bands of four frames, of which the last two are padding; -0.0 is not 0.0.
    let mut written = clip(&[0.1, -0.0, 0.0, 0.0, f32::NAN, f32::MIN_POSITIVE, 0.0, 0.0], 4);
    written.windows.push(clip(&[1.0, 2.0, 3.0, 4.0], 2).windows[0].clone());
    written.windows.push(clip(&[0.5; 6], 3).windows[0].clone());
    written.goes_on = true;
    assert_eq!(padding(&written.windows[0]), (2, 0));
    assert_eq!(padding(&written.windows[2]), (0, 0.5f32.to_bits()));
    cache.put(&key(1), &written);
    let read = cache.get(&key(1)).unwrap();
    assert_eq!(bits(&read), bits(&written));
    assert_eq!((read.start.to_bits(), read.goes_on), (written.start.to_bits(), true));
    assert_eq!(read.warnings, written.warnings);
    let shapes = |clip: &HeardClip| -> Vec<_> {
        clip.windows.iter().map(|one| (one.n_mels, one.frames, one.valid_frames, one.truncated)).collect()
    };
    assert_eq!(shapes(&read), shapes(&written));
}

#[test]
fn a_damaged_entry_is_passed_over_and_written_again() {
    let folder = tempfile::tempdir().unwrap();
    let cache = FeatureCache::open(folder.path(), 1 << 20).unwrap();
    let whole = clip(&[1.0, 2.0, 3.0, 4.0], 2);
    cache.put(&key(1), &whole);
    let file = files(folder.path()).remove(0);
    let bytes = fs::read(&file).unwrap();
    for place in 0..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[place] ^= 1;
        fs::write(&file, &damaged).unwrap();
        assert!(cache.get(&key(1)).is_none(), "byte {place}");
        fs::write(&file, &bytes[..place]).unwrap();
        assert!(cache.get(&key(1)).is_none(), "cut off at {place}");
    }
    cache.put(&key(1), &whole);
    assert_eq!(bits(&cache.get(&key(1)).unwrap()), bits(&whole));
}

#[test]
fn the_oldest_entries_make_room_and_foreign_files_stay() {
    let folder = tempfile::tempdir().unwrap();
    let entry = clip(&[1.0, 2.0, 3.0, 4.0], 2);
    let length = encode(&entry).unwrap().len() as u64;
    let foreign = folder.path().join("ab");
    fs::create_dir(&foreign).unwrap();
    fs::write(foreign.join("notes.txt"), vec![0; 10_000]).unwrap();
    let cache = FeatureCache::open(folder.path(), 3 * length).unwrap();
    for number in 1..=5 {
        cache.put(&key(number), &entry);
        let file = cache.path(&key(number));
        // The age of files that are written within the same tick is told apart.
        if let Ok(file) = fs::File::options().write(true).open(file) {
            file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(u64::from(number))).unwrap();
        }
    }
    // The fifth was measured before it got its age, so it was the newest.
    let there: Vec<u8> = (1..=5).filter(|&number| cache.get(&key(number)).is_some()).collect();
    assert_eq!(there, [3, 4, 5]);
    assert!(foreign.join("notes.txt").exists());
    // A folder with less room is emptied when it is opened; an entry that is larger than the room is not written.
    let smaller = FeatureCache::open(folder.path(), length).unwrap();
    let left: Vec<u8> = (1..=5).filter(|&number| smaller.get(&key(number)).is_some()).collect();
    assert_eq!(left, [5]);
    let smallest = FeatureCache::open(folder.path(), length - 1).unwrap();
    smallest.put(&key(9), &entry);
    assert!((1..=9).all(|number| smallest.get(&key(number)).is_none()));
}

#[test]
fn a_key_follows_from_the_bytes_of_the_clip_and_the_recipe() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        fs::write(&path, bytes).unwrap();
        path
    };
    let recipe = Recipe("first".to_owned());
    let of = |path: &Path| Key::of(path, &recipe).unwrap();
    let (one, copy, other) =
        (write("a.wav", &[7; 70_000]), write("b.wav", &[7; 70_000]), write("c.wav", &[7; 70_001]));
    assert_eq!(of(&one), of(&copy));
    assert_ne!(of(&one), of(&other));
    assert_ne!(of(&one), Key::of(&one, &Recipe("mean".to_owned())).unwrap());
    assert_ne!(of(&one), of(&write("a.flac", &[7; 70_000])), "the extension can be a warning");
    assert_eq!(Key::of(&folder.path().join("none.wav"), &recipe), None);
}
