//! The REST API as the tools that already talk to Flink use it, straight and through a proxy like YARN's; and who may do what.

use serde_json::{Value, json};

use crate::http::{Answer, PREFIX, YarnProxy, request};
use crate::support::{Cluster, program, text, until};

/// Where the web is, and its tokens.
struct Web {
    address: String,
    read: String,
    change: String,
}

impl Web {
    fn of(cluster: &Cluster) -> Self {
        let printed = text(&cluster.flott(&["web"]).stdout);
        let (address, fragment) = printed.trim().split_once("/#").unwrap();
        let (read, change) = fragment.split_once('&').unwrap();
        let read_only = text(&cluster.flott(&["web", "--read-only"]).stdout);
        assert!(read_only.contains(read) && !read_only.contains("token="), "{read_only}");
        Self {
            address: address.strip_prefix("http://").unwrap().to_owned(),
            read: read.strip_prefix("read=").unwrap().to_owned(),
            change: change.strip_prefix("token=").unwrap().to_owned(),
        }
    }

    fn get(&self, path: &str) -> Answer {
        let bearer = format!("Bearer {}", self.read);
        request(&self.address, "GET", path, &[("Authorization", &bearer)], b"")
    }

    fn json(&self, path: &str) -> Value {
        let answer = self.get(path);
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        answer.json()
    }
}

/// All fields are there and of the kind they should be: `s` text, `n` a number, `b` a truth value, `a` a list, `o` an object.
#[track_caller]
fn has(value: &Value, fields: &[(&str, char)]) {
    for (path, kind) in fields {
        let mut found = value;
        for part in path.split('/') {
            found = part.parse::<usize>().map_or_else(|_| &found[part], |index| &found[index]);
        }
        let is = match kind {
            's' => found.is_string(),
            'n' => found.is_number(),
            'b' => found.is_boolean(),
            'a' => found.is_array(),
            _ => found.is_object(),
        };
        assert!(is, "{path} is {found} in {value}");
    }
}

fn running(cluster: &Cluster, what: &str) -> String {
    let checkpoints = format!("execution.checkpointing.dir={}", cluster.path("checkpoints"));
    let flags = ["run", "-d", "-p", "2", "-D", "execution.checkpointing.interval=300 ms", "-D", &checkpoints];
    let submitted = cluster.flott(&[&flags[..], &[&program(), what]].concat());
    assert!(submitted.status.success(), "{}", text(&submitted.stderr));
    text(&submitted.stdout).trim().to_owned()
}

/// Waits until the job's figures are there.
fn until_measured(web: &Web, job: &str) -> Value {
    until("the job is measured and has checkpoints", || {
        let seen = web.json(&format!("/flott/jobs/{job}"));
        let vertices = seen["vertices"].as_array()?;
        let measured = vertices.iter().all(|vertex| vertex["load"].is_object());
        (measured && seen["checkpoints"].as_u64()? > 0).then(|| seen.clone())
    })
}

#[test]
fn tools_that_talk_to_flink_find_what_they_read() {
    let cluster = Cluster::start(1, 4);
    let web = Web::of(&cluster);
    let job = running(&cluster, "held-back");
    until_measured(&web, &job);

    // A console on YARN polls these.
    let overview = web.json("/overview");
    let numbers = ["taskmanagers", "slots-total", "slots-available", "jobs-running", "jobs-finished"];
    let more = ["jobs-cancelled", "jobs-failed"];
    numbers.iter().chain(&more).for_each(|name| has(&overview, &[(name, 'n')]));
    assert_eq!((&overview["slots-total"], &overview["jobs-running"]), (&json!(4), &json!(1)), "{overview}");
    let jobs = web.json("/jobs/overview");
    let fields = [
        ("jid", 's'),
        ("name", 's'),
        ("state", 's'),
        ("start-time", 'n'),
        ("end-time", 'n'),
        ("duration", 'n'),
    ];
    has(&jobs["jobs"][0], &fields);
    has(&jobs["jobs"][0], &[("last-modification", 'n'), ("tasks/total", 'n'), ("tasks/running", 'n')]);
    assert_eq!((&jobs["jobs"][0]["jid"], &jobs["jobs"][0]["end-time"]), (&json!(job), &json!(-1)));
    let checkpoints = web.json(&format!("/jobs/{job}/checkpoints"));
    has(
        &checkpoints,
        &[("counts/completed", 'n'), ("counts/in_progress", 'n'), ("history", 'a'), ("summary", 'o')],
    );
    let last = &checkpoints["latest"]["completed"];
    has(
        last,
        &[
            ("id", 'n'),
            ("status", 's'),
            ("is_savepoint", 'b'),
            ("external_path", 's'),
            ("trigger_timestamp", 'n'),
        ],
    );
    has(
        last,
        &[("state_size", 'n'), ("end_to_end_duration", 'n'), ("checkpoint_type", 's'), ("discarded", 'b')],
    );
    assert!(last["external_path"].as_str().unwrap().contains("/chk-"), "{last}");

    // Another reads these too.
    has(
        &web.json("/config"),
        &[("flink-version", 's'), ("refresh-interval", 'n'), ("features/web-submit", 'b')],
    );
    let config = web.json(&format!("/jobs/{job}/checkpoints/config"));
    has(&config, &[("mode", 's'), ("interval", 'n'), ("timeout", 'n'), ("externalization/enabled", 'b')]);
    assert_eq!((&config["interval"], &config["mode"]), (&json!(300), &json!("exactly_once")));
    let exceptions = web.json(&format!("/jobs/{job}/exceptions?maxExceptions=10"));
    has(&exceptions, &[("all-exceptions", 'a'), ("truncated", 'b'), ("exceptionHistory/entries", 'a')]);
    let stop = request(&web.address, "POST", &format!("/jobs/{job}/stop"), &[], b"{}");
    assert!(
        stop.status == 501 && stop.json()["errors"][0].as_str().unwrap().contains("savepoints"),
        "{stop:?}"
    );

    autoscaler(&web, &job);
    others(&web, &job);
}

