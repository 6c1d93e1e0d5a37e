//! What ended applications may leave on the cluster's file system, and when it is nobody's any more.
//!
//! An application's folder holds a [`Note`] from before YARN knows of it until it is over: which cluster it belongs to, which files of the cache
//! it uses, and where its high availability keeps things. An ApplicationMaster that has ended its application removes all of that; what is
//! left by one that was killed, the next commands find.

use std::collections::{BTreeMap, HashSet};
use std::time::{Duration, SystemTime};

use flott_cluster::high_availability::is_highly_available;
use flott_core::config::{self, Configuration};
use flott_fs::{FileStatus, FsErrorKind, FsPath, for_path};
use prost::Message;

use crate::staging::{Staging, StagingError, is_whole};

/// The name of an application's note.
const NOTE: &str = "application";

/// What a file's name ends with that says when another was last used.
const USED: &str = ".used";

/// How often it is noted at least that a file is used.
const NOTED: Duration = Duration::from_secs(24 * 60 * 60);

/// After this time nobody uploads a file any more.
const DRAFT_AGE: Duration = NOTED;

/// How many files of the cache a command removes.
const MOST: usize = 16;

/// What is to be known of an application when it is gone.
#[derive(Clone, PartialEq, Eq, Message)]
pub(crate) struct Note {
    /// The YARN it was given to: [`Yarn::cluster_name`](crate::deployment::Yarn::cluster_name).
    #[prost(string, tag = "1")]
    pub(crate) cluster: String,
    /// The files of the cache that its containers get, by name.
    #[prost(string, repeated, tag = "2")]
    pub(crate) uses: Vec<String>,
    /// The options by which what it keeps for the next leader is found; none: it keeps nothing, or under an id that others may go on with.
    #[prost(btree_map = "string, string", tag = "3")]
    pub(crate) high_availability: BTreeMap<String, String>,
    /// The options by which whoever leads its cluster is found; none: it has no high availability.
    #[prost(btree_map = "string, string", tag = "4")]
    pub(crate) leadership: BTreeMap<String, String>,
    /// Whether it is there for one program only: no session.
    #[prost(bool, tag = "5")]
    pub(crate) one_program: bool,
}

impl Note {
    /// A client's configuration with what the cluster's says of high availability in place of its own.
    pub(crate) fn overlaid(&self, own: &Configuration) -> Configuration {
        let mut configuration = Configuration::new();
        let own = own.entries().iter().filter(|(key, _)| !is_of_high_availability(key));
        for (key, value) in own.chain(&self.leadership) {
            // An option that this version does not know says nothing to it.
            let _ = configuration.set(key, value);
        }
        configuration
    }
}

fn is_of_high_availability(key: &str) -> bool {
    key.starts_with("high-availability.") || key.starts_with("zookeeper.")
}

/// The options of a cluster's configuration by which whoever leads it is found.
pub(crate) fn leadership_of(configuration: &Configuration) -> BTreeMap<String, String> {
    if !is_highly_available(configuration) {
        return BTreeMap::new();
    }
    let entries = configuration.entries().iter().filter(|(key, _)| is_of_high_availability(key));
    entries.map(|(key, value)| (key.clone(), value.clone())).collect()
}

/// The options of a configuration that say where high availability keeps things for an application alone.
pub(crate) fn kept_by(configuration: &Configuration, application: &str) -> BTreeMap<String, String> {
    if configuration.get_optional(&config::HA_CLUSTER_ID).as_deref() != Some(application) {
        return BTreeMap::new();
    }
    leadership_of(configuration)
}

/// What a ResourceManager says of an application whose folder is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Known {
    /// It is over.
    Over,
    /// It is not.
    Lives,
    /// There is none of this id.
    Unknown,
}

/// Whether an application is certainly over, as far as the YARN called `cluster` can know.
///
/// Several YARNs may share a home folder, and to each of them the applications of the others are unknown; so that an application is unknown
/// says something only where its note names this YARN. The id does not: its timestamp is the start of one ResourceManager, and one that
/// was restarted, or another of the group, knows the applications of the one before. Nor does age: a session may run for months without
/// a change in its folder. Where there is no note, or that of a YARN by another name, only an answer counts; two YARNs give no two
/// applications the same id, since they were not started in the same millisecond.
pub(crate) fn is_over(note: Option<&Note>, cluster: &str, known: Known) -> bool {
    match known {
        Known::Over => true,
        Known::Lives => false,
        Known::Unknown => note.is_some_and(|note| note.cluster == cluster),
    }
}

fn millis_before(age: Duration) -> i64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.saturating_sub(age).as_millis()).unwrap_or(i64::MAX)
}

/// The file that says by its own time when another was last used. That file's own times cannot: YARN refuses files that have changed, and
/// HDFS may keep no times of access.
fn mark_of(path: &FsPath) -> FsPath {
    path.with_name(&format!("{}{USED}", path.name()))
}

/// How often it is noted that a file is used which goes when it was not for `retention`: what was noted lately stays for half of that.
pub(crate) fn renewal(retention: Duration) -> Duration {
    NOTED.min(retention / 2)
}

