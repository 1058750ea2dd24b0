//! The archives in `golden` were made by other software; `golden/make.py` says how.

use std::fs;
use std::io::Read;

use super::*;

/// What row or member `number` of the archives in `golden` holds.
fn content(number: usize) -> Vec<u8> {
    format!("clip {number} ").repeat((number + 1) * 20).into_bytes()
}

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src/place/golden").join(name)
}

fn read(place: impl AsRef<Path>) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let mut input = open_place(place.as_ref()).map_err(|problem| problem.to_string())?;
    input.read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    Ok(bytes)
}

/// `FILE!MEMBER` or `FILE#CELL`.
fn part(file: &Path, part: &str) -> PathBuf {
    PathBuf::from(format!("{}{part}", file.display()))
}

#[test]
fn members_of_tar_archives_of_every_kind_are_found() {
    let long = "folder/".repeat(20) + "deep.wav";
    for format in ["gnu.tar", "pax.tar", "ustar.tar"] {
        let read = |member: &str| read(part(&golden(format), &format!("!{member}")));
        for (number, member) in
            ["000001.wav", "./000001.json", "sub/Größe.wav", &long].into_iter().enumerate()
        {
            assert_eq!(read(member), Ok(content(number)), "{format}: {member}");
        }
        assert_eq!(read("empty.wav"), Ok(vec![]));
        assert_eq!(read("hard.wav"), Ok(content(0)));
        assert_eq!(
            read("soft.wav").unwrap_err(),
            "member `soft.wav` is a link to `000001.wav`; name the member that it leads to"
        );
        assert_eq!(read("sub").unwrap_err(), "no member `sub` in it; it holds 6 files, such as `000001.wav`");
        assert_eq!(read("Größe.wav").unwrap_err(), "no member `Größe.wav` in it; there is `sub/Größe.wav`");
    }
}

#[test]
fn a_clip_is_heard_from_within_an_archive_and_errors_name_both() {
    let folder = tempfile::tempdir().unwrap();
    let archive = folder.path().join("shard.tar");
    fs::write(
        &archive,
        [member(b"a.wav", b'0', &wav()), member(b"a.amr", b'0', b"#!AMR\n"), vec![0; 1024]].concat(),
    )
    .unwrap();
    let clip = crate::load(&part(&archive, "!a.wav"), &crate::Hearing::default()).unwrap();
    assert_eq!((clip.samples.len(), clip.warnings), (160, vec![]));
    assert_eq!(crate::inspect(&part(&archive, "!a.wav"), None).unwrap().frames, Some(160));
    let error = crate::load(&part(&archive, "!b.wav"), &crate::Hearing::default()).unwrap_err();
    let expected = "shard.tar!b.wav: no member `b.wav` in it; it holds 2 files, such as `a.wav`";
    assert!(error.to_string().ends_with(expected), "{error}");
    let error = crate::load(&part(&archive, "!a.amr"), &crate::Hearing::default()).unwrap_err();
    assert!(error.to_string().contains("shard.tar!a.amr: AMR is not supported; convert it"), "{error}");
}

#[test]
fn an_archive_that_changes_is_read_again() {
    let folder = tempfile::tempdir().unwrap();
    let archive = folder.path().join("a.tar");
    fs::write(&archive, member(b"a", b'0', b"1")).unwrap();
    assert_eq!(read(part(&archive, "!a")).unwrap(), b"1");
    fs::write(&archive, [member(b"b", b'0', b"2"), member(b"a", b'0', b"3")].concat()).unwrap();
    assert_eq!(read(part(&archive, "!a")).unwrap(), b"3");
}

