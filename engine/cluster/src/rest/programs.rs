//! Programs over the web: uploaded, listed, run. Under Flink's paths, which call them jars.
//!
//! A program's `main` runs in a process of its own, as `flott run -d` would have it, and its job is submitted to this JobManager.

use std::collections::BTreeMap;
use std::io::{self, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path as FilePath, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use axum::Json;
use axum::body::{Bytes, to_bytes};
use axum::extract::{DefaultBodyLimit, Multipart, Path, Query, Request, State};
use axum::http::HeaderMap;
use axum::routing::{post, put};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use flott_core::config::{self, Configuration};
use flott_core::ids::JobId;
use flott_plan::JobGraph;
use flott_runtime::net::handshake::Secret;
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use super::error::RestError;
use super::jobs;
use super::logs::blocking;
use super::routes::{Reply, RestState};
use crate::client::{Cluster, Driven, Driver, DriverListener, Program};
use crate::program_file;
use crate::program_store::MAX_PROGRAM_BYTES;
use crate::rpc::control::{JobOutcome, JobOverview};

/// How long a program's `main` may take to its first execute.
const PLAN_DEADLINE: Duration = Duration::from_secs(60);

/// Programs that plan at a time.
const PLANNING: usize = 4;

/// The largest piece of a program in one PUT, encoded, in bytes. The page sends 1 MiB, which base64 makes a third larger.
const PIECE_BYTES: usize = 2 << 20;

/// Pieces that are held at a time: who sends one shows the token in it, so it is read before it is known whether he may.
const PIECES: usize = 4;

/// How long a piece waits for others.
const PIECE_PATIENCE: Duration = Duration::from_secs(5);

/// How long a piece may take to come.
const PIECE_DEADLINE: Duration = Duration::from_secs(30);

/// The most memory that pieces take, in bytes: as they came, as JSON, and decoded.
pub(super) const MOST_BYTES: usize = PIECES * PIECE_BYTES * 3;

/// An upload that was left alone for so long is given up.
const PART_LIFE: Duration = Duration::from_secs(60 * 60);

/// Programs at a time in the folder.
const KEPT: usize = 100;

/// Where programs are, and who runs them.
pub(super) struct Programs {
    folder: PathBuf,
    enabled: bool,
    /// The JobManager's own port for clients, and the cluster's secret.
    rpc: String,
    secret: Secret,
    planning: Semaphore,
    pieces: Semaphore,
}

impl Programs {
    /// Makes the folder. Blocks.
    pub(super) fn new(
        configuration: &Configuration,
        temp_dir: &FilePath,
        rpc: String,
        secret: Secret,
    ) -> io::Result<Self> {
        let configured = configuration.get_optional(&config::WEB_UPLOAD_DIR);
        let folder = configured.unwrap_or_else(|| temp_dir.join("uploads"));
        let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder);
        made.map_err(|error| {
            let text = format!("cannot make {} for uploads: {error}; set web.upload.dir", folder.display());
            io::Error::new(error.kind(), text)
        })?;
        let enabled = configuration.get(&config::WEB_SUBMIT);
        let (planning, pieces) = (Semaphore::new(PLANNING), Semaphore::new(PIECES));
        Ok(Self { folder, enabled, rpc, secret, planning, pieces })
    }

    fn enabled(&self) -> Result<(), RestError> {
        match self.enabled {
            true => Ok(()),
            false => {
                Err(RestError::forbidden("programs cannot be run over the web: web.submit.enable is false"))
            }
        }
    }

    /// The program with this id.
    fn find(&self, id: &str) -> Result<PathBuf, RestError> {
        let path = self.folder.join(id);
        let is_name = is_id(id) && path.is_file();
        is_name.then_some(path).ok_or_else(|| RestError::not_found(format!("there is no program '{id}'")))
    }

    fn part(&self, upload: JobId) -> PathBuf {
        self.folder.join(format!("{upload}.part"))
    }

    /// Makes room for another upload. Blocks.
    fn tidy(&self) -> Result<(), RestError> {
        let failed = |error: io::Error| RestError::internal(format!("{}: {error}", self.folder.display()));
        let mut programs = 0;
        for entry in std::fs::read_dir(&self.folder).map_err(failed)?.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let modified = entry.metadata().and_then(|metadata| metadata.modified());
            let age = modified.ok().and_then(|modified| SystemTime::now().duration_since(modified).ok());
            if name.ends_with(".part") && age.is_some_and(|age| age > PART_LIFE) {
                let _ = std::fs::remove_file(entry.path());
            }
            programs += usize::from(is_id(&name));
        }
        match programs < KEPT {
            true => Ok(()),
            false => Err(RestError::conflict(format!("there are {KEPT} programs: delete some first"))),
        }
    }

    /// Writes a piece at its place. A piece that comes twice is written twice. Blocks.
    fn write(&self, upload: JobId, offset: u64, data: &[u8]) -> Result<(), RestError> {
        let path = self.part(upload);
        if offset + data.len() as u64 > MAX_PROGRAM_BYTES {
            return Err(RestError::bad_request(format!("a program has at most {MAX_PROGRAM_BYTES} bytes")));
        }
        let failed = |error: io::Error| RestError::internal(format!("{}: {error}", path.display()));
        let mut options = std::fs::OpenOptions::new();
        let mut file =
            options.write(true).create(true).truncate(false).mode(0o700).open(&path).map_err(failed)?;
        if file.metadata().map_err(failed)?.len() < offset {
            return Err(RestError::conflict(format!("what is before byte {offset} has not come")));
        }
        file.set_len(offset).and_then(|()| file.seek(SeekFrom::Start(offset))).map_err(failed)?;
        file.write_all(data).map_err(failed)
    }

    /// All has come: if it is a program, it gets its name. Blocks.
    fn finish(&self, upload: JobId, name: &str) -> Result<Value, RestError> {
        let part = self.part(upload);
        if let Err(error) = program_file::check(&part) {
            let _ = std::fs::remove_file(&part);
            let text = error.to_string().replace(&part.display().to_string(), name);
            return Err(RestError::bad_request(text));
        }
        let path = self.folder.join(format!("{:.8}_{}", upload.to_string(), file_name(name)));
        std::fs::rename(&part, &path).map_err(|error| RestError::internal(error.to_string()))?;
        tracing::info!(program = %path.display(), "a program was uploaded over the web");
        Ok(json!({ "filename": path.display().to_string(), "status": "success" }))
    }
}

