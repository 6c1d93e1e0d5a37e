//! Finds the splits of text files, and where they lie, and deals them out.
//!
//! Where a split lies is asked once there are splits, and again after a restore: it is no part of a checkpoint. That it cannot be found out is
//! no error, and nobody waits for it longer than a moment; readers get what is local as soon as it is known to be.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use flott_fs::text::plan_splits;
use flott_fs::{BlockHost, BlockLocation, FsError, FsPath, KnownHost, for_path, hosts_of_range};

use super::TextSplit;
use crate::error::OperatorError;
use crate::io_queue::{IoQueue, Ticket};
use crate::operator::OperatorInfo;
use crate::slot::TaskWaker;
use crate::source::locality::{Locality, LocalityAssigner};
use crate::source::{NextSplit, ReaderInfo, SplitEnumerator};

/// The largest split, in bytes: small enough that readers end together, large enough that opening a file costs nothing.
const LARGEST_SPLIT: u64 = 64 * 1024 * 1024;

/// The smallest split that a file is cut into.
const SMALLEST_SPLIT: u64 = 1024 * 1024;

/// So long a reader waits for word of a split that is local to it, before it takes another one.
const LOCALITY_PATIENCE: Duration = Duration::from_secs(1);

/// The splits of one file whose blocks are asked for at once.
const SPLITS_AT_ONCE: usize = 1000;

/// Gives out the splits of the files that were there at the start.
pub struct TextFileEnumerator {
    name: String,
    paths: Vec<FsPath>,
    readers: u32,
    hosts: Arc<ReaderHosts>,
    jobs: IoQueue<()>,
    io: tokio::runtime::Handle,
    waker: TaskWaker,
    /// The job that looks for files.
    looking: Option<Ticket>,
    /// What other threads have found out.
    found: Arc<Found>,
    /// Those that are left, if they are known.
    splits: Option<LocalityAssigner<TextSplit>>,
    /// Until when readers wait for word of where splits lie.
    patient_until: Option<Instant>,
    given: Given,
}

/// How many splits were given, by how near they were.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Given {
    local: u64,
    remote: u64,
    unknown: u64,
}

impl Given {
    fn count(&mut self, locality: Locality) {
        let of = match locality {
            Locality::Local => &mut self.local,
            Locality::Remote => &mut self.remote,
            Locality::Unknown => &mut self.unknown,
        };
        *of += 1;
    }
}

#[derive(Default)]
struct Found(Mutex<News>);

#[derive(Default)]
struct News {
    splits: Option<Vec<TextSplit>>,
    /// The numbers of splits, and of the hosts that have each.
    located: Vec<(usize, Vec<usize>)>,
    /// There is no more to find out.
    over: bool,
}

impl Found {
    fn news(&self) -> MutexGuard<'_, News> {
        // Nothing in here can panic halfway.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The hosts that readers run on.
struct ReaderHosts {
    /// Each once.
    names: Vec<Arc<str>>,
}

impl ReaderHosts {
    fn of(info: &OperatorInfo) -> Self {
        let mut names: Vec<Arc<str>> =
            info.readers.iter().filter_map(|reader| reader.host).map(Arc::from).collect();
        names.sort_unstable();
        names.dedup();
        Self { names }
    }

    fn number(&self, host: Option<&str>) -> Option<usize> {
        let host = host?;
        self.names.binary_search_by(|name| (**name).cmp(host)).ok()
    }
}

/// The splits of the files at or below `paths`, for so many readers.
fn find_splits(paths: &[FsPath], readers: u32) -> Result<Vec<TextSplit>, OperatorError> {
    let mut files = Vec::new();
    for path in paths {
        let found = for_path(path).and_then(|fs| fs.list_files(path));
        files.extend(found.map_err(OperatorError::environment)?);
    }
    let bytes: u64 = files.iter().map(|file| file.length).sum();
    let target = (bytes / (u64::from(readers) * 4)).clamp(SMALLEST_SPLIT, LARGEST_SPLIT);
    Ok(plan_splits(&files, target, target / 10).into_iter().map(TextSplit::of).collect())
}

/// Splits of one file that follow each other.
struct FilePart {
    path: String,
    /// The number of the first of them.
    first: usize,
    /// Where each begins, and how many bytes it has.
    ranges: Vec<(u64, u64)>,
}

fn file_parts(splits: &[TextSplit]) -> Vec<FilePart> {
    let mut parts: Vec<FilePart> = Vec::new();
    for (number, split) in splits.iter().enumerate() {
        let range = (split.start, split.length);
        match parts.last_mut() {
            Some(part) if part.path == split.path && part.ranges.len() < SPLITS_AT_ONCE => {
                part.ranges.push(range);
            }
            _ => parts.push(FilePart { path: split.path.clone(), first: number, ranges: vec![range] }),
        }
    }
    parts
}

impl FilePart {
    fn may_be_located(&self) -> bool {
        self.path.parse().and_then(|path| for_path(&path)).is_ok_and(|fs| fs.has_locations())
    }

