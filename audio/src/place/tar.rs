//! Members of tar archives: the forms of v7, ustar, GNU and pax.
//!
//! An archive has no table of contents: each member has a header of 512 bytes in front of its bytes. The headers are
//! read once per process and archive, by going from one to the next; after that a clip costs one look-up.

use std::collections::HashMap;
use std::path::Path;

use super::kept::{Kept, Key};
use crate::error::Problem;
use crate::input::Input;

/// Headers and the bytes of members begin at multiples of this.
const BLOCK: u64 = 512;

/// Longest name, or block of pax records, that is read.
const LONGEST_NAME: u64 = 1 << 20;

/// Most headers of an archive.
const MOST_MEMBERS: usize = 1_000_000;

/// Most memory for the indexes of all archives, in bytes.
const BUDGET: usize = 64 << 20;

static INDEXES: Kept<Index> = Kept::new(BUDGET);

/// The members of an archive.
#[derive(Debug, Default)]
struct Index {
    members: HashMap<Vec<u8>, Member>,
    /// The names of the first regular members, for messages.
    first: Vec<String>,
    /// Number of regular members.
    files: usize,
    /// Memory that the names need, in bytes.
    names: usize,
    /// Why the archive could not be read to its end; what comes before can be used.
    damage: Option<String>,
}

#[derive(Clone, Debug)]
enum Member {
    /// Where its bytes are in the archive, and how many.
    File {
        offset: u64,
        length: u64,
    },
    Sparse,
    /// A symbolic link, and where it leads.
    Link(String),
}

/// Opens a member of an archive.
///
/// Errors: the archive is compressed or not a tar archive; it has no such member, or is damaged before it.
pub(super) fn open(archive: &Path, member: &[u8]) -> Result<Input, Problem> {
    let key = Key::of(archive)?;
    let input = Input::open(archive)?;
    let weigh = |index: &Index| index.names + index.members.len() * 96;
    let index = INDEXES.get(&key, weigh, || {
        refuse_other_archives(archive, &input)?;
        read_index(&input)
    })?;
    let name = String::from_utf8_lossy(member);
    let unusable = |what: String, remedy: &str| Err(Problem::Archive { what, remedy: remedy.into() });
    match index.members.get(plain(member)) {
        Some(&Member::File { offset, length }) => Ok(input.part(offset, length)),
        Some(Member::Sparse) => unusable(
            format!("member `{name}` is stored as a sparse file"),
            "pack it again without `--sparse`",
        ),
        Some(Member::Link(target)) => {
            unusable(format!("member `{name}` is a link to `{target}`"), "name the member that it leads to")
        }
        None => Err(index.no_member(&name)),
    }
}

/// A member's name without leading `./`.
fn plain(mut name: &[u8]) -> &[u8] {
    while let Some(rest) = name.strip_prefix(b"./") {
        name = rest;
    }
    name
}

/// Refuses what is no tar archive by what it is.
fn refuse_other_archives(archive: &Path, input: &Input) -> Result<(), Problem> {
    let head = input.peek(0, BLOCK as usize)?;
    let (what, remedy) = match () {
        () if head.is_empty() => return Err(Problem::Empty),
        () if head.starts_with(b"\x1f\x8b") => ("compressed with gzip", "gunzip"),
        () if head.starts_with(b"\x28\xb5\x2f\xfd") => ("compressed with zstd", "unzstd"),
        () if head.starts_with(b"BZh") => ("compressed with bzip2", "bunzip2"),
        () if head.starts_with(b"\xfd7zXZ\0") => ("compressed with xz", "unxz"),
        () if head.starts_with(b"PK\x03\x04") => ("a zip archive", "unzip"),
        () if !Header::read(input, 0)?.is_some_and(|header| header.is_end() || header.is_sound()) => {
            let remedy = "name a member of a tar archive, `ARCHIVE.tar!MEMBER`, or a file".into();
            return Err(Problem::Archive {
                what: "what is before the `!` is not a tar archive".into(),
                remedy,
            });
        }
        () => return Ok(()),
    };
    let remedy = format!("unpack it: {remedy} {}", archive.display());
    Err(Problem::Archive { what: format!("the archive is {what}, so its members can't be found"), remedy })
}

/// Reads the headers of an archive. What is damaged ends the index, and is noted in it.
fn read_index(input: &Input) -> Result<Index, Problem> {
    let mut walk = Walk { input, index: Index::default(), offset: 0, next: Pending::default() };
    loop {
        match walk.step()? {
            Step::Next => {}
            Step::End => return Ok(walk.index),
            Step::Damage(what) => {
                walk.index.damage = Some(what);
                return Ok(walk.index);
            }
        }
    }
}

enum Step {
    Next,
    End,
    Damage(String),
}

