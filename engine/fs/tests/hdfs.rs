//! HDFS as a file system, on a real cluster: the folder that `FLOTT_TEST_HDFS` names, such as `hdfs://localhost:9820/tmp`, with
//! `HADOOP_CONF_DIR` set. Without it, the tests say so and pass.
#![cfg(feature = "hdfs")]
#![allow(clippy::unwrap_used, reason = "a test fails by a panic")]

mod contract;

use std::env;
use std::io::{Read, Seek, SeekFrom, Write};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use contract::{Folder, contract_tests, pattern};
use flott_fs::{Access, FileSystem, FsErrorKind, FsPath, HdfsFileSystem};

struct CleanUp {
    fs: Arc<dyn FileSystem>,
    root: FsPath,
}

impl Drop for CleanUp {
    fn drop(&mut self) {
        let _ = self.fs.delete_dir(&self.root);
    }
}

fn unique() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(0)
}

fn folder() -> Option<Folder> {
    let Ok(base) = env::var("FLOTT_TEST_HDFS") else {
        println!("skipped: FLOTT_TEST_HDFS names no folder on HDFS");
        return None;
    };
    let root = base.parse::<FsPath>().unwrap().join(&format!("fs-test-{:016x}", unique()));
    let fs: Arc<dyn FileSystem> = Arc::new(HdfsFileSystem::new());
    fs.create_dirs_with(&root, Access::Ordinary).unwrap();
    let clean_up = CleanUp { fs: fs.clone(), root: root.clone() };
    Some(Folder { fs, root, reads_open_files: false, _clean_up: Box::new(clean_up) })
}

contract_tests!(folder);

/// Another process's view of the same files.
fn another() -> Arc<dyn FileSystem> {
    Arc::new(HdfsFileSystem::new())
}

#[test]
fn a_file_of_several_blocks_is_read_from_anywhere_and_cut_anywhere() {
    let Some(Folder { fs, root, _clean_up, .. }) = folder() else { return };
    // Three blocks of the test cluster, and a bit.
    let (file, block) = (root.join("big"), 16 << 20);
    let whole = pattern(3 * block + 12_345);
    let begun = Instant::now();
    let mut writer = fs.create_with(&file, Access::Ordinary).unwrap();
    for piece in whole.chunks(1_000_003) {
        writer.write_all(piece).unwrap();
    }
    writer.close().unwrap();
    println!("written in {:?}", begun.elapsed());
    let blocks = fs.block_locations(&file, 0, whole.len() as u64).unwrap();
    let parts: Vec<_> = blocks.iter().map(|found| (found.offset as usize, found.length as usize)).collect();
    assert_eq!(parts, [(0, block), (block, block), (2 * block, block), (3 * block, 12_345)]);
    assert!(
        blocks.iter().all(|found| found.hosts.len() == 1 && found.hosts[0].address.is_some()),
        "{blocks:?}"
    );
    assert!(fs.block_locations(&file, block as u64, 1).unwrap().len() == 1);
    assert!(fs.block_locations(&file, whole.len() as u64, 10).unwrap().is_empty());
    let begun = Instant::now();
    assert!(fs.read(&file).unwrap() == whole);
    println!("read in {:?}", begun.elapsed());
    let mut reader = fs.open(&file).unwrap();
    let mut some = vec![0; 100_000];
    for at in [block - 50_000, 2 * block - 1, 5, 3 * block - 99_999, block, 0] {
        reader.seek(SeekFrom::Start(at as u64)).unwrap();
        reader.read_exact(&mut some).unwrap();
        assert!(some == whole[at..at + some.len()], "{at}");
    }
    for length in [3 * block + 1, 2 * block, block + 7, block] {
        let begun = Instant::now();
        fs.truncate(&file, length as u64).unwrap();
        println!("cut to {length} in {:?}", begun.elapsed());
        assert!(fs.read(&file).unwrap() == whole[..length], "{length}");
        let mut writer = fs.resume(&file, length as u64).unwrap();
        writer.write_all(&whole[length..length + 1000]).unwrap();
        writer.close().unwrap();
        assert!(fs.read(&file).unwrap() == whole[..length + 1000], "{length}");
    }
}

#[test]
fn what_a_dead_writer_synced_is_taken_over() {
    let Some(Folder { root, _clean_up, .. }) = folder() else { return };
    let file = root.join("part");
    let (dead, heir) = (another(), another());
    let mut writer = dead.create_with(&file, Access::Ordinary).unwrap();
    writer.write_all(b"remembered").unwrap();
    writer.sync().unwrap();
    writer.write_all(b" and more").unwrap();
    writer.sync().unwrap();
    writer.write_all(b" and lost").unwrap();
    let begun = Instant::now();
    let mut next = heir.resume(&file, 10).unwrap();
    println!("taken over in {:?}", begun.elapsed());
    next.write_all(b", twice").unwrap();
    // The old writer comes back to life, and can do no harm.
    assert!(writer.sync().is_err() || writer.close().is_err());
    next.close().unwrap();
    assert_eq!(heir.read(&file).unwrap(), b"remembered, twice");
    // Taken over from one's own lost writer, and from one that never wrote.
    let mut lost = heir.resume(&file, 4).unwrap();
    lost.write_all(b"?").unwrap();
    drop(lost);
    let next = heir.resume(&file, 4).unwrap();
    drop(next);
    heir.truncate(&file, 2).unwrap();
    assert_eq!(heir.read(&file).unwrap(), b"re");
}

