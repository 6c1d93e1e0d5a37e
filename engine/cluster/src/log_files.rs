//! Log files, for those who look at them from elsewhere.

use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path as FilePath;
use std::time::SystemTime;

/// What is shown of a log: its end.
pub(crate) const MAX_BYTES: u64 = 2 << 20;

/// A log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LogFile {
    /// Its name, without a folder.
    pub(crate) name: String,
    /// Its size, in bytes.
    pub(crate) bytes: u64,
    /// When it was written last, in milliseconds since the epoch.
    pub(crate) modified_millis: i64,
}

/// What comes after the stem in the name of a log, of what a process printed, or of why it could not go on.
const KINDS: [&str; 5] = ["log", "out", "stdout", "err", "stderr"];

/// The stem of a log's name: of `jobmanager.log`, of `job-ID.out.2`, which was put aside. None: it is no log's.
pub(crate) fn stem_of_log(name: &str) -> Option<&str> {
    let current = match name.rsplit_once('.') {
        Some((current, number)) if !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()) => {
            current
        }
        _ => name,
    };
    let (stem, kind) = current.rsplit_once('.')?;
    KINDS.contains(&kind).then_some(stem)
}

/// Whether a file holds what a process prints on its standard output now.
pub(crate) fn is_stdout(name: &str) -> bool {
    name.ends_with(".out") || name.ends_with(".stdout")
}

/// The files of a folder whose names `wanted` takes, by name. Blocks.
pub(crate) fn in_folder(folder: &FilePath, wanted: impl Fn(&str) -> bool) -> io::Result<Vec<LogFile>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let Ok(name) = entry.file_name().into_string() else { continue };
        let metadata = entry.metadata()?;
        if !metadata.is_file() || !wanted(&name) {
            continue;
        }
        let modified = metadata.modified()?.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let modified_millis = i64::try_from(modified.as_millis()).unwrap_or(i64::MAX);
        files.push(LogFile { name, bytes: metadata.len(), modified_millis });
    }
    files.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(files)
}

/// The last bytes of a file, from the beginning of a line. Blocks.
pub(crate) fn end_of(path: &FilePath, most: u64) -> io::Result<Vec<u8>> {
    let mut file = std::fs::File::open(path)?;
    let length = file.metadata()?.len();
    let skipped = length.saturating_sub(most);
    file.seek(SeekFrom::Start(skipped))?;
    let mut bytes = Vec::new();
    file.take(most).read_to_end(&mut bytes)?;
    if skipped > 0
        && let Some(line_end) = bytes.iter().position(|byte| *byte == b'\n')
    {
        bytes.drain(..=line_end);
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logs_are_known_by_their_names() {
        for name in
            ["jobmanager.log", "jobmanager.out", "jobmanager.err.2", "jobmanager.stderr", "jobmanager.log.10"]
        {
            assert_eq!(stem_of_log(name), Some("jobmanager"), "{name}");
        }
        for name in [
            "jobmanager",
            "jobmanager.txt",
            "jobmanager.log.x",
            "jobmanager.log/../secret",
            "",
            ".",
            ".log.",
            "log",
        ] {
            assert_eq!(stem_of_log(name), None, "{name}");
        }
        assert_eq!(stem_of_log("../jobmanager.log"), Some("../jobmanager"));
        assert!(is_stdout("jobmanager.out") && !is_stdout("jobmanager.out.1"));
    }

    #[test]
    fn the_end_of_a_log_begins_with_a_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.log");
        std::fs::write(&path, "first\nsecond\nthird\n").unwrap();
        assert_eq!(end_of(&path, 8).unwrap(), b"third\n");
        assert_eq!(end_of(&path, 100).unwrap(), b"first\nsecond\nthird\n");
        assert!(in_folder(folder.path(), |name| name == "y.log").unwrap().is_empty());
        assert!(in_folder(&folder.path().join("nowhere"), |_| true).is_err());
    }
}
