//! Paths, and who answers them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path, Query, Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get, patch, post, put};
use axum::{Json, Router};
use flott_core::config;
use flott_core::ids::{CheckpointId, JobId, TaskManagerId};
use flott_plan::JobVertex;
use flott_runtime::slot::wall_clock_millis;
use serde_json::{Value, json};

use super::access::Access;
use super::error::RestError;
use super::logs::LogsInMemory;
use super::metrics::{self, Wanted};
use super::programs::Programs;
use super::view::{ClusterView, JobView, TaskManagerView};
use super::{checkpoints, failures, flott, jobs, logs, overview, page, programs, prometheus, settings};
use super::{standby, task_managers, vertices};

/// How long an answer may take. Programs that plan slowly are given up before, with words.
const DEADLINE: Duration = Duration::from_secs(90);

/// How long a program may be on its way.
const UPLOAD_DEADLINE: Duration = Duration::from_secs(10 * 60);

/// The largest body of a request that is no upload, in bytes.
pub(super) const BODY_BYTES: usize = 64 << 10;

/// What answers are made of.
pub(super) struct RestState {
    pub(super) access: Access,
    pub(super) view: Arc<dyn ClusterView>,
    pub(super) programs: Programs,
    pub(super) logs: LogsInMemory,
    /// Where others find this server: `HOST:PORT`.
    pub(super) own: String,
}

/// An answer.
pub(super) type Reply = Result<Json<Value>, RestError>;

type Rest = State<Arc<RestState>>;
type Parameters = Query<BTreeMap<String, String>>;

impl RestState {
    fn job(&self, id: &str) -> Result<JobView, RestError> {
        let id: JobId = id.parse().map_err(|error| RestError::bad_request(format!("{error}")))?;
        self.view.job(id).ok_or_else(|| RestError::not_found(format!("there is no job {id} in this cluster")))
    }

    pub(super) fn task_manager(&self, id: &str) -> Result<TaskManagerView, RestError> {
        let id: TaskManagerId = id.parse().map_err(|error| RestError::bad_request(format!("{error}")))?;
        let found = self.view.task_managers().into_iter().find(|member| member.id == id);
        found.ok_or_else(|| RestError::not_found(format!("there is no TaskManager {id} in this cluster")))
    }

    /// The content of a change's body, if who sends it may change something.
    pub(super) fn change(&self, headers: &HeaderMap, body: &[u8]) -> Result<Value, RestError> {
        let content: Value = match body.trim_ascii().is_empty() {
            true => json!({}),
            false => serde_json::from_slice(body)
                .map_err(|error| RestError::bad_request(format!("the body is no JSON: {error}")))?,
        };
        self.access.change(headers, content.get("token").and_then(Value::as_str))?;
        Ok(content)
    }

    async fn cancel(&self, id: &str) -> Result<Response, RestError> {
        let job = self.job(id)?;
        if !self.view.configuration().get(&config::WEB_CANCEL) {
            return Err(RestError::forbidden(
                "jobs cannot be cancelled over the web: web.cancel.enable is false",
            ));
        }
        if job.status.is_globally_terminal() {
            return Err(RestError::conflict(format!("job {} is over already: {}", job.id, job.status)));
        }
        self.view.cancel(job.id).await.map_err(RestError::unavailable)?;
        tracing::info!(job = %job.id, "a job is cancelled over the web");
        Ok((StatusCode::ACCEPTED, Json(json!({}))).into_response())
    }
}

fn vertex<'a>(job: &'a JobView, id: &str) -> Result<&'a JobVertex, RestError> {
    job.vertex(id).ok_or_else(|| RestError::not_found(format!("job {} has no vertex {id}", job.id)))
}

fn of_cluster(answer: fn(&dyn ClusterView, i64) -> Value) -> MethodRouter<Arc<RestState>> {
    get(move |State(rest): Rest| async move { Json(answer(rest.view.as_ref(), wall_clock_millis())) })
}

fn of_job(answer: fn(&JobView, i64) -> Value) -> MethodRouter<Arc<RestState>> {
    get(move |State(rest): Rest, Path(id): Path<String>| async move {
        Reply::Ok(Json(answer(&rest.job(&id)?, wall_clock_millis())))
    })
}