/// What decides on parallelism from figures.
fn autoscaler(web: &Web, job: &str) {
    let details = web.json(&format!("/jobs/{job}"));
    let fields = [("jid", 's'), ("isStoppable", 'b'), ("state", 's'), ("maxParallelism", 'n'), ("now", 'n')];
    has(&details, &fields);
    has(
        &details,
        &[
            ("timestamps/RUNNING", 'n'),
            ("status-counts/RUNNING", 'n'),
            ("plan/nodes", 'a'),
            ("job-type", 's'),
        ],
    );
    let nodes = details["plan"]["nodes"].as_array().unwrap();
    assert_eq!(nodes.len(), 3, "{details}");
    let sources: Vec<&Value> = nodes.iter().filter(|node| node.get("inputs").is_none()).collect();
    assert_eq!(sources.len(), 1);
    for node in nodes.iter().filter(|node| node.get("inputs").is_some()) {
        has(
            node,
            &[("id", 's'), ("parallelism", 'n'), ("inputs/0/id", 's'), ("inputs/0/ship_strategy", 's')],
        );
        assert_eq!(
            (&node["inputs"][0]["id"], &node["inputs"][0]["ship_strategy"]),
            (&sources[0]["id"], &json!("HASH"))
        );
    }
    for vertex in details["vertices"].as_array().unwrap() {
        has(
            vertex,
            &[("id", 's'), ("name", 's'), ("parallelism", 'n'), ("maxParallelism", 'n'), ("status", 's')],
        );
        has(
            vertex,
            &[
                ("slotSharingGroupId", 's'),
                ("metrics/read-records", 'n'),
                ("metrics/accumulated-busy-time", 'n'),
            ],
        );
        assert_eq!(vertex["id"].as_str().unwrap().len(), 32);
    }
    let source = sources[0]["id"].as_str().unwrap();
    let of_source = format!("/jobs/{job}/vertices/{source}/subtasks/metrics");
    let names = web.json(&of_source);
    let names: Vec<&str> =
        names.as_array().unwrap().iter().map(|entry| entry["id"].as_str().unwrap()).collect();
    for name in [
        "busyTimeMsPerSecond",
        "idleTimeMsPerSecond",
        "backPressuredTimeMsPerSecond",
        "numRecordsInPerSecond",
        "Source__clicks.numRecordsIn",
        "Source__clicks.numRecordsOut",
        "Source__clicks.numRecordsInPerSecond",
    ] {
        assert!(names.contains(&name), "{name} in {names:?}");
    }
    let asked = "busyTimeMsPerSecond,backPressuredTimeMsPerSecond,idleTimeMsPerSecond,no.such.metric,Source__clicks.numRecordsOut";
    let figures = web.json(&format!("{of_source}?get={asked}"));
    let figures = figures.as_array().unwrap();
    assert_eq!(figures.len(), 4, "{figures:?}");
    figures.iter().for_each(|figure| {
        has(figure, &[("min", 'n'), ("max", 'n'), ("avg", 'n'), ("sum", 'n')]);
    });
    let figure = |id: &str, of: &str| figures.iter().find(|f| f["id"] == id).unwrap()[of].as_f64().unwrap();
    let sum = ["busyTimeMsPerSecond", "backPressuredTimeMsPerSecond", "idleTimeMsPerSecond"]
        .map(|id| figure(id, "avg"))
        .iter()
        .sum::<f64>();
    assert!((sum - 1000.0).abs() < 1.0, "every moment is one of three: {figures:?}");
    assert!(
        figure("backPressuredTimeMsPerSecond", "avg") > 300.0,
        "the slow operator holds it back: {figures:?}"
    );
    assert!(figure("Source__clicks.numRecordsOut", "sum") > 0.0);

    let slots = web.json("/jobmanager/metrics?get=taskSlotsTotal,taskSlotsAvailable");
    assert_eq!(
        slots,
        json!([{"id": "taskSlotsTotal", "value": "4"}, {"id": "taskSlotsAvailable", "value": "2"}])
    );
    let asked = "Status.JVM.Memory.Heap.Max,Status.JVM.Memory.Heap.Used,Status.Flink.Memory.Managed.Used,Status.JVM.Memory.Metaspace.Used,Status.JVM.GarbageCollector.All.TimeMsPerSecond,none";
    let members = web.json(&format!("/taskmanagers/metrics?get={asked}&agg=min,max,avg"));
    assert_eq!(members.as_array().unwrap().len(), 5, "{members}");
    has(&members[1], &[("min", 'n'), ("max", 'n'), ("avg", 'n')]);
    assert!(members[1].get("sum").is_none() && members[1]["max"].as_f64().unwrap() > 1e6, "{members}");
    let settings = web.json(&format!("/jobs/{job}/jobmanager/config"));
    let interval = json!({"key": "execution.checkpointing.interval", "value": "300 ms"});
    assert!(settings.as_array().unwrap().contains(&interval), "{settings}");
    let requirements = web.json(&format!("/jobs/{job}/resource-requirements"));
    has(&requirements[source], &[("parallelism/lowerBound", 'n'), ("parallelism/upperBound", 'n')]);
}