/// Notes that a file of the cache is used, unless that was noted less than `renewal` ago. True: it was written. Blocks.
pub(crate) fn mark(path: &FsPath, renewal: Duration) -> bool {
    let mark = mark_of(path);
    let marked = for_path(&mark).and_then(|fs| match fs.status(&mark) {
        Ok(status) if status.modified > millis_before(renewal) => Ok(false),
        _ => fs.create(&mark)?.close().map(|()| true),
    });
    // The file counts as unused for longer then, and may have to be sent again one day.
    marked
        .inspect_err(|error| tracing::debug!(%error, "it is not noted that a file is used"))
        .unwrap_or(false)
}

impl Staging {
    /// Leaves an application's note. Blocks.
    pub(crate) fn leave_note(&self, application: &str, note: &Note) -> Result<FsPath, StagingError> {
        let folder = self.folder_of(application);
        let fs = for_path(&folder)?;
        fs.create_dirs(&folder)?;
        fs.write_atomically(&folder.join(NOTE), &note.encode_to_vec())?;
        Ok(folder)
    }

    /// An application's note; none: there is none, or of another version. Blocks.
    pub(crate) fn note_of(&self, application: &str) -> Result<Option<Note>, StagingError> {
        let path = self.folder_of(application).join(NOTE);
        match for_path(&path)?.read(&path) {
            Err(error) if error.kind() == FsErrorKind::NotFound => Ok(None),
            read => Ok(Note::decode(&read?[..]).ok()),
        }
    }

    /// Removes files of the cache that were not used for as long as they are kept, and no application uses that has a folder. Blocks.
    ///
    /// # Errors
    /// [`StagingError`] if it is not known what applications use: nothing is removed then.
    pub(crate) fn sweep_cache(&self) -> Result<usize, StagingError> {
        let unused = self.retention();
        let cache = self.cache();
        let fs = for_path(&cache)?;
        let entries = match fs.list(&cache) {
            Err(error) if error.kind() == FsErrorKind::NotFound => return Ok(0),
            listed => listed?,
        };
        let old = candidates(&entries, millis_before(unused), millis_before(DRAFT_AGE));
        if old.is_empty() {
            return Ok(0);
        }
        let mut used = HashSet::new();
        for application in self.older_than(Duration::ZERO)? {
            used.extend(self.note_of(&application)?.unwrap_or_default().uses);
        }
        let mut removed = 0;
        for path in old.into_iter().filter(|path| !used.contains(path.name())).take(MOST) {
            let mark = mark_of(&path);
            // A command may just have found it, and said so.
            if fs.status(&mark).is_ok_and(|status| status.modified > millis_before(unused)) {
                continue;
            }
            fs.delete(&path)?;
            fs.delete(&mark)?;
            removed += 1;
        }
        Ok(removed)
    }
}

/// The files that were last used, and the drafts that were begun, before a time in milliseconds.
fn candidates(entries: &[FileStatus], used_before: i64, begun_before: i64) -> Vec<FsPath> {
    let marks: BTreeMap<&str, i64> = entries
        .iter()
        .filter_map(|entry| Some((entry.path.name().strip_suffix(USED)?, entry.modified)))
        .collect();
    let old = |entry: &&FileStatus| {
        let name = entry.path.name();
        if name.ends_with(USED) {
            return false;
        }
        let last = entry.modified.max(marks.get(name).copied().unwrap_or_default());
        !entry.is_dir && last < if is_whole(name) { used_before } else { begun_before }
    };
    entries.iter().filter(old).map(|entry| entry.path.clone()).collect()
}

#[cfg(test)]
mod tests {
    use std::fs::{File, write};

    use super::*;

    #[test]
    fn what_another_cluster_runs_is_not_taken_for_over() {
        let note = |cluster: &str| Note { cluster: cluster.to_owned(), ..Note::default() };
        let (own, other) = (note("rm:8032"), note("else:8032"));
        for (note, known, expected) in [
            (Some(&own), Known::Over, true),
            (Some(&own), Known::Lives, false),
            (Some(&own), Known::Unknown, true),
            (Some(&other), Known::Unknown, false),
            (None, Known::Unknown, false),
            (None, Known::Over, true),
        ] {
            assert_eq!(is_over(note, "rm:8032", known), expected, "{note:?} {known:?}");
        }
    }

    #[test]
    fn only_an_id_of_its_own_is_cleaned_up_after_an_application() {
        let mut configuration = Configuration::new();
        configuration.set(config::HA_TYPE.key, "zookeeper").unwrap();
        configuration.set(config::HA_CLUSTER_ID.key, "application_1_0001").unwrap();
        configuration.set(config::YARN_QUEUE.key, "a").unwrap();
        assert_eq!(kept_by(&configuration, "application_1_0001").len(), 2);
        configuration.set(config::HA_CLUSTER_ID.key, "prod").unwrap();
        assert!(kept_by(&configuration, "application_1_0001").is_empty());
    }