    fn blocks(&self) -> Result<Vec<BlockLocation>, FsError> {
        let path: FsPath = self.path.parse()?;
        let begin = self.ranges.iter().map(|(start, _)| *start).min().unwrap_or(0);
        let end = self.ranges.iter().map(|(start, length)| start.saturating_add(*length)).max().unwrap_or(0);
        for_path(&path)?.block_locations(&path, begin, end - begin)
    }
}

/// Finds out which of the readers' hosts have which splits, until nobody wants to know any more.
fn locate(parts: &[FilePart], names: &[Arc<str>], found: &Weak<Found>, waker: &TaskWaker) {
    let mut resolved: Option<Vec<KnownHost>> = None;
    let mut known: HashMap<BlockHost, Option<usize>> = HashMap::new();
    for part in parts {
        if found.strong_count() == 0 {
            return;
        }
        let blocks = match part.blocks() {
            Ok(blocks) => blocks,
            Err(error) => {
                tracing::warn!(%error, "where the blocks of files are is not known; splits are read from anywhere");
                break;
            }
        };
        let mut number = |host: &BlockHost| match known.get(host) {
            Some(number) => *number,
            None => {
                let hosts = resolved
                    .get_or_insert_with(|| names.iter().map(|name| KnownHost::resolved(name)).collect());
                let number = hosts.iter().position(|known| known.is(host));
                known.insert(host.clone(), number);
                number
            }
        };
        let mut located = Vec::with_capacity(part.ranges.len());
        for (split, (start, length)) in (part.first..).zip(&part.ranges) {
            let holders = hosts_of_range(&blocks, *start, *length);
            let Some((_, most)) = holders.first() else { continue };
            // A split may end a little way into the next block.
            let mostly = holders.iter().take_while(|(_, bytes)| bytes.saturating_mul(2) >= *most);
            located.push((split, mostly.filter_map(|(host, _)| number(host)).collect()));
        }
        let Some(found) = found.upgrade() else { return };
        found.news().located.append(&mut located);
        waker.wake();
    }
    if let Some(found) = found.upgrade() {
        found.news().over = true;
        waker.wake();
    }
}

impl TextFileEnumerator {
    pub(super) fn new(paths: Vec<FsPath>, readers: u32, info: &OperatorInfo) -> Self {
        Self {
            name: info.name.clone(),
            paths,
            readers,
            hosts: Arc::new(ReaderHosts::of(info)),
            jobs: IoQueue::new((), info),
            io: info.io.clone(),
            waker: info.waker.clone(),
            looking: None,
            found: Arc::default(),
            splits: None,
            patient_until: None,
            given: Given::default(),
        }
    }

    /// These are the splits. Where they lie is to be found out.
    fn begin(&mut self, splits: Vec<TextSplit>) {
        let mut parts = file_parts(&splits);
        parts.retain(FilePart::may_be_located);
        let is_asked = !parts.is_empty() && !self.hosts.names.is_empty();
        self.splits = Some(LocalityAssigner::new(splits, self.hosts.names.len()));
        if !is_asked {
            return;
        }
        let (hosts, found, waker) =
            (Arc::clone(&self.hosts), Arc::downgrade(&self.found), self.waker.clone());
        self.jobs.submit(move |()| {
            locate(&parts, &hosts.names, &found, &waker);
            Ok(())
        });
        self.patient_until = Some(Instant::now() + LOCALITY_PATIENCE);
        let waker = self.waker.clone();
        self.io.spawn(async move {
            tokio::time::sleep(LOCALITY_PATIENCE).await;
            waker.wake();
        });
    }