fn of_vertex(answer: fn(&JobView, &JobVertex, i64) -> Value) -> MethodRouter<Arc<RestState>> {
    get(move |State(rest): Rest, Path((id, vid)): Path<(String, String)>| async move {
        let job = rest.job(&id)?;
        Reply::Ok(Json(answer(&job, vertex(&job, &vid)?, wall_clock_millis())))
    })
}

/// All paths.
pub(super) fn router(state: Arc<RestState>) -> Router {
    let reading = Router::new()
        .merge(cluster_paths())
        .merge(job_paths())
        .merge(vertex_paths())
        .merge(checkpoint_paths())
        .merge(machine_paths())
        .layer(middleware::from_fn_with_state(Arc::clone(&state), check_reader));
    let small = reading
        .merge(change_paths())
        .layer(DefaultBodyLimit::max(BODY_BYTES))
        .layer(middleware::from_fn(|request: Request, next: Next| deadline(DEADLINE, request, next)));
    let large = programs::upload_paths()
        .layer(middleware::from_fn(|request: Request, next: Next| deadline(UPLOAD_DEADLINE, request, next)));
    let all = small.merge(large);
    let router = Router::new()
        .route("/", get(page::page))
        .route("/index.html", get(page::page))
        .nest("/v1", all.clone())
        .merge(all)
        .fallback(
            |uri: Uri| async move { RestError::not_found(format!("there is nothing at {}", uri.path())) },
        )
        .method_not_allowed_fallback(|method: Method| async move {
            let mut error = RestError::bad_request(format!("{method} is not for this path"));
            error.status = StatusCode::METHOD_NOT_ALLOWED;
            error
        })
        .layer(middleware::from_fn_with_state(Arc::clone(&state), standby::redirect))
        .layer(middleware::map_response(with_headers))
        .with_state(state);
    // Around all of it, since a path is put right before it is looked up.
    Router::new().fallback_service(router).layer(middleware::map_request(put_right))
}

/// Tools write paths carelessly, and Flink takes them so.
async fn put_right(mut request: Request) -> Request {
    if let Some(uri) = without_surplus_slashes(request.uri()) {
        *request.uri_mut() = uri;
    }
    request
}

/// The address with one slash where there are several, and none at the end; none: it is like that.
fn without_surplus_slashes(uri: &Uri) -> Option<Uri> {
    let path = uri.path();
    if path == "/" || !(path.contains("//") || path.ends_with('/')) {
        return None;
    }
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    let query = uri.query().map(|query| format!("?{query}")).unwrap_or_default();
    format!("/{}{query}", parts.join("/")).parse().ok()
}

fn cluster_paths() -> Router<Arc<RestState>> {
    Router::new()
        .route("/config", of_cluster(|view, _| overview::dashboard(view.configuration())))
        .route("/overview", of_cluster(|view, _| overview::overview(view)))
        .route("/jobs", of_cluster(|view, _| overview::jobs(&view.jobs())))
        .route("/jobs/overview", of_cluster(|view, now| overview::jobs_overview(&view.jobs(), now)))
        .route("/jobs/metrics", get(jobs_metrics))
        .route("/jobmanager/config", of_cluster(|view, _| settings::entries(view.configuration())))
        .route("/jobmanager/environment", of_cluster(|_, _| settings::environment()))
        .route("/flott/overview", of_cluster(flott::overview))
        .route("/jars", get(programs::list))
        .route("/metrics", get(scrape))
}

fn job_paths() -> Router<Arc<RestState>> {
    Router::new()
        .route("/jobs/{id}/plan", of_job(|job, _| json!({ "plan": jobs::plan(job.id, &job.graph) })))
        .route("/jobs/{id}/status", of_job(|job, _| jobs::status(job)))
        .route("/jobs/{id}/execution-result", of_job(jobs::execution_result))
        .route("/jobs/{id}/config", of_job(|job, _| jobs::configuration(job)))
        .route("/jobs/{id}/accumulators", of_job(|_, _| jobs::accumulators()))
        .route("/jobs/{id}/exceptions", get(exceptions))
        .route("/jobs/{id}/metrics", get(job_metrics))
        .route("/jobs/{id}/jobmanager/config", of_job(|job, _| settings::entries(&job.configuration)))
        .route("/jobs/{id}/jobmanager/environment", of_job(|_, _| settings::environment()))
        .route(
            "/jobs/{id}/resource-requirements",
            of_job(|job, _| jobs::resource_requirements(job)).put(no_rescaling),
        )
        .route("/flott/jobs/{id}", of_job(flott::job))
        // With the change at the same path, which is checked where it is made.
        .route("/jobs/{id}", of_job(jobs::details).merge(patch(patch_job)))
}