/// What extra headers say of the member that follows them.
#[derive(Default)]
struct Pending {
    name: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    length: Option<u64>,
    sparse: bool,
}

/// The way through an archive from header to header.
struct Walk<'a> {
    input: &'a Input,
    index: Index,
    /// Where the next header is.
    offset: u64,
    next: Pending,
}

impl Walk<'_> {
    /// Reads a header and goes to the next one.
    fn step(&mut self) -> Result<Step, Problem> {
        if self.offset == self.input.length() {
            return Ok(Step::End);
        }
        let at = self.offset;
        let damage = |what: &str| Ok(Step::Damage(format!("{what} at byte {at}")));
        let Some(header) = Header::read(self.input, at)? else { return damage("it ends within a header") };
        if header.is_end() {
            return Ok(Step::End);
        }
        if !header.is_sound() {
            return damage("a header is damaged");
        }
        let Some(stated) = header.number(124..136) else { return damage("a length is damaged") };
        // The lengths of extra headers themselves are never overridden.
        let extra = matches!(header.kind(), b'L' | b'K' | b'x' | b'g');
        let length = if extra { stated } else { self.next.length.unwrap_or(stated) };
        let mut content = at + BLOCK;
        if header.kind() == b'S' && header.0[482] != 0 {
            let Some(after) = self.after_sparse_map(content)? else {
                return damage("a sparse map is damaged");
            };
            content = after;
        }
        let length = if header.has_content() { length } else { 0 };
        let end = content.checked_add(length).filter(|&end| end <= self.input.length());
        let Some(end) = end else {
            let name = header.name();
            return damage(&format!("it ends within `{}`, which begins", String::from_utf8_lossy(&name)));
        };
        if extra {
            if length > LONGEST_NAME {
                return damage("a name or its attributes are too long");
            }
            let bytes = self.input.peek(content, length as usize)?;
            if !self.note(header.kind(), &bytes) {
                return damage("an extended header is damaged");
            }
        } else {
            self.add(&header, content, length);
            if self.index.members.len() > MOST_MEMBERS {
                return Ok(Step::Damage(format!("it has more than {MOST_MEMBERS} members; split it")));
            }
        }
        // Some writers leave out the padding after the last member.
        self.offset = end.next_multiple_of(BLOCK).min(self.input.length());
        Ok(Step::Next)
    }

    /// Where the content begins behind the map of a GNU sparse member, which may go on in further blocks.
    fn after_sparse_map(&self, mut offset: u64) -> Result<Option<u64>, Problem> {
        loop {
            let Some(Header(block)) = Header::read(self.input, offset)? else { return Ok(None) };
            offset += BLOCK;
            if block[504] == 0 {
                return Ok(Some(offset));
            }
        }
    }

    /// Takes in an extra header. False if it is damaged.
    fn note(&mut self, kind: u8, bytes: &[u8]) -> bool {
        match kind {
            b'L' => self.next.name = Some(until_nul(bytes).to_vec()),
            b'K' => self.next.link = Some(until_nul(bytes).to_vec()),
            b'x' => return self.note_records(bytes),
            // A global header holds nothing that could apply to every member, such as a comment with a commit.
            _ => {}
        }
        true
    }

    /// Takes in pax records, each `LENGTH KEY=VALUE\n`, where the length counts all of it.
    fn note_records(&mut self, mut bytes: &[u8]) -> bool {
        while let Some(space) = bytes.iter().position(|&byte| byte == b' ') {
            let length =
                std::str::from_utf8(&bytes[..space]).ok().and_then(|digits| digits.parse::<usize>().ok());
            let Some(record) = length.and_then(|length| bytes.get(space + 1..length)) else { return false };
            let Some(record) = record.strip_suffix(b"\n") else { return false };
            let Some(equals) = record.iter().position(|&byte| byte == b'=') else { return false };
            let (key, value) = (&record[..equals], &record[equals + 1..]);
            match key {
                b"path" => self.next.name = Some(value.to_vec()),
                b"linkpath" => self.next.link = Some(value.to_vec()),
                b"size" => {
                    let size = std::str::from_utf8(value).ok().and_then(|digits| digits.parse().ok());
                    let Some(size) = size else { return false };
                    self.next.length = Some(size);
                }
                b"GNU.sparse.name" => {
                    self.next.name = Some(value.to_vec());
                    self.next.sparse = true;
                }
                _ => self.next.sparse |= key.starts_with(b"GNU.sparse."),
            }
            bytes = &bytes[space + 1 + record.len() + 1..];
        }
        bytes.iter().all(|&byte| byte == 0)
    }

    /// Adds a member, unless it is a folder or a device.
    fn add(&mut self, header: &Header, offset: u64, length: u64) {
        let pending = std::mem::take(&mut self.next);
        let name = pending.name.unwrap_or_else(|| header.name());
        let name = plain(&name).to_vec();
        let target = || pending.link.clone().unwrap_or_else(|| until_nul(&header.0[157..257]).to_vec());
        let member = match header.kind() {
            b'S' => Member::Sparse,
            _ if pending.sparse => Member::Sparse,
            // A name that ends with a slash is a folder in v7.
            0 | b'0' | b'7' if !name.ends_with(b"/") => Member::File { offset, length },
            // A hard link is another name of an earlier member.
            b'1' => match self.index.members.get(plain(&target())) {
                Some(member) => member.clone(),
                None => Member::Link(String::from_utf8_lossy(&target()).into_owned()),
            },
            b'2' => Member::Link(String::from_utf8_lossy(&target()).into_owned()),
            _ => return,
        };
        if matches!(member, Member::File { .. }) {
            if self.index.first.len() < 3 {
                self.index.first.push(String::from_utf8_lossy(&name).into_owned());
            }
            self.index.files += 1;
        }
        self.index.names += name.len();
        // Of members with the same name the last counts, as if the archive had been unpacked.
        self.index.members.insert(name, member);
    }
}

