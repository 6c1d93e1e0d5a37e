//! What every file system promises, as tests that run over each of them.
//!
//! `contract_tests!(folder)` makes a test of each, where `folder` is a function that gives an empty folder, or none if there is no such
//! file system to test.

use std::io::{Read, Seek, SeekFrom, Write};
use std::sync::{Arc, Barrier};

use flott_fs::{Access, FileSystem, FsErrorKind, FsPath};

/// An empty folder on a file system.
pub struct Folder {
    pub fs: Arc<dyn FileSystem>,
    pub root: FsPath,
    /// Whether what was synced can be read before the file is closed.
    pub reads_open_files: bool,
    /// Clears it away.
    pub _clean_up: Box<dyn std::any::Any>,
}

macro_rules! contract_tests {
    ($folder:path: $($test:ident),* $(,)?) => {
        $(
            #[test]
            fn $test() {
                if let Some(folder) = $folder() {
                    contract::$test(&folder);
                }
            }
        )*
    };
    ($folder:path) => {
        contract_tests!(
            $folder: a_file_is_written_looked_at_read_and_deleted,
            a_part_goes_on_behind_what_a_checkpoint_remembers,
            a_file_is_cut_anywhere,
            who_was_writing_a_file_that_is_cut_changes_it_no_more,
            a_reader_seeks,
            a_rename_replaces_or_refuses,
            of_many_who_rename_to_a_new_name_one_succeeds,
            those_who_write_atomically_at_once_never_mix,
            a_write_that_fails_leaves_things_as_they_were,
            folders_are_made_with_those_above_unless_a_file_is_in_the_way,
            a_folder_is_deleted_with_all_in_it_but_a_file_is_not_one,
            files_are_listed_by_name,
        );
    };
}
pub(crate) use contract_tests;

fn names(folder: &Folder, path: &FsPath) -> Vec<String> {
    folder.fs.list(path).unwrap().iter().map(|status| status.path.name().to_owned()).collect()
}

/// Bytes that show where they stand.
pub fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at / 251 + at) as u8).collect()
}

pub fn a_file_is_written_looked_at_read_and_deleted(folder: &Folder) {
    let Folder { fs, root, .. } = folder;
    let file = root.join("x");
    let mut writer = fs.create_with(&file, Access::Ordinary).unwrap();
    writer.write_all(b"01234").unwrap();
    writer.sync().unwrap();
    if folder.reads_open_files {
        assert_eq!(fs.read(&file).unwrap(), b"01234");
    }
    writer.write_all(b"56789").unwrap();
    writer.close().unwrap();
    let status = fs.status(&file).unwrap();
    assert_eq!((status.length, status.is_dir, &status.path), (10, false, &file));
    assert!(status.modified > 1_600_000_000_000);
    let mut rest = String::new();
    fs.open_at(&file, 7).unwrap().read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "789");
    // Created anew, nothing of it is left.
    fs.create_with(&file, Access::Ordinary).unwrap().close().unwrap();
    assert_eq!(fs.read(&file).unwrap(), b"");
    fs.delete(&file).unwrap();
    fs.delete(&file).unwrap();
    assert!(!fs.exists(&file).unwrap());
    let missing = fs.read(&file).unwrap_err();
    assert_eq!((missing.kind(), missing.path()), (FsErrorKind::NotFound, &*file.to_string()));
}

pub fn a_part_goes_on_behind_what_a_checkpoint_remembers(folder: &Folder) {
    let Folder { fs, root, .. } = folder;
    let file = root.join("part");
    fs.write_atomically(&file, b"0123456789").unwrap();
    let mut writer = fs.resume(&file, 4).unwrap();
    writer.write_all(b"!").unwrap();
    writer.close().unwrap();
    assert_eq!(fs.read(&file).unwrap(), b"0123!");
    fs.truncate(&file, 2).unwrap();
    assert_eq!(fs.read(&file).unwrap(), b"01");
    fs.truncate(&file, 2).unwrap();
    for shorter in [fs.truncate(&file, 3).unwrap_err(), fs.resume(&file, 3).err().unwrap()] {
        assert!(shorter.to_string().ends_with("it has 2 bytes, but 3 were written to it"));
        assert!(!shorter.is_retryable());
    }
    assert_eq!(fs.read(&file).unwrap(), b"01");
    assert_eq!(fs.truncate(&root.join("none"), 0).unwrap_err().kind(), FsErrorKind::NotFound);
}

