//! The questions of a dataset, packed: a million of them fit into some hundred megabytes.
//!
//! A [`Question`] with its texts, each in memory of its own, takes close to a kilobyte. A step needs a few dozen of them,
//! so each is kept as the bytes of its JSON and made again when it is asked for, which takes a microsecond or two. The
//! folders of the clips are kept once, and each JSON is compressed with that of the first question as the dictionary,
//! which leaves of the keys and of what all rows share little more than a few references.
//!
//! - PACK-1 a question that is asked for equals the one that was added.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use lz4_flex::block;
use rewards::Question;

/// Length of a block of packed questions, in bytes. Blocks never grow, so that no memory is copied or left over.
const BLOCK: usize = 1 << 20;

/// Length of the dictionary, in bytes: each question pays for it with time.
const DICTIONARY: usize = 2048;

/// Most folders that are kept. If clips have a folder each, keeping them would gain nothing.
const MOST_FOLDERS: usize = 1 << 16;

/// Questions in their order. A clone shares the memory.
#[derive(Clone, Default)]
pub struct Questions(Arc<Packed>);

#[derive(Clone, Default)]
struct Packed {
    /// The beginning of the first question's JSON.
    dictionary: Vec<u8>,
    blocks: Vec<Vec<u8>>,
    entries: Vec<Entry>,
    folders: Vec<PathBuf>,
    /// The place of each folder in `folders`.
    known: HashMap<PathBuf, u32>,
}

/// Where a question is: the name of its clip, and its compressed JSON after it.
#[derive(Clone, Copy)]
struct Entry {
    block: u32,
    start: u32,
    name: u32,
    packed: u32,
    /// The folder of the clip; [`NO_FOLDER`] if the name is the whole path.
    folder: u32,
}

const NO_FOLDER: u32 = u32::MAX;

impl Questions {
    /// Number of questions.
    pub fn len(&self) -> usize {
        self.0.entries.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.entries.is_empty()
    }

    /// The question at `place`; `None` if there are fewer.
    pub fn get(&self, place: usize) -> Option<Arc<Question>> {
        self.0.entries.get(place).map(|entry| Arc::new(self.0.unpack(entry)))
    }

    /// The question at `place`.
    ///
    /// # Panics
    ///
    /// There are fewer questions.
    pub fn at(&self, place: usize) -> Arc<Question> {
        Arc::new(self.0.unpack(&self.0.entries[place]))
    }

    /// The first question.
    pub fn first(&self) -> Option<Arc<Question>> {
        self.get(0)
    }

    /// The questions in their order, each made when its turn comes.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Arc<Question>> + '_ {
        self.0.entries.iter().map(|entry| Arc::new(self.0.unpack(entry)))
    }

    /// The questions in groups of `size`, of which the last may be smaller; `size` is at least 1.
    pub fn chunks(&self, size: usize) -> impl ExactSizeIterator<Item = Vec<Arc<Question>>> + '_ {
        let unpack = |entries: &[Entry]| entries.iter().map(|entry| Arc::new(self.0.unpack(entry))).collect();
        self.0.entries.chunks(size).map(unpack)
    }

    /// Adds a question at the end.
    pub fn push(&mut self, question: Question) {
        Arc::make_mut(&mut self.0).push(question);
    }
}

impl Questions {
    /// Removes the questions at these places, which are in increasing order. The memory of the others stays where it is.
    pub(crate) fn remove(&mut self, places: &[usize]) {
        let (mut place, mut next) = (0, 0);
        Arc::make_mut(&mut self.0).entries.retain(|_| {
            let removed = places.get(next) == Some(&place);
            place += 1;
            next += usize::from(removed);
            !removed
        });
    }
}

impl<'a> IntoIterator for &'a Questions {
    type Item = Arc<Question>;
    type IntoIter = Box<dyn ExactSizeIterator<Item = Arc<Question>> + 'a>;

    fn into_iter(self) -> Self::IntoIter {
        Box::new(self.iter())
    }
}

impl Packed {
    fn push(&mut self, mut question: Question) {
        let path = std::mem::take(&mut question.audio_path);
        let (folder, name) = self.folder_of(&path);
        let name = name.as_bytes();
        // Only maps with other keys than texts, and numbers that are none, cannot be written; a question has neither.
        let json = serde_json::to_vec(&question).unwrap_or_default();
        if self.entries.is_empty() {
            self.dictionary = json[..json.len().min(DICTIONARY)].to_owned();
        }
        let packed = block::compress_prepend_size_with_dict(&json, &self.dictionary);
        let length = name.len() + packed.len();
        if self.blocks.last().is_none_or(|block| block.capacity() - block.len() < length) {
            self.blocks.push(Vec::with_capacity(length.max(BLOCK)));
        }
        let block = self.blocks.len() - 1;
        let bytes = &mut self.blocks[block];
        let start = bytes.len() as u32;
        bytes.extend_from_slice(name);
        bytes.extend_from_slice(&packed);
        let (name, packed) = (name.len() as u32, packed.len() as u32);
        self.entries.push(Entry { block: block as u32, start, name, packed, folder });
    }

