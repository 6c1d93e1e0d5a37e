//! Tests of configurations as a whole, and of the table.

use std::collections::BTreeSet;
use std::time::Duration;

use flott_fuzz::Decoder;

use super::*;

fn rows() -> impl Iterator<Item = &'static OptionRow> {
    SECTIONS.iter().flat_map(|section| section.rows)
}

#[test]
fn every_default_is_a_value_of_its_option() {
    for row in rows() {
        if let Some(default) = row.default() {
            assert_eq!(row.check(&default), Ok(()), "{}", row.key);
        }
    }
}

#[test]
fn every_key_is_there_once_and_every_option_is_described() {
    let keys: BTreeSet<_> = rows().map(|row| row.key).collect();
    assert_eq!(keys.len(), rows().count());
    assert!(rows().all(|row| row.description.trim().ends_with('.') && !row.key.starts_with(USER_PREFIX)));
}

#[test]
fn nested_and_dotted_keys_are_the_same() {
    let nested =
        "parallelism:\n  default: 3\nexecution:\n  checkpointing:\n    interval: 1 s\nuser.name: x\n";
    let dotted = "parallelism.default: 3\nexecution.checkpointing.interval: 1 s\nuser:\n  name: x\n";
    let nested = Configuration::from_yaml(nested, "a").unwrap();
    assert_eq!(nested, Configuration::from_yaml(dotted, "b").unwrap());
    assert_eq!(nested.user_parameter("name"), Some("x"));
    assert_eq!(nested.get_optional(&CHECKPOINT_INTERVAL), Some(Duration::from_secs(1)));
    assert_eq!(Configuration::from_yaml("", "empty"), Ok(Configuration::new()));
}

#[test]
fn what_is_not_set_has_its_default() {
    let configuration = Configuration::new();
    assert_eq!(configuration.get(&BUFFER_TIMEOUT), Duration::from_millis(10));
    assert_eq!(configuration.get(&TASK_MANAGER_MEMORY), MemorySize::of_bytes(1728 << 20));
    assert_eq!(configuration.get_optional(&PARALLELISM), Some(1));
    assert_eq!(configuration.get_optional(&RESTART_STRATEGY), None);
    assert!(!configuration.is_set(&PARALLELISM));
}

#[test]
fn later_settings_win() {
    let mut configuration = Configuration::from_yaml("parallelism.default: 2\nuser.a: 1\n", "f").unwrap();
    let job = Configuration::new().with(&PARALLELISM, &7).unwrap();
    configuration.extend(&job);
    assert_eq!(configuration.get(&PARALLELISM), 7);
    configuration.set_override(" parallelism.default = 9 ").unwrap();
    assert_eq!(configuration.get(&PARALLELISM), 9);
    configuration.set_override("user.a=x=y").unwrap();
    assert_eq!(configuration.user_parameter("a"), Some("x=y"));
    assert_eq!(Configuration::from_entries(configuration.entries()), Ok(configuration));
}

#[test]
fn keys_of_hadoops_are_taken_as_they_are() {
    let text = "flink.hadoop.dfs.replication: 2\nflink: {hadoop: {fs.defaultFS: 'hdfs://a'}}\nuser.a: 1\n";
    let configuration = Configuration::from_yaml(text, "f").unwrap();
    let properties: Vec<_> = configuration.hadoop_properties().collect();
    assert_eq!(properties, [("dfs.replication", "2"), ("fs.defaultFS", "hdfs://a")]);
    assert!(Configuration::from_yaml("flink.hadop.dfs.replication: 2", "f").is_err());
}

