//! What files mean, and what is said of those that mean nothing.

use std::fs;

use flott_fuzz::Decoder;
use proptest::prelude::*;

use super::*;

fn environment(name: &str) -> Option<String> {
    match name {
        "HOST" => Some("h1".to_owned()),
        "EMPTY" => Some(String::new()),
        "TRICK" => Some("${a}".to_owned()),
        "USER" => Some("alice".to_owned()),
        _ => None,
    }
}

fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        fs::write(folder.path().join(name), text).unwrap();
    }
    folder
}

fn properties(pairs: &[(&str, &str)]) -> String {
    let property = |(name, value): &(&str, &str)| {
        format!("<property>\n<name> {name} </name><value>{value}</value></property>\n")
    };
    format!(
        "<?xml version=\"1.0\"?>\n<configuration>\n{}</configuration>",
        pairs.iter().map(property).collect::<String>()
    )
}

fn load(folder: &tempfile::TempDir) -> Result<Configuration, ConfigurationError> {
    Configuration::load_with(folder.path(), "HADOOP_CONF_DIR", environment)
}

/// The error of one core-site.xml, with the folder left out.
fn error_of(text: &str) -> String {
    let folder = folder(&[("core-site.xml", text)]);
    load(&folder).unwrap_err().to_string().replace(&format!("{}/", folder.path().display()), "")
}

#[test]
fn later_files_win_unless_an_earlier_value_is_final() {
    let folder = folder(&[
        (
            "core-site.xml",
            "<configuration><property><name>a</name><value>1</value><final>true</final></property>
             <property name='b' value='1'/><property><name>e</name><value></value></property>
             <property><name>none</name></property><property><value>nameless</value></property>
             <configuration><property><name>inner</name><value> x </value></property></configuration></configuration>",
        ),
        ("yarn-site.xml", &properties(&[("a", "2"), ("b", "2"), ("list", "x, y,,z ")])),
    ]);
    let configuration = load(&folder).unwrap();
    let get = |name| configuration.get(name);
    assert_eq!(
        (get("a").as_deref(), get("b").as_deref(), get("e").as_deref()),
        (Some("1"), Some("2"), Some(""))
    );
    assert_eq!((get("none"), get("inner").as_deref()), (None, Some("x")));
    assert_eq!(configuration.get_list("list"), ["x", "y", "z"]);
    let origin = configuration.origin("b").unwrap().to_string();
    assert!(origin.ends_with("/yarn-site.xml:5"), "{origin}");
}

#[test]
fn variables_stand_for_properties_and_for_the_environment() {
    let folder = folder(&[(
        "hdfs-site.xml",
        &properties(&[
            ("a", "A"),
            ("b", "${a}-${env.HOST}-${env.NONE:-d}-${env.NONE-e}-${env.EMPTY:-f}-${env.EMPTY-g}-"),
            ("unknown", "${nobody} ${not closed ${a}"),
            ("nested", "${${key}}"),
            ("key", "a"),
            ("trick", "${env.TRICK}"),
            ("default", "${env.NONE:-${a}}"),
            ("tmp", "${java.io.tmpdir}/${user.name}"),
            ("spaced", "${a b}"),
            ("fs.default.name", "hdfs://x"),
            ("uses.old", "${fs.default.name}"),
        ]),
    )]);
    let mut configuration = load(&folder).unwrap();
    let expected = [
        ("b", "A-h1-d-e-f--"),
        ("unknown", "${nobody} ${not closed ${a}"),
        ("nested", "A"),
        ("trick", "${a}"),
        ("default", "A"),
        ("tmp", "/tmp/alice"),
        ("spaced", "${a b}"),
        ("fs.defaultFS", "hdfs://x"),
        ("fs.default.name", "hdfs://x"),
        ("uses.old", "hdfs://x"),
    ];
    for (name, value) in expected {
        assert_eq!(configuration.get(name).as_deref(), Some(value), "{name}");
    }
    configuration.set("a", "${b}");
    assert_eq!(configuration.get("nested").as_deref(), Some("${b}"));
    assert!(configuration.entries().contains(&("default".to_owned(), "${b}".to_owned())));
    let shown = format!("{configuration:?}");
    assert!(!shown.contains("hdfs://x") && shown.contains("properties: 11"), "{shown}");
}

