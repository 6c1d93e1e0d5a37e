//! The web page: one file that needs nothing else, from nowhere.

use std::sync::LazyLock;

use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{Html, IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};

const FRAME: &str = include_str!("page/page.html");
const STYLE: &str = include_str!("page/page.css");
const SCRIPT: &str = include_str!("page/page.js");

struct Page {
    html: String,
    policy: String,
}

/// One page, with its style and its script inside: whatever prefix a proxy adds, there is nothing else to find.
static PAGE: LazyLock<Page> = LazyLock::new(|| {
    let html = FRAME.replace("/*style*/", STYLE).replace("/*script*/", SCRIPT);
    let hash = |text: &str| STANDARD.encode(Sha256::digest(text.as_bytes()));
    let policy = format!(
        "default-src 'none'; script-src 'sha256-{}'; style-src 'sha256-{}'; connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        hash(SCRIPT),
        hash(STYLE)
    );
    Page { html, policy }
});

/// `/`
pub(super) async fn page() -> Response {
    let mut headers = HeaderMap::new();
    if let Ok(policy) = HeaderValue::from_str(&PAGE.policy) {
        headers.insert(header::CONTENT_SECURITY_POLICY, policy);
    }
    (headers, Html(PAGE.html.as_str())).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_is_whole_and_needs_nothing_else() {
        // An arrow head of its own is no address.
        let html = &PAGE.html.replace("url(#tip)", "");
        assert!(!html.contains("/*style*/") && !html.contains("/*script*/"));
        for elsewhere in
            ["http://", "https://", "src=", "href=\"/", "@import", "url(", "style=\"", "onclick="]
        {
            let allowed = html.matches("http://www.w3.org/2000/svg").count();
            let found = html.matches(elsewhere).count();
            let expected = if elsewhere == "http://" { allowed } else { 0 };
            assert_eq!(found, expected, "{elsewhere}");
        }
        // What stands between the tags is what the policy names.
        let between = |open: &str, close: &str| {
            html.split_once(open).and_then(|(_, rest)| rest.split_once(close)).map(|(inside, _)| inside)
        };
        assert_eq!(between("<style>", "</style>"), Some(STYLE));
        assert_eq!(between("<script>", "</script>"), Some(SCRIPT.replace("url(#tip)", "").as_str()));
    }
}
