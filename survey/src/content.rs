//! Clips with the same content: within a source, and between what is trained on and what is held out.
//!
//! Contents are compared by SHA-256, of as few files as possible: those of equal length whose middle and end are equal.

use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;
use std::io;
use std::path::{Path, PathBuf};

use scenarios::Dataset;
use sha2::{Digest as _, Sha256};

use crate::clips::Clip;
use crate::parallel::spread;
use crate::report::Finding;
use crate::sources::{Role, Source};

/// Bytes that are compared first, at the middle and at the end of files of equal length.
const GLANCED_AT: u64 = 4096;

/// A source that has been read.
pub(crate) struct Read<'a> {
    pub source: &'a Source,
    pub dataset: Dataset,
    pub clips: Vec<Clip>,
}

impl Read<'_> {
    /// The URL of a clip that a run would download first.
    pub fn not_fetched(&self, clip: &Clip) -> Option<&str> {
        self.dataset.url_of(&clip.path).filter(|_| !clip.path.is_file())
    }

    /// Where a clip is named: the file and line of its first row.
    pub fn place(&self, clip: &Clip) -> String {
        match self.dataset.questions.get(clip.first) {
            Some(question) => {
                let (file, line) = self.dataset.place_of(&question);
                format!("{}:{line}", file.display())
            }
            None => format!("{}:0", self.dataset.path.display()),
        }
    }
}

/// The content of a file that may equal another: the group of its equals. Files that equal no other are absent.
pub(crate) fn groups(paths: &[&Path], done: &(dyn Fn(usize) + Sync)) -> HashMap<PathBuf, usize> {
    let lengths = |path: &&Path| audio::open(path).ok().map(|content| content.length());
    let same_length = equals(paths, &|_| {}, lengths);
    let alike = same_length.into_iter().flat_map(|group| equals(&group, &|_| {}, |path| glance(path).ok()));
    // One list of all, so that all cores have work and the total is known.
    let (mut together, mut origin) = (Vec::new(), HashMap::new());
    for (index, group) in alike.enumerate() {
        origin.extend(group.iter().map(|path| (*path, index)));
        together.extend(group);
    }
    let equal = equals(&together, done, |path| Some((origin[path], digest(path).ok()?)));
    let numbered = equal.into_iter().enumerate();
    numbered.flat_map(|(index, group)| group.into_iter().map(move |path| (path.to_owned(), index))).collect()
}

/// The groups of two or more paths with the same key, each in the order of the paths.
fn equals<'a, K: Eq + Hash + Send>(
    paths: &[&'a Path],
    done: &(dyn Fn(usize) + Sync),
    key: impl Fn(&&'a Path) -> Option<K> + Sync,
) -> Vec<Vec<&'a Path>> {
    if paths.len() < 2 {
        return Vec::new();
    }
    let (mut groups, mut places) = (Vec::<Vec<&Path>>::new(), HashMap::new());
    for (path, key) in paths.iter().zip(spread(paths, None, done, key)) {
        let Some(key) = key.flatten() else { continue };
        let place = *places.entry(key).or_insert(groups.len());
        match groups.get_mut(place) {
            Some(group) => group.push(path),
            None => groups.push(vec![path]),
        }
    }
    groups.retain(|group| group.len() > 1);
    groups
}

/// The bytes at the middle and the end of a file, which differ between most files.
fn glance(path: &Path) -> io::Result<Vec<u8>> {
    let content = audio::open(path).map_err(io::Error::other)?;
    let length = content.length();
    let mut bytes = vec![0; 2 * GLANCED_AT as usize];
    let (middle, end) = bytes.split_at_mut(GLANCED_AT as usize);
    let size = GLANCED_AT.min(length) as usize;
    content.read_at((length / 2).min(length - size as u64), &mut middle[..size])?;
    content.read_at(length - size as u64, &mut end[..size])?;
    Ok(bytes)
}

fn digest(path: &Path) -> io::Result<[u8; 32]> {
    let (mut content, mut hash) = (audio::open(path).map_err(io::Error::other)?, Sha256::new());
    io::copy(&mut content, &mut hash)?;
    Ok(hash.finalize().into())
}

