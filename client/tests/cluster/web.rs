//! The REST API as the tools that already talk to Flink use it; and who may do what.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::contract::{Web, has, request, tools_find_what_they_read};
use crate::support::{Cluster, children_of, program, text, until};

fn web_of(cluster: &Cluster) -> Web {
    let web = Web::printed(&text(&cluster.flott(&["web"]).stdout));
    let read_only = text(&cluster.flott(&["web", "--read-only"]).stdout);
    assert!(read_only.contains(&web.read) && !read_only.contains("token="), "{read_only}");
    web
}

fn running(cluster: &Cluster, what: &str) -> String {
    let checkpoints = format!("execution.checkpointing.dir={}", cluster.path("checkpoints"));
    let flags = ["run", "-d", "-p", "2", "-D", "execution.checkpointing.interval=300 ms", "-D", &checkpoints];
    let submitted = cluster.flott(&[&flags[..], &[&program(), what]].concat());
    assert!(submitted.status.success(), "{}", text(&submitted.stderr));
    text(&submitted.stdout).trim().to_owned()
}

#[test]
fn tools_that_talk_to_flink_find_what_they_read() {
    let cluster = Cluster::start(1, 4);
    let web = web_of(&cluster);
    let job = running(&cluster, "held-back");
    tools_find_what_they_read(&web, &job);
    let outside = web.get("/jobmanager/logs/..%2Fsecret");
    assert!(outside.status == 404 && outside.json()["errors"][0].is_string(), "{outside:?}");
    let stop = web.request("POST", &format!("/jobs/{job}/stop"), &[], b"{}");
    assert!(
        stop.status == 501 && stop.json()["errors"][0].as_str().unwrap().contains("savepoints"),
        "{stop:?}"
    );
    // What Flink's autoscaler sends.
    let rescale = web.request("PUT", &format!("/jobs/{job}/resource-requirements"), &[], b"{}");
    assert!(
        rescale.status == 501 && rescale.json()["errors"][0].as_str().unwrap().contains("parallelism"),
        "{rescale:?}"
    );
}

#[test]
fn a_program_is_uploaded_and_run_over_the_web() {
    let cluster = Cluster::start_with(1, 2, "rest.yarn-cancel.enabled: true\nrest.read-access: open\n");
    let web = web_of(&cluster);
    let bearer = format!("Bearer {}", web.change);
    let file = std::fs::read(program()).unwrap();
    // As Flink's clients send it.
    let mut form = b"--edge\r\nContent-Disposition: form-data; name=\"jarfile\"; filename=\"some/cluster program\"\r\n\r\n".to_vec();
    form.extend_from_slice(&file);
    form.extend_from_slice(b"\r\n--edge--\r\n");
    let kind = ("Content-Type", "multipart/form-data; boundary=edge");
    let refused = request(&web.address, "POST", "/jars/upload", &[kind], b"");
    assert_eq!(refused.status, 401, "{refused:?}");
    let uploaded = request(&web.address, "POST", "/jars/upload", &[kind, ("Authorization", &bearer)], &form);
    assert!(uploaded.status == 200 && uploaded.json()["status"] == "success", "{uploaded:?}");
    // As the page sends one, which is none.
    let piece = json!({ "token": web.change, "upload": "00112233445566778899aabbccddeeff", "name": "text", "offset": 0, "data": "aGVsbG8=", "last": true });
    let none = request(&web.address, "PUT", "/jars/upload", &[], piece.to_string().as_bytes());
    assert!(none.status == 400 && none.text().contains("text is no program"), "{none:?}");
    let large = request(&web.address, "PUT", "/jars/upload", &[], &vec![b' '; (2 << 20) + 1]);
    assert_eq!(large.status, 413, "{large:?}");
    in_pieces(&web, &file);
    // Reading is open here.
    let jars = request(&web.address, "GET", "/jars", &[], b"").json();
    has(
        &jars,
        &[
            ("address", 's'),
            ("files/0/id", 's'),
            ("files/0/name", 's'),
            ("files/0/uploaded", 'n'),
            ("files/0/entry", 'a'),
        ],
    );
    let mut names: Vec<&str> =
        jars["files"].as_array().unwrap().iter().map(|file| file["name"].as_str().unwrap()).collect();
    names.sort_unstable();
    assert_eq!(names, ["by-the-page", "clusterprogram"]);
    // What came in pieces is what runs.
    let files = jars["files"].as_array().unwrap();
    let id = files.iter().find(|file| file["name"] == "by-the-page").unwrap()["id"].as_str().unwrap();
    let post = |what: &str, body: Value| {
        let path = format!("/jars/{id}/{what}");
        let headers = [("Authorization", bearer.as_str())];
        request(&web.address, "POST", &path, &headers, body.to_string().as_bytes())
    };
    let run = |body| post("run", body);
    let planned = post("plan", json!({ "programArgsList": ["endless"], "parallelism": 2 }));
    assert_eq!(planned.status, 200, "{planned:?}");
    has(&planned.json(), &[("plan/jid", 's'), ("plan/nodes/0/id", 's'), ("plan/nodes/1/inputs/0/id", 's')]);
    assert_eq!(planned.json()["plan"]["nodes"][0]["parallelism"], 2);
    let open = request(&web.address, "POST", &format!("/jars/{id}/plan"), &[], b"{}");
    assert_eq!(open.status, 401, "it runs the program's main: {open:?}");
    // Its main was ended, and no trace of it is left.
    until("the JobManager has no child", || children_of(cluster.job_manager.pid()).is_empty().then_some(()));
    let fails = run(json!({ "programArgs": "never-executes" }));
    assert!(fails.status == 400 && fails.text().contains("without"), "{fails:?}");
    let unknown = run(json!({ "programArgs": "endless", "paralelism": 2 }));
    assert!(unknown.status == 400 && unknown.text().contains("no 'paralelism'"), "{unknown:?}");
    let ran = run(json!({ "programArgsList": ["endless"], "parallelism": 2 }));
    assert_eq!(ran.status, 200, "{ran:?}");
    let job = ran.json()["jobid"].as_str().unwrap().to_owned();
    until("the job runs", || {
        let jobs = request(&web.address, "GET", "/jobs/overview", &[], b"").json();
        (jobs["jobs"][0]["jid"] == json!(job) && jobs["jobs"][0]["tasks"]["running"] == 4).then_some(())
    });
    // Who wants it so can cancel by GET.
    let cancelled = request(&web.address, "GET", &format!("/jobs/{job}/yarn-cancel"), &[], b"");
    assert_eq!(cancelled.status, 202, "{cancelled:?}");
    cluster.until_clean();
    let deleted = request(&web.address, "DELETE", &format!("/jars/{id}"), &[("Authorization", &bearer)], b"");
    assert_eq!(deleted.status, 200, "{deleted:?}");
    assert_eq!(run(json!({})).status, 404);
}