    /// Whether the splits are known. If not, they are looked for.
    fn has_splits(&mut self) -> Result<bool, OperatorError> {
        if self.splits.is_some() {
            return Ok(true);
        }
        let Some(looking) = self.looking else {
            let (paths, readers, found) = (self.paths.clone(), self.readers, Arc::clone(&self.found));
            self.looking = Some(self.jobs.submit(move |()| {
                let splits = find_splits(&paths, readers)?;
                found.news().splits = Some(splits);
                Ok(())
            }));
            return Ok(false);
        };
        // What keeps it from finding them is an error.
        self.jobs.is_done(looking)?;
        let splits = self.found.news().splits.take();
        splits.into_iter().for_each(|splits| self.begin(splits));
        Ok(self.splits.is_some())
    }

    /// Takes what is known by now of where splits lie.
    fn hear(&mut self) {
        let Some(splits) = &mut self.splits else { return };
        let mut news = self.found.news();
        for (number, hosts) in news.located.drain(..) {
            splits.locate(number, hosts);
        }
        if news.over || self.patient_until.is_some_and(|until| Instant::now() >= until) {
            self.patient_until = None;
        }
    }

    /// All splits are given.
    fn end(&mut self) {
        let Given { local, remote, unknown } = std::mem::take(&mut self.given);
        if local + remote > 0 {
            tracing::info!(
                source = self.name,
                local,
                remote,
                unknown,
                "splits were given to readers on the hosts that have them, and to others"
            );
        }
    }
}

impl SplitEnumerator for TextFileEnumerator {
    type Split = TextSplit;
    /// The splits that are left, once they are known: the files may change meanwhile.
    type Position = Option<Vec<TextSplit>>;

    fn restore(&mut self, left: Option<Vec<TextSplit>>) -> Result<(), OperatorError> {
        left.into_iter().for_each(|left| self.begin(left));
        Ok(())
    }

    fn next_split(&mut self, reader: &ReaderInfo<'_>) -> Result<NextSplit<TextSplit>, OperatorError> {
        if !self.has_splits()? {
            return Ok(NextSplit::Waiting);
        }
        self.hear();
        let Some(splits) = &mut self.splits else { return Ok(NextSplit::Waiting) };
        let is_patient = self.patient_until.is_some();
        match splits.next(self.hosts.number(reader.host), is_patient) {
            Some((split, locality)) => {
                self.given.count(locality);
                Ok(NextSplit::Split(split))
            }
            None if splits.is_empty() => {
                self.end();
                Ok(NextSplit::End)
            }
            None => Ok(NextSplit::Waiting),
        }
    }

    fn position(&self) -> Option<Vec<TextSplit>> {
        self.splits.as_ref().map(|splits| splits.left().cloned().collect())
    }
}

#[cfg(test)]
mod tests {
    use flott_fs::Access;

    use super::*;
    use crate::harness::HarnessConfig;

    const DEADLINE: Duration = Duration::from_secs(30);

    fn reader(index: u32, host: &str) -> ReaderInfo<'_> {
        ReaderInfo { index, host: Some(host) }
    }

    fn enumerator(paths: Vec<FsPath>, hosts: &[&str]) -> TextFileEnumerator {
        let consumer_hosts: Vec<String> = hosts.iter().map(|host| (*host).to_owned()).collect();
        let config =
            HarnessConfig { consumers: hosts.len() as u32, consumer_hosts, ..HarnessConfig::default() };
        TextFileEnumerator::new(paths, config.consumers, &config.info(false))
    }

    fn splits(count: u64) -> Vec<TextSplit> {
        let split = |start| TextSplit {
            path: "test-nowhere:///x".to_owned(),
            start,
            length: 1,
            file_len: count,
            mtime: 0,
            position: None,
        };
        (0..count).map(split).collect()
    }

    fn starts(enumerator: &TextFileEnumerator) -> Vec<u64> {
        enumerator.position().unwrap().iter().map(|split| split.start).collect()
    }

