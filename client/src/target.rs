//! Where a command's jobs run: what the command line, the configuration and a running session say.

use flott_cluster::high_availability::is_highly_available;
use flott_core::config::{self, Configuration, DeploymentTarget};

use crate::CommandError;
use crate::session_file::SessionFile;

/// The word of `-m` for YARN.
const YARN_CLUSTER: &str = "yarn-cluster";

/// Where jobs run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Target {
    /// In the program itself.
    Local,
    /// On the cluster of the JobManager at this address.
    Remote(String),
    /// On the cluster whose JobManagers are elected as the configuration says: of the one that leads.
    Elected,
    /// On the cluster of this application, which runs: jobs go there if it is a session.
    YarnSession(String),
    /// On a cluster of its own on YARN, main here.
    YarnPerJob,
    /// On a cluster of its own on YARN, main there.
    YarnApplication,
}

/// What a command line says of it.
#[derive(Debug, Default)]
pub(crate) struct Wanted<'a> {
    /// `-m`.
    pub(crate) master: Option<&'a str>,
    /// `-t`, or `-D` with the same meaning.
    pub(crate) target: Option<&'a str>,
    /// Whether the configuration has its application from `-yid`, or `-D` with the same meaning.
    pub(crate) names_application: bool,
    /// Whether a cluster is meant that runs: of an application with an id, whatever kind it is.
    pub(crate) only_asks: bool,
}

impl Target {
    /// Decides. The command line comes first, then the configuration, then a session that this user has started from this machine.
    ///
    /// # Errors
    /// In words, if the target is none, says not which session, or is another than the application that the command line names.
    pub(crate) fn of(wanted: &Wanted<'_>, configuration: &Configuration) -> Result<Self, CommandError> {
        use DeploymentTarget::{Local, Remote, YarnApplication, YarnPerJob, YarnSession};
        let session_file = SessionFile::of(configuration);
        let application = configuration.get_optional(&config::YARN_APPLICATION_ID);
        let asked = match wanted.target {
            Some(text) => Some(
                config::ConfigValue::read(text)
                    .map_err(|expected: String| format!("-t {text}: {expected}"))?,
            ),
            None => None,
        };
        if let Some(id) = application.as_ref().filter(|_| wanted.names_application) {
            let other = match (wanted.master, asked) {
                (Some(master), _) if master != YARN_CLUSTER => format!("-m {master}"),
                (_, Some(Local | Remote)) => format!("-t {}", wanted.target.unwrap_or_default()),
                (_, Some(YarnApplication | YarnPerJob)) if !wanted.only_asks => {
                    format!("-t {}", wanted.target.unwrap_or_default())
                }
                _ => return Ok(Self::YarnSession(id.clone())),
            };
            return Err(format!(
                "{other} is another cluster than that of {id} (-yid, {}): leave one of them away",
                config::YARN_APPLICATION_ID.key
            )
            .into());
        }
        match wanted.master {
            Some("local") => return Ok(Self::Local),
            Some(YARN_CLUSTER) => return Ok(application.map_or(Self::YarnPerJob, Self::YarnSession)),
            Some(address) => return Ok(Self::Remote(address.to_owned())),
            None => {}
        }
        let target = asked.or_else(|| configuration.get_optional(&config::EXECUTION_TARGET));
        if let (true, Some(YarnPerJob | YarnApplication), Some(id)) = (wanted.only_asks, target, &application)
        {
            return Ok(Self::YarnSession(id.clone()));
        }
        let session = || application.or_else(|| session_file.read());
        Ok(match target {
            Some(Local) => Self::Local,
            Some(YarnPerJob) => Self::YarnPerJob,
            Some(YarnApplication) => Self::YarnApplication,
            Some(YarnSession) => Self::YarnSession(session().ok_or_else(|| {
                format!(
                    "which session is meant? Set yarn.application.id (-yid), or start one with flott yarn-session, which leaves its id in {}",
                    session_file.path().display()
                )
            })?),
            Some(Remote) => Self::remote(configuration),
            // An address that somebody set is meant more than a session that happens to be there.
            None if configuration.is_set(&config::JOB_MANAGER_ADDRESS) => Self::remote(configuration),
            None => session().map_or_else(|| Self::remote(configuration), Self::YarnSession),
        })
    }