/// Uploads a program as the page does: one piece twice, since its answer may have been lost.
fn in_pieces(web: &Web, file: &[u8]) {
    const PIECE: usize = 1 << 20;
    let upload = "0123456789abcdef0123456789abcdef";
    let put = |offset: usize, token: &str| {
        let data = &file[offset..file.len().min(offset + PIECE)];
        let last = offset + data.len() == file.len();
        let piece = json!({
            "token": token,
            "upload": upload,
            "name": "by-the-page",
            "offset": offset,
            "data": STANDARD.encode(data),
            "last": last,
        });
        let kind = ("Content-Type", "application/json");
        let answer = web.request("PUT", "/jars/upload", &[kind], piece.to_string().as_bytes());
        (answer, data.len(), last)
    };
    let (refused, ..) = put(0, &web.read);
    assert_eq!(refused.status, 401, "{refused:?}");
    let (early, ..) = put(PIECE, &web.change);
    assert_eq!(early.status, 409, "{early:?}");
    assert_eq!(put(0, &web.change).0.json()["received"], PIECE);
    let mut offset = 0;
    loop {
        let (answer, length, last) = put(offset, &web.change);
        assert_eq!(answer.status, 200, "{answer:?}");
        if last {
            assert_eq!(answer.json()["status"], "success", "{answer:?}");
            return;
        }
        offset += length;
        assert_eq!(answer.json()["received"], offset, "{answer:?}");
    }
}

#[test]
fn failures_are_remembered_and_patch_cancels() {
    let cluster = Cluster::start(1, 2);
    let web = web_of(&cluster);
    let failed = cluster.flott(&["run", &program(), "fails", "too much"]);
    assert!(!failed.status.success());
    let jobs = web.json("/jobs/overview");
    let job = jobs["jobs"][0]["jid"].as_str().unwrap();
    assert_eq!(jobs["jobs"][0]["state"], "FAILED");
    let exceptions = web.json(&format!("/jobs/{job}/exceptions"));
    assert!(exceptions["root-exception"].as_str().unwrap().contains("too much"), "{exceptions}");
    let first = &exceptions["exceptionHistory"]["entries"][0];
    has(first, &[("exceptionName", 's'), ("stacktrace", 's'), ("timestamp", 'n'), ("taskName", 's')]);
    assert!(
        first["taskName"].as_str().unwrap().contains("Check")
            && first["taskName"].as_str().unwrap().ends_with("(1/1)"),
        "{first}"
    );
    let job = running(&cluster, "endless");
    let path = format!("/jobs/{job}?mode=cancel");
    let refused = request(&web.address, "PATCH", &path, &[], b"");
    assert_eq!(refused.status, 401, "{refused:?}");
    let bearer = format!("Bearer {}", web.change);
    // The token for reading changes nothing either.
    let refused = web.put(&format!("/jobs/{job}/cancel"), &web.read);
    assert_eq!(refused.status, 401, "{refused:?}");
    let cancelled = request(&web.address, "PATCH", &path, &[("Authorization", &bearer)], b"");
    assert_eq!(cancelled.status, 202, "{cancelled:?}");
    cluster.until_idle();
    // A head that is too long, a body that is too large, and no HTTP at all, harm nobody.
    let long = format!("/{}", "x".repeat(200_000));
    let refused = request(&web.address, "GET", &long, &[], b"").status;
    assert!(refused == 0 || refused >= 400, "{refused}");
    let large = vec![b' '; 66_000];
    let answer =
        request(&web.address, "PUT", &format!("/jobs/{job}/cancel"), &[("Authorization", &bearer)], &large);
    assert_eq!(answer.status, 413, "{answer:?}");
    let garbage = request(&web.address, "\u{1}\u{2}", "/", &[], b"");
    assert_eq!(garbage.status, 400, "{garbage:?}");
    assert_eq!(web.json("/overview")["jobs-cancelled"], 1);
}
