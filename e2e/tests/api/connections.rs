//! Connections: their protocols, their certificate, and what a client may not make them cost.

use std::collections::HashMap;
use std::path::Path;
use std::time::Duration;

use rcgen::{CertifiedKey, generate_simple_self_signed};
use reqwest::{Certificate, Client, StatusCode, Version};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};
use trellis_e2e::ApiServer;

use crate::service::Service;

/// Far beyond every limit that is tested here.
const DEADLINE: Duration = Duration::from_secs(60);

const REQUEST: &[u8] = b"GET /livez HTTP/1.1\r\nhost: a\r\n\r\n";

async fn connect(service: &Service) -> TcpStream {
    TcpStream::connect(service.url.rsplit('/').next().unwrap()).await.unwrap()
}

/// Sends a request, and says whether there was an answer before the connection was closed.
async fn answers(connection: &mut TcpStream) -> bool {
    let mut start = [0; 12];
    let exchange = async {
        connection.write_all(REQUEST).await?;
        connection.read_exact(&mut start).await
    };
    timeout(DEADLINE, exchange).await.expect("neither an answer nor an end").is_ok()
        && start == *b"HTTP/1.1 200"
}

#[tokio::test]
async fn http_2_is_spoken_without_tls_by_those_who_know() {
    let service = Service::start("h2c", &[]).await;
    for (version, client) in
        [(Version::HTTP_11, Client::builder()), (Version::HTTP_2, Client::builder().http2_prior_knowledge())]
    {
        let jobs = client.build().unwrap().get(format!("{}/api/v1/jobs", service.url));
        let answer = jobs.bearer_auth(&service.alice).send().await.unwrap();
        assert_eq!((answer.status(), answer.version()), (StatusCode::OK, version));
    }
    service.stop().await;
}

/// The server's settings are the first that it sends (RFC 9113, sections 3.4 and 6.5).
#[tokio::test]
async fn a_connection_of_http_2_carries_so_many_requests_at_a_time_and_no_headers_without_end() {
    const SETTINGS: u8 = 4;
    const MAX_CONCURRENT_STREAMS: u16 = 3;
    const MAX_HEADER_LIST_SIZE: u16 = 6;
    let service = Service::start("streams", &[]).await;
    let mut connection = connect(&service).await;
    let none = [0, 0, 0, SETTINGS, 0, 0, 0, 0, 0];
    connection.write_all(&[b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", &none[..]].concat()).await.unwrap();
    let mut head = [0; 9];
    let read = async {
        connection.read_exact(&mut head).await.unwrap();
        let mut settings = vec![0; usize::from(u16::from_be_bytes([head[1], head[2]]))];
        connection.read_exact(&mut settings).await.unwrap();
        settings
    };
    let sent = timeout(DEADLINE, read).await.unwrap();
    let settings: HashMap<_, _> = sent
        .chunks(6)
        .map(|pair| {
            (u16::from_be_bytes([pair[0], pair[1]]), u32::from_be_bytes(pair[2..].try_into().unwrap()))
        })
        .collect();
    assert_eq!((head[0], head[3]), (0, SETTINGS));
    assert_eq!(settings.get(&MAX_CONCURRENT_STREAMS), Some(&200), "{settings:?}");
    assert!(settings.get(&MAX_HEADER_LIST_SIZE).is_some_and(|most| *most <= 64 << 10), "{settings:?}");
    drop(connection);
    service.stop().await;
}

#[tokio::test]
async fn a_client_that_trickles_headers_in_is_cut_off() {
    let service = Service::start("slow", &[]).await;
    for begin in [&b"GET /livez HTTP/1.1\r\nhost: a\r\n"[..], b"PRI * HT", b""] {
        let mut slow = connect(&service).await;
        slow.write_all(begin).await.unwrap();
        let mut answer = Vec::new();
        // The end may be an orderly one or a reset.
        let _ = timeout(DEADLINE, slow.read_to_end(&mut answer)).await.expect("a slow client may stay");
        assert_eq!(String::from_utf8_lossy(&answer), "", "{begin:?}");
    }
    assert!(answers(&mut connect(&service).await).await);
    service.stop().await;
}

#[tokio::test]
async fn only_so_many_connections_are_open_at_a_time() {
    let server = ApiServer::shared().await.unwrap();
    let service = Service::start_with(server, "many", &[], |settings, _| settings.max_connections = 2).await;
    let mut first = connect(&service).await;
    let mut second = connect(&service).await;
    assert!(answers(&mut first).await && answers(&mut second).await);
    assert!(!answers(&mut connect(&service).await).await, "there are two already");
    let metrics = reqwest::get(format!("{}/metrics", service.metrics)).await.unwrap().text().await.unwrap();
    assert!(metrics.contains("trellis_api_connections_refused_total 1"), "{metrics}");

    drop(first);
    let deadline = Instant::now() + DEADLINE;
    while !answers(&mut connect(&service).await).await {
        assert!(Instant::now() < deadline, "the place of a connection that ended stays taken");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    drop(second);
    service.stop().await;
}

/// Writes a new certificate and its key, and returns a client that trusts this certificate alone.
fn renew(folder: &Path, protocols: impl FnOnce(reqwest::ClientBuilder) -> reqwest::ClientBuilder) -> Client {
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    std::fs::write(folder.join("tls.key"), signing_key.serialize_pem()).unwrap();
    std::fs::write(folder.join("tls.crt"), cert.pem()).unwrap();
    let root = Certificate::from_pem(cert.pem().as_bytes()).unwrap();
    protocols(Client::builder().tls_certs_only([root]).pool_max_idle_per_host(0)).build().unwrap()
}

#[tokio::test]
async fn a_renewed_certificate_counts_without_a_restart() {
    let server = ApiServer::shared().await.unwrap();
    let mut first = None;
    let service = Service::start_with(server, "tls", &[], |settings, folder| {
        first = Some(renew(folder, |client| client));
        settings.tls_cert = Some(folder.join("tls.crt"));
        settings.tls_key = Some(folder.join("tls.key"));
    })
    .await;
    let livez = format!("{}/livez", service.url);
    let first = first.unwrap();
    let answer = first.get(&livez).send().await.unwrap();
    assert_eq!((answer.status(), answer.version()), (StatusCode::OK, Version::HTTP_2), "by ALPN");
    assert!(!answers(&mut connect(&service).await).await, "without TLS");

    // A key that is not the certificate's changes nothing.
    let certificate = std::fs::read(service.folder.path().join("tls.crt")).unwrap();
    renew(service.folder.path(), |client| client);
    std::fs::write(service.folder.path().join("tls.crt"), certificate).unwrap();
    assert!(first.get(&livez).send().await.is_ok());

    let renewed = renew(service.folder.path(), |client| client.http1_only());
    let deadline = Instant::now() + DEADLINE;
    let answer = loop {
        match renewed.get(&livez).send().await {
            Ok(answer) => break answer,
            Err(error) => {
                assert!(Instant::now() < deadline, "the renewed certificate is not served: {error:?}")
            }
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    assert_eq!((answer.status(), answer.version()), (StatusCode::OK, Version::HTTP_11));
    assert!(first.get(&livez).send().await.is_err(), "the certificate before it is served on");
    service.stop().await;
}
