//! What the settings file sets: quotas, rates, web pages of other origins; and what is smaller on the wire.

use reqwest::header::{
    ACCEPT_ENCODING, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_REQUEST_METHOD, CONTENT_ENCODING, ETAG, IF_NONE_MATCH,
    ORIGIN, RETRY_AFTER, STRICT_TRANSPORT_SECURITY, VARY,
};
use reqwest::{Client, Method, RequestBuilder, StatusCode};
use serde_json::Value;
use tokio::time::{Duration, Instant};
use trellis_crds::{InputKind, Phase};

use crate::service::{Service, body, completed, id, photo, problem};

fn submit(service: &Service, key: &str) -> RequestBuilder {
    Client::new().post(format!("{}/api/v1/generate/image-to-3d", service.url)).json(&photo()).bearer_auth(key)
}

#[tokio::test]
async fn a_user_has_as_many_jobs_as_the_quota_allows() {
    let file = "quotas: {default: {queued: 1, per_day: 2}, users: {bob: {queued: 5}}}";
    let service = Service::start_with_file("quotas", &[InputKind::Image], file).await;
    // At once, so that the second comes before any watch knows the first.
    let (first, second) =
        tokio::join!(submit(&service, &service.alice).send(), submit(&service, &service.alice).send());
    let (first, second) = (first.unwrap(), second.unwrap());
    let mut statuses = [first.status(), second.status()];
    statuses.sort();
    assert_eq!(statuses, [StatusCode::ACCEPTED, StatusCode::TOO_MANY_REQUESTS]);
    let (accepted, refused) =
        if first.status() == StatusCode::ACCEPTED { (first, second) } else { (second, first) };
    assert!(refused.headers().contains_key(RETRY_AFTER));
    let refusal: Value = refused.json().await.unwrap();
    assert_eq!(refusal["code"], "quota_exceeded");
    let inputs =
        std::fs::read_dir(service.folder.path().join("inputs").join(service.namespace.name())).unwrap();
    assert_eq!(inputs.count(), 1, "what was refused was stored");

    // When it does not wait any more there is room for another, and then none for the day.
    let accepted = id(&body(accepted, StatusCode::ACCEPTED).await);
    let job = service.jobs().get(&accepted).await.unwrap();
    service.set_status(&accepted, completed(service.folder.path(), &job, b"glTF")).await;
    body(submit(&service, &service.alice).send().await.unwrap(), StatusCode::ACCEPTED).await;
    service.delete(&format!("/api/v1/jobs/{accepted}")).send().await.unwrap();
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let refusal = problem(submit(&service, &service.alice), 429, "quota_exceeded").await;
        // The queue is full, too, until the second has begun.
        let detail = refusal["detail"].as_str().unwrap().to_owned();
        if detail.contains("24 hours") {
            break;
        }
        assert!(Instant::now() < deadline, "{detail}");
        for job in service.jobs().list(&Default::default()).await.unwrap() {
            let name = job.metadata.name.clone().unwrap();
            if job.phase() == Phase::Pending {
                service.set_status(&name, completed(service.folder.path(), &job, b"glTF")).await;
            }
        }
    }
    for _ in 0..2 {
        body(submit(&service, &service.bob).send().await.unwrap(), StatusCode::ACCEPTED).await;
    }
    service.stop().await;
}

#[tokio::test]
async fn requests_are_counted_by_key_and_without_one_by_address() {
    let file = "rate_limits: {key: {per_minute: 1, burst: 2}, address: {per_minute: 1, burst: 3}}\n\
                trusted_proxies: [127.0.0.1/32]";
    let service = Service::start_with_file("rates", &[], file).await;
    let first = service.get("/api/v1/jobs").send().await.unwrap();
    assert_eq!(first.status(), StatusCode::OK);
    assert_eq!(first.headers()["ratelimit-policy"], "\"key\";q=1;w=60");
    assert_eq!(first.headers()["ratelimit"], "\"key\";r=1;t=60");
    assert_eq!(service.get("/api/v1/jobs").send().await.unwrap().status(), StatusCode::OK);
    let refused = service.get("/api/v1/jobs").send().await.unwrap();
    assert!(refused.headers()[RETRY_AFTER].to_str().unwrap().parse::<u32>().unwrap() <= 60);
    assert!(refused.headers()["ratelimit"].to_str().unwrap().starts_with("\"key\";r=0;"));
    assert_eq!(body(refused, StatusCode::TOO_MANY_REQUESTS).await["code"], "rate_limited");
    let bobs = || Client::new().get(format!("{}/api/v1/jobs", service.url)).bearer_auth(&service.bob);
    assert_eq!(bobs().send().await.unwrap().status(), StatusCode::OK, "another key");

    // Wrong keys, and none at all, from one address behind a proxy that is trusted.
    let from = |address: &'static str, key: &str| {
        let request = Client::new().get(format!("{}/api/v1/jobs", service.url));
        request.header("x-forwarded-for", address).header("x-api-key", key)
    };
    for key in ["wrong", "mistyped", ""] {
        problem(from("192.0.2.1", key), 401, "unauthenticated").await;
    }
    problem(from("192.0.2.1", "wrong"), 429, "rate_limited").await;
    problem(from("192.0.2.2, 192.0.2.1", "wrong"), 429, "rate_limited").await;
    problem(from("192.0.2.2", "wrong"), 401, "unauthenticated").await;
    let valid = from("192.0.2.1", &service.bob).send().await.unwrap();
    assert_eq!(
        valid.status(),
        StatusCode::OK,
        "a valid key is not refused for what others do from its address"
    );
    for _ in 0..5 {
        let probe =
            Client::new().get(format!("{}/livez", service.url)).header("x-forwarded-for", "192.0.2.1");
        assert_eq!(probe.send().await.unwrap().status(), StatusCode::OK, "probes do not count");
    }
    service.stop().await;
}