#[test]
fn headers_without_ustar_and_sizes_in_binary_are_read_and_sparse_members_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let archive = folder.path().join("a.tar");
    let mut sparse = member(b"sparse.wav", b'S', b"12");
    // One more block of the map follows the header.
    sparse[482] = 1;
    seal(&mut sparse);
    sparse.splice(512..512, [0; 512]);
    let mut binary = member(b"binary.wav", b'0', b"345");
    binary[124..136].copy_from_slice(b"\x80\0\0\0\0\0\0\0\0\0\0\x03");
    seal(&mut binary);
    let pax = [member(b"x", b'x', b"22 GNU.sparse.major=1\n"), member(b"pax.wav", b'0', b"6")].concat();
    let mut v7 = member(b"v7.wav", 0, b"78");
    v7[257..265].fill(0);
    seal(&mut v7);
    let folder_of_v7 = member(b"folder/", 0, b"");
    fs::write(&archive, [sparse, binary, pax, folder_of_v7, v7].concat()).unwrap();
    let read = |name: &str| read(part(&archive, &format!("!{name}")));
    assert_eq!(read("binary.wav").unwrap(), b"345");
    assert_eq!(read("v7.wav").unwrap(), b"78");
    for name in ["sparse.wav", "pax.wav"] {
        let expected =
            format!("member `{name}` is stored as a sparse file; pack it again without `--sparse`");
        assert_eq!(read(name), Err(expected));
    }
    assert_eq!(
        read("folder/").unwrap_err(),
        "no member `folder/` in it; it holds 2 files, such as `binary.wav`"
    );
}

#[test]
fn a_compressed_archive_is_refused_with_the_command_that_unpacks_it() {
    let folder = tempfile::tempdir().unwrap();
    for (name, bytes, expected) in [
        (
            "a.tar.gz",
            &b"\x1f\x8b\x08\0"[..],
            "compressed with gzip, so its members can't be found; unpack it: gunzip",
        ),
        (
            "a.tar",
            b"\x1f\x8b\x08\0",
            "compressed with gzip, so its members can't be found; unpack it: gunzip",
        ),
        (
            "a.tar.zst",
            b"\x28\xb5\x2f\xfd",
            "compressed with zstd, so its members can't be found; unpack it: unzstd",
        ),
        ("a.zip", b"PK\x03\x04", "a zip archive, so its members can't be found; unpack it: unzip"),
    ] {
        let file = folder.path().join(name);
        fs::write(&file, bytes).unwrap();
        let found = read(part(&file, "!a.wav"));
        assert_eq!(found, Err(format!("the archive is {expected} {}", file.display())));
    }
    let text = folder.path().join("a.txt");
    fs::write(&text, "hello").unwrap();
    assert_eq!(
        read(part(&text, "!a.wav")).unwrap_err(),
        "what is before the `!` is not a tar archive; name a member of a tar archive, `ARCHIVE.tar!MEMBER`, or a file"
    );
}

#[test]
fn a_damaged_tar_archive_gives_the_members_before_the_damage() {
    let folder = tempfile::tempdir().unwrap();
    let archive = folder.path().join("a.tar");
    let whole = [member(b"a", b'0', b"1"), member(b"b", b'0', &[7; 600]), member(b"c", b'0', b"3")].concat();
    let check = |bytes: &[u8], b: Result<Vec<u8>, &str>| {
        fs::write(&archive, bytes).unwrap();
        assert_eq!(read(part(&archive, "!a")).unwrap(), b"1");
        let expected = |damage: &str| {
            format!(
                "no member `b` in the 1 files before the archive is damaged ({damage}); fetch the archive again"
            )
        };
        assert_eq!(read(part(&archive, "!b")), b.map_err(expected));
    };
    check(&whole, Ok(vec![7; 600]));
    check(&whole[..1600], Err("it ends within `b`, which begins at byte 1024"));
    check(&whole[..1100], Err("it ends within a header at byte 1024"));
    let mut flipped = whole.clone();
    flipped[1024 + 3] ^= 1;
    check(&flipped, Err("a header is damaged at byte 1024"));
    // A size of 2^63, whose checksum is right.
    let mut huge = whole.clone();
    huge[1024 + 124..1024 + 136].copy_from_slice(b"\x80\0\0\0\x80\0\0\0\0\0\0\0");
    seal(&mut huge[1024..]);
    check(&huge, Err("it ends within `b`, which begins at byte 1024"));
    let mut huger = whole.clone();
    huger[1024 + 124..1024 + 136].fill(0xff);
    seal(&mut huger[1024..]);
    check(&huger, Err("a length is damaged at byte 1024"));
}

