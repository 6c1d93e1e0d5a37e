//! What only the local file system does, on a real folder. What all promise is in `tests/local.rs`.

use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::{PermissionsExt, symlink};

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

#[test]
fn where_a_rename_can_not_refuse_a_link_does() {
    let (_folder, root, fs) = folder();
    let (a, b) = (root.join("a"), root.join("b"));
    fs.write_atomically(&a, b"a").unwrap();
    fs.write_atomically(&b, b"b").unwrap();
    let taken = rename_by_link(Path::new(b.path()), Path::new(a.path())).unwrap_err();
    assert_eq!(taken.kind(), io::ErrorKind::AlreadyExists);
    rename_by_link(Path::new(b.path()), Path::new(root.join("c").path())).unwrap();
    assert_eq!(names(fs, &root), ["a", "c"]);
}