impl Index {
    /// The error for a member that is not in the archive.
    fn no_member(&self, name: &str) -> Problem {
        if let Some(damage) = &self.damage {
            let what = format!(
                "no member `{name}` in the {} files before the archive is damaged ({damage})",
                self.files
            );
            return Problem::Archive { what, remedy: "fetch the archive again".into() };
        }
        let wanted = name.to_lowercase();
        let near = self.members.keys().map(|found| String::from_utf8_lossy(found));
        let near = near
            .filter(|found| found.to_lowercase() == wanted || found.rsplit('/').next() == Some(name))
            .min();
        let what = match (near, self.first.as_slice()) {
            (Some(near), _) => format!("no member `{name}` in it; there is `{near}`"),
            (None, []) => format!("no member `{name}` in it; it holds no files"),
            (None, first) => {
                let files =
                    if self.files == 1 { "1 file".to_owned() } else { format!("{} files", self.files) };
                format!("no member `{name}` in it; it holds {files}, such as `{}`", first[0])
            }
        };
        Problem::Absent { what }
    }
}

/// A block where a header should be.
struct Header([u8; BLOCK as usize]);

impl Header {
    /// The block at `offset`; `None` if the archive ends within it.
    fn read(input: &Input, offset: u64) -> Result<Option<Self>, Problem> {
        let mut block = [0; BLOCK as usize];
        Ok((input.read_at(offset, &mut block)? == block.len()).then_some(Self(block)))
    }

    /// Whether it is a block of zeros, two of which end an archive.
    fn is_end(&self) -> bool {
        self.0.iter().all(|&byte| byte == 0)
    }

    /// Whether its checksum is right: the sum of its bytes, with spaces for the checksum. Old writers summed signed bytes.
    fn is_sound(&self) -> bool {
        let bytes =
            || self.0.iter().enumerate().map(|(i, &byte)| if (148..156).contains(&i) { b' ' } else { byte });
        let unsigned: u64 = bytes().map(u64::from).sum();
        let signed: i64 = bytes().map(|byte| i64::from(byte as i8)).sum();
        self.number(148..156).is_some_and(|stated| stated == unsigned || i64::try_from(stated) == Ok(signed))
    }

    /// What sort of member it describes.
    fn kind(&self) -> u8 {
        self.0[156]
    }

    /// Whether bytes follow it. Of links and folders some writers state a length all the same.
    fn has_content(&self) -> bool {
        !matches!(self.kind(), b'1'..=b'6')
    }

    /// A number in octal digits or, where the first bit is set, in binary.
    fn number(&self, range: std::ops::Range<usize>) -> Option<u64> {
        let field = &self.0[range];
        if field[0] & 0x80 != 0 {
            let mut bytes = std::iter::once(field[0] & 0x7f).chain(field[1..].iter().copied());
            return bytes.try_fold(0u64, |sum, byte| sum.checked_mul(256)?.checked_add(byte.into()));
        }
        let digits = until_nul(field).trim_ascii();
        digits.iter().try_fold(0u64, |sum, &digit| match digit {
            b'0'..=b'7' => sum.checked_mul(8)?.checked_add((digit - b'0').into()),
            _ => None,
        })
    }

    /// The name, which ustar may split in two.
    fn name(&self) -> Vec<u8> {
        let name = until_nul(&self.0[..100]);
        let prefix = until_nul(&self.0[345..500]);
        if self.0[257..263] == *b"ustar\0" && !prefix.is_empty() {
            [prefix, b"/", name].concat()
        } else {
            name.to_vec()
        }
    }
}

fn until_nul(bytes: &[u8]) -> &[u8] {
    &bytes[..bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len())]
}