    /// What the reader gets, as soon as it gets something.
    fn next(enumerator: &mut TextFileEnumerator, reader: ReaderInfo<'_>) -> Option<u64> {
        let begun = Instant::now();
        loop {
            match enumerator.next_split(&reader).unwrap() {
                NextSplit::Split(split) => return Some(split.start),
                NextSplit::End => return None,
                NextSplit::Waiting => assert!(begun.elapsed() < DEADLINE, "no split comes"),
            }
            std::thread::yield_now();
        }
    }

    #[test]
    fn readers_get_what_is_local_as_soon_as_it_is_known_and_the_rest_when_all_is() {
        let mut enumerator = enumerator(Vec::new(), &["b", "a", "b"]);
        enumerator.splits = Some(LocalityAssigner::new(splits(4), enumerator.hosts.names.len()));
        enumerator.patient_until = Some(Instant::now() + DEADLINE);
        assert_eq!(enumerator.next_split(&reader(0, "b")).unwrap(), NextSplit::Waiting);
        enumerator.found.news().located = vec![(2, vec![1]), (1, vec![0])];
        assert_eq!(next(&mut enumerator, reader(0, "b")), Some(2));
        assert_eq!(enumerator.next_split(&reader(2, "b")).unwrap(), NextSplit::Waiting);
        assert_eq!(next(&mut enumerator, reader(1, "a")), Some(1));
        assert_eq!(starts(&enumerator), [0, 3]);
        enumerator.found.news().over = true;
        assert_eq!(next(&mut enumerator, reader(2, "b")), Some(0));
        assert_eq!(next(&mut enumerator, reader(1, "a")), Some(3));
        assert_eq!(enumerator.given, Given { local: 2, remote: 0, unknown: 2 });
        assert_eq!(next(&mut enumerator, reader(1, "a")), None);
    }

    #[test]
    fn that_nothing_can_be_found_out_keeps_no_reader_from_its_splits() {
        // Whether nobody serves the path, or nobody answers in time.
        let mut enumerator = enumerator(Vec::new(), &["a"]);
        enumerator.restore(Some(splits(3))).unwrap();
        assert_eq!(next(&mut enumerator, reader(0, "a")), Some(0));
        enumerator.patient_until = Some(Instant::now());
        enumerator.found = Arc::default();
        assert_eq!(next(&mut enumerator, reader(0, "a")), Some(1));
        assert_eq!(starts(&enumerator), [2]);
        assert_eq!(enumerator.given, Given { unknown: 2, ..Given::default() });
    }

    #[test]
    fn local_files_are_found_and_given_out_in_order_and_hosts_are_no_part_of_the_position() {
        let folder = tempfile::tempdir().unwrap();
        let path = FsPath::local(folder.path());
        for name in ["1", "2", "3"] {
            let fs = for_path(&path).unwrap();
            fs.write_atomically_with(&path.join(name), name.as_bytes(), Access::Ordinary).unwrap();
        }
        let mut first = enumerator(vec![path], &["a", "b"]);
        assert_eq!(first.position(), None);
        assert_eq!(next(&mut first, reader(0, "a")), Some(0));
        let position = first.position().unwrap();
        assert!(position.len() == 2 && position[0].path.ends_with("/2"), "{position:?}");
        let mut restored = enumerator(Vec::new(), &["c"]);
        restored.restore(Some(position)).unwrap();
        assert_eq!(next(&mut restored, reader(0, "c")), Some(0));
        assert_eq!(next(&mut restored, reader(0, "c")), Some(0));
        assert_eq!(next(&mut restored, reader(0, "c")), None);
    }

    #[test]
    fn the_blocks_of_a_file_are_asked_for_in_few_calls() {
        let mut all = splits(2 * SPLITS_AT_ONCE as u64 + 1);
        all.push(TextSplit { path: "file:///y".to_owned(), ..all[0].clone() });
        let parts = file_parts(&all);
        let seen: Vec<_> = parts.iter().map(|part| (part.first, part.ranges.len())).collect();
        assert_eq!(
            seen,
            [
                (0, SPLITS_AT_ONCE),
                (SPLITS_AT_ONCE, SPLITS_AT_ONCE),
                (2 * SPLITS_AT_ONCE, 1),
                (2 * SPLITS_AT_ONCE + 1, 1)
            ]
        );
    }
}