#[tokio::test]
async fn a_changed_settings_file_counts_and_a_broken_one_does_not() {
    let service = Service::start_with_file("reload", &[], "hsts_seconds: 60").await;
    let write = |text: &str| std::fs::write(service.folder.path().join("config.yaml"), text).unwrap();
    let told = async || {
        let answer = service.get("/livez").send().await.unwrap();
        answer.headers().get(STRICT_TRANSPORT_SECURITY).map(|value| value.to_str().unwrap().to_owned())
    };
    assert_eq!(told().await.as_deref(), Some("max-age=60"));
    write("hsts_seconds: 3600");
    let deadline = Instant::now() + Duration::from_secs(20);
    while told().await.as_deref() != Some("max-age=3600") {
        assert!(Instant::now() < deadline, "the changed file is not read");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    write("hsts_second: 60");
    // A change of the keys that counts later was read later.
    let keys = service.folder.path().join("keys.yaml");
    crate::service::write_keys(&keys, service.namespace.name());
    service.wait_for("/api/v1/jobs", async |response| response.status() == StatusCode::UNAUTHORIZED).await;
    assert_eq!(told().await.as_deref(), Some("max-age=3600"));
    write("");
    let deadline = Instant::now() + Duration::from_secs(20);
    while told().await.is_some() {
        assert!(Instant::now() < deadline, "the file that was mended is not read");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    service.stop().await;
}

#[tokio::test]
async fn pages_of_listed_origins_may_use_the_service() {
    let file = "cors: {origins: ['https://shop.example']}";
    let service = Service::start_with_file("cors", &[], file).await;
    let jobs = format!("{}/api/v1/jobs", service.url);
    let preflight = |origin: &str| {
        let request = Client::new().request(Method::OPTIONS, &jobs).header(ORIGIN, origin);
        request.header(ACCESS_CONTROL_REQUEST_METHOD, "POST").send()
    };
    let answer = preflight("https://shop.example").await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    assert_eq!(answer.headers()[ACCESS_CONTROL_ALLOW_ORIGIN], "https://shop.example");
    let headers = answer.headers()[ACCESS_CONTROL_ALLOW_HEADERS].to_str().unwrap();
    assert!(headers.contains("authorization") && headers.contains("idempotency-key"), "{headers}");

    let answer = service.get("/api/v1/jobs").header(ORIGIN, "https://shop.example").send().await.unwrap();
    assert_eq!(answer.headers()[ACCESS_CONTROL_ALLOW_ORIGIN], "https://shop.example");
    let exposed = answer.headers()[ACCESS_CONTROL_EXPOSE_HEADERS].to_str().unwrap().to_owned();
    for header in ["etag", "location", "retry-after", "ratelimit", "ratelimit-policy", "x-request-id"] {
        assert!(exposed.split(',').any(|name| name == header), "{header} is not among {exposed}");
    }
    let refused = service.post("/api/v1/generate/image-to-3d").header(ORIGIN, "https://shop.example");
    let refused = refused.send().await.unwrap();
    assert!(refused.status().is_client_error());
    assert!(refused.headers().contains_key(ACCESS_CONTROL_ALLOW_ORIGIN), "a page may read why");

    for other in ["https://evil.example", "https://shop.example.evil.example", "null", "http://shop.example"]
    {
        let answer = preflight(other).await.unwrap();
        assert_eq!(answer.status(), StatusCode::METHOD_NOT_ALLOWED, "{other}");
        assert!(!answer.headers().contains_key(ACCESS_CONTROL_ALLOW_ORIGIN), "{other}");
        let answer = service.get("/api/v1/jobs").header(ORIGIN, other).send().await.unwrap();
        assert!(!answer.headers().contains_key(ACCESS_CONTROL_ALLOW_ORIGIN), "{other}");
        assert!(answer.headers().get_all(VARY).iter().any(|value| value == "origin"), "{answer:?}");
    }
    service.stop().await;
}

#[tokio::test]
async fn large_answers_in_text_are_compressed_and_results_are_not() {
    let service = Service::start("small", &[InputKind::Image]).await;
    let ask = |path: &str, coding: &str| service.get(path).header(ACCEPT_ENCODING, coding).send();
    for coding in ["br", "gzip"] {
        for path in ["/openapi.json", "/"] {
            let answer = ask(path, coding).await.unwrap();
            assert_eq!(
                answer.headers().get(CONTENT_ENCODING).map(|value| value.to_str().unwrap()),
                Some(coding),
                "{path}"
            );
        }
        let small = ask("/api/v1/health", coding).await.unwrap();
        assert!(!small.headers().contains_key(CONTENT_ENCODING));
    }
    let page = ask("/", "gzip").await.unwrap();
    let tag = page.headers()[ETAG].clone();
    assert!(tag.to_str().unwrap().starts_with("W/"), "{tag:?}");
    let known = service.get("/").header(IF_NONE_MATCH, tag).send().await.unwrap();
    assert_eq!(known.status(), StatusCode::NOT_MODIFIED);
    assert!(!service.get("/openapi.json").send().await.unwrap().headers().contains_key(CONTENT_ENCODING));

    let id = service.submit().await;
    let model = [b'x'; 5000];
    let job = service.jobs().get(&id).await.unwrap();
    service.set_status(&id, completed(service.folder.path(), &job, &model)).await;
    let result = ask(&format!("/api/v1/jobs/{id}/result"), "gzip, br").await.unwrap();
    assert!(
        !result.headers().contains_key(CONTENT_ENCODING)
            && !result.headers()[ETAG].to_str().unwrap().starts_with("W/")
    );
    assert_eq!(&*result.bytes().await.unwrap(), model);
    service.stop().await;
}
