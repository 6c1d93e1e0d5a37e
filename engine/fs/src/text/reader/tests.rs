//! Every line once, however files are cut, buffers sized and readers replaced.

use std::io::Write;

use proptest::prelude::*;

use super::*;
use crate::text::{plan_splits, plan_splits_of};
use crate::{FileStatus, FsPath, LocalFileSystem};

/// A file with `bytes` in it, and what is known of it.
fn file(bytes: &[u8]) -> (tempfile::TempDir, FileStatus) {
    let folder = tempfile::tempdir().unwrap();
    let path = FsPath::local(&folder.path().join("text"));
    std::fs::write(path.path(), bytes).unwrap();
    let status = status(&path);
    (folder, status)
}

fn status(path: &FsPath) -> FileStatus {
    use crate::FileSystem;
    LocalFileSystem.status(path).unwrap()
}

fn whole(file: &FileStatus) -> FileSplit {
    FileSplit { path: file.path.clone(), start: 0, length: file.length }
}

fn planned(file: &FileStatus) -> PlannedSplit {
    PlannedSplit { split: whole(file), file_len: file.length, mtime: file.modified }
}

fn read_all(mut reader: LineReader) -> Result<Vec<String>, LineError> {
    let mut lines = Vec::new();
    while let Some(line) = reader.next_line()? {
        lines.push(line.to_owned());
    }
    Ok(lines)
}

/// The lines of a file by the shortest definition there is.
fn lines_of(bytes: &[u8]) -> Vec<&[u8]> {
    let mut lines: Vec<&[u8]> = bytes.split(|byte| *byte == b'\n').collect();
    // What is behind the last end of line is a line only if it is something.
    lines.pop_if(|last| last.is_empty());
    lines.into_iter().map(|line| line.strip_suffix(b"\r").unwrap_or(line)).collect()
}

/// Lines with all that is hard: none, empty, ends of both kinds and halves of them, letters of several bytes, no end at last.
fn text() -> impl Strategy<Value = String> {
    prop::collection::vec(
        prop::sample::select(vec!["a", "bc", "ü", "\u{1F6A2}", "\n", "\n", "\r\n", "\r", "\n\n"]),
        0..40,
    )
    .prop_map(|parts| parts.concat())
}

proptest! {
    #[test]
    fn every_line_is_read_once_however_the_file_is_cut(
        text in text(), target in 1_u64..30, min in 0_u64..8, stop in 0_usize..5, buffer in 1_usize..12,
    ) {
        let (_folder, file) = file(text.as_bytes());
        let mut lines = Vec::new();
        for split in plan_splits_of(&[file], target, min) {
            // A reader stops after a few lines, another goes on where it was.
            let (cap, start) = (split.file_len, split.split.start);
            let open = |position| {
                LineReader::start(split.split.clone(), cap, cap, position, InvalidUtf8::Fail, 1000, buffer).unwrap()
            };
            let mut first = open(None);
            for _ in 0..stop {
                lines.extend(first.next_line().unwrap().map(str::to_owned));
            }
            let position = first.position();
            prop_assert!(position >= start && position <= cap);
            lines.extend(read_all(open(Some(position))).unwrap());
        }
        let expected: Vec<_> = lines_of(text.as_bytes()).iter().map(|line| String::from_utf8_lossy(line)).collect();
        prop_assert_eq!(lines, expected);
    }

    #[test]
    fn lines_that_are_not_text_are_skipped_and_counted_each_once(
        bytes in prop::collection::vec(prop::sample::select(&b"a\xC3\xBC\n\n\r"[..]), 0..60),
        target in 1_u64..30, buffer in 1_usize..12,
    ) {
        let (_folder, file) = file(&bytes);
        let (mut lines, mut raw, mut skipped) = (Vec::new(), Vec::new(), 0);
        for split in plan_splits(std::slice::from_ref(&file), target) {
            let open = |on_invalid| {
                LineReader::start(split.clone(), u64::MAX, split.end(), None, on_invalid, 1000, buffer).unwrap()
            };
            let mut reader = open(InvalidUtf8::Skip);
            while let Some(line) = reader.next_line().unwrap() {
                lines.push(line.to_owned());
            }
            skipped += reader.skipped();
            let mut reader = open(InvalidUtf8::Fail);
            while let Some(line) = reader.next_line_bytes().unwrap() {
                raw.push(line.to_owned());
            }
        }
        let expected = lines_of(&bytes);
        let valid: Vec<&str> = expected.iter().filter_map(|line| std::str::from_utf8(line).ok()).collect();
        prop_assert_eq!(skipped as usize, expected.len() - valid.len());
        prop_assert_eq!(lines, valid);
        prop_assert_eq!(raw, expected);
        // Failing instead, the first wrong byte is named.
        match (read_all(LineReader::open(whole(&file), None, InvalidUtf8::Fail, 1000).unwrap()), skipped) {
            (Err(LineError::NotUtf8 { offset, .. }), 1..) => {
                let wrong = std::str::from_utf8(&bytes).unwrap_err().valid_up_to();
                prop_assert_eq!(offset, wrong as u64);
            }
            (Ok(_), 0) => {}
            (unexpected, _) => prop_assert!(false, "{:?}", unexpected),
        }
    }

    #[test]
    fn a_line_has_its_longest_length_and_no_more(length in 1_usize..40, end in "(\n|\r\n|)", buffer in 1_usize..12) {
        let (_folder, file) = file(format!("ok\n{}{end}", "x".repeat(length)).as_bytes());
        let read = |longest| {
            let start = LineReader::start(whole(&file), u64::MAX, 0, None, InvalidUtf8::Fail, longest, buffer);
            let mut reader = start.unwrap();
            if longest >= 2 {
                reader.next_line().unwrap();
                let line = reader.next_line().map(|line| line.unwrap().len());
                return line.map(|length| (length, reader.buffer.len()));
            }
            reader.next_line().map(|line| (line.unwrap().len(), 0))
        };
        let (found, held) = read(length.max(2)).unwrap();
        prop_assert_eq!(found, length);
        prop_assert!(held <= (length.max(2) + 2).max(buffer));
        if length > 2 {
            let error = read(length - 1).unwrap_err();
            prop_assert_eq!(
                error.to_string(),
                format!("the line at byte 3 of {} is longer than {} bytes", file.path, length - 1)
            );
        }
    }
}