pub fn who_was_writing_a_file_that_is_cut_changes_it_no_more(folder: &Folder) {
    let Folder { fs, root, .. } = folder;
    let file = root.join("part");
    let mut late = fs.create_with(&file, Access::Ordinary).unwrap();
    late.write_all(b"0123456789").unwrap();
    late.sync().unwrap();
    fs.truncate(&file, 4).unwrap();
    // Some are told so, others are not.
    let _ = (late.write_all(b"late"), late.sync(), late.close());
    assert_eq!(fs.read(&file).unwrap(), b"0123");
    assert_eq!(names(folder, root), ["part"]);
}

pub fn a_rename_replaces_or_refuses(folder: &Folder) {
    let Folder { fs, root, .. } = folder;
    let (a, b) = (root.join("a"), root.join("b"));
    fs.write_atomically(&a, b"a").unwrap();
    fs.write_atomically(&b, b"b").unwrap();
    let taken = fs.rename_new(&a, &b).unwrap_err();
    assert_eq!(taken.kind(), FsErrorKind::AlreadyExists);
    assert!(taken.to_string().starts_with(&format!("cannot rename {a} to {b}: ")), "{taken}");
    assert_eq!((fs.read(&a).unwrap(), fs.read(&b).unwrap()), (b"a".to_vec(), b"b".to_vec()));
    fs.rename(&a, &b).unwrap();
    assert_eq!((fs.exists(&a).unwrap(), fs.read(&b).unwrap()), (false, b"a".to_vec()));
    fs.rename_new(&b, &a).unwrap();
    assert_eq!(names(folder, root), ["a"]);
    assert_eq!(fs.rename(&b, &a).unwrap_err().kind(), FsErrorKind::NotFound);
    assert_eq!(fs.rename_new(&b, &root.join("c")).unwrap_err().kind(), FsErrorKind::NotFound);
}