fn vertex_paths() -> Router<Arc<RestState>> {
    Router::new()
        .route("/jobs/{id}/vertices/{vid}", of_vertex(vertices::details))
        .route("/jobs/{id}/vertices/{vid}/subtasks", of_vertex(vertices::details))
        .route("/jobs/{id}/vertices/{vid}/subtasks/{n}", get(subtask))
        .route("/jobs/{id}/vertices/{vid}/subtasks/{n}/attempts/{a}", get(attempt))
        .route("/jobs/{id}/vertices/{vid}/subtasks/metrics", get(subtasks_metrics))
        .route("/jobs/{id}/vertices/{vid}/subtasks/{n}/metrics", get(subtask_metrics))
        .route("/jobs/{id}/vertices/{vid}/subtasktimes", of_vertex(vertices::times))
        .route("/jobs/{id}/vertices/{vid}/taskmanagers", of_vertex(vertices::task_managers))
        .route(
            "/jobs/{id}/vertices/{vid}/watermarks",
            of_vertex(|job, vertex, _| vertices::watermarks(job, vertex)),
        )
        .route("/jobs/{id}/vertices/{vid}/backpressure", of_vertex(vertices::back_pressure))
        .route("/jobs/{id}/vertices/{vid}/metrics", get(vertex_metrics))
}

fn checkpoint_paths() -> Router<Arc<RestState>> {
    Router::new()
        .route("/jobs/{id}/checkpoints", of_job(|job, _| checkpoints::overview(job)))
        .route("/jobs/{id}/checkpoints/config", of_job(|job, _| checkpoints::configuration(job)))
        .route("/jobs/{id}/checkpoints/details/{cid}", get(checkpoint))
        .route("/jobs/{id}/checkpoints/details/{cid}/subtasks/{vid}", get(checkpoint_of_vertex))
}

fn machine_paths() -> Router<Arc<RestState>> {
    Router::new()
        .route("/jobmanager/metrics", get(job_manager_metrics))
        .route("/jobmanager/logs", get(logs::list))
        .route("/jobmanager/logs/{name}", get(logs::named))
        .route("/jobmanager/log", get(logs::main))
        .route("/jobmanager/stdout", get(logs::stdout))
        .route("/taskmanagers", of_cluster(|view, _| task_managers::list(&view.task_managers())))
        .route("/taskmanagers/metrics", get(task_managers_metrics))
        .route("/taskmanagers/{id}", get(task_manager))
        .route("/taskmanagers/{id}/metrics", get(task_manager_metrics))
        .route("/taskmanagers/{id}/logs", get(logs::of_task_manager))
        .route("/taskmanagers/{id}/logs/{name}", get(logs::named_of_task_manager))
        .route("/taskmanagers/{id}/log", get(logs::main_of_task_manager))
        .route("/taskmanagers/{id}/stdout", get(logs::stdout_of_task_manager))
}

fn change_paths() -> Router<Arc<RestState>> {
    Router::new()
        .route("/jobs/{id}/cancel", put(cancel_job).post(cancel_job))
        .route("/jobs/{id}/yarn-cancel", get(yarn_cancel))
        .route("/jobs/{id}/stop", post(no_savepoints).put(no_savepoints))
        .route("/jobs/{id}/savepoints", post(no_savepoints).put(no_savepoints))
        .route("/jobs/{id}/yarn-stop", get(no_savepoints))
        .route("/jars/{id}/run", post(programs::run).put(programs::run))
        .route("/jars/{id}/plan", post(programs::plan).put(programs::plan))
        .route("/jars/{id}/delete", put(programs::delete))
        .route("/jars/{id}", axum::routing::delete(programs::delete))
}

async fn check_reader(State(rest): Rest, request: Request, next: Next) -> Result<Response, RestError> {
    if matches!(*request.method(), Method::GET | Method::HEAD) {
        rest.access.read(request.headers())?;
    }
    Ok(next.run(request).await)
}