/// A name that can be a file's.
fn file_name(name: &str) -> String {
    let last = name.rsplit(['/', '\\']).next().unwrap_or_default();
    let kept = last.chars().filter(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_')).take(100);
    let name: String = kept.collect();
    let name = name.trim_start_matches('.');
    if name.is_empty() { "program".to_owned() } else { name.to_owned() }
}

/// `1a2b3c4d_NAME`
fn is_id(text: &str) -> bool {
    text.split_once('_').is_some_and(|(digits, name)| {
        digits.len() == 8 && digits.bytes().all(|byte| byte.is_ascii_hexdigit()) && file_name(name) == name
    })
}

/// Where programs are uploaded: a form of Flink's clients, or the page's pieces, which pass YARN's proxy.
pub(super) fn upload_paths() -> axum::Router<Arc<RestState>> {
    let form = post(upload_form)
        .layer(DefaultBodyLimit::max(usize::try_from(MAX_PROGRAM_BYTES).unwrap_or(usize::MAX)));
    axum::Router::new().route("/jars/upload", form.merge(put(upload_piece)))
}

async fn upload_form(State(rest): State<Arc<RestState>>, headers: HeaderMap, mut form: Multipart) -> Reply {
    // Before anything of the body is read.
    rest.access.change(&headers, None)?;
    rest.programs.enabled()?;
    rest.programs.tidy()?;
    let broken = |error: axum::extract::multipart::MultipartError| RestError::bad_request(error.body_text());
    while let Some(mut field) = form.next_field().await.map_err(broken)? {
        let Some(name) = field.file_name().map(str::to_owned) else { continue };
        let upload = JobId::random();
        let mut offset = 0;
        while let Some(data) = field.chunk().await.map_err(broken)? {
            let rest = Arc::clone(&rest);
            let length = data.len() as u64;
            done(tokio::task::spawn_blocking(move || rest.programs.write(upload, offset, &data)).await)?;
            offset += length;
        }
        return done(tokio::task::spawn_blocking(move || rest.programs.finish(upload, &name)).await)
            .map(Json);
    }
    Err(RestError::bad_request("the form has no file: send it as multipart/form-data, as the field jarfile"))
}

fn done<T>(outcome: Result<Result<T, RestError>, tokio::task::JoinError>) -> Result<T, RestError> {
    outcome.unwrap_or_else(|error| Err(RestError::internal(error.to_string())))
}

/// `{"token", "upload": 32 digits of its own, "name", "offset", "data": base64, "last"}`
async fn upload_piece(State(rest): State<Arc<RestState>>, request: Request) -> Reply {
    // Whether it may be sent stands in it, so anybody can make this wait, but not for long.
    let _one_of_few = match tokio::time::timeout(PIECE_PATIENCE, rest.programs.pieces.acquire()).await {
        Ok(permit) => permit.map_err(|_| RestError::internal("the server ends"))?,
        Err(_) => {
            return Err(RestError::unavailable(
                "too many programs are being uploaded: try again in a moment",
            ));
        }
    };
    let (head, body) = request.into_parts();
    let body = tokio::time::timeout(PIECE_DEADLINE, to_bytes(body, PIECE_BYTES)).await.map_err(|_| {
        RestError::timeout(format!("the piece did not come within {} s", PIECE_DEADLINE.as_secs()))
    })?;
    let body = body.map_err(|_| {
        RestError::too_large(format!("the piece broke off, or has more than {PIECE_BYTES} bytes, in base64"))
    })?;
    let piece = rest.change(&head.headers, &body)?;
    rest.programs.enabled()?;
    let wrong = |what: &str| RestError::bad_request(format!("the piece has no {what}"));
    let text = |name: &str| piece.get(name).and_then(Value::as_str).ok_or_else(|| wrong(name));
    let upload: JobId = text("upload")?.parse().map_err(|_| wrong("upload of 32 hexadecimal digits"))?;
    let name = text("name")?.to_owned();
    let offset = piece.get("offset").and_then(Value::as_u64).ok_or_else(|| wrong("offset"))?;
    let data = STANDARD.decode(text("data")?).map_err(|_| wrong("data in base64"))?;
    let last = piece.get("last").and_then(Value::as_bool).unwrap_or(false);
    let writing = Arc::clone(&rest);
    let finished = tokio::task::spawn_blocking(move || {
        let programs = &writing.programs;
        if offset == 0 {
            programs.tidy()?;
        }
        programs.write(upload, offset, &data)?;
        match last {
            true => programs.finish(upload, &name),
            false => Ok(json!({ "received": offset + data.len() as u64 })),
        }
    });
    done(finished.await).map(Json)
}

/// `/jars`
pub(super) async fn list(State(rest): State<Arc<RestState>>) -> Reply {
    let address = rest.programs.rpc.clone();
    let folder = rest.programs.folder.clone();
    let mut files = blocking(move || crate::log_files::in_folder(&folder, is_id)).await?;
    files.sort_by_key(|file| std::cmp::Reverse(file.modified_millis));
    let files = files.iter().map(|file| {
        let name = file.name.split_once('_').map_or("", |(_, name)| name);
        json!({ "id": file.name, "name": name, "uploaded": file.modified_millis, "entry": [{ "name": "main", "description": null }] })
    });
    Ok(Json(json!({ "address": address, "files": files.collect::<Vec<_>>() })))
}

/// DELETE `/jars/ID`, or PUT `/jars/ID/delete`
pub(super) async fn delete(
    State(rest): State<Arc<RestState>>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Reply {
    rest.change(&headers, &body)?;
    let path = rest.programs.find(&id)?;
    blocking(move || std::fs::remove_file(path)).await?;
    Ok(Json(json!({})))
}

/// Remembers the job.
#[derive(Default)]
struct Submitted(Option<JobId>);

impl DriverListener for Submitted {
    fn submitted(&mut self, job: JobId, _: bool) {
        self.0.get_or_insert(job);
    }

    fn update(&mut self, _: &JobOverview, _: Option<&JobOutcome>) {}

    fn interrupted(&mut self, _: JobId) {}
}

/// The program that a request is about, and the checkpoint that it goes on from.
fn wanted(
    rest: &RestState,
    id: &str,
    query: &BTreeMap<String, String>,
    headers: &HeaderMap,
    body: &[u8],
) -> Result<(Program, Option<String>), RestError> {
    let body = rest.change(headers, body)?;
    rest.programs.enabled()?;
    let path = rest.programs.find(id)?;
    let wanted = RunRequest::read(&body, query)?;
    if wanted.names_class {
        tracing::warn!(program = id, "entryClass means nothing here: a program has one main");
    }
    let mut configuration = rest.view.configuration().clone();
    for (key, value) in &wanted.configuration {
        configuration.set(key, value).map_err(|error| RestError::bad_request(error.to_string()))?;
    }
    let mut arguments = vec![id.split_once('_').map_or(id, |(_, name)| name).to_owned()];
    arguments.extend(wanted.arguments);
    Ok((Program { path, arguments, configuration, hash: None }, wanted.restore))
}

fn too_slow() -> RestError {
    let limit = PLAN_DEADLINE.as_secs();
    RestError::bad_request(format!("the program's main did not come to an execute within {limit} s"))
}

/// POST or PUT `/jars/ID/plan`: a change to Flott, since it runs the program's `main`.
pub(super) async fn plan(
    State(rest): State<Arc<RestState>>,
    Path(id): Path<String>,
    Query(query): Query<BTreeMap<String, String>>,
    headers: HeaderMap,
    body: Bytes,
) -> Reply {
    let (program, _) = wanted(&rest, &id, &query, &headers, &body)?;
    let _planning =
        rest.programs.planning.acquire().await.map_err(|_| RestError::internal("the server ends"))?;
    let io = tokio::runtime::Handle::current();
    let planned = tokio::task::spawn_blocking(move || {
        io.block_on(async { tokio::time::timeout(PLAN_DEADLINE, program.plan()).await })
    });
    let planned = planned.await.map_err(|error| RestError::internal(error.to_string()))?;
    let executed =
        planned.map_err(|_| too_slow())?.map_err(|error| RestError::bad_request(error.to_string()))?;
    let graph =
        JobGraph::decode(&executed.graph).map_err(|error| RestError::bad_request(error.to_string()))?;
    Ok(Json(json!({ "plan": jobs::plan(JobId::random(), &graph) })))
}

/// POST or PUT `/jars/ID/run`
pub(super) async fn run(
    State(rest): State<Arc<RestState>>,
    Path(id): Path<String>,
    Query(query): Query<BTreeMap<String, String>>,
    headers: HeaderMap,
    body: Bytes,
) -> Reply {
    let (program, restore) = wanted(&rest, &id, &query, &headers, &body)?;
    let _planning =
        rest.programs.planning.acquire().await.map_err(|_| RestError::internal("the server ends"))?;
    let failed = |error: String| RestError::bad_request(error);
    let cluster = Cluster::connect(&rest.programs.rpc, &rest.programs.secret).await;
    let driver = Driver {
        cluster: cluster.map_err(|error| failed(error.to_string()))?,
        program,
        detached: true,
        restore,
        application: None,
        verdict: None,
    };
    let io = tokio::runtime::Handle::current();
    // What drives a program stays on its thread.
    let driven = tokio::task::spawn_blocking(move || {
        let mut submitted = Submitted::default();
        let until = async { tokio::time::sleep(PLAN_DEADLINE).await };
        let outcome = io.block_on(driver.run(&mut submitted, until));
        (submitted.0, outcome)
    });
    match driven.await.map_err(|error| RestError::internal(error.to_string()))? {
        (Some(job), _) => Ok(Json(json!({ "jobid": job.to_string() }))),
        (None, Err(error)) => Err(failed(error.to_string())),
        (None, Ok(Driven::Interrupted)) => Err(too_slow()),
        (None, Ok(_)) => {
            Err(failed("the program ended without a job; the JobManager's output says more".to_owned()))
        }
    }
}

/// What Flink's clients ask for when they run a program: in the body, or in the address.
#[derive(Debug, Default, PartialEq, Eq)]
struct RunRequest {
    arguments: Vec<String>,
    /// Keys and values.
    configuration: Vec<(String, String)>,
    restore: Option<String>,
    /// A class of a jar, which a program has none of.
    names_class: bool,
}

impl RunRequest {
    /// Reads it. As with Flink, the body comes first, and what it has beside Flink's fields is refused.
    fn read(body: &Value, query: &BTreeMap<String, String>) -> Result<Self, RestError> {
        const FIELDS: [&str; 11] = [
            "token",
            "programArgs",
            "programArgsList",
            "parallelism",
            "savepointPath",
            "allowNonRestoredState",
            "flinkConfiguration",
            "entryClass",
            "claimMode",
            "recoveryClaimMode",
            "restoreMode",
        ];
        let fields = body.as_object().ok_or_else(|| RestError::bad_request("the body is no JSON object"))?;
        let is_given = |name: &str| fields.get(name).is_some_and(|value| !value.is_null());
        if let Some(other) = fields.keys().find(|name| !FIELDS.contains(&name.as_str()) && is_given(name)) {
            return Err(RestError::bad_request(match other.as_str() {
                "jobId" => "jobId cannot be chosen: leave it out, the answer tells it".to_owned(),
                other => format!("there is no '{other}' here: {} are known", FIELDS[1..].join(", ")),
            }));
        }
        let of_body = |name: &str| match fields.get(name)? {
            Value::String(text) => Some(text.clone()),
            Value::Number(number) => Some(number.to_string()),
            Value::Bool(truth) => Some(truth.to_string()),
            _ => None,
        };
        let text = |in_body: &str, in_query: &str| {
            of_body(in_body).or_else(|| query.get(in_query).cloned()).filter(|text| !text.is_empty())
        };
        for name in ["claimMode", "recoveryClaimMode", "restoreMode"] {
            let mode = text(name, name).unwrap_or_default().to_ascii_uppercase();
            if !matches!(mode.as_str(), "" | "CLAIM" | "NO_CLAIM") {
                return Err(RestError::bad_request(format!("{name} is CLAIM or NO_CLAIM, not {mode}")));
            }
        }
        let mut configuration = Vec::new();
        if let Some(entries) = fields.get("flinkConfiguration").and_then(Value::as_object) {
            for (key, value) in entries {
                let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                configuration.push((key.clone(), value));
            }
        }
        let mut set = |key: &str, value: Option<String>| {
            configuration.extend(value.map(|value| (key.to_owned(), value)))
        };
        set(config::PARALLELISM.key, text("parallelism", "parallelism"));
        set(config::ALLOW_NON_RESTORED_STATE.key, text("allowNonRestoredState", "allowNonRestoredState"));
        let arguments =
            match (fields.get("programArgsList").and_then(Value::as_array), query.get("programArg")) {
                (Some(list), _) => list.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
                (None, Some(list)) if !is_given("programArgs") => {
                    list.split(',').map(str::to_owned).collect()
                }
                _ => words(&text("programArgs", "program-args").unwrap_or_default()),
            };
        Ok(Self {
            arguments,
            configuration,
            restore: text("savepointPath", "savepointPath"),
            names_class: text("entryClass", "entry-class").is_some(),
        })
    }
}

/// A command line's words: parted by blanks, held together by quotes.
fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    for c in line.chars() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (None, '"' | '\'') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None, c) if c.is_whitespace() => words.extend(word.take()),
            (_, c) => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_in_their_folder() {
        for (name, kept) in [
            ("a/../../etc/passwd", "passwd"),
            ("..", "program"),
            (".hidden", "hidden"),
            ("c:\\x\\wordcount-1.0", "wordcount-1.0"),
            ("über cool", "bercool"),
            ("", "program"),
        ] {
            assert_eq!(file_name(name), kept);
            assert!(is_id(&format!("0123abcd_{kept}")), "{kept}");
        }
        for none in
            ["", "x", "0123abcd_", "0123abcd_../x", "0123abcd_.x", "0123abcg_x", "12_x", "../0123abcd_x"]
        {
            assert!(!is_id(none), "{none}");
        }
    }

    #[test]
    fn pieces_come_in_order_and_may_come_twice() {
        let folder = tempfile::tempdir().unwrap();
        let secret = Secret::from_bytes(&[1; 32]).unwrap();
        let programs =
            Programs::new(&Configuration::new(), folder.path(), "localhost:1".to_owned(), secret).unwrap();
        let upload = JobId::from_bytes([2; 16]);
        programs.write(upload, 0, b"abc").unwrap();
        assert_eq!(programs.write(upload, 4, b"x").unwrap_err().status, 409);
        programs.write(upload, 3, b"def").unwrap();
        programs.write(upload, 3, b"DEF").unwrap();
        assert_eq!(std::fs::read(programs.part(upload)).unwrap(), b"abcDEF");
        let refused = programs.finish(upload, "thing").unwrap_err();
        assert!(refused.status == 400 && refused.message.starts_with("thing is no program"), "{refused:?}");
        assert!(!programs.part(upload).exists());
        assert!(programs.write(upload, MAX_PROGRAM_BYTES, b"x").is_err());
    }

    #[test]
    fn words_are_parted_as_in_a_shell() {
        assert_eq!(words("--in 'a b'  --out=\"c d\"e ''"), ["--in", "a b", "--out=c de", ""]);
        assert_eq!(words("  "), [""; 0]);
    }
    #[test]
    fn programs_are_run_with_what_flinks_clients_send() {
        let read = |body: Value, query: &[(&str, &str)]| {
            let query = query.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
            RunRequest::read(&body, &query)
        };
        let pairs = |pairs: &[(&str, &str)]| -> Vec<(String, String)> {
            pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
        };
        let of_query = read(
            json!({}),
            &[
                ("allowNonRestoredState", "true"),
                ("parallelism", "3"),
                ("savepointPath", "/chk-7"),
                ("program-args", "--in 'a b'"),
                ("entry-class", "org.example.Main"),
            ],
        );
        let expected = RunRequest {
            arguments: vec!["--in".to_owned(), "a b".to_owned()],
            configuration: pairs(&[
                (config::PARALLELISM.key, "3"),
                (config::ALLOW_NON_RESTORED_STATE.key, "true"),
            ]),
            restore: Some("/chk-7".to_owned()),
            names_class: true,
        };
        assert_eq!(of_query.unwrap(), expected);
        let of_both = read(
            json!({
                "programArgsList": ["x y"], "parallelism": 2, "claimMode": "NO_CLAIM", "jobId": null, "token": "t",
                "flinkConfiguration": { "env.log.level": "debug" },
            }),
            &[("parallelism", "3"), ("programArg", "a,b")],
        );
        let expected = RunRequest {
            arguments: vec!["x y".to_owned()],
            configuration: pairs(&[("env.log.level", "debug"), (config::PARALLELISM.key, "2")]),
            ..RunRequest::default()
        };
        assert_eq!(of_both.unwrap(), expected);
        assert_eq!(read(json!({}), &[("programArg", "a,b")]).unwrap().arguments, ["a", "b"]);
        for (body, reason) in [
            (json!({ "jobId": "0123" }), "cannot be chosen"),
            (json!({ "paralelism": 2 }), "no 'paralelism'"),
            (json!({ "restoreMode": "LEGACY" }), "not LEGACY"),
            (json!([]), "no JSON object"),
        ] {
            let refused = read(body, &[]).unwrap_err();
            assert!(refused.status == 400 && refused.message.contains(reason), "{refused:?}");
        }
    }
}
