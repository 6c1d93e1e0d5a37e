//! Log files that do not grow without end.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use flott_core::config::{self, Configuration};

/// A file that is put aside when it has reached its size: `x.log` becomes `x.log.1`, that becomes `x.log.2`, the last goes.
#[derive(Debug)]
pub struct RolledFile {
    path: PathBuf,
    file: File,
    size: u64,
    line_ended: bool,
    max_size: u64,
    kept: u32,
}

impl RolledFile {
    /// The file `name` in the folder for logs, which is made if it is not there; none if no folder is configured.
    ///
    /// # Errors
    /// If folder or file cannot be made; the message names it.
    pub fn in_log_dir(configuration: &Configuration, name: &str) -> io::Result<Option<Self>> {
        let Some(folder) = configuration.get_optional(&config::LOG_DIR) else { return Ok(None) };
        let named = |error: io::Error| {
            let text = format!(
                "cannot write logs to {}: {error}; set env.log.dir to another folder",
                folder.display()
            );
            io::Error::new(error.kind(), text)
        };
        fs::create_dir_all(&folder).map_err(named)?;
        let max_size = configuration.get(&config::LOG_MAX_SIZE).bytes();
        Self::open(&folder.join(name), max_size, configuration.get(&config::LOG_MAX)).map(Some).map_err(named)
    }

    fn open(path: &Path, max_size: u64, kept: u32) -> io::Result<Self> {
        let file = append(path)?;
        let size = file.metadata()?.len();
        Ok(Self { path: path.to_owned(), file, size, line_ended: true, max_size, kept })
    }

    fn aside(&self, number: u32) -> PathBuf {
        let mut name = self.path.as_os_str().to_owned();
        name.push(format!(".{number}"));
        name.into()
    }

    fn roll(&mut self) -> io::Result<()> {
        for number in (1..self.kept).rev() {
            let _ = fs::rename(self.aside(number), self.aside(number + 1));
        }
        if self.kept > 0 {
            fs::rename(&self.path, self.aside(1))?;
        } else {
            fs::remove_file(&self.path)?;
        }
        self.file = append(&self.path)?;
        self.size = 0;
        Ok(())
    }
}

fn append(path: &Path) -> io::Result<File> {
    let folder = path.parent().and_then(|folder| fs::metadata(folder).ok());
    let mode = mode_in(folder.map_or(0, |folder| folder.mode()));
    OpenOptions::new().append(true).create(true).mode(mode).open(path)
}

/// The mode of a log in a folder of this mode. Logs are their user's alone, but for a folder whose files go to its group and which is closed to
/// others: so YARN's LinuxContainerExecutor makes a container's, and the NodeManager, in that group, aggregates and shows what is there.
fn mode_in(folder: u32) -> u32 {
    let for_its_group = folder & 0o2057 == 0o2050;
    if for_its_group { 0o640 } else { 0o600 }
}

impl Write for RolledFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // A line stays in one file, unless it is very long.
        if self.size >= self.max_size && (self.line_ended || self.size >= 2 * self.max_size) {
            self.roll()?;
        }
        let line_end = bytes.iter().position(|byte| *byte == b'\n').map_or(bytes.len(), |at| at + 1);
        let fits = self.size.saturating_add(bytes.len() as u64) <= self.max_size;
        let written = self.file.write(if fits { bytes } else { &bytes[..line_end] })?;
        self.size += written as u64;
        self.line_ended = written > 0 && bytes[written - 1] == b'\n';
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn files_are_put_aside_and_the_oldest_goes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("job.log");
        let mut log = RolledFile::open(&path, 10, 2).unwrap();
        let line = |round: u32| format!("{round}: a line\n");
        // However it comes, a line stays whole.
        let lines: String = (0..5).map(line).collect();
        for piece in lines.as_bytes().chunks(7) {
            log.write_all(piece).unwrap();
        }
        drop(log);
        let read = |name: &str| fs::read_to_string(folder.path().join(name)).unwrap_or_default();
        assert_eq!([read("job.log"), read("job.log.1"), read("job.log.2")], [line(4), line(3), line(2)]);
        // Who comes again goes on where it was.
        let mut log = RolledFile::open(&path, 20, 2).unwrap();
        log.write_all(line(5).as_bytes()).unwrap();
        log.write_all(line(6).as_bytes()).unwrap();
        log.write_all(line(7).as_bytes()).unwrap();
        assert_eq!(read("job.log"), line(6) + &line(7));
        assert_eq!([read("job.log.1"), read("job.log.2")], [line(4) + &line(5), line(3)]);
        // A line without end does not keep the file from being put aside.
        log.write_all(&[b'x'; 100]).unwrap();
        log.write_all(b"y").unwrap();
        assert_eq!(read("job.log"), "y");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 3);
    }

    #[test]
    fn logs_are_for_the_group_only_where_the_node_manager_says_so() {
        for folder in [0o700, 0o710, 0o755, 0o750, 0o2710, 0o2755, 0o2777] {
            assert_eq!(mode_in(folder), 0o600, "{folder:o}");
        }
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o2750)).unwrap();
        let path = folder.path().join("job.log");
        let mut log = RolledFile::open(&path, 1, 1).unwrap();
        log.write_all(b"one\ntwo\n").unwrap();
        for file in [&path, &log.aside(1)] {
            let mode = fs::metadata(file).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o640, "{}", file.display());
        }
    }
}
