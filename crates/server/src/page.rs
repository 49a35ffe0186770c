//! The web page: hand-written files, embedded in the binary, served as they are.

use std::fmt::Write as _;

use axum::Router;
use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use rust_embed::Embed;

#[derive(Embed)]
#[folder = "../../web/src"]
struct Files;

/// What the page may do: load its own files and talk to its own server. Whatever text of a user
/// should ever become markup could still not run, load, or send anything.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
                      connect-src 'self'; img-src 'self'; font-src 'none'; base-uri 'none'; \
                      form-action 'none'; frame-ancestors 'none'";

const HEADERS: [(HeaderName, &str); 5] = [
    (header::CONTENT_SECURITY_POLICY, POLICY),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
    (
        HeaderName::from_static("cross-origin-opener-policy"),
        "same-origin",
    ),
    // The tag tells whether a copy is still good: a new version is seen at the next load.
    (header::CACHE_CONTROL, "no-cache"),
];

/// One route for each file, and `/` for the page itself. Other paths stay problems.
pub(crate) fn routes<S: Clone + Send + Sync + 'static>() -> Router<S> {
    Files::iter().fold(Router::new(), |router, name| {
        let path = match &*name {
            "index.html" => "/".to_owned(),
            name => format!("/{name}"),
        };
        router.route(&path, get(async move |headers| file(&name, &headers)))
    })
}

fn file(name: &str, request: &HeaderMap) -> Response {
    let Some(file) = Files::get(name) else {
        // Cannot be: the names come from the same table.
        return StatusCode::NOT_FOUND.into_response();
    };
    let tag = tag(&file.metadata.sha256_hash());
    let known = request
        .get(header::IF_NONE_MATCH)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|tags| tags.split(',').any(|known| names(known, &tag)));
    let tag = [(header::ETAG, tag)];
    if known {
        return (StatusCode::NOT_MODIFIED, HEADERS, tag).into_response();
    }
    let media_type = [(header::CONTENT_TYPE, media_type(name))];
    (HEADERS, tag, media_type, file.data).into_response()
}

/// A proxy that compresses weakens the tag; the content is the same.
fn names(known: &str, tag: &str) -> bool {
    let known = known.trim();
    known == "*" || known.strip_prefix("W/").unwrap_or(known) == tag
}

fn tag(hash: &[u8]) -> String {
    let mut tag = String::from("\"");
    for byte in hash.iter().take(12) {
        // Writing to a string cannot fail.
        let _ = write!(tag, "{byte:02x}");
    }
    tag.push('"');
    tag
}

fn media_type(name: &str) -> &'static str {
    match name.rsplit_once('.').map(|(_, extension)| extension) {
        Some("html") => "text/html; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("svg") => "image/svg+xml",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn get(name: &str, known: &str) -> Response {
        let mut headers = HeaderMap::new();
        if let Ok(value) = known.parse() {
            headers.insert(header::IF_NONE_MATCH, value);
        }
        file(name, &headers)
    }

    #[test]
    fn every_file_has_a_type_a_policy_and_a_tag() {
        assert!(Files::get("index.html").is_some());
        for name in Files::iter() {
            let answer = get(&name, "");
            assert_eq!(answer.status(), StatusCode::OK, "{name}");
            let headers = answer.headers();
            assert_eq!(headers[header::CONTENT_SECURITY_POLICY], POLICY);
            assert_ne!(headers[header::CONTENT_TYPE], "application/octet-stream");
            assert!(headers.contains_key(header::ETAG));
        }
    }

    #[test]
    fn a_copy_that_is_still_good_is_not_sent_again() {
        let tag = get("main.js", "").headers()[header::ETAG].clone();
        let tag = tag.to_str().unwrap_or_default();
        for known in [tag, &format!("W/{tag}"), &format!("\"x\", {tag}"), "*"] {
            assert_eq!(get("main.js", known).status(), StatusCode::NOT_MODIFIED);
        }
        assert_eq!(get("main.js", "\"x\"").status(), StatusCode::OK);
    }

    #[test]
    fn the_page_holds_nothing_that_its_policy_forbids() {
        let page = Files::get("index.html").unwrap_or_else(|| unreachable!("embedded"));
        let text = String::from_utf8_lossy(&page.data);
        for forbidden in [
            "<style",
            " style=",
            " onclick=",
            "javascript:",
            "http://",
            "https://",
        ] {
            assert!(!text.contains(forbidden), "{forbidden}");
        }
        assert_eq!(text.matches("<script").count(), 1);
    }

    /// Without its hint a module is asked for only once the one that imports it has come.
    #[test]
    fn every_module_is_asked_for_at_once() {
        let page = Files::get("index.html").unwrap_or_else(|| unreachable!("embedded"));
        let text = String::from_utf8_lossy(&page.data);
        for name in Files::iter().filter(|name| name.ends_with(".js") && name != "main.js") {
            let hint = format!("<link rel=\"modulepreload\" href=\"{name}\">");
            assert!(text.contains(&hint), "{hint}");
        }
        let modules = Files::iter().filter(|name| name.ends_with(".js")).count();
        assert_eq!(text.matches("modulepreload").count(), modules - 1);
    }
}