#[test]
fn values_that_refer_to_themselves_or_to_too_much_are_errors() {
    let cycle = error_of(&properties(&[("x", "y"), ("a", "${b}"), ("b", "-${a}")]));
    assert_eq!(cycle, "cannot work out the property a (core-site.xml:5): it refers to itself: a → b → a");
    let names: Vec<String> = (0..25).map(|n| format!("p{n:02}")).collect();
    let values: Vec<String> = (1..=25).map(|n| format!("${{p{n:02}}}")).collect();
    let chain: Vec<_> = names.iter().zip(&values).map(|(n, v)| (n.as_str(), v.as_str())).collect();
    assert!(error_of(&properties(&chain)).contains("more than 20 deep: p00 → p01"));
    // Twelve properties that each name the next ten times: 10^12 values.
    let values: Vec<String> = (1..=12).map(|n| format!("${{p{n:02}}}").repeat(10)).collect();
    let bomb: Vec<_> = names.iter().zip(&values).map(|(n, v)| (n.as_str(), v.as_str())).collect();
    assert!(error_of(&properties(&bomb)).contains("it refers to more than 10000 values"));
    let long = "x".repeat(10_000);
    let (many, few) = ("${b}".repeat(1000), "${c}");
    let error = error_of(&properties(&[("a", &many), ("b", few), ("c", &long)]));
    assert!(error.ends_with("it becomes longer than 1048576 bytes"), "{error}");
    let nested = format!("{}a{}", "${".repeat(1000), "}".repeat(1000));
    assert!(error_of(&properties(&[("a", &nested)])).ends_with("nested more than 20 deep"));
}

fn include(inside: &str) -> String {
    format!("<configuration xmlns:xi='http://www.w3.org/2001/XInclude'>\n{inside}\n</configuration>")
}

#[test]
fn files_include_files() {
    let parts = folder(&[
        (
            "core-site.xml",
            &include(
                "<xi:include href='part.xml'/><xi:include href='none.xml'><xi:fallback>
                 <property><name>f</name><value>fallback</value></property></xi:fallback></xi:include>
                 <xi:include href='none.xml'><xi:fallback/></xi:include>",
            ),
        ),
        ("part.xml", &properties(&[("p", "part")])),
    ]);
    let configuration = load(&parts).unwrap();
    assert_eq!(
        (configuration.get_or("p", ""), configuration.get_or("f", "")),
        ("part".into(), "fallback".into())
    );
    assert!(configuration.origin("p").unwrap().to_string().ends_with("/part.xml:3"));
    assert_eq!(
        error_of(&include("<xi:include href='none.xml'/>")),
        "cannot read none.xml, included by core-site.xml:2: No such file or directory (os error 2)"
    );
    let itself = error_of(&include("<xi:include href='core-site.xml'/>"));
    assert!(itself.starts_with("cannot read core-site.xml:2: more than 100 files"), "{itself}");
    let twice = "<xi:include href='core-site.xml'/>".repeat(2);
    assert!(error_of(&include(&twice)).contains("does 'core-site.xml' include itself?"));
    assert!(error_of(&include("<xi:include href='http://x/y'/>")).contains("only files can be"));
    assert!(error_of(&include("<xi:include/>")).ends_with("an include without href"));
}

#[test]
fn what_is_no_configuration_is_refused_with_file_and_line() {
    assert_eq!(
        error_of("<configuration>\n<property>\n</configuration>"),
        "cannot read core-site.xml:3: it is not well-formed XML: expected 'property' tag, not 'configuration' at 3:1"
    );
    assert_eq!(
        error_of("<html/>"),
        "cannot read core-site.xml:1: it starts with <html>, but <configuration> is needed"
    );
    let bomb = "<!DOCTYPE x [<!ENTITY a 'aaaa'><!ENTITY b '&a;&a;'>]><configuration>&b;</configuration>";
    assert!(error_of(bomb).contains("it has a document type (<!DOCTYPE …>), which is not read"));
    let deep = format!("{}{}", "<configuration>".repeat(5000), "</configuration>".repeat(5000));
    assert!(error_of(&deep).contains("nested more than"));
    let deeper = format!("{}{}", "<a>".repeat(400_000), "</a>".repeat(400_000));
    assert!(error_of(&deeper).contains("it starts with <a>"));
    assert!(error_of("").starts_with("cannot read core-site.xml:"));
    let folder = folder(&[("core-site.xml", "")]);
    fs::write(folder.path().join("core-site.xml"), vec![b' '; (8 << 20) + 1]).unwrap();
    assert!(load(&folder).unwrap_err().to_string().contains("more than 8388608 bytes"));
    fs::write(folder.path().join("core-site.xml"), b"\xff\xfe<").unwrap();
    assert!(load(&folder).unwrap_err().to_string().contains("UTF-8"));
}

