//! What the tools that already talk to Flink read, by Flink's public REST documentation: the same of a cluster of its own and of one behind
//! YARN's proxy. The job is `held-back` of `cluster_program`, on 2 of 4 slots, with a checkpoint every 300 ms.

mod http;

use serde_json::{Value, json};

pub use http::{Answer, request};

use crate::support::until;

/// Where the web is, and its tokens.
pub struct Web {
    /// `HOST:PORT`.
    pub address: String,
    /// What stands before every path: nothing, or the proxy's prefix.
    pub prefix: String,
    pub read: String,
    pub change: String,
}

impl Web {
    /// What `flott web` prints.
    pub fn printed(line: &str) -> Self {
        let (page, fragment) = line.trim().split_once("/#").unwrap();
        let page = page.strip_prefix("http://").unwrap();
        let (address, prefix) = page.find('/').map_or((page, ""), |slash| page.split_at(slash));
        let (read, change) = fragment.split_once('&').unwrap();
        Self {
            address: address.to_owned(),
            prefix: prefix.to_owned(),
            read: read.strip_prefix("read=").unwrap().to_owned(),
            change: change.strip_prefix("token=").unwrap().to_owned(),
        }
    }

    /// Sends a request as it is; 0 as its status: the server hung up.
    pub fn request(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        request(&self.address, method, &format!("{}{path}", self.prefix), headers, body)
    }

    /// Reads with the token where a proxy passes it on.
    pub fn get(&self, path: &str) -> Answer {
        let accept = format!("application/json;flott-token={}", self.read);
        self.request("GET", path, &[("Accept", &accept)], b"")
    }

    /// Changes something, with a token where a proxy passes it on.
    pub fn put(&self, path: &str, token: &str) -> Answer {
        let body = json!({ "token": token }).to_string();
        self.request("PUT", path, &[("Content-Type", "application/json")], body.as_bytes())
    }

    pub fn json(&self, path: &str) -> Value {
        let answer = self.get(path);
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        answer.json()
    }
}

/// All fields are there and of the kind they should be: `s` text, `n` a number, `b` a truth value, `a` a list, `o` an object.
#[track_caller]
pub fn has(value: &Value, fields: &[(&str, char)]) {
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

/// Waits until the job's figures are there.
pub fn until_measured(web: &Web, job: &str) -> Value {
    until("the job is measured and has checkpoints", || {
        let seen = web.json(&format!("/flott/jobs/{job}"));
        let vertices = seen["vertices"].as_array()?;
        let measured = vertices.iter().all(|vertex| vertex["load"].is_object());
        (measured && seen["checkpoints"].as_u64()? > 0).then(|| seen.clone())
    })
}

/// Every tool finds what it reads.
pub fn tools_find_what_they_read(web: &Web, job: &str) {
    until_measured(web, job);
    console(web, job);
    autoscaler(web, job);
    others(web, job);
}

/// What shows and watches clusters on YARN.
fn console(web: &Web, job: &str) {
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
    // Figures are of the last second, and in the first nothing is full yet.
    let figures = until("the slow operator holds the source back", || {
        let figures = web.json(&format!("{of_source}?get={asked}")).as_array().unwrap().clone();
        let held_back = figures.iter().find(|figure| figure["id"] == "backPressuredTimeMsPerSecond")?;
        (held_back["avg"].as_f64()? > 300.0).then_some(figures)
    });
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
    let attempt = web.json(&format!("{vertex}/subtasks/1"))["attempt"].clone();
    has(&web.json(&format!("{vertex}/subtasks/1/attempts/{attempt}")), &[("attempt", 'n'), ("status", 's')]);
    has(&web.json(&format!("{vertex}/subtasktimes")), &[("subtasks/0/timestamps/RUNNING", 'n')]);
    has(&web.json(&format!("{vertex}/taskmanagers")), &[("taskmanagers/0/metrics/read-records", 'n')]);
    has(&web.json(&format!("{vertex}/backpressure")), &[("status", 's'), ("subtasks/0/busyRatio", 'n')]);
    let watermarks = web.json(&format!("{vertex}/watermarks"));
    assert_eq!(watermarks[1]["id"], "1.currentInputWatermark");
    has(&web.json(&format!("{vertex}/metrics?get=0.numRecordsIn")), &[("0/value", 's')]);
    assert_eq!(web.json(&format!("/jobs/{job}/status")), json!({ "status": "RUNNING" }));
    let result = web.json(&format!("/jobs/{job}/execution-result"));
    assert_eq!(result, json!({ "status": { "id": "IN_PROGRESS" } }));
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
    // As they are asked for by some, who add slashes.
    assert_eq!(web.json("//taskmanagers/")["taskmanagers"][0]["id"], json!(member));
    for of in ["/jobmanager".to_owned(), format!("/taskmanagers/{member}")] {
        let printed = web.get(&format!("{of}/stdout"));
        let head = printed.head.to_ascii_lowercase();
        // A process that was started by hand prints where that was.
        assert!(
            printed.status == 404 || (printed.status == 200 && head.contains("content-type: text/plain")),
            "{printed:?}"
        );
        assert!(printed.status == 200 || printed.text().contains("on YARN it is"), "{printed:?}");
    }
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
        "operator_id=",
        "operator_name=\"Source: clicks\"",
    ] {
        assert!(scraped.contains(line), "{line} in {scraped}");
    }
    for (path, status) in [
        ("/nothing", 404),
        ("/jobs/x", 400),
        ("/jobs/00000000000000000000000000000000", 404),
        (&format!("/jobs/{job}/vertices/{job}"), 404),
        (&format!("{vertex}/subtasks/1/attempts/4000000000"), 404),
    ] {
        let answer = web.get(path);
        assert!(answer.status == status && answer.json()["errors"][0].is_string(), "{path}: {answer:?}");
    }
}