#[test]
fn what_is_not_text_fails_with_its_place() {
    let (_folder, file) = file(b"good\nba\xFFd\nend");
    let error = read_all(LineReader::open(whole(&file), None, InvalidUtf8::Fail, 100).unwrap()).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("{} is not UTF-8 at byte 7; skip such lines if that is expected", file.path)
    );
    assert!(!error.is_retryable());
    let mut reader = LineReader::open(whole(&file), None, InvalidUtf8::Skip, 100).unwrap();
    assert_eq!(reader.next_line().unwrap(), Some("good"));
    assert_eq!(reader.next_line().unwrap(), Some("end"));
    assert_eq!(reader.next_line().unwrap(), None);
    assert_eq!((reader.skipped(), reader.position()), (1, 13));
}

#[test]
fn a_buffer_that_grew_for_a_line_shrinks_behind_it() {
    let (_folder, file) = file(format!("{}\n{}", "x".repeat(100), "y\n".repeat(100)).as_bytes());
    let reader = LineReader::start(whole(&file), u64::MAX, 0, None, InvalidUtf8::Fail, 1000, 8);
    let mut reader = reader.unwrap();
    assert_eq!(reader.next_line().unwrap().map(str::len), Some(100));
    assert_eq!(reader.buffer.len(), 128);
    while reader.next_line().unwrap().is_some() {}
    assert_eq!(reader.buffer.len(), 8);
}

#[test]
fn a_file_that_grows_is_read_as_it_was_planned() {
    let (_folder, file) = file(b"one\ntwo");
    let mut append = std::fs::OpenOptions::new().append(true).open(file.path.path()).unwrap();
    append.write_all(b" and more\nthree\n").unwrap();
    let read = |planned: PlannedSplit| {
        read_all(LineReader::open_planned(&planned, None, InvalidUtf8::Fail, 100).unwrap())
    };
    assert_eq!(read(planned(&file)).unwrap(), ["one", "two"]);
    assert_eq!(read(planned(&status(&file.path))).unwrap(), ["one", "two and more", "three"]);
}

#[test]
fn a_file_that_shrank_or_was_rewritten_is_an_error() {
    let (_folder, file) = file(b"one\ntwo\nthree\n");
    let open = |planned| LineReader::open_planned(&planned, None, InvalidUtf8::Fail, 100);
    let mut early = open(planned(&file)).unwrap();
    let later = PlannedSplit { mtime: file.modified - 1, ..planned(&file) };
    let error = open(later).err().unwrap();
    assert!(matches!(error, LineError::Rewritten { planned, found, .. } if planned == found - 1), "{error}");
    std::fs::write(file.path.path(), "one\nt").unwrap();
    let expected = format!(
        "{} has 5 bytes, but had 14 or more when it was cut into splits; do not change files while they are read",
        file.path
    );
    assert_eq!(open(planned(&file)).err().unwrap().to_string(), expected);
    // Nor does a reader pass over it that was there before, or that was not told how long the file is.
    assert_eq!(early.next_line().unwrap(), Some("one"));
    assert_eq!(early.next_line().unwrap_err().to_string(), expected);
    let split = FileSplit { start: 8, length: 6, ..whole(&file) };
    let error = LineReader::open(split, None, InvalidUtf8::Fail, 100).err().unwrap();
    assert_eq!(error.to_string(), expected);
    // A byte is enough, and a file that has just what it needs is whole.
    for (length, is_whole) in [(5, true), (6, false)] {
        let split = FileSplit { length, ..whole(&file) };
        let read = LineReader::open(split, None, InvalidUtf8::Fail, 100).and_then(read_all);
        assert_eq!(read.is_ok(), is_whole);
    }
    let gone = FsPath::local(std::path::Path::new("/nowhere/x"));
    let error = LineReader::open(FileSplit { path: gone, ..whole(&file) }, None, InvalidUtf8::Fail, 100)
        .err()
        .unwrap();
    assert!(error.to_string().starts_with("cannot open /nowhere/x: "), "{error}");
}