/// The other paths answer, and with what they should.
fn others(web: &Web, job: &str) {
    let plan = web.json(&format!("/v1/jobs/{job}/plan"));
    let id = plan["plan"]["nodes"][1]["id"].as_str().unwrap().to_owned();
    let vertex = format!("/jobs/{job}/vertices/{id}");
    let details = web.json(&vertex);
    has(
        &details,
        &[("subtasks/1/host", 's'), ("subtasks/1/taskmanager-id", 's'), ("subtasks/1/status-duration", 'o')],
    );
    has(&web.json(&format!("{vertex}/subtasks/1")), &[("subtask", 'n'), ("attempt", 'n'), ("metrics", 'o')]);
    has(&web.json(&format!("{vertex}/subtasktimes")), &[("subtasks/0/timestamps/RUNNING", 'n')]);
    has(&web.json(&format!("{vertex}/taskmanagers")), &[("taskmanagers/0/metrics/read-records", 'n')]);
    has(&web.json(&format!("{vertex}/backpressure")), &[("status", 's'), ("subtasks/0/busyRatio", 'n')]);
    let watermarks = web.json(&format!("{vertex}/watermarks"));
    assert_eq!(watermarks[1]["id"], "1.currentInputWatermark");
    has(&web.json(&format!("{vertex}/metrics?get=0.numRecordsIn")), &[("0/value", 's')]);
    for path in ["config", "accumulators", "metrics", "jobmanager/environment"] {
        web.json(&format!("/jobs/{job}/{path}"));
    }
    let newest = web.json(&format!("/jobs/{job}/checkpoints"))["latest"]["completed"]["id"].clone();
    let of_checkpoint = format!("/jobs/{job}/checkpoints/details/{newest}");
    has(&web.json(&of_checkpoint)["tasks"][&id], &[("num_acknowledged_subtasks", 'n'), ("state_size", 'n')]);
    has(&web.json(&format!("{of_checkpoint}/subtasks/{id}")), &[("subtasks/0/ack_timestamp", 'n')]);
    let members = web.json("/taskmanagers");
    has(&members["taskmanagers"][0], &[("slotsNumber", 'n'), ("freeSlots", 'n'), ("hardware/cpuCores", 'n')]);
    let member = members["taskmanagers"][0]["id"].as_str().unwrap().to_owned();
    has(
        &web.json(&format!("/taskmanagers/{member}")),
        &[("allocatedSlots/1/jobId", 's'), ("metrics/heapUsed", 'n')],
    );
    has(&web.json(&format!("/taskmanagers/{member}/metrics?get=taskSlotsTotal")), &[("0/value", 's')]);
    let aggregated = web.json("/jobs/metrics?get=numberOfCompletedCheckpoints&agg=sum");
    assert!(aggregated[0]["sum"].as_f64().unwrap() > 0.0, "{aggregated}");
    has(&web.json("/jobmanager/logs"), &[("logs/0/name", 's'), ("logs/0/size", 'n')]);
    assert!(web.get("/jobmanager/log").text().contains("a TaskManager has registered"));
    for path in [
        "/jobs",
        "/jars",
        "/jobmanager/config",
        "/jobmanager/environment",
        "/jobs/metrics",
        "/taskmanagers/metrics",
    ] {
        web.json(path);
    }
    let scraped = web.get("/metrics").text();
    for line in [
        "# TYPE flott_jobmanager_taskSlotsTotal gauge",
        "flott_jobmanager_taskSlotsTotal 4",
        "flott_taskmanager_job_task_operator_numRecordsOut{job_id=",
        "operator_name=\"Source: clicks\"",
    ] {
        assert!(scraped.contains(line), "{line} in {scraped}");
    }
    for (path, status) in [
        ("/nothing", 404),
        ("/jobs/x", 400),
        ("/jobs/00000000000000000000000000000000", 404),
        (&format!("/jobs/{job}/vertices/{job}"), 404),
        ("/jobmanager/logs/..%2Fsecret", 404),
    ] {
        let answer = web.get(path);
        assert!(answer.status == status && answer.json()["errors"][0].is_string(), "{path}: {answer:?}");
    }
}