#[test]
fn many_small_files_are_written_and_found() {
    let Some(Folder { fs, root, _clean_up, .. }) = folder() else { return };
    let begun = Instant::now();
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let (fs, root) = (&fs, &root);
            scope.spawn(move || {
                for n in 0..75 {
                    let path = root.join(&format!("{thread}/{n:03}"));
                    fs.create_dirs(&path.parent().unwrap()).unwrap();
                    fs.write_atomically(&path, &pattern(n)).unwrap();
                }
            });
        }
    });
    println!("300 files written in {:?}", begun.elapsed());
    let files = fs.list_files(&root).unwrap();
    assert_eq!(files.len(), 300);
    for status in files {
        let n: usize = status.path.name().parse().unwrap();
        assert_eq!(fs.read(&status.path).unwrap(), pattern(n));
    }
}

#[test]
fn private_is_private_and_ordinary_is_as_the_umask_says() {
    let Some(Folder { fs, root, _clean_up, .. }) = folder() else { return };
    fs.create_with(&root.join("ordinary"), Access::Ordinary).unwrap().close().unwrap();
    fs.create(&root.join("private")).unwrap().close().unwrap();
    fs.create_dirs_with(&root.join("a/b"), Access::Ordinary).unwrap();
    fs.create_dirs(&root.join("p/q")).unwrap();
    // Who else may read what was there does not read what is there now.
    fs.create(&root.join("ordinary")).unwrap().close().unwrap();
    fs.truncate(&root.join("private"), 0).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mode = |name: &str| {
        let client = hdfs_native::ClientBuilder::new().with_url(root.to_string());
        let client = client.with_io_runtime(runtime.handle().clone()).build().unwrap();
        let path = root.join(name).path().to_owned();
        runtime.block_on(async move { client.get_file_info(&path).await.unwrap().permission })
    };
    let modes = ["ordinary", "private", "a", "a/b", "p", "p/q"].map(mode);
    assert_eq!(modes, [0o600, 0o600, 0o755, 0o755, 0o700, 0o700]);
    fs.create_with(&root.join("o2"), Access::Ordinary).unwrap().close().unwrap();
    assert_eq!(mode("o2"), 0o644);
}

/// Run by the next test as another user.
#[test]
#[ignore = "run by another test, as another user"]
fn as_another_user() {
    let root: FsPath = env::var("FLOTT_TEST_HDFS").unwrap().parse().unwrap();
    let fs = another();
    let denied = [
        fs.create(&root.join("x")).err().unwrap(),
        fs.read(&root.join("private/x")).unwrap_err(),
        fs.delete_dir(&root.join("private")).unwrap_err(),
        fs.rename(&root.join("private"), &root.join("y")).unwrap_err(),
    ];
    for error in denied {
        assert_eq!((error.kind(), error.is_retryable()), (FsErrorKind::PermissionDenied, false), "{error}");
        let text = error.to_string();
        assert!(text.contains("Permission denied: user=somebody"), "{text}");
        assert!(text.ends_with("the user Flott runs as needs the right to it"), "{text}");
    }
}

#[test]
fn who_may_not_is_told_so() {
    let Some(Folder { fs, root, _clean_up, .. }) = folder() else { return };
    fs.create_dirs(&root.join("private")).unwrap();
    fs.write_atomically(&root.join("private/x"), b"secret").unwrap();
    let mut other = Command::new(env::current_exe().unwrap());
    other.args(["--exact", "as_another_user", "--ignored"]);
    let run =
        other.env("HADOOP_USER_NAME", "somebody").env("FLOTT_TEST_HDFS", root.to_string()).output().unwrap();
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stdout));
}

#[test]
fn a_file_that_is_replaced_is_read_whole_or_not_at_all() {
    let Some(Folder { fs, root, _clean_up, .. }) = folder() else { return };
    let file = root.join("x");
    fs.write_atomically(&file, &pattern(3_000_000)).unwrap();
    let mut reader = fs.open(&file).unwrap();
    let mut first = vec![0; 1000];
    reader.read_exact(&mut first).unwrap();
    fs.write_atomically(&file, &vec![7; 3_000_000]).unwrap();
    let mut rest = Vec::new();
    // As long as the DataNode has the old block, the old content; then an error, never the new file's bytes.
    match reader.read_to_end(&mut rest) {
        Ok(_) => assert!(rest == pattern(3_000_000)[1000..]),
        Err(error) => assert!(error.to_string().contains("it was changed while it was read"), "{error}"),
    }
}