    /// The word for it.
    pub(crate) fn name(&self) -> &'static str {
        let target = match self {
            Self::Local => DeploymentTarget::Local,
            Self::Remote(_) | Self::Elected => DeploymentTarget::Remote,
            Self::YarnSession(_) => DeploymentTarget::YarnSession,
            Self::YarnPerJob => DeploymentTarget::YarnPerJob,
            Self::YarnApplication => DeploymentTarget::YarnApplication,
        };
        target.as_str()
    }

    fn remote(configuration: &Configuration) -> Self {
        if is_highly_available(configuration) {
            return Self::Elected;
        }
        let host = configuration.get(&config::JOB_MANAGER_ADDRESS);
        Self::Remote(format!("{host}:{}", configuration.get(&config::JOB_MANAGER_PORT)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_comes_before_the_configuration_and_that_before_a_session() {
        let folder = tempfile::tempdir().unwrap();
        let mut configuration = Configuration::new();
        configuration.set(config::YARN_PROPERTIES_DIR.key, folder.path().to_str().unwrap()).unwrap();
        let of = |configuration: &Configuration, master, target| {
            let wanted = Wanted { master, target, ..Wanted::default() };
            Target::of(&wanted, configuration).map_err(|error| error.to_string())
        };
        assert_eq!(of(&configuration, None, None), Ok(Target::Remote("localhost:6123".into())));
        assert!(of(&configuration, None, Some("yarn-session")).unwrap_err().contains("which session"));
        SessionFile::of(&configuration).write("application_1_0001").unwrap();
        let session = Target::YarnSession("application_1_0001".into());
        assert_eq!(of(&configuration, None, None), Ok(session.clone()));
        assert_eq!(of(&configuration, Some("h:1"), None), Ok(Target::Remote("h:1".into())));
        assert_eq!(of(&configuration, Some("local"), Some("yarn-session")), Ok(Target::Local));
        assert_eq!(of(&configuration, Some("yarn-cluster"), None), Ok(Target::YarnPerJob));
        assert_eq!(of(&configuration, None, Some("yarn-application")), Ok(Target::YarnApplication));
        assert!(of(&configuration, None, Some("moon")).unwrap_err().contains("one of local remote"));
        configuration.set(config::JOB_MANAGER_ADDRESS.key, "jm").unwrap();
        assert_eq!(of(&configuration, None, None), Ok(Target::Remote("jm:6123".into())));
        configuration.set(config::EXECUTION_TARGET.key, "yarn-session").unwrap();
        assert_eq!(of(&configuration, None, None), Ok(session));
        configuration.set(config::YARN_APPLICATION_ID.key, "application_1_0002").unwrap();
        let named = Ok(Target::YarnSession("application_1_0002".into()));
        assert_eq!(of(&configuration, Some("yarn-cluster"), None), named);
        configuration.set(config::EXECUTION_TARGET.key, "yarn-application").unwrap();
        assert_eq!(of(&configuration, Some("yarn-cluster"), None), named);
        assert_eq!(of(&configuration, None, None), Ok(Target::YarnApplication));
        let asks = Wanted { only_asks: true, ..Wanted::default() };
        assert_eq!(Target::of(&asks, &configuration).map_err(|error| error.to_string()), named);
    }

    #[test]
    fn an_application_on_the_command_line_is_where_the_command_goes_or_nowhere() {
        let id = "application_1_0003";
        for (key, value) in [
            (config::JOB_MANAGER_ADDRESS.key, "jm"),
            (config::EXECUTION_TARGET.key, "yarn-application"),
            (config::EXECUTION_TARGET.key, "local"),
        ] {
            let mut configuration = Configuration::new();
            configuration.set(key, value).unwrap();
            configuration.set(config::YARN_APPLICATION_ID.key, id).unwrap();
            let of = |only_asks, master, target| {
                let wanted = Wanted { master, target, names_application: true, only_asks };
                Target::of(&wanted, &configuration).map_err(|error| error.to_string())
            };
            let named = Ok(Target::YarnSession(id.to_owned()));
            for only_asks in [false, true] {
                assert_eq!(of(only_asks, None, None), named, "{key}");
                assert_eq!(of(only_asks, None, Some("yarn-session")), named);
                assert_eq!(of(only_asks, Some("yarn-cluster"), None), named);
                let contradiction = of(only_asks, Some("h:1"), None).unwrap_err();
                assert!(
                    contradiction
                        .starts_with("-m h:1 is another cluster than that of application_1_0003 (-yid")
                );
                assert!(of(only_asks, None, Some("remote")).unwrap_err().starts_with("-t remote"));
            }
            for own in ["yarn-application", "yarn-per-job"] {
                assert!(of(false, None, Some(own)).unwrap_err().contains("leave one of them away"));
                assert_eq!(of(true, None, Some(own)), named);
            }
        }
    }
}
