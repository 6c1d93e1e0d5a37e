//! What a JobManager answers that does not lead: where the leader's page is, as Flink's do.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::error::RestError;
use super::routes::RestState;
use super::view::Elsewhere;

/// Sends to the leader what is for the leader, which is everything.
pub(super) async fn redirect(State(rest): State<Arc<RestState>>, request: Request, next: Next) -> Response {
    match rest.view.elsewhere() {
        None => next.run(request).await,
        Some(elsewhere) => answer(&elsewhere, &rest.own, request.uri()),
    }
}

/// The same path at the leader; a browser keeps the token behind '#', and the method and what is sent stay.
fn answer(elsewhere: &Elsewhere, own: &str, uri: &Uri) -> Response {
    // What is known may be this server, which leads no longer, or not yet.
    let leader = elsewhere.web.as_deref().filter(|leader| *leader != own);
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let location = leader.and_then(|leader| HeaderValue::try_from(format!("http://{leader}{path}")).ok());
    let (Some(leader), Some(location)) = (leader, location) else {
        return RestError::unavailable(
            "this JobManager is not the leader, and no other is known to lead: try again in a moment",
        )
        .into_response();
    };
    let mut error =
        RestError::unavailable(format!("this JobManager is not the leader; that is at http://{leader}"));
    error.status = StatusCode::TEMPORARY_REDIRECT;
    let mut response = error.into_response();
    response.headers_mut().insert(header::LOCATION, location);
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(web: Option<&str>) -> (StatusCode, Option<String>) {
        let elsewhere = Elsewhere { web: web.map(str::to_owned) };
        let uri = Uri::from_static("/v1/jobs/7?mode=cancel");
        let response = answer(&elsewhere, "own:8081", &uri);
        let location = response.headers().get(header::LOCATION);
        (response.status(), location.map(|location| location.to_str().unwrap().to_owned()))
    }

    #[test]
    fn who_stands_by_says_who_leads() {
        let location = "http://leader:8082/v1/jobs/7?mode=cancel".to_owned();
        assert_eq!(answered(Some("leader:8082")), (StatusCode::TEMPORARY_REDIRECT, Some(location)));
        assert_eq!(answered(Some("own:8081")), (StatusCode::SERVICE_UNAVAILABLE, None), "no circle");
        assert_eq!(answered(None), (StatusCode::SERVICE_UNAVAILABLE, None));
        assert_eq!(answered(Some("no\nhost")), (StatusCode::SERVICE_UNAVAILABLE, None));
    }
}
