//! What the local file system promises, on a real folder.

use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::sync::Barrier;

use super::*;
use crate::FsErrorKind;

fn folder() -> (tempfile::TempDir, FsPath, &'static dyn FileSystem) {
    let folder = tempfile::tempdir().unwrap();
    let root = FsPath::local(folder.path());
    (folder, root, &LocalFileSystem)
}

fn mode(path: &FsPath) -> u32 {
    fs::metadata(path.path()).unwrap().permissions().mode() & 0o777
}

fn names(fs: &dyn FileSystem, path: &FsPath) -> Vec<String> {
    fs.list(path).unwrap().iter().map(|status| status.path.name().to_owned()).collect()
}

#[test]
fn a_file_is_written_looked_at_read_and_deleted() {
    let (_folder, root, fs) = folder();
    let file = root.join("x");
    let mut writer = fs.create_with(&file, Access::Ordinary).unwrap();
    writer.write_all(b"01234").unwrap();
    writer.sync().unwrap();
    assert_eq!(fs.read(&file).unwrap(), b"01234");
    writer.write_all(b"56789").unwrap();
    writer.close().unwrap();
    let status = fs.status(&file).unwrap();
    assert_eq!((status.length, status.is_dir, &status.path), (10, false, &file));
    assert!(status.modified > 1_600_000_000_000);
    let mut rest = String::new();
    io::Read::read_to_string(&mut fs.open_at(&file, 7).unwrap(), &mut rest).unwrap();
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

#[test]
fn a_part_goes_on_behind_what_a_checkpoint_remembers() {
    let (_folder, root, fs) = folder();
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

#[test]
fn a_rename_replaces_or_refuses() {
    let (_folder, root, fs) = folder();
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
    assert_eq!(names(fs, &root), ["a"]);
    assert_eq!(fs.rename(&b, &a).unwrap_err().kind(), FsErrorKind::NotFound);
    assert_eq!(fs.rename_new(&b, &root.join("c")).unwrap_err().kind(), FsErrorKind::NotFound);
    // The way of file systems that can not refuse.
    fs.write_atomically(&b, b"b").unwrap();
    let taken = rename_by_link(Path::new(b.path()), Path::new(a.path())).unwrap_err();
    assert_eq!(taken.kind(), io::ErrorKind::AlreadyExists);
    rename_by_link(Path::new(b.path()), Path::new(root.join("c").path())).unwrap();
    assert_eq!(names(fs, &root), ["a", "c"]);
}

#[test]
fn of_many_who_rename_to_a_new_name_one_succeeds() {
    let (_folder, root, fs) = folder();
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

#[test]
fn those_who_write_atomically_at_once_never_mix() {
    let (_folder, root, fs) = folder();
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
    assert_eq!(names(fs, &root), ["x"]);
}

#[test]
fn a_write_that_fails_leaves_things_as_they_were() {
    let (_folder, root, fs) = folder();
    let occupied = root.join("folder");
    fs.create_dirs(&occupied.join("full")).unwrap();
    fs.write_atomically(&occupied, b"x").unwrap_err();
    assert_eq!(names(fs, &root), ["folder"]);
    assert_eq!(fs.write_atomically(&root.join("no/x"), b"x").unwrap_err().kind(), FsErrorKind::NotFound);
}

#[test]
fn private_is_private_and_ordinary_is_as_the_umask_says() {
    let (folder, root, fs) = folder();
    let (file, dir) = (root.join("x"), root.join("a/b"));
    fs::write(folder.path().join("like"), "").unwrap();
    fs::create_dir(folder.path().join("likes")).unwrap();
    fs.create_with(&file, Access::Ordinary).unwrap().close().unwrap();
    fs.create_dirs_with(&dir, Access::Ordinary).unwrap();
    assert_eq!((mode(&file), mode(&dir)), (mode(&root.join("like")), mode(&root.join("likes"))));
    // What others may read becomes another file, not the same with a secret in it.
    fs::set_permissions(file.path(), fs::Permissions::from_mode(0o644)).unwrap();
    let mut before = fs.open(&file).unwrap();
    let mut writer = fs.create(&file).unwrap();
    writer.write_all(b"secret").unwrap();
    writer.close().unwrap();
    let mut seen = String::new();
    io::Read::read_to_string(&mut before, &mut seen).unwrap();
    assert_eq!((mode(&file), seen.as_str()), (0o600, ""));
    let dir = root.join("p/q");
    fs.create_dirs(&dir).unwrap();
    assert_eq!((mode(&dir), mode(&root.join("p"))), (0o700, 0o700));
    fs.write_atomically(&file, b"secret").unwrap();
    assert_eq!(mode(&file), 0o600);
    fs.write_atomically_with(&file, b"result", Access::Ordinary).unwrap();
    assert_eq!(mode(&file), mode(&root.join("like")));
}

#[test]
fn folders_are_made_with_those_above_unless_a_file_is_in_the_way() {
    let (_folder, root, fs) = folder();
    let deep = root.join("a/b/c");
    fs.create_dirs(&deep).unwrap();
    fs.create_dirs(&deep).unwrap();
    assert!(fs.status(&deep).unwrap().is_dir);
    fs.write_atomically(&root.join("file"), b"").unwrap();
    for blocked in ["file", "file/a", "file/a/b"] {
        let error = fs.create_dirs(&root.join(blocked)).unwrap_err();
        assert_eq!(
            (error.io_kind(), error.is_retryable()),
            (io::ErrorKind::NotADirectory, false),
            "{blocked}"
        );
    }
    std::thread::scope(|scope| {
        for n in 0..4 {
            let path = root.join(&format!("many/folders/at/once/{n}"));
            scope.spawn(move || fs.create_dirs(&path).unwrap());
        }
    });
    assert_eq!(names(fs, &root.join("many/folders/at/once")), ["0", "1", "2", "3"]);
}

#[test]
fn a_folder_is_deleted_with_all_in_it_but_not_what_links_lead_to() {
    let (folder, root, fs) = folder();
    fs.create_dirs(&root.join("a/b")).unwrap();
    fs.create_dirs(&root.join("kept")).unwrap();
    fs.write_atomically(&root.join("kept/x"), b"").unwrap();
    symlink(folder.path().join("kept"), folder.path().join("a/b/link")).unwrap();
    assert_eq!(fs.delete(&root.join("a")).unwrap_err().kind(), FsErrorKind::IsDirectory);
    fs.delete_dir(&root.join("a")).unwrap();
    fs.delete_dir(&root.join("a")).unwrap();
    assert_eq!(
        (names(fs, &root), names(fs, &root.join("kept"))),
        (vec!["kept".to_owned()], vec!["x".to_owned()])
    );
    let file = fs.delete_dir(&root.join("kept/x")).unwrap_err();
    assert_eq!(file.io_kind(), io::ErrorKind::NotADirectory);
    for whole in ["..".into(), root.join("kept/..").to_string()] {
        let error = delete_dir(Path::new(&whole)).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "{whole}");
    }
    assert_eq!(names(fs, &root), ["kept"]);
}

#[test]
fn errors_say_what_is_the_matter() {
    let (folder, root, fs) = folder();
    let dir = fs.open(&root).err().unwrap();
    assert_eq!((dir.kind(), dir.is_retryable()), (FsErrorKind::IsDirectory, false));
    let long = fs.create(&root.join(&"x".repeat(300))).err().unwrap();
    assert_eq!(long.kind(), FsErrorKind::InvalidPath);
    let full: FsPath = "/dev/full".parse().unwrap();
    let mut writer = fs.create_with(&full, Access::Ordinary).unwrap();
    let error = FsError::io("write", &full, writer.write_all(b"x").unwrap_err());
    assert_eq!((error.kind(), error.is_retryable()), (FsErrorKind::NoSpace, true));
    assert!(error.to_string().ends_with("; free space there, or choose another folder"), "{error}");
    let device = fs.status(&full).unwrap_err();
    assert_eq!(device.to_string(), "cannot look at /dev/full: it is neither a file nor a folder");
    let name = std::ffi::OsString::from_vec(b"caf\xE9".to_vec());
    fs::write(folder.path().join(name), "").unwrap();
    let error = fs.list(&root).unwrap_err();
    assert_eq!(error.kind(), FsErrorKind::InvalidPath);
    assert!(error.to_string().contains(r#"the name "caf\xE9" in it is not UTF-8"#), "{error}");
}
