//! YARN's ids as the text that commands, logs and web pages show.

use std::fmt::Write;

use hadoop_rpc::proto::yarn::{ApplicationAttemptId, ApplicationId, ContainerId, NodeId};

/// `application_1732183200000_0007`.
pub fn application_text(id: &ApplicationId) -> String {
    format!("application_{}_{:04}", id.cluster_timestamp(), id.id())
}

/// `appattempt_1732183200000_0007_000001`.
pub fn attempt_text(id: &ApplicationAttemptId) -> String {
    let application = id.application_id.unwrap_or_default();
    format!("appattempt_{}_{:04}_{:06}", application.cluster_timestamp(), application.id(), id.attempt_id())
}

/// `container_e02_1732183200000_0007_01_000002`; the epoch stands there once the ResourceManager was restarted.
pub fn container_text(id: &ContainerId) -> String {
    let attempt = id.app_attempt_id.unwrap_or_default();
    let application = attempt.application_id.unwrap_or_default();
    let (epoch, number) = (id.id() >> 40, id.id() & ((1 << 40) - 1));
    let mut text = "container_".to_owned();
    if epoch > 0 {
        // Writing to a String does not fail.
        let _ = write!(text, "e{epoch:02}_");
    }
    let (started, application) = (application.cluster_timestamp(), application.id());
    let _ = write!(text, "{started}_{application:04}_{:02}_{number:06}", attempt.attempt_id());
    text
}

/// `HOST:PORT`.
pub fn node_text(id: &NodeId) -> String {
    format!("{}:{}", id.host(), id.port())
}

/// Why a text is no id.
#[derive(Debug, thiserror::Error)]
#[error("'{text}' is no {kind}: something like {example} is expected")]
pub struct IdError {
    text: String,
    kind: &'static str,
    example: &'static str,
}

/// Reads an application's id.
///
/// ```
/// use flott_yarn::ids::{application_text, parse_application};
///
/// let id = parse_application("application_1732183200000_0007")?;
/// assert_eq!(id.id(), 7);
/// assert_eq!(application_text(&id), "application_1732183200000_0007");
/// # Ok::<(), flott_yarn::ids::IdError>(())
/// ```
///
/// # Errors
/// [`IdError`] that shows what is expected.
pub fn parse_application(text: &str) -> Result<ApplicationId, IdError> {
    let read = || {
        let (started, number) = text.trim().strip_prefix("application_")?.split_once('_')?;
        Some(ApplicationId { id: Some(number.parse().ok()?), cluster_timestamp: Some(started.parse().ok()?) })
    };
    read().ok_or_else(|| IdError {
        text: text.to_owned(),
        kind: "application id",
        example: "application_1732183200000_0007",
    })
}

/// Reads a container's id.
///
/// # Errors
/// [`IdError`] that shows what is expected.
pub fn parse_container(text: &str) -> Result<ContainerId, IdError> {
    let read = || {
        let mut parts: Vec<&str> = text.trim().strip_prefix("container_")?.split('_').collect();
        let epoch: i64 = match parts.first()?.strip_prefix('e') {
            Some(epoch) => {
                let epoch = epoch.parse().ok().filter(|epoch| (0..1 << 23).contains(epoch));
                parts.remove(0);
                epoch?
            }
            None => 0,
        };
        let [started, application, attempt, number] = parts[..] else { return None };
        let number = number.parse().ok().filter(|number| (0..1_i64 << 40).contains(number))?;
        let application_id = ApplicationId {
            id: Some(application.parse().ok()?),
            cluster_timestamp: Some(started.parse().ok()?),
        };
        let attempt = ApplicationAttemptId {
            application_id: Some(application_id),
            attempt_id: Some(attempt.parse().ok()?),
        };
        Some(ContainerId { app_id: None, app_attempt_id: Some(attempt), id: Some(epoch << 40 | number) })
    };
    read().ok_or_else(|| IdError {
        text: text.to_owned(),
        kind: "container id",
        example: "container_1732183200000_0007_01_000002",
    })
}

#[cfg(test)]
mod tests {
    use flott_fuzz::Decoder;

    use super::*;

    #[test]
    fn ids_are_written_as_yarn_writes_them() {
        let texts = [
            "container_1732183200000_0007_01_000002",
            "container_e17_1410901177871_0001_01_000005",
            "container_1410901177871_12345_12_1234567",
        ];
        for text in texts {
            assert_eq!(container_text(&parse_container(text).unwrap()), text);
        }
        let id = parse_container(texts[0]).unwrap();
        assert_eq!(attempt_text(&id.app_attempt_id.unwrap()), "appattempt_1732183200000_0007_000001");
    }

    #[test]
    fn fuzz_configuration_ids() {
        Decoder::new("ids of YARN")
            .sample("application_1732183200000_0007")
            .sample("container_e17_1732183200000_0007_01_000042")
            .words(&["_", "e", "99999999999999999999", "-", "application_", "container_"])
            .text(|text| {
                let _ = parse_application(text);
                if let Ok(id) = parse_container(text) {
                    assert_eq!(parse_container(&container_text(&id)).unwrap(), id);
                }
            });
    }
}