async fn deadline(limit: Duration, request: Request, next: Next) -> Result<Response, RestError> {
    let answer = tokio::time::timeout(limit, next.run(request)).await;
    answer.map_err(|_| RestError::timeout(format!("there was no answer within {} s", limit.as_secs())))
}

async fn with_headers(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.entry(header::CONTENT_SECURITY_POLICY).or_insert(HeaderValue::from_static("default-src 'none'"));
    response
}

async fn scrape(State(rest): Rest) -> Response {
    let text = prometheus::scrape(rest.view.as_ref(), wall_clock_millis());
    ([(header::CONTENT_TYPE, prometheus::CONTENT_TYPE)], text).into_response()
}

async fn exceptions(State(rest): Rest, Path(id): Path<String>, Query(query): Parameters) -> Reply {
    let most = query.get("maxExceptions").and_then(|text| text.parse().ok());
    Ok(Json(failures::exceptions(&rest.job(&id)?, most.unwrap_or(failures::DEFAULT_COUNT))))
}

async fn checkpoint(State(rest): Rest, Path((id, cid)): Path<(String, u64)>) -> Reply {
    let found = checkpoints::details(&rest.job(&id)?, CheckpointId(cid));
    found.map(Json).ok_or_else(|| RestError::not_found(format!("checkpoint {cid} is not remembered")))
}

async fn checkpoint_of_vertex(State(rest): Rest, Path((id, cid, vid)): Path<(String, u64, String)>) -> Reply {
    let job = rest.job(&id)?;
    let found = checkpoints::of_vertex(&job, CheckpointId(cid), vertex(&job, &vid)?);
    found.map(Json).ok_or_else(|| RestError::not_found(format!("checkpoint {cid} is not remembered")))
}

async fn subtask(State(rest): Rest, Path((id, vid, n)): Path<(String, String, u32)>) -> Reply {
    let job = rest.job(&id)?;
    let vertex = vertex(&job, &vid)?;
    let found = job.subtasks(vertex.id).find(|(index, _)| *index == n);
    let found =
        found.map(|(index, report)| vertices::subtask(&job, vertex, index, report, wall_clock_millis()));
    found.map(Json).ok_or_else(|| RestError::not_found(format!("vertex {vid} has no subtask {n}")))
}

/// Of the attempts of a subtask, only the last is remembered.
async fn attempt(State(rest): Rest, Path((id, vid, n, a)): Path<(String, String, u32, u32)>) -> Reply {
    let job = rest.job(&id)?;
    let vertex = vertex(&job, &vid)?;
    let found = job.subtasks(vertex.id).find(|(index, report)| (*index, report.attempt.0) == (n, a));
    let found =
        found.map(|(index, report)| vertices::subtask(&job, vertex, index, report, wall_clock_millis()));
    found.map(Json).ok_or_else(|| {
        RestError::not_found(format!(
            "attempt {a} of subtask {n} of vertex {vid} is not the last one, and no other is remembered"
        ))
    })
}

async fn subtask_metrics(
    State(rest): Rest,
    Path((id, vid, n)): Path<(String, String, u32)>,
    Query(query): Parameters,
) -> Reply {
    let job = rest.job(&id)?;
    let vertex = vertex(&job, &vid)?;
    let found = job.subtasks(vertex.id).find(|(index, _)| *index == n);
    let found = found.map(|(_, report)| metrics::of_subtask(&job, vertex, report)).unwrap_or_default();
    Ok(Json(metrics::list(&found, &Wanted::of(&query))))
}

async fn subtasks_metrics(
    State(rest): Rest,
    Path((id, vid)): Path<(String, String)>,
    Query(query): Parameters,
) -> Reply {
    let job = rest.job(&id)?;
    let vertex = vertex(&job, &vid)?;
    let all: Vec<_> =
        job.subtasks(vertex.id).map(|(_, report)| metrics::of_subtask(&job, vertex, report)).collect();
    Ok(Json(metrics::aggregate(&all, &Wanted::of(&query))))
}

async fn vertex_metrics(
    State(rest): Rest,
    Path((id, vid)): Path<(String, String)>,
    Query(query): Parameters,
) -> Reply {
    let job = rest.job(&id)?;
    Ok(Json(metrics::list(&metrics::of_vertex(&job, vertex(&job, &vid)?), &Wanted::of(&query))))
}

