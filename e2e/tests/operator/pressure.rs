//! An API server that does not answer the operator's writes as it should.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use anyhow::Result;
use futures::future::try_join_all;
use http::{Method, Request, Response};
use kube::Client;
use kube::client::Body;
use serde_json::json;
use tower::BoxError;
use trellis_crds::Phase;

use crate::fixture::Fixture;
use crate::workers::Workers;

/// Far more than the API server may get while it fails.
const JOBS: usize = 60;
/// How long it fails.
const FAILS_FOR: Duration = Duration::from_secs(6);
/// How many writes it may see in that time: the first round, and then few.
const MOST: usize = 80;

/// Whether writes fail, and how many did.
#[derive(Clone, Default)]
struct Failures {
    on: Arc<AtomicBool>,
    seen: Arc<AtomicUsize>,
}

impl Failures {
    /// `client`, whose writes are answered with `code` while failures are on.
    fn of(&self, client: Client, code: u16) -> Client {
        let namespace = client.default_namespace().to_owned();
        let failures = self.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let (client, failures) = (client.clone(), failures.clone());
            async move {
                let is_write = request.method() != Method::GET && !request.uri().path().contains("/leases");
                if !is_write || !failures.on.load(Relaxed) {
                    return Ok::<_, BoxError>(client.send(request).await?);
                }
                failures.seen.fetch_add(1, Relaxed);
                let status = json!({
                    "kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code,
                    "reason": "", "message": "as the test asked",
                });
                Ok(Response::builder().status(code).body(Body::from(serde_json::to_vec(&status)?))?)
            }
        });
        Client::new(service, namespace)
    }
}

async fn survive(name: &str, code: u16) -> Result<()> {
    let fixture = Fixture::new(name).await?;
    fixture.create_pool(json!({"replicas": {"min": 2, "max": 2}})).await?;
    let workers = Workers::start(&fixture.namespace);
    let failures = Failures::default();
    let operator = fixture.operator_with(failures.of(fixture.client.clone(), code), "operator-1");
    fixture.pool("ready", |pool| pool.status.as_ref().is_some_and(|status| status.idle == 2)).await?;
    failures.on.store(true, Relaxed);
    let names: Vec<_> = (0..JOBS).map(|n| format!("job-{n:02}")).collect();
    try_join_all(names.iter().map(|name| fixture.create_job(name, "complete", json!({})))).await?;
    tokio::time::sleep(FAILS_FOR).await;
    failures.on.store(false, Relaxed);
    let seen = failures.seen.load(Relaxed);
    assert!((1..=MOST).contains(&seen), "{seen} writes while the API server answered {code}");
    for name in &names {
        fixture.job_in(name, Phase::Completed).await?;
    }
    operator.stop().await?;
    assert_eq!(workers.log().clashes, Vec::<String>::new());
    fixture.namespace.delete().await
}

#[tokio::test]
async fn an_api_server_with_too_much_to_do_is_left_alone_and_then_all_is_done() -> Result<()> {
    survive("throttled", 429).await
}

#[tokio::test]
async fn an_api_server_that_fails_is_left_alone_and_then_all_is_done() -> Result<()> {
    survive("failing", 500).await
}
