//! The web behind YARN's proxy: Flink's tools find what they read, and the page's changes get through.

use crate::contract::{Web, tools_find_what_they_read};
use crate::support::{Hadoop, application_in, hadoop, program, text, until};

/// A job in a session of its own.
fn running(cluster: &Hadoop) -> (String, String) {
    let session = application_in(&cluster.flott_well(&["yarn-session", "-d", "-s", "4", "-tm", "512"]));
    let checkpoints = format!("execution.checkpointing.dir={}", cluster.fresh("proxy-checkpoints"));
    let line = [
        "run",
        "-d",
        "-t",
        "yarn-session",
        "-yid",
        &session,
        "-p",
        "2",
        "-D",
        "execution.checkpointing.interval=300 ms",
        "-D",
        &checkpoints,
        &program(),
        "held-back",
    ];
    let submitted = cluster.flott(&line);
    assert!(submitted.status.success(), "{}", text(&submitted.stderr));
    (session, text(&submitted.stdout).trim().to_owned())
}

#[test]
fn tools_read_and_the_page_cancels_through_yarns_proxy() {
    let cluster = hadoop();
    let (session, job) = running(cluster);
    let web = Web::printed(&text(&cluster.flott(&["web", "-yid", &session]).stdout));
    assert_eq!(web.prefix, format!("/proxy/{session}"));
    tools_find_what_they_read(&web, &job);
    // There is another way to the same, which its ports may be closed for.
    let direct = Web::printed(&text(&cluster.flott(&["web", "-yid", &session, "--direct"]).stdout));
    assert_eq!((direct.prefix.as_str(), direct.read == web.read), ("", true));
    assert_eq!(direct.json("/overview"), web.json("/overview"));

    // The page comes whole and holds no address that begins at the root.
    let page = web.request("GET", "/", &[], b"");
    let head = page.head.to_ascii_lowercase();
    assert!(page.status == 200 && head.contains("content-security-policy: default-src 'none'"), "{head}");
    let text = page.text();
    assert!(!text.contains("=\"/") && !text.contains(&web.read) && !text.contains(&web.change));
    // Nothing, the wrong token, or one where it does not belong, changes anything.
    let cancel = format!("/jobs/{job}/cancel");
    for token in ["", web.read.as_str(), &"0".repeat(64)] {
        let refused = web.put(&cancel, token);
        assert!(refused.status == 401 && refused.json()["errors"][0].is_string(), "{refused:?}");
    }
    let bare = web.request("GET", "/overview", &[], b"");
    assert_eq!(bare.status, 401, "{bare:?}");
    let yarn_cancel = web.get(&format!("/jobs/{job}/yarn-cancel"));
    assert!(
        yarn_cancel.status == 403 && yarn_cancel.text().contains("rest.yarn-cancel.enabled"),
        "{yarn_cancel:?}"
    );
    assert_eq!(web.json("/jobs/overview")["jobs"][0]["state"], "RUNNING");
    let cancelled = web.put(&cancel, &web.change);
    assert_eq!(cancelled.status, 202, "{cancelled:?}");
    until("the job is cancelled", || (web.json("/jobs")["jobs"][0]["status"] == "CANCELED").then_some(()));
    assert_eq!(web.put(&cancel, &web.change).status, 409);
    // What the proxy and the cluster write down holds no token.
    let logs = std::fs::read_dir(cluster.folder().join("logs")).unwrap().flatten();
    let mut written: Vec<Vec<u8>> = logs.map(|log| std::fs::read(log.path()).unwrap()).collect();
    written.push(web.get("/jobmanager/log").body);
    for log in written {
        let log = String::from_utf8_lossy(&log);
        assert!(!log.contains(&web.read) && !log.contains(&web.change));
    }
    cluster.stop_session(&session);
}