/// What to say about clips that are in a source twice, or both in a training set and in a suite of the same arm.
pub(crate) fn findings(read: &[Read<'_>], done: &(dyn Fn(usize) + Sync)) -> Vec<Finding> {
    let mut paths: Vec<&Path> = Vec::new();
    for clip in read.iter().flat_map(|source| &source.clips) {
        if clip.info().is_some() {
            paths.push(&clip.path);
        }
    }
    paths.sort_unstable();
    paths.dedup();
    let contents = Contents { groups: groups(&paths, done) };
    let mut found = Vec::new();
    for one in read {
        if one.source.role == Role::Heldout {
            let shares_arm =
                |other: &&Read| other.source.arms.iter().any(|arm| one.source.arms.contains(arm));
            let training = read.iter().filter(|other| other.source.role == Role::Train).filter(shares_arm);
            found.extend(contents.leaks(one, training));
        }
        found.extend(contents.duplicates(one));
    }
    found
}

/// What a clip is compared by.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Content<'a> {
    Group(usize),
    Path(&'a Path),
}

struct Contents {
    groups: HashMap<PathBuf, usize>,
}

impl Contents {
    fn of<'a>(&self, clip: &'a Clip) -> Content<'a> {
        self.groups.get(&clip.path).map_or(Content::Path(&clip.path), |&group| Content::Group(group))
    }

    /// The clips of a suite that are trained on too.
    fn leaks<'a>(&self, suite: &Read, training: impl Iterator<Item = &'a Read<'a>>) -> Vec<Finding> {
        let mut trained = BTreeMap::new();
        for source in training {
            for clip in source.clips.iter().filter(|clip| clip.info().is_some()) {
                trained.entry(self.of(clip)).or_insert((source, clip));
            }
        }
        let leaked = suite.clips.iter().filter(|clip| clip.info().is_some()).filter_map(|clip| {
            let (source, same) = trained.get(&self.of(clip))?;
            let name =
                if same.path == clip.path { String::new() } else { format!("as {} ", same.path.display()) };
            let message = format!(
                "{}: {} is trained on too, {name}in {}; drop it from one of the sets",
                suite.place(clip),
                clip.path.display(),
                source.place(same)
            );
            Some(Finding { source: suite.source.name.clone(), kind: "leakage".into(), stops: false, message })
        });
        leaked.collect()
    }

    /// The clips of a source whose content an earlier clip of it has.
    fn duplicates(&self, read: &Read) -> Vec<Finding> {
        let mut seen: HashMap<usize, &Clip> = HashMap::new();
        let mut found = Vec::new();
        for clip in &read.clips {
            let Some(&group) = self.groups.get(&clip.path) else { continue };
            let earlier = *seen.entry(group).or_insert(clip);
            if earlier.path != clip.path {
                let message = format!(
                    "{}: {} has the content of {}, which {} names; drop one of them",
                    read.place(clip),
                    clip.path.display(),
                    earlier.path.display(),
                    read.place(earlier)
                );
                found.push(Finding {
                    source: read.source.name.clone(),
                    kind: "duplicate".into(),
                    stops: false,
                    message,
                });
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_equal_by_content_and_not_by_length_middle_or_end() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, first: u8, last: u8| {
            let mut bytes = vec![7; 20_000];
            (bytes[0], bytes[19_999]) = (first, last);
            let path = folder.path().join(name);
            std::fs::write(&path, bytes).unwrap();
            path
        };
        let files =
            [write("a", 1, 1), write("b", 2, 1), write("c", 1, 2), write("d", 1, 1), write("e", 2, 1)];
        let short = folder.path().join("short");
        std::fs::write(&short, [1]).unwrap();
        let mut paths: Vec<&Path> = files.iter().map(PathBuf::as_path).collect();
        paths.push(&short);
        let groups = groups(&paths, &|_| {});
        assert_eq!(groups.len(), 4);
        assert_eq!(groups[&files[0]], groups[&files[3]]);
        assert_eq!(groups[&files[1]], groups[&files[4]]);
        assert_ne!(groups[&files[0]], groups[&files[1]]);
    }
}