    /// The place of a clip's folder, and its name in it.
    fn folder_of<'a>(&mut self, path: &'a Path) -> (u32, &'a OsStr) {
        let whole = (NO_FOLDER, path.as_os_str());
        let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else { return whole };
        if let Some(&place) = self.known.get(folder) {
            return if folder.join(name).as_os_str() == path.as_os_str() { (place, name) } else { whole };
        }
        // `a//b.wav` must stay as it is.
        if self.folders.len() >= MOST_FOLDERS || folder.join(name).as_os_str() != path.as_os_str() {
            return whole;
        }
        let place = self.folders.len() as u32;
        self.folders.push(folder.to_owned());
        self.known.insert(folder.to_owned(), place);
        (place, name)
    }

    fn unpack(&self, entry: &Entry) -> Question {
        let bytes = &self.blocks[entry.block as usize][entry.start as usize..];
        let (name, rest) = bytes.split_at(entry.name as usize);
        let name = OsStr::from_bytes(name);
        // What was compressed above can be decompressed, and is the JSON of a question.
        let json =
            block::decompress_size_prepended_with_dict(&rest[..entry.packed as usize], &self.dictionary);
        let mut question: Question = serde_json::from_slice(&json.unwrap_or_default()).unwrap_or_default();
        question.audio_path = match self.folders.get(entry.folder as usize) {
            Some(folder) => folder.join(name),
            None => name.into(),
        };
        question
    }
}

impl fmt::Debug for Questions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl FromIterator<Question> for Questions {
    fn from_iter<T: IntoIterator<Item = Question>>(questions: T) -> Self {
        let mut packed = Packed::default();
        questions.into_iter().for_each(|question| packed.push(question));
        Self(Arc::new(packed))
    }
}

impl FromIterator<Arc<Question>> for Questions {
    fn from_iter<T: IntoIterator<Item = Arc<Question>>>(questions: T) -> Self {
        questions.into_iter().map(Arc::unwrap_or_clone).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStringExt;

    use rewards::{Difficulty, OfficialRule};
    use serde_json::json;

    use super::*;

    #[test]
    fn a_question_is_unpacked_as_it_was_packed() {
        let metadata =
            json!({"z": {"n": 0.1, "list": [1, null, "x"]}, "a": "ü\n"}).as_object().unwrap().clone();
        let full = Question {
            id: "a".into(),
            text: "What?".into(),
            choices: vec!["dog".into(), "cat".into()],
            letters: "AC".into(),
            letters_shown: true,
            answer: "dog".into(),
            other_answers: vec!["hound".into()],
            tolerance: Some(0.1),
            official: OfficialRule::AirBenchLetter,
            audio_path: "/data/a.wav".into(),
            start: Some(0.1 + 0.2),
            end: Some(1e9),
            difficulty: Some(Difficulty::Hard),
            kind: Some("k".into()),
            steps: Some(vec!["s".into()]),
            reasoning: Some("r".into()),
            metadata,
        };
        let paths = [
            "a.wav",
            "/data/b.wav",
            "x/../a.wav",
            "x//a.wav",
            "./a.wav",
            "x/..",
            "",
            "s.tar!m/a.wav",
            "f#c=1",
        ];
        let odd = PathBuf::from(std::ffi::OsString::from_vec(b"/data/\xff.wav".to_vec()));
        let paths = paths.iter().map(PathBuf::from).chain([odd]);
        let questions: Vec<Question> = std::iter::once(full.clone())
            .chain(paths.map(|audio_path| Question { audio_path, ..full.clone() }))
            .collect();
        let packed: Questions = questions.iter().cloned().collect();
        let unpacked: Vec<Question> = packed.iter().map(|question| (*question).clone()).collect();
        assert_eq!(unpacked, questions);
        for (one, other) in unpacked.iter().zip(&questions) {
            // `Path` compares components, so `./a` and `a` need another look.
            assert_eq!(one.audio_path.as_os_str(), other.audio_path.as_os_str());
            assert!(one.metadata.keys().eq(other.metadata.keys()), "the columns keep their order");
        }
        assert_eq!((packed.len(), packed.first().unwrap().id.as_str()), (11, "a"));
        assert!(packed.get(11).is_none());
        assert_eq!(packed.chunks(4).map(|chunk| chunk.len()).collect::<Vec<_>>(), [4, 4, 3]);
    }

    #[test]
    fn a_question_that_is_longer_than_a_block_has_one_of_its_own() {
        let long = Question { text: "x".repeat(2 * BLOCK), ..Question::default() };
        let short = Question { text: "y".into(), ..Question::default() };
        let packed: Questions = [short.clone(), long.clone(), short.clone()].into_iter().collect();
        assert!(packed.iter().map(Arc::unwrap_or_clone).eq([short.clone(), long, short]));
    }

    #[test]
    fn a_clone_keeps_what_it_had() {
        let mut one: Questions = [Question::default()].into_iter().collect();
        let other = one.clone();
        one.push(Question::default());
        assert_eq!((one.len(), other.len()), (2, 1));
    }

    #[test]
    fn questions_are_removed_by_their_places() {
        let question = |id: usize| Question { id: id.to_string(), ..Question::default() };
        let mut questions: Questions = (0..6).map(question).collect();
        questions.remove(&[0, 3, 5]);
        assert!(questions.iter().map(|question| question.id.clone()).eq(["1", "2", "4"]));
    }
}
