//! The web page and Swagger UI, as the service hands them out.

use std::collections::BTreeSet;

use reqwest::header::{
    CACHE_CONTROL, CONTENT_LENGTH, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, IF_NONE_MATCH,
};
use reqwest::{Client, Response, StatusCode};

use crate::service::{Service, problem};

const PAGES: [&str; 2] = ["/", "/docs"];

/// What everyone gets: these requests carry no key.
async fn get(service: &Service, path: &str) -> Response {
    Client::new().get(format!("{}{path}", service.url)).send().await.unwrap()
}

async fn text(service: &Service, path: &str) -> String {
    get(service, path).await.error_for_status().unwrap().text().await.unwrap()
}

/// The addresses that a page loads or leads to.
fn named(html: &str) -> BTreeSet<String> {
    ["src=\"", "href=\""]
        .into_iter()
        .flat_map(|start| html.split(start).skip(1))
        .filter_map(|rest| rest.split('"').next())
        .map(str::to_owned)
        .collect()
}

fn header(response: &Response, name: reqwest::header::HeaderName) -> String {
    response.headers()[name].to_str().unwrap().to_owned()
}

#[tokio::test]
async fn the_page_and_all_that_it_names_are_served() {
    let service = Service::start("page", &[]).await;
    for page in PAGES {
        let answer = get(&service, page).await;
        assert_eq!(answer.status(), StatusCode::OK, "{page}");
        assert_eq!(header(&answer, CONTENT_TYPE), "text/html; charset=utf-8");
        assert_eq!(header(&answer, CACHE_CONTROL), "no-cache", "a new release's page must be seen");
        let tag = header(&answer, ETAG);
        let names = named(&answer.text().await.unwrap());
        assert!(names.iter().any(|name| name.ends_with(".js")), "{names:?}");

        let known = Client::new().get(format!("{}{page}", service.url)).header(IF_NONE_MATCH, tag);
        assert_eq!(known.send().await.unwrap().status(), StatusCode::NOT_MODIFIED);
        for name in names {
            let file = get(&service, &name).await;
            assert_eq!(file.status(), StatusCode::OK, "{name}");
            let expected = match name.rsplit_once('.').map_or("", |(_, extension)| extension) {
                "js" => "text/javascript; charset=utf-8",
                "css" => "text/css; charset=utf-8",
                "svg" => "image/svg+xml",
                "txt" => "text/plain; charset=utf-8",
                _ => "text/html; charset=utf-8",
            };
            assert_eq!(header(&file, CONTENT_TYPE), expected, "{name}");
            assert_eq!(header(&file, CACHE_CONTROL).contains("immutable"), name.starts_with("/assets/"));
            let head = Client::new().head(format!("{}{name}", service.url)).send().await.unwrap();
            assert_eq!(head.headers()[ETAG], file.headers()[ETAG], "{name}");
            let length = header(&head, CONTENT_LENGTH);
            assert_eq!(length, file.bytes().await.unwrap().len().to_string(), "{name}");
        }
    }
    service.stop().await;
}

#[tokio::test]
async fn the_page_needs_nothing_from_elsewhere() {
    let service = Service::start("page-alone", &[]).await;
    for page in PAGES {
        let policy = header(&get(&service, page).await, CONTENT_SECURITY_POLICY);
        assert!(policy.starts_with("default-src 'none'"), "{policy}");
        for source in policy.split([';', ' ']).filter(|word| word.contains([':', '.', '*', '\''])) {
            assert!(["'none'", "'self'", "blob:", "data:"].contains(&source), "{source} in {policy}");
        }
        for name in named(&text(&service, page).await) {
            assert!(name.starts_with('/') && !name.starts_with("//"), "{page} names {name}");
            if name.ends_with(".css") {
                let style = text(&service, &name).await;
                assert!(!style.contains("url(http") && !style.contains("@import"), "{name}");
            }
        }
    }
    service.stop().await;
}

#[tokio::test]
async fn no_path_leads_out_of_the_page() {
    let service = Service::start("page-paths", &[]).await;
    for path in [
        "/assets/none.js",
        "/assets/..%2findex.html",
        "/assets/..%2f..%2fpackage.json",
        "/assets/%2fetc%2fpasswd",
    ] {
        problem(service.get(path), 404, "not_found").await;
    }
    service.stop().await;
}