#[test]
fn rows_of_parquet_files_are_found_whatever_their_compression_and_pages() {
    for name in ["snappy", "zstd", "gzip", "lz4", "none", "second", "pages"] {
        let read = |cell: String| read(part(&golden(&format!("{name}.parquet")), &cell));
        // Forwards, and in an order in which each row is in another page than the one before.
        for row in (0..10).chain([9, 0, 4, 2, 8]) {
            let sound = content(row % 3);
            assert_eq!(read(format!("#sound={row}")), Ok(sound), "{name}: {row}");
            let hub = read(format!("#audio={row}"));
            match row {
                5 => assert_eq!(
                    hub.unwrap_err(),
                    "row 5 has no bytes, only the path `file 5.wav`, and there is no such file beside the Parquet file"
                ),
                6 | 7 => {
                    assert_eq!(
                        hub.unwrap_err(),
                        format!("row {row} of column `audio` is null, so it has no clip")
                    );
                }
                _ => assert_eq!(hub, Ok(content(row)), "{name}: {row}"),
            }
        }
    }
}

#[test]
fn a_path_in_a_cell_is_relative_to_the_parquet_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a.parquet");
    fs::copy(golden("zstd.parquet"), &file).unwrap();
    fs::write(folder.path().join("file 5.wav"), "five").unwrap();
    fs::write(folder.path().join("File 6.wav"), "six").unwrap();
    assert_eq!(read(part(&file, "#audio=5")).unwrap(), b"five");
    assert_eq!(read(part(&file, "#file=5")).unwrap(), b"five");
    let message = read(part(&file, "#file=6")).unwrap_err();
    assert!(
        message.ends_with("there is no such file beside the Parquet file; there is `File 6.wav`"),
        "{message}"
    );
}

#[test]
fn a_cell_that_is_none_is_refused_with_what_there_is() {
    let file = golden("snappy.parquet");
    for (cell, expected) in [
        ("#audio=10", "row 10 is not in it; it has 10 rows, counted from 0"),
        ("#clip=1", "no column `clip` of clips in it; it has `audio`, `file`, `sound`"),
        ("#audio", "`audio` names no cell; write `FILE.parquet#COLUMN=ROW`, with rows counted from 0"),
        ("#audio=-1", "`audio=-1` names no cell; write `FILE.parquet#COLUMN=ROW`, with rows counted from 0"),
        ("#id=1", "column `id` is no bytes; name a column of bytes, or of an `Audio` feature"),
        (
            "#words.list.element=1",
            "column `words.list.element` is a list; name a column of bytes, or of an `Audio` feature",
        ),
    ] {
        assert_eq!(read(part(&file, cell)).unwrap_err(), expected);
    }
    assert_eq!(
        read(part(&golden("brotli.parquet"), "#sound=1")).unwrap_err(),
        "it is compressed with Brotli, which is not read; write it again with snappy or zstd"
    );
    assert_eq!(
        read(part(&golden("delta.parquet"), "#sound=1")).unwrap_err(),
        "its values are in the encoding DELTA_BYTE_ARRAY, which is not read; write it again with pandas, pyarrow or datasets"
    );
    assert_eq!(
        read(part(&golden("gnu.tar"), "#sound=1")).unwrap_err(),
        "what is before the `#` is not a Parquet file; name a cell of a Parquet file, `FILE.parquet#COLUMN=ROW`, or a file"
    );
}

#[test]
fn damaged_archives_give_errors_and_no_panic() {
    let folder = tempfile::tempdir().unwrap();
    // A generator of Knuth's, so that a failure can be repeated.
    let mut state = 1u64;
    let mut draw = |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below
    };
    let mut refused = 0;
    for name in [
        "snappy.parquet",
        "zstd.parquet",
        "gzip.parquet",
        "lz4.parquet",
        "second.parquet",
        "pages.parquet",
        "pax.tar",
    ] {
        let whole = fs::read(golden(name)).unwrap();
        for round in 0..100 {
            let mut bytes = whole.clone();
            if round % 10 == 0 {
                bytes.truncate(draw(whole.len()));
            } else {
                // Half of them in the footer, which everything depends on.
                let from = if round % 2 == 0 { 0 } else { whole.len() / 2 };
                for _ in 0..1 + draw(4) {
                    let at = from + draw(whole.len() - from);
                    bytes[at] ^= 1 << draw(8);
                }
            }
            // A name of its own, so that nothing is kept of the one before.
            let file = folder.path().join(format!("{round}-{name}"));
            fs::write(&file, bytes).unwrap();
            let cells: &[&str] =
                if name.ends_with("tar") { &["!empty.wav", "!hard.wav"] } else { &["#audio=9", "#sound=4"] };
            refused += cells.iter().filter(|cell| read(part(&file, cell)).is_err()).count();
            fs::remove_file(file).unwrap();
        }
    }
    assert!(refused > 100, "{refused}");
}

