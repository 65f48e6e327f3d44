//! Plays the kubelet, and runs in each pod a worker that makes nothing, with the token of that pod.

use std::collections::HashSet;

use anyhow::{Context as _, Result};
use futures::StreamExt as _;
use http::Method;
use k8s_openapi::api::authentication::v1::BoundObjectReference;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;
use kube::runtime::{WatchStreamExt as _, watcher};
use tokio::task::JoinSet;
use trellis_e2e::kubelet::{ready, set_pod_status};
use trellis_telemetry::{Health, registry};
use trellis_worker_core::{Engine, Failure, Identity, Metrics, Pace, Product, Work, Worker, serve};

use crate::repeating::repeating;
use crate::tokens::Tokens;

/// Fails at jobs named `broken`, and completes others at once.
struct Play;

impl Engine for Play {
    async fn run(&self, work: Work) -> Result<Option<Product>, Failure> {
        if work.job.name_any() == "broken" {
            return Err(Failure::transient("the test asked for it"));
        }
        Ok(Some(Product::since(work.start)))
    }
}

/// Makes every new pod ready, and serves jobs in it. Ends when dropped.
pub(crate) async fn run(tokens: Tokens) {
    let mut seen = HashSet::new();
    let mut workers = JoinSet::new();
    let pods = watcher(tokens.namespace.api::<Pod>(), watcher::Config::default()).default_backoff();
    let mut pods = pods.applied_objects().boxed();
    while let Some(pod) = pods.next().await {
        let Ok(pod) = pod else { continue };
        if seen.insert(pod.uid()) {
            let tokens = tokens.clone();
            workers.spawn(async move {
                if let Err(error) = work(tokens, pod).await {
                    eprintln!("a worker ended: {error:#}");
                }
            });
        }
    }
}

async fn work(tokens: Tokens, pod: Pod) -> Result<()> {
    let name = pod.name_any();
    set_pod_status(&tokens.namespace.api(), &name, ready()).await?;
    let bound = BoundObjectReference {
        api_version: Some("v1".into()),
        kind: Some("Pod".into()),
        name: Some(name.clone()),
        uid: pod.uid(),
    };
    let client = tokens.client("worker", Some(bound)).await?;
    let worker = Worker {
        client: repeating(client, &[(Method::PUT, "/generationjobs/", "/status")]),
        identity: Identity { pod_name: name, pod_uid: pod.uid().context("the pod has no uid")? },
        engine: Play,
        metrics: Metrics::new(&registry("worker", "0")?)?,
        max_jobs: None,
        pace: Pace::default(),
    };
    serve(worker, None, Health::default(), std::future::pending()).await?;
    Ok(())
}