pub fn of_many_who_rename_to_a_new_name_one_succeeds(folder: &Folder) {
    let Folder { fs, root, .. } = folder;
    let barrier = Barrier::new(4);
    let target = root.join("target");
    let successes: usize = std::thread::scope(|scope| {
        let rename = |n: usize| {
            let from = root.join(&n.to_string());
            fs.write_atomically(&from, b"x").unwrap();
            barrier.wait();
            usize::from(fs.rename_new(&from, &target).is_ok())
        };
        let threads: Vec<_> = (0..4).map(|n| scope.spawn(move || rename(n))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    assert_eq!(successes, 1);
}

pub fn those_who_write_atomically_at_once_never_mix(folder: &Folder) {
    let Folder { fs, root, .. } = folder;
    let file = root.join("x");
    let write = |byte: u8| {
        for length in 1..50 {
            fs.write_atomically(&file, &vec![byte; length * 1000]).unwrap();
            let found = fs.read(&file).unwrap();
            assert!(!found.is_empty() && found.len() % 1000 == 0 && found.iter().all(|b| *b == found[0]));
        }
    };
    std::thread::scope(|scope| {
        scope.spawn(|| write(b'a'));
        scope.spawn(|| write(b'b'));
    });
    assert_eq!(names(folder, root), ["x"]);
}

pub fn a_write_that_fails_leaves_things_as_they_were(folder: &Folder) {
    let Folder { fs, root, .. } = folder;
    let occupied = root.join("folder");
    fs.create_dirs(&occupied.join("full")).unwrap();
    fs.write_atomically(&occupied, b"x").unwrap_err();
    assert_eq!(names(folder, root), ["folder"]);
    assert_eq!(fs.write_atomically(&root.join("no/x"), b"x").unwrap_err().kind(), FsErrorKind::NotFound);
}

pub fn folders_are_made_with_those_above_unless_a_file_is_in_the_way(folder: &Folder) {
    let Folder { fs, root, .. } = folder;
    let deep = root.join("a/b/c");
    fs.create_dirs(&deep).unwrap();
    fs.create_dirs(&deep).unwrap();
    assert!(fs.status(&deep).unwrap().is_dir);
    fs.write_atomically(&root.join("file"), b"").unwrap();
    for blocked in ["file", "file/a", "file/a/b"] {
        let error = fs.create_dirs(&root.join(blocked)).unwrap_err();
        assert_eq!(
            (error.io_kind(), error.is_retryable()),
            (std::io::ErrorKind::NotADirectory, false),
            "{blocked}"
        );
    }
    std::thread::scope(|scope| {
        for n in 0..4 {
            let path = root.join(&format!("many/folders/at/once/{n}"));
            scope.spawn(move || fs.create_dirs(&path).unwrap());
        }
    });
    assert_eq!(names(folder, &root.join("many/folders/at/once")), ["0", "1", "2", "3"]);
}

pub fn a_file_is_cut_anywhere(folder: &Folder) {
    let Folder { fs, root, .. } = folder;
    let (file, whole) = (root.join("part"), pattern(100_000));
    fs.write_atomically_with(&file, &whole, Access::Ordinary).unwrap();
    for length in [100_000, 65_536, 65_535, 1000, 1, 0] {
        fs.truncate(&file, length as u64).unwrap();
        assert_eq!(fs.status(&file).unwrap().length, length as u64);
        assert_eq!(fs.read(&file).unwrap(), &whole[..length]);
    }
    // Written again from nothing, and again.
    for end in [10, 20] {
        let mut writer = fs.resume(&file, end - 10).unwrap();
        writer.write_all(&whole[end as usize - 10..end as usize]).unwrap();
        writer.sync().unwrap();
        writer.close().unwrap();
    }
    assert_eq!(fs.read(&file).unwrap(), &whole[..20]);
    assert_eq!(names(folder, root), ["part"]);
}

pub fn a_reader_seeks(folder: &Folder) {
    let Folder { fs, root, .. } = folder;
    let (file, whole) = (root.join("x"), pattern(1_000_000));
    fs.write_atomically(&file, &whole).unwrap();
    let mut reader = fs.open(&file).unwrap();
    assert_eq!(reader.seek(SeekFrom::End(-10)).unwrap(), 999_990);
    let mut rest = Vec::new();
    reader.read_to_end(&mut rest).unwrap();
    assert_eq!(rest, &whole[999_990..]);
    let mut some = [0; 100];
    for at in [0, 500_000, 500_050, 500_200, 10, 262_100, 999_900] {
        assert_eq!(reader.seek(SeekFrom::Start(at as u64)).unwrap(), at as u64);
        reader.read_exact(&mut some).unwrap();
        assert_eq!(some, whole[at..at + 100], "{at}");
    }
    assert_eq!(reader.seek(SeekFrom::Current(-200)).unwrap(), 999_800);
    reader.read_exact(&mut some).unwrap();
    assert_eq!(some, whole[999_800..999_900]);
    assert_eq!(reader.seek(SeekFrom::Start(2_000_000)).unwrap(), 2_000_000);
    assert_eq!(reader.read(&mut some).unwrap(), 0);
    assert!(reader.seek(SeekFrom::Current(-3_000_000)).is_err());
    fs.write_atomically(&file, b"").unwrap();
    assert_eq!(fs.read(&file).unwrap(), b"");
}

pub fn a_folder_is_deleted_with_all_in_it_but_a_file_is_not_one(folder: &Folder) {
    let Folder { fs, root, .. } = folder;
    fs.create_dirs(&root.join("a/b")).unwrap();
    fs.write_atomically(&root.join("a/b/x"), b"x").unwrap();
    for dir in ["a", "a/b"] {
        assert_eq!(fs.delete(&root.join(dir)).unwrap_err().kind(), FsErrorKind::IsDirectory);
    }
    let file = fs.delete_dir(&root.join("a/b/x")).unwrap_err();
    assert_eq!(file.io_kind(), std::io::ErrorKind::NotADirectory);
    fs.delete_dir(&root.join("a")).unwrap();
    fs.delete_dir(&root.join("a")).unwrap();
    assert!(names(folder, root).is_empty());
    fs.create_dirs(&root.join("empty")).unwrap();
    assert_eq!(fs.delete(&root.join("empty")).unwrap_err().kind(), FsErrorKind::IsDirectory);
    let above = fs.delete_dir(&root.join("empty/..")).unwrap_err();
    assert_eq!(above.io_kind(), std::io::ErrorKind::InvalidInput);
}

pub fn files_are_listed_by_name(folder: &Folder) {
    let Folder { fs, root, .. } = folder;
    for name in ["b", "a b", "ä", "%20", "a#?", ".hidden"] {
        fs.write_atomically(&root.join(name), name.as_bytes()).unwrap();
    }
    fs.create_dirs(&root.join("a")).unwrap();
    assert_eq!(names(folder, root), ["%20", ".hidden", "a", "a b", "a#?", "b", "ä"]);
    for status in fs.list(root).unwrap() {
        assert_eq!(fs.status(&status.path).unwrap(), status);
        if !status.is_dir {
            assert_eq!(fs.read(&status.path).unwrap(), status.path.name().as_bytes());
        }
    }
    assert_eq!(fs.list(&root.join("none")).unwrap_err().kind(), FsErrorKind::NotFound);
    assert_eq!(fs.list(&root.join("b")).unwrap_err().io_kind(), std::io::ErrorKind::NotADirectory);
    assert_eq!(fs.open(&root.join("a")).err().unwrap().kind(), FsErrorKind::IsDirectory);
    assert_eq!(fs.list_files(root).unwrap().len(), 5);
}