#[test]
fn a_file_of_exactly_the_name_comes_first() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("a.tar"), member(b"b", b'0', b"member")).unwrap();
    fs::write(folder.path().join("a.tar!b"), "file").unwrap();
    fs::write(folder.path().join("a#1.wav"), "sharp").unwrap();
    assert_eq!(read(folder.path().join("a.tar!b")).unwrap(), b"file");
    assert_eq!(read(folder.path().join("a#1.wav")).unwrap(), b"sharp");
    fs::remove_file(folder.path().join("a.tar!b")).unwrap();
    assert_eq!(read(folder.path().join("a.tar!b")).unwrap(), b"member");
    // A `!` in the name of a folder begins no member.
    fs::create_dir(folder.path().join("x!")).unwrap();
    fs::write(folder.path().join("x!/a.tar"), member(b"b!c", b'0', b"deep")).unwrap();
    assert_eq!(read(folder.path().join("x!/a.tar!b!c")).unwrap(), b"deep");
}

#[test]
fn file_urls_are_opened_and_others_refused() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("a b.tar"), member(b"c", b'0', b"member")).unwrap();
    let url = |rest: &str| format!("file://{}/{rest}", folder.path().display());
    assert_eq!(read(url("a%20b.tar!c")).unwrap(), b"member");
    assert_eq!(read(url("a%20b.tar").replace("file://", "FILE://localhost")).unwrap().len(), 1024);
    assert_eq!(read(url("A%20B.tar")).unwrap_err(), "no such audio file; there is `a b.tar` in its folder");
    assert_eq!(
        read("file://server/a.wav").unwrap_err(),
        "a file URL of the host `server`; write file:/// and the path on this machine"
    );
    for (path, scheme) in [
        ("https://example.org/a.wav", "https"),
        ("/root/HTTP://example.org/a.wav", "http"),
        ("s3://b/a", "s3"),
    ] {
        let expected = format!(
            "a {scheme} URL; fetch the clip first and write its path: nothing is fetched from the net"
        );
        assert_eq!(read(path), Err(expected));
    }
}

#[test]
fn a_missing_file_is_reported_with_the_one_that_is_probably_meant() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["Dog.WAV", "cat.ogg", "cat.flac", "cow.txt"] {
        fs::write(folder.path().join(name), "").unwrap();
    }
    let message = |name: &str| read(folder.path().join(name)).unwrap_err();
    assert_eq!(message("dog.wav"), "no such audio file; there is `Dog.WAV` in its folder");
    assert_eq!(message("dog.mp3"), "no such audio file; there is `Dog.WAV` in its folder");
    assert_eq!(message("cat.wav"), "no such audio file; there is `cat.flac` in its folder");
    assert_eq!(message("cat"), "no such audio file; there is `cat.flac` in its folder");
    for name in ["cow.wav", "dogs.wav", "no/dog.wav"] {
        assert_eq!(message(name), "no such audio file; correct the path or fetch the clip");
    }
    let missing = folder.path().join("shard.tar");
    assert_eq!(
        read(part(&missing, "!a.wav")).unwrap_err(),
        format!("there is no archive {}", missing.display())
    );
}

/// A member of an archive: its header, and its content with padding.
fn member(name: &[u8], kind: u8, content: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; 512];
    bytes[..name.len()].copy_from_slice(name);
    bytes[124..136].copy_from_slice(format!("{:011o}\0", content.len()).as_bytes());
    bytes[156] = kind;
    bytes[257..265].copy_from_slice(b"ustar\x0000");
    seal(&mut bytes);
    bytes.extend(content);
    bytes.resize(bytes.len().next_multiple_of(512), 0);
    bytes
}

/// Writes the checksum of a header.
fn seal(header: &mut [u8]) {
    header[148..156].fill(b' ');
    let sum: u32 = header[..512].iter().map(|&byte| u32::from(byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
}

/// 160 samples of PCM at 16 kHz.
fn wav() -> Vec<u8> {
    let mut bytes =
        b"RIFF\x64\x01\0\0WAVEfmt \x10\0\0\0\x01\0\x01\0\x80\x3e\0\0\0\x7d\0\0\x02\0\x10\0data\x40\x01\0\0"
            .to_vec();
    bytes.extend([0, 1].repeat(160));
    bytes
}