#[test]
fn errors_name_the_line_the_key_and_what_was_meant() {
    let error = |text| Configuration::from_yaml(text, "conf.yaml").unwrap_err().to_string();
    assert_eq!(
        error("user.a: 1\ntaskmanager.numberOfTaskSlot: 3"),
        "unknown configuration key 'taskmanager.numberOfTaskSlot' in conf.yaml:2: did you mean \
         'taskmanager.numberOfTaskSlots'? Keys of your own begin with 'user.'"
    );
    assert_eq!(
        error("parallelism:\n  default: 0"),
        "'0' in conf.yaml:2 is no value for the configuration key 'parallelism.default': \
         a whole number of at least 1 and of at most 32768 is expected"
    );
    assert_eq!(
        error("io.tmp.dirs:\n"),
        "the configuration key 'io.tmp.dirs' has no value in conf.yaml:1: write one, or leave the key out for its default"
    );
    assert_eq!(
        error("parallelism.default: 1\nparallelism: {default: 2}"),
        "the configuration key 'parallelism.default' is set a second time in conf.yaml:1: leave one of them out"
    );
    assert_eq!(error("just text"), "cannot read the configuration conf.yaml: it holds no 'key: value'");

    let mut configuration = Configuration::new();
    assert_eq!(
        configuration.set_override("parallelism.default=many").unwrap_err().to_string(),
        "'many' in the overrides is no value for the configuration key 'parallelism.default': \
         a whole number of at least 1 and of at most 32768 is expected"
    );
    assert_eq!(
        configuration.set_override("novalue").unwrap_err().to_string(),
        "'novalue' sets nothing: write -D key=value"
    );
    assert!(configuration.clone().with(&MANAGED_FRACTION, &1.5).is_err());
    let missing = Configuration::load(Path::new("no/such/folder")).unwrap_err().to_string();
    assert!(
        missing.starts_with("cannot read the configuration no/such/folder/flott-conf.yaml: "),
        "{missing}"
    );
}

#[test]
fn docs_and_default_file_are_in_step_with_the_table() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    for (path, expected) in [("docs/configuration.md", markdown()), ("conf/flott-conf.yaml", default_file())]
    {
        let path = root.join(path);
        if std::env::var_os("FLOTT_UPDATE_DOCS").is_some() {
            std::fs::write(&path, &expected).unwrap();
        }
        let found = std::fs::read_to_string(&path).unwrap();
        assert_eq!(found, expected, "run the test with FLOTT_UPDATE_DOCS=1 to update {}", path.display());
    }
}

#[test]
fn the_default_file_sets_nothing_and_shows_the_defaults() {
    let file = default_file();
    assert_eq!(Configuration::from_yaml(&file, "default"), Ok(Configuration::new()));
    let shown = file.lines().filter_map(|line| line.strip_prefix("# "));
    let uncommented: Vec<&str> =
        shown.filter(|line| rows().any(|row| line.starts_with(&format!("{}: ", row.key)))).collect();
    assert_eq!(uncommented.len(), rows().count());
    let with_defaults: Vec<&str> = uncommented.into_iter().filter(|line| !line.ends_with('>')).collect();
    let configuration = Configuration::from_yaml(&with_defaults.join("\n"), "default").unwrap();
    for row in rows() {
        assert_eq!(configuration.entries().get(row.key).cloned(), row.default(), "{}", row.key);
    }
}

/// Whatever stands in a file or behind `-D`, the answer is a configuration or an error.
#[test]
fn fuzz_configuration_of_flott() {
    let decoder = Decoder::new("Flott's configuration")
        .sample("a.b: 1\na:\n  c: x # y\n  'd e':\n    f: [1, two, true]\nb: {g: 2}\nc:\n")
        .sample("execution.checkpointing.interval: 10 s\ntaskmanager.memory.process.size: 1 gb\nrest.bind-port: 8081-8090,9000");
    let decoder = rows().fold(decoder, |decoder, row| decoder.word(row.key));
    decoder
        .words(&[
            ": ",
            "\n",
            "&a ",
            "*a",
            "[",
            "]",
            "{",
            "}",
            "- ",
            "!tag ",
            "|",
            "'",
            "-1",
            "1e99",
            "99999999999999999999 gb",
        ])
        .may_hold(4 << 20)
        .text(|text| {
            let _ = Configuration::from_yaml(text, "f");
            let mut configuration = Configuration::new();
            for line in text.lines() {
                if let Some((key, value)) = line.split_once(": ") {
                    let taken = configuration.set(key, value).is_ok();
                    assert!(!taken || configuration.entries().contains_key(key), "{key}");
                }
            }
            let _ = configuration.set_override(text);
        });
}