#[test]
fn numbers_that_are_none_are_the_default_or_an_error() {
    let folder = folder(&[(
        "core-site.xml",
        &properties(&[("n", "many"), ("t", "10s"), ("s", "64m"), ("yes", "TRUE")]),
    )]);
    let configuration = load(&folder).unwrap();
    assert_eq!(configuration.get_u64("n", 7), 7);
    let error = configuration.parse_u64("n").unwrap_err().to_string();
    assert!(
        error.starts_with("the property n (/")
            && error.ends_with("/core-site.xml:3) is 'many', but a whole number is needed")
    );
    assert_eq!(configuration.get_duration("t", Duration::ZERO), Duration::from_secs(10));
    assert_eq!((configuration.get_size("s", 0), configuration.get_bool("yes", false)), (64 << 20, true));
    assert!(configuration.get_bool("n", true) && configuration.parse_size("none").unwrap().is_none());
}

#[test]
fn the_environment_says_where_the_files_are() {
    let nowhere = Configuration::from_environment(|_| None).unwrap_err().to_string();
    assert!(nowhere.contains("set HADOOP_CONF_DIR to the folder"), "{nowhere}");
    let gone = |name: &str| (name == "HADOOP_HOME").then(|| "/no/such".to_owned());
    let gone = Configuration::from_environment(gone).unwrap_err().to_string();
    assert!(gone.contains("HADOOP_HOME says it is in /no/such/etc/hadoop, which is not a folder"), "{gone}");
    let yarn = |name: &str| (name != "HADOOP_CONF_DIR").then(|| format!("/no/such/{name}"));
    let yarn = Configuration::from_environment(yarn).unwrap_err().to_string();
    assert!(yarn.contains("YARN_CONF_DIR says it is in /no/such/YARN_CONF_DIR, "), "{yarn}");
    assert!(Configuration::load(tempfile::tempdir().unwrap().path()).unwrap().entries().is_empty());
}

proptest! {
    #[test]
    fn no_values_are_too_much(values in prop::collection::vec("(\\$\\{|\\}|env\\.|p[0-9]|x|:|-){0,12}", 10)) {
        let names: Vec<String> = (0..10).map(|n| format!("p{n}")).collect();
        let pairs: Vec<_> = names.iter().zip(&values).map(|(n, v)| (n.as_str(), v.as_str())).collect();
        if let Ok(configuration) = load(&folder(&[("core-site.xml", &properties(&pairs))])) {
            prop_assert_eq!(configuration.entries().len(), 10);
        }
    }
}

#[test]
fn fuzz_configuration_of_hadoop() {
    let folder = folder(&[("part.xml", &properties(&[("p", "part"), ("a", "${p}${b}")]))]);
    let decoder = Decoder::new("Hadoop's configuration")
        .sample(properties(&[("a", "1"), ("b", "${a} and ${env.HOST:-x}"), ("fs.default.name", "hdfs://h:1")]))
        .sample(properties(&[("a", "${b}${b}"), ("b", "${c}${c}"), ("c", "${user.name}")]))
        .sample(include("<xi:include href='part.xml'><xi:fallback><property><name>f</name></property></xi:fallback></xi:include>"))
        .sample("<configuration><property name='a' value='x' final='true'/></configuration>")
        .words(&["<property>", "</property>", "<name>", "</name>", "<value>", "<final>true</final>", "${", "}", "env.", ":-", "&amp;"])
        .words(&["<xi:include href='core-site.xml'/>", "<xi:include href='part.xml'/>", "<!DOCTYPE x [<!ENTITY a 'aa'>]>", "<![CDATA[", "&a;", "<!--"]);
    // A file that includes itself is read ten levels deep, and values grow up to a mebibyte.
    decoder.may_hold(8 << 20).text(|text| {
        fs::write(folder.path().join("core-site.xml"), text).unwrap();
        if let Ok(configuration) = load(&folder) {
            for (name, _) in configuration.entries() {
                let _ = (configuration.get_size(&name, 1), configuration.get_duration(&name, Duration::ZERO));
                let _ = (configuration.parse_u64(&name), configuration.get_list(&name));
            }
        }
    });
}