async fn job_metrics(State(rest): Rest, Path(id): Path<String>, Query(query): Parameters) -> Reply {
    let metrics = metrics::of_job(&rest.job(&id)?, wall_clock_millis());
    Ok(Json(metrics::list(&metrics, &Wanted::of(&query))))
}

/// Whether a list in a query, if there is one, names this.
fn named(query: &BTreeMap<String, String>, list: &str, id: &str) -> bool {
    query.get(list).is_none_or(|ids| ids.split(',').any(|wanted| wanted.trim() == id))
}

async fn jobs_metrics(State(rest): Rest, Query(query): Parameters) -> Reply {
    let jobs = rest.view.jobs().into_iter().filter(|job| named(&query, "jobs", &job.id.to_string()));
    let all: Vec<_> = jobs.map(|job| metrics::of_job(&job, wall_clock_millis())).collect();
    Ok(Json(metrics::aggregate(&all, &Wanted::of(&query))))
}

async fn job_manager_metrics(State(rest): Rest, Query(query): Parameters) -> Reply {
    Ok(Json(metrics::list(&metrics::of_job_manager(rest.view.as_ref()), &Wanted::of(&query))))
}

async fn task_managers_metrics(State(rest): Rest, Query(query): Parameters) -> Reply {
    let members = rest.view.task_managers().into_iter();
    let members = members.filter(|member| named(&query, "taskmanagers", &member.id.to_string()));
    let all: Vec<_> = members.map(|member| metrics::of_task_manager(&member)).collect();
    Ok(Json(metrics::aggregate(&all, &Wanted::of(&query))))
}

async fn task_manager(State(rest): Rest, Path(id): Path<String>) -> Reply {
    Ok(Json(task_managers::details(&rest.task_manager(&id)?)))
}

async fn task_manager_metrics(State(rest): Rest, Path(id): Path<String>, Query(query): Parameters) -> Reply {
    let metrics = metrics::of_task_manager(&rest.task_manager(&id)?);
    Ok(Json(metrics::list(&metrics, &Wanted::of(&query))))
}

async fn patch_job(
    State(rest): Rest,
    Path(id): Path<String>,
    Query(query): Parameters,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, RestError> {
    rest.change(&headers, &body)?;
    match query.get("mode").map(String::as_str) {
        None | Some("cancel") => rest.cancel(&id).await,
        Some(other) => Err(RestError::bad_request(format!("mode is cancel, not {other}"))),
    }
}

async fn cancel_job(
    State(rest): Rest,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, RestError> {
    rest.change(&headers, &body)?;
    rest.cancel(&id).await
}

/// For tools that know nothing else behind YARN's proxy. Whoever reaches the port can cancel with it, so the operator must want it.
async fn yarn_cancel(State(rest): Rest, Path(id): Path<String>) -> Result<Response, RestError> {
    if !rest.view.configuration().get(&config::REST_YARN_CANCEL) {
        return Err(RestError::forbidden(
            "cancelling by GET needs no proof, so it is off: set rest.yarn-cancel.enabled, or send PUT jobs/ID/cancel with {\"token\": …}",
        ));
    }
    rest.cancel(&id).await
}

async fn no_savepoints() -> RestError {
    RestError::not_implemented(
        "Flott has no savepoints yet: cancel the job, with execution.checkpointing.externalized-checkpoint-retention: RETAIN_ON_CANCELLATION, and run it with -s CHECKPOINT",
    )
}

async fn no_rescaling() -> RestError {
    RestError::not_implemented(
        "Flott cannot change the parallelism of a job that runs: cancel it, with execution.checkpointing.externalized-checkpoint-retention: RETAIN_ON_CANCELLATION, and run it with -p PARALLELISM -s CHECKPOINT",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn surplus_slashes_are_left_out() {
        for (sent, path) in [
            ("//taskmanagers/", Some("/taskmanagers")),
            ("/jobs//7/checkpoints?x=a//b", Some("/jobs/7/checkpoints?x=a//b")),
            ("/v1/jobs/", Some("/v1/jobs")),
            ("//", Some("/")),
            ("/", None),
            ("/jobmanager/logs/..%2F%2Fsecret", None),
            ("/jobs?x=/", None),
        ] {
            let put_right = without_surplus_slashes(&sent.parse().unwrap());
            assert_eq!(put_right.map(|uri| uri.to_string()).as_deref(), path, "{sent}");
        }
    }
}
