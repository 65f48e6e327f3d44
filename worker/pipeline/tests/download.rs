//! Downloads from a hub of the test's own.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, Method, Response, StatusCode, Uri, header};
use futures::StreamExt;
use sha2::{Digest, Sha256};
use tempfile::TempDir;
use trellis::Error;
use trellis::download::{Progress, Report, Repository, download_from};
use trellis::pipeline::ModelFolder;

const OWN: &str = "owner/TRELLIS-tiny";
const ENCODER: &str = "facebook/dinov2-with-registers-small";

/// A hub, its files by path, and how it misbehaves.
#[derive(Default)]
struct Hub {
    files: BTreeMap<String, Bytes>,
    /// After so many bytes of each answer the connection breaks.
    breaks_after: Option<usize>,
    /// What it says the sum of every large file is.
    wrong_sum: bool,
    bytes_sent: AtomicU64,
    refused: Mutex<Vec<String>>,
}

impl Hub {
    /// One with a small model in the released layout.
    fn new() -> Self {
        let sampler = r#"{"name": "FlowEulerSampler", "params": {"steps": 4}}"#;
        let pipeline = format!(
            r#"{{"name": "TrellisImageTo3DPipeline", "args": {{"models": {{"slat_flow_model": "ckpts/flow"}},
                "sparse_structure_sampler": {sampler}, "slat_sampler": {sampler},
                "slat_normalization": {{"mean": [], "std": []}}, "image_cond_model": "dinov2_vits14_reg"}}}}"#
        );
        let tensors: Vec<u8> = (0..100_000u32).flat_map(u32::to_le_bytes).collect();
        let files = [
            (format!("{OWN}:pipeline.json"), pipeline.into_bytes()),
            (format!("{OWN}:ckpts/flow.json"), br#"{"name": "SLatFlowModel", "args": {}}"#.to_vec()),
            (format!("{OWN}:ckpts/flow.safetensors"), tensors.clone()),
            (format!("{ENCODER}:config.json"), b"{}".to_vec()),
            (format!("{ENCODER}:model.safetensors"), tensors.into_iter().rev().collect()),
        ];
        Self { files: files.map(|(path, bytes)| (path, bytes.into())).into(), ..Self::default() }
    }

    fn total(&self) -> u64 {
        self.files.values().map(|bytes| bytes.len() as u64).sum()
    }
}

async fn answer(State(hub): State<Arc<Hub>>, method: Method, uri: Uri, headers: HeaderMap) -> Response<Body> {
    let key = uri.path().trim_start_matches('/').replace("/resolve/main/", ":");
    let Some(bytes) = hub.files.get(&key) else {
        hub.refused.lock().unwrap().push(key);
        return Response::builder().status(StatusCode::NOT_FOUND).body(Body::empty()).unwrap();
    };
    let range = headers.get(header::RANGE).and_then(|range| range.to_str().ok()?.strip_prefix("bytes="));
    let start = range.and_then(|range| range.split_once('-')?.0.parse().ok()).unwrap_or(0);
    let sum = if hub.wrong_sum { "0".repeat(64) } else { hex::encode(Sha256::digest(bytes)) };
    let large = key.ends_with("safetensors");
    let response = Response::builder()
        .status(if range.is_some() { StatusCode::PARTIAL_CONTENT } else { StatusCode::OK })
        .header(header::ETAG, if large { format!("\"{sum}\"") } else { "\"da39a3\"".to_owned() })
        .header("x-repo-commit", "c0ffee")
        .header(header::CONTENT_LENGTH, bytes.len() - start);
    if method == Method::HEAD {
        return response.body(Body::empty()).unwrap();
    }
    let mut sent = bytes.slice(start..);
    let broken = hub.breaks_after.filter(|limit| *limit < sent.len());
    sent.truncate(broken.unwrap_or(usize::MAX));
    hub.bytes_sent.fetch_add(sent.len() as u64, Ordering::Relaxed);
    let pieces = std::iter::once(Ok(sent)).chain(broken.map(|_| Err(std::io::Error::other("broken"))));
    // Between two pieces the server sends what it has: otherwise the break would take the piece before it along.
    let pieces = futures::stream::iter(pieces).then(|piece| async {
        tokio::task::yield_now().await;
        piece
    });
    response.body(Body::from_stream(pieces)).unwrap()
}

