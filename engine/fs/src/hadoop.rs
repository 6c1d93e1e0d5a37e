//! What this process says of Hadoop beside the files that `HADOOP_CONF_DIR` names.

use std::sync::{PoisonError, RwLock};

static PROPERTIES: RwLock<Vec<(String, String)>> = RwLock::new(Vec::new());

/// Has properties count before those of Hadoop's files. File systems that were used before keep what they have.
pub fn set_hadoop_properties<'a>(properties: impl IntoIterator<Item = (&'a str, &'a str)>) {
    let properties = properties.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned()));
    *PROPERTIES.write().unwrap_or_else(PoisonError::into_inner) = properties.collect();
}

/// A configuration with those properties.
#[cfg(feature = "hdfs")]
pub(crate) fn with_properties(
    mut configuration: hadoop_rpc::configuration::Configuration,
) -> hadoop_rpc::configuration::Configuration {
    for (name, value) in PROPERTIES.read().unwrap_or_else(PoisonError::into_inner).iter() {
        configuration.set(name, value);
    }
    configuration
}

#[cfg(all(test, feature = "hdfs"))]
mod tests {
    use hadoop_rpc::configuration::Configuration;

    use super::*;

    #[test]
    fn properties_count_before_those_of_the_files() {
        let mut files = Configuration::new();
        files.set("flott.test.a", "1");
        files.set("flott.test.b", "2");
        set_hadoop_properties([("flott.test.b", "3")]);
        let both = with_properties(files);
        assert_eq!(["flott.test.a", "flott.test.b"].map(|name| both.get_or(name, "")), ["1", "3"]);
        set_hadoop_properties([]);
        assert_eq!(with_properties(Configuration::new()).get("flott.test.b"), None);
    }
}