#[test]
fn a_file_that_is_being_written_is_not_cut_short_in_silence() {
    let Some(Folder { fs, root, _clean_up, .. }) = folder() else { return };
    let file = root.join("open");
    let mut writer = fs.create_with(&file, Access::Ordinary).unwrap();
    writer.write_all(b"synced").unwrap();
    writer.sync().unwrap();
    assert_eq!(fs.status(&file).unwrap().length, 6);
    let error = fs.open(&file).err().unwrap();
    assert!(error.to_string().contains("it is being written: 0 of its 6 bytes can be read"), "{error}");
    assert!(error.is_retryable());
    writer.close().unwrap();
    assert_eq!(fs.read(&file).unwrap(), b"synced");
}

#[test]
fn a_call_ends_at_its_deadline() {
    let Some(Folder { root, _clean_up, .. }) = folder() else { return };
    let nobody: FsPath = format!("hdfs://localhost:1{}", root.path()).parse().unwrap();
    let begun = Instant::now();
    let error = another().status(&nobody).unwrap_err();
    assert!(begun.elapsed() < Duration::from_secs(60), "{:?}", begun.elapsed());
    assert!(error.to_string().contains("no NameNode can be reached: localhost:1: "), "{error}");
}

/// What stops all of HDFS, each by itself: with `FLOTT_HADOOP_DIR` set, too, `--ignored --test-threads 1 alone::`.
mod alone {
    use super::*;

    fn script(arguments: &[&str]) {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../../scripts/hadoop-cluster");
        let output = Command::new(script).args(arguments).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    }

    #[test]
    #[ignore = "nobody can write meanwhile"]
    fn safe_mode_is_waited_for_in_the_middle_of_a_file() {
        let Some(Folder { fs, root, _clean_up, .. }) = folder() else { return };
        let blocks = pattern((33 << 20) + 5);
        let paths = ["empty", "begun", "cut"].map(|name| root.join(name));
        let mut empty = fs.create(&paths[0]).unwrap();
        let mut begun = fs.create(&paths[1]).unwrap();
        // All of a block: the next byte needs another.
        begun.write_all(&blocks[..16 << 20]).unwrap();
        begun.sync().unwrap();
        fs.write_atomically(&paths[2], &blocks[..1000]).unwrap();
        script(&["hdfs", "dfsadmin", "-safemode", "enter"]);
        std::thread::scope(|scope| {
            let writers = [
                scope.spawn(|| {
                    empty.write_all(&blocks).unwrap();
                    empty.close().unwrap();
                }),
                scope.spawn(|| {
                    begun.write_all(&blocks[16 << 20..]).unwrap();
                    begun.close().unwrap();
                }),
                scope.spawn(|| fs.truncate(&paths[2], 10).unwrap()),
            ];
            script(&["hdfs", "dfsadmin", "-safemode", "leave"]);
            for writer in writers {
                writer.join().unwrap();
            }
        });
        assert!(fs.read(&paths[0]).unwrap() == blocks);
        assert!(fs.read(&paths[1]).unwrap() == blocks);
        assert_eq!(fs.read(&paths[2]).unwrap(), blocks[..10]);
    }

    /// Restarts the DataNode so that it takes as many bytes less than its disk has.
    fn reserve(bytes: u64) {
        let file = format!("{}/hdfs-site.xml", env::var("HADOOP_CONF_DIR").unwrap());
        let configuration = std::fs::read_to_string(&file).unwrap();
        let (before, after) =
            ("<property><name>dfs.datanode.du.reserved</name><value>", "</value></property>");
        let (rest, _) =
            configuration.split_once(before).or(configuration.split_once("</configuration>")).unwrap();
        std::fs::write(&file, format!("{rest}{before}{bytes}{after}</configuration>")).unwrap();
        script(&["kill", "datanode"]);
        script(&["start", "datanode"]);
    }

    #[test]
    #[ignore = "nobody can write meanwhile"]
    fn a_writer_without_room_goes_on_unless_another_has_taken_over() {
        let Some(Folder { fs, root, _clean_up, .. }) = folder() else { return };
        let paths = ["mine", "taken"].map(|name| root.join(name));
        reserve(1 << 50);
        std::thread::scope(|scope| {
            let [mine, taken] = paths.each_ref().map(|path| {
                let mut writer = fs.create(path).unwrap();
                scope.spawn(move || {
                    writer.write_all(b"first")?;
                    writer.flush()?;
                    writer.close().map_err(std::io::Error::other)
                })
            });
            // It lets go of the file again and again.
            let heir = another();
            let deadline = Instant::now() + Duration::from_secs(180);
            let mut next = loop {
                match heir.resume(&paths[1], 0) {
                    Ok(next) => break next,
                    Err(error) => assert!(Instant::now() < deadline, "{error}"),
                }
            };
            reserve(0);
            next.write_all(b"next").unwrap();
            next.close().unwrap();
            assert!(taken.join().unwrap().is_err());
            mine.join().unwrap().unwrap();
        });
        assert_eq!(fs.read(&paths[0]).unwrap(), b"first");
        assert_eq!(fs.read(&paths[1]).unwrap(), b"next");
    }
}