    #[test]
    fn a_client_follows_the_cluster_whatever_its_own_configuration_says() {
        let configuration = |settings: &[(&str, &str)]| {
            let mut configuration = Configuration::new();
            settings.iter().for_each(|(key, value)| configuration.set(key, value).unwrap());
            configuration
        };
        let quorum = "high-availability.zookeeper.quorum";
        let cluster = configuration(&[
            (config::HA_TYPE.key, "zookeeper"),
            (config::HA_CLUSTER_ID.key, "prod"),
            (quorum, "zk:2181"),
            (config::YARN_QUEUE.key, "a"),
        ]);
        let note = Note { leadership: leadership_of(&cluster), ..Note::default() };
        for own in [
            &[][..],
            &[
                (config::HA_TYPE.key, "zookeeper"),
                (quorum, "other:2181"),
                (config::HA_ZOOKEEPER_ROOT.key, "/x"),
            ],
        ] {
            let own = configuration(&[own, &[(config::YARN_QUEUE.key, "b")]].concat());
            let overlaid = note.overlaid(&own);
            assert_eq!(leadership_of(&overlaid), note.leadership);
            assert_eq!(overlaid.get_optional(&config::YARN_QUEUE).as_deref(), Some("b"));
        }
        // One that has none is where YARN says.
        assert!(!is_highly_available(&Note::default().overlaid(&cluster)));
    }

    #[test]
    fn files_that_nobody_uses_go_after_a_while() {
        let folder = tempfile::tempdir().unwrap();
        let hour = Duration::from_secs(3600);
        let staging = Staging::below(&FsPath::local(folder.path()), 4 * hour);
        let cache = folder.path().join(".flott/cache");
        std::fs::create_dir_all(&cache).unwrap();
        let name = |letter: &str| letter.repeat(64);
        let file = |name: &str, age: Duration| {
            write(cache.join(name), b"x").unwrap();
            let file = File::options().write(true).open(cache.join(name)).unwrap();
            file.set_modified(SystemTime::now() - age).unwrap();
        };
        // Old; old and used since; old and used by an application; new; drafts.
        for (letter, age) in [("a", 9), ("b", 9), ("c", 9), ("d", 1)] {
            file(&name(letter), age * hour);
        }
        file(&format!("{}{USED}", name("a")), 8 * hour);
        file(&format!("{}{USED}", name("b")), hour);
        file(&format!("{}.zip", name("a")), 9 * hour);
        file(&format!("{}.tgz", name("b")), 9 * hour);
        file(&format!("{}.tgz{USED}", name("b")), hour);
        file(&format!(".{}.1", name("e")), 48 * hour);
        file(&format!(".{}.1", name("f")), 9 * hour);
        let note = Note { uses: vec![name("c")], ..Note::default() };
        staging.leave_note("application_1_0001", &note).unwrap();
        assert_eq!(staging.note_of("application_1_0001").unwrap(), Some(note));
        assert_eq!(staging.sweep_cache().unwrap(), 3);
        let left = std::fs::read_dir(&cache).unwrap().map(|entry| entry.unwrap().file_name().into_string());
        let mut left: Vec<String> = left.map(Result::unwrap).collect();
        left.sort();
        let expected = [
            format!(".{}.1", name("f")),
            name("b"),
            format!("{}.tgz", name("b")),
            format!("{}.tgz{USED}", name("b")),
            format!("{}{USED}", name("b")),
            name("c"),
            name("d"),
        ];
        assert_eq!(left, expected);
        let mark = |letter, renewal| mark(&FsPath::local(&cache.join(name(letter))), renewal);
        assert!(!mark("b", 2 * hour), "it was noted an hour ago");
        assert!(mark("b", hour / 2) && mark("d", hour));
    }

    #[test]
    fn what_a_submission_has_chosen_is_not_removed_before_it_says_so() {
        let (minute, day) = (Duration::from_secs(60), Duration::from_secs(24 * 60 * 60));
        assert_eq!((renewal(minute), renewal(30 * day)), (minute / 2, day));
        let folder = tempfile::tempdir().unwrap();
        let staging = Staging::below(&FsPath::local(folder.path()), minute);
        let local = folder.path().join("program");
        write(&local, b"a program").unwrap();
        let (resource, hash) = staging.provide(&local, None).unwrap();
        let cache = folder.path().join(".flott/cache");
        let set_age = |name: &str, age: Duration| {
            let file = File::options().write(true).open(cache.join(name)).unwrap();
            file.set_modified(SystemTime::now() - age).unwrap();
        };
        let used = format!("{hash}{USED}");
        set_age(&hash.to_string(), 9 * minute);
        set_age(&used, minute * 9 / 10);
        // It would go in a moment: whoever finds it says that it is used.
        let (again, _) = staging.provide(&local, None).unwrap();
        assert_eq!(again.url, resource.url);
        let age = cache.join(used).metadata().unwrap().modified().unwrap().elapsed().unwrap_or_default();
        assert!(age < renewal(minute), "{age:?}");
        assert_eq!(staging.sweep_cache().unwrap(), 0);
    }
}
