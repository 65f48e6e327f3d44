//! The web page at `/` and Swagger UI at `/docs`: the files of `api/ui/dist`, which are part of the program.

use axum::Router;
use axum::extract::Path;
use axum::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, IF_NONE_MATCH};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use rust_embed::RustEmbed;

use crate::app::App;
use crate::problem::{Code, Problem};

/// The page's files, by their path in the folder. `make ui` makes them.
#[derive(RustEmbed)]
#[folder = "ui/dist/"]
struct Files;

/// Scripts and styles come from here alone; pictures and models also from memory.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; \
    connect-src 'self' blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Everyone may see these: what needs a key is what the page asks for.
pub(crate) fn routes() -> Router<App> {
    let docs = || get(async |headers: HeaderMap| file("docs/index.html", &headers));
    Router::new()
        .route("/", get(async |headers: HeaderMap| file("index.html", &headers)))
        .route("/docs", docs())
        .route("/docs/", docs())
        .route("/icon.svg", get(async |headers: HeaderMap| file("icon.svg", &headers)))
        .route("/licences.txt", get(async |headers: HeaderMap| file("licences.txt", &headers)))
        .route("/assets/{name}", get(asset))
}

async fn asset(Path(name): Path<String>, headers: HeaderMap) -> Response {
    file(&format!("assets/{name}"), &headers)
}

/// One file by its exact path in the folder; what is not among them is not there, whatever the path looks like.
fn file(path: &str, request: &HeaderMap) -> Response {
    let Some(found) = Files::get(path) else {
        return Problem::new(Code::NotFound, "The web page has no such file. Load the page again.")
            .into_response();
    };
    let tag = format!("\"{}\"", hex::encode(found.metadata.sha256_hash()));
    let headers = [
        (CACHE_CONTROL, caching(path).to_owned()),
        (CONTENT_SECURITY_POLICY, POLICY.to_owned()),
        (ETAG, tag.clone()),
    ];
    let known = request.get(IF_NONE_MATCH).and_then(|known| known.to_str().ok()).unwrap_or_default();
    // The tag of a compressed answer came as a weak one.
    if known.split(',').any(|known| known.trim().trim_start_matches("W/") == tag) {
        return (StatusCode::NOT_MODIFIED, headers).into_response();
    }
    (headers, [(CONTENT_TYPE, media_type(path))], found.data).into_response()
}

/// The names of assets hold a digest of what is in them; the other files name those of this release.
fn caching(path: &str) -> &'static str {
    if path.starts_with("assets/") { "public, max-age=31536000, immutable" } else { "no-cache" }
}

fn media_type(path: &str) -> &'static str {
    match path.rsplit_once('.').map(|(_, extension)| extension) {
        Some("html") => "text/html; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("svg") => "image/svg+xml",
        Some("txt") => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}
