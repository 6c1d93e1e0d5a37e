//! Cuts files into splits.
//!
//! The splits of a file follow each other without a gap from its first byte to its last; an empty file has none.

use crate::file_system::FileStatus;
use crate::path::FsPath;

/// More splits than this are not made of a list of files, apart from one a file: splits grow instead.
const MAX_SPLITS: u64 = 1_000_000;

/// A part of a file that one reader reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileSplit {
    /// The file.
    pub path: FsPath,
    /// Where the split begins, in bytes.
    pub start: u64,
    /// How many bytes it has. The file has to have them: a split ends where the file does, or before.
    pub length: u64,
}

impl FileSplit {
    /// The first byte behind it.
    pub(super) fn end(&self) -> u64 {
        self.start.saturating_add(self.length)
    }
}

/// A split, and what was known of the file when it was cut: what is read by it does not depend on when it is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedSplit {
    /// The part of the file.
    pub split: FileSplit,
    /// The length of the whole file, in bytes.
    pub file_len: u64,
    /// When the file was last changed, in milliseconds since the epoch.
    pub mtime: i64,
}

/// Cuts files into splits of `target` bytes, or of `min` if that is more; a rest of less than `min` joins the split before
/// it. A smaller split is a whole file. Splits grow beyond that rather than be more than a million.
pub fn plan_splits(files: &[FileStatus], target: u64, min: u64) -> Vec<PlannedSplit> {
    let bytes = files.iter().fold(0_u64, |sum, file| sum.saturating_add(file.length));
    let target = target.max(min).max(bytes.div_ceil(MAX_SPLITS)).max(1);
    let mut splits = Vec::new();
    for file in files.iter().filter(|file| !file.is_dir) {
        let mut start = 0;
        while start < file.length {
            let left = file.length - start;
            let length = if left < target.saturating_add(min) { left } else { target };
            let split = FileSplit { path: file.path.clone(), start, length };
            splits.push(PlannedSplit { split, file_len: file.length, mtime: file.modified });
            start += length;
        }
    }
    splits
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn file(length: u64) -> FileStatus {
        FileStatus { path: "/data/x".parse().unwrap(), length, modified: 7, is_dir: false }
    }

    fn cuts(length: u64, target: u64, min: u64) -> Vec<(u64, u64)> {
        let splits = plan_splits(&[file(length)], target, min);
        splits.iter().map(|planned| (planned.split.start, planned.split.length)).collect()
    }

    #[test]
    fn files_are_cut_at_the_target() {
        assert_eq!(cuts(0, 10, 2), []);
        assert_eq!(cuts(1, 10, 2), [(0, 1)]);
        assert_eq!(cuts(11, 10, 2), [(0, 11)]);
        assert_eq!(cuts(12, 10, 2), [(0, 10), (10, 2)]);
        assert_eq!(cuts(20, 10, 0), [(0, 10), (10, 10)]);
        assert_eq!(cuts(25, 1, 10), [(0, 10), (10, 15)]);
        assert_eq!(cuts(3, 0, 0), [(0, 1), (1, 1), (2, 1)]);
        assert_eq!(cuts(u64::MAX, u64::MAX, u64::MAX), [(0, u64::MAX)]);
        let planned = plan_splits(&[file(12)], 10, 2);
        assert!(planned.iter().all(|planned| (planned.file_len, planned.mtime) == (12, 7)));
        let folder = FileStatus { is_dir: true, ..file(9) };
        assert_eq!(plan_splits(&[folder, file(10)], 100, 10).len(), 1);
        assert_eq!(plan_splits(&[file(u64::MAX), file(5)], 1, 0).len() as u64, MAX_SPLITS + 1);
    }

    proptest! {
        #[test]
        fn splits_cover_the_file_and_keep_to_their_sizes(length in 0_u64..5000, target in 0_u64..500, min in 0_u64..500) {
            let mut end = 0;
            let splits = cuts(length, target, min);
            for (n, (start, split)) in splits.iter().enumerate() {
                prop_assert_eq!(*start, end);
                end += split;
                let target = target.max(min).max(1);
                prop_assert!(*split <= target + min);
                prop_assert!(*split >= min.max(1) || splits.len() == 1);
                prop_assert!(*split >= target || n + 1 == splits.len());
            }
            prop_assert_eq!(end, length);
        }
    }
}
