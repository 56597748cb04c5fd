//! The dashboard: a page for people, made of a few files in this binary. It asks the same API as everybody else.
//!
//! It loads nothing from elsewhere, and its policy (W3C CSP 3) lets it: no inline script, no markup from data, no frame around it.

use axum::Router;
use axum::http::HeaderName;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use axum::routing::get;

/// Its files, which anybody may read: they tell nothing of the gateway.
pub(super) fn routes<S: Clone + Send + Sync + 'static>() -> Router<S> {
    FILES.into_iter().fold(Router::new(), |router, (path, media_type, text)| {
        router.route(path, get(move || async move { (HEADERS, [(CONTENT_TYPE, media_type)], text) }))
    })
}

/// Whether a path is one of its files.
pub(super) fn has(path: &str) -> bool {
    FILES.iter().any(|(known, ..)| *known == path)
}

type File = (&'static str, &'static str, &'static str);

const FILES: [File; 9] = [
    ("/", "text/html; charset=utf-8", include_str!("index.html")),
    ("/style.css", "text/css", include_str!("style.css")),
    ("/icon.svg", "image/svg+xml", include_str!("icon.svg")),
    ("/app.js", SCRIPT, include_str!("app.js")),
    ("/actions.js", SCRIPT, include_str!("actions.js")),
    ("/client.js", SCRIPT, include_str!("client.js")),
    ("/dom.js", SCRIPT, include_str!("dom.js")),
    ("/metrics.js", SCRIPT, include_str!("metrics.js")),
    ("/views.js", SCRIPT, include_str!("views.js")),
];
const SCRIPT: &str = "text/javascript; charset=utf-8";

const HEADERS: [(HeaderName, &str); 5] = [
    (
        CONTENT_SECURITY_POLICY,
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; \
         form-action 'none'; frame-ancestors 'none'",
    ),
    (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (X_FRAME_OPTIONS, "DENY"),
    (REFERRER_POLICY, "no-referrer"),
    // Another version of the gateway has another page.
    (CACHE_CONTROL, "no-cache"),
];
