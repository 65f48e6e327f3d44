//! Addresses that would have the service ask where only it can: nothing is ever asked for.
//!
//! Redirects and names whose addresses change are tested beside the guard itself (`storage/src/https`), and what webhooks do about a redirect in
//! `e2e/tests/api/webhooks.rs`: from here no server can be reached that could redirect.

use std::net::TcpListener;

use serde_json::{Value, json};

use crate::fixture::{Fixture, IMAGE, TEXT, VARIANT};

#[tokio::test]
async fn no_address_leads_inside() {
    let fixture = Fixture::start("ssrf").await;
    // What listens inside, on every address of this machine.
    let inside = TcpListener::bind("0.0.0.0:0").unwrap();
    inside.set_nonblocking(true).unwrap();
    let port = inside.local_addr().unwrap().port();
    let hosts = [
        "127.0.0.1",
        "127.1",
        "127.0.1",
        "127.255.255.254",
        "2130706433",
        "0x7f000001",
        "0x7f.0.0.1",
        "0177.0.0.1",
        "017700000001",
        "0",
        "0.0.0.0",
        "localhost",
        "LOCALHOST",
        "localhost.",
        "a.localhost",
        "[::1]",
        "[::]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[::127.0.0.1]",
        "[64:ff9b::7f00:1]",
        "[64:ff9b:1::7f00:1]",
        "[2002:7f00:1::]",
        "[2001:0:7f00:1::]",
        "[fe80::1]",
        "[fc00::1]",
        "10.0.0.1",
        "172.16.0.1",
        "192.168.0.1",
        "100.64.0.1",
        "169.254.169.254",
        "metadata.google.internal",
        "kubernetes.default.svc",
        "kubernetes.default.svc.cluster.local",
        "224.0.0.1",
        "255.255.255.255",
        "user:secret@127.0.0.1",
        "example.com@127.0.0.1",
        "127.0.0.1#@example.com",
        "127.0.0.1%2f@example.com",
        "①②⑦.⓪.⓪.①",
        "127。0。0。1",
        "%31%32%37.0.0.1",
    ];
    let schemes =
        |host: &str| [format!("https://{host}:{port}/photo.png"), format!("https://{host}/photo.png")];
    let others = [
        format!("http://127.0.0.1:{port}/photo.png"),
        format!("ftp://127.0.0.1:{port}/photo.png"),
        format!("gopher://127.0.0.1:{port}/_GET"),
        format!("dict://127.0.0.1:{port}/"),
        format!("//127.0.0.1:{port}/photo.png"),
        "file:///etc/passwd".into(),
        format!("file://{}/keys.yaml", fixture.rest.folder().display()),
        "gs://bucket/object".into(),
        "data:image/png;base64,AAAA".into(),
        "https:".into(),
        "https://".into(),
        "https:///photo.png".into(),
        "https://\u{0}/".into(),
        format!("https:127.0.0.1:{port}"),
        format!("https:\\\\127.0.0.1:{port}\\photo.png"),
        " ".into(),
    ];
    let webhook = |url: &str| json!({"prompt": "a cup", "webhook": {"url": url}});
    for url in hosts.iter().flat_map(|host| schemes(host)).chain(others) {
        for (path, body, pointer) in [
            (IMAGE, json!({ "image_url": url }), "/image_url"),
            (IMAGE, json!({"image_urls": ["https://192.0.2.1/a.png", url]}), "/image_urls/"),
            (VARIANT, json!({"prompt": "rust", "mesh_url": url}), "/mesh_url"),
            (TEXT, webhook(&url), "/webhook/url"),
        ] {
            let refused = fixture.post(path, &body).send().await.unwrap();
            let (status, problem) = (refused.status(), refused.json::<Value>().await.unwrap());
            assert_eq!(status, 422, "{pointer} {url}: {problem}");
            let named = problem["errors"][0]["pointer"].as_str().unwrap_or_default();
            assert!(named.starts_with(pointer), "{pointer} {url}: {problem}");
        }
    }
    let asked = inside.accept();
    assert!(asked.is_err(), "somebody inside was asked: {asked:?}");
    fixture.stop().await;
}