#[test]
fn a_job_is_cancelled_through_a_proxy_that_forwards_little() {
    let cluster = Cluster::start(1, 2);
    let web = Web::of(&cluster);
    let proxy = YarnProxy::start(&web.address);
    let job = running(&cluster, "endless");
    let accept = format!("application/json;flott-token={}", web.read);
    let get =
        |path: &str| request(&proxy.address, "GET", &format!("{PREFIX}{path}"), &[("Accept", &accept)], b"");
    let put = |path: &str, token: &str| {
        let body = json!({ "token": token }).to_string();
        request(
            &proxy.address,
            "PUT",
            &format!("{PREFIX}{path}"),
            &[("Content-Type", "application/json")],
            body.as_bytes(),
        )
    };
    // The page comes whole and holds no address that begins at the root.
    let page = request(&proxy.address, "GET", PREFIX, &[], b"");
    assert_eq!(page.status, 200);
    assert!(
        page.head
            .to_ascii_lowercase()
            .contains("content-security-policy: default-src 'none'; script-src 'sha256-")
    );
    assert!(
        !page.text().contains("=\"/")
            && !page.text().contains(&web.read)
            && !page.text().contains(&web.change)
    );
    until("the job runs", || (get("jobs/overview").json()["jobs"][0]["tasks"]["running"] == 4).then_some(()));
    assert_eq!(get("overview").json()["jobs-running"], 1);
    // Nothing, the wrong token, or one where it does not belong, changes anything.
    let cancel = format!("jobs/{job}/cancel");
    for (path, token) in [(&cancel, ""), (&cancel, web.read.as_str()), (&cancel, &"0".repeat(64))] {
        let refused = put(path, token);
        assert!(refused.status == 401 && refused.json()["errors"][0].is_string(), "{refused:?}");
    }
    let bare = request(&proxy.address, "GET", &format!("{PREFIX}overview"), &[], b"");
    assert_eq!(bare.status, 401, "{bare:?}");
    let yarn_cancel = get(&format!("jobs/{job}/yarn-cancel"));
    assert!(
        yarn_cancel.status == 403 && yarn_cancel.text().contains("rest.yarn-cancel.enabled"),
        "{yarn_cancel:?}"
    );
    assert_eq!(get("jobs/overview").json()["jobs"][0]["state"], "RUNNING");
    let cancelled = put(&cancel, &web.change);
    assert_eq!(cancelled.status, 202, "{cancelled:?}");
    until("the job is cancelled", || (get("jobs").json()["jobs"][0]["status"] == "CANCELED").then_some(()));
    assert_eq!(put(&cancel, &web.change).status, 409);
    // What the proxy and the cluster write down holds no token.
    let log = std::fs::read_to_string(cluster.path("log/jobmanager.log")).unwrap();
    for text in [&proxy.log(), &log] {
        assert!(!text.contains(&web.read) && !text.contains(&web.change));
    }
    cluster.until_idle();
}

#[test]
fn a_program_is_uploaded_and_run_over_the_web() {
    let cluster = Cluster::start_with(1, 2, "rest.yarn-cancel.enabled: true\nrest.read-access: open\n");
    let web = Web::of(&cluster);
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
    assert_eq!(
        (&jars["files"][0]["name"], jars["files"].as_array().unwrap().len()),
        (&json!("clusterprogram"), 1)
    );
    let id = jars["files"][0]["id"].as_str().unwrap();
    let run = |body: Value| {
        request(
            &web.address,
            "POST",
            &format!("/jars/{id}/run"),
            &[("Authorization", &bearer)],
            body.to_string().as_bytes(),
        )
    };
    let fails = run(json!({ "programArgs": "never-executes" }));
    assert!(fails.status == 400 && fails.text().contains("without"), "{fails:?}");
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

#[test]
fn failures_are_remembered_and_patch_cancels() {
    let cluster = Cluster::start(1, 2);
    let web = Web::of(&cluster);
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