/// Downloads from the hub, which serves meanwhile, into `models`.
fn download(hub: &Arc<Hub>, models: &Path) -> (Result<Report, Error>, Vec<(String, u64)>) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let app = Router::new().fallback(answer).with_state(Arc::clone(hub));
    runtime.spawn(async move { axum::serve(listener, app).await });
    let mut seen = Vec::new();
    let mut observe = |Progress { file, done, .. }: Progress| seen.push((file.to_owned(), done));
    let repository: Repository = OWN.parse().unwrap();
    let result = download_from(Some(&endpoint), &repository, models, &mut observe);
    (result, seen)
}

fn models() -> TempDir {
    tempfile::tempdir().unwrap()
}

#[test]
fn a_model_and_its_encoder_lie_where_they_are_loaded_from() {
    let (hub, models) = (Arc::new(Hub::new()), models());
    let (report, seen) = download(&hub, models.path());
    let report = report.unwrap();
    assert_eq!((report.files, report.fetched), (5, hub.total()));
    assert_eq!(report.folder, models.path().join(OWN));
    let folder = ModelFolder::open(&report.folder).unwrap();
    for part in folder.parts() {
        let weights = report.folder.join(format!("{}.safetensors", part.path()));
        assert!(weights.is_file(), "{:?} is not at {}", part.role, weights.display());
    }
    let large = hub.files[&format!("{ENCODER}:model.safetensors")].clone();
    assert_eq!(std::fs::read(report.folder.join("ckpts/dinov2_vits14_reg.safetensors")).unwrap(), large);
    assert!(seen.contains(&("model.safetensors".to_owned(), large.len() as u64)), "{seen:?}");
}

#[test]
fn what_is_there_is_not_fetched_again_but_for_what_was_damaged() {
    let (hub, models) = (Arc::new(Hub::new()), models());
    let folder = download(&hub, models.path()).0.unwrap().folder;
    assert_eq!(download(&hub, models.path()).0.unwrap().fetched, 0);
    let weights = folder.join("ckpts/flow.safetensors");
    let mut bytes = std::fs::read(&weights).unwrap();
    bytes[1000] ^= 1;
    std::fs::write(&weights, &bytes).unwrap();
    assert_eq!(download(&hub, models.path()).0.unwrap().fetched, bytes.len() as u64);
    bytes[1000] ^= 1;
    assert_eq!(std::fs::read(&weights).unwrap(), bytes);
}

#[test]
fn a_connection_that_breaks_again_and_again_costs_no_byte_twice() {
    let hub = Arc::new(Hub { breaks_after: Some(70_000), ..Hub::new() });
    let models = models();
    let report = download(&hub, models.path()).0.unwrap();
    assert_eq!(report.fetched, hub.total());
    assert_eq!(hub.bytes_sent.load(Ordering::Relaxed), hub.total());
}

#[test]
fn a_download_that_was_ended_goes_on_where_it_was() {
    let (hub, models) = (Arc::new(Hub::new()), models());
    let part = models.path().join(OWN).join("ckpts/flow.safetensors.part");
    std::fs::create_dir_all(part.parent().unwrap()).unwrap();
    std::fs::write(&part, &hub.files[&format!("{OWN}:ckpts/flow.safetensors")][..123_456]).unwrap();
    assert_eq!(download(&hub, models.path()).0.unwrap().fetched, hub.total() - 123_456);
    assert!(!part.exists());
}

#[test]
fn a_file_with_another_sum_is_refused_and_removed() {
    let hub = Arc::new(Hub { wrong_sum: true, ..Hub::new() });
    let models = models();
    let error = download(&hub, models.path()).0.unwrap_err().to_string();
    assert!(error.contains("sha256") && error.contains("safetensors of"), "{error}");
    let left = std::fs::read_dir(models.path().join(OWN).join("ckpts")).unwrap();
    assert!(
        left.into_iter().all(|file| !file.unwrap().file_name().to_string_lossy().contains("safetensors"))
    );
}

#[test]
fn a_repository_that_is_not_there_is_named() {
    let hub = Arc::new(Hub { files: BTreeMap::new(), ..Hub::new() });
    let error = download(&hub, models().path()).0.unwrap_err();
    assert!(matches!(error, Error::Download { .. }));
    assert_eq!(
        error.to_string(),
        format!("pipeline.json of {OWN} could not be downloaded: the hub has no such file")
    );
    assert_eq!(*hub.refused.lock().unwrap(), [format!("{OWN}:pipeline.json")]);
}
