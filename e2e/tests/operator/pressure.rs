//! An API server that does not answer the operator as it should.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::Result;
use futures::future::try_join_all;
use http::{Request, Response};
use kube::Client;
use kube::client::Body;
use serde_json::json;
use tower::BoxError;
use trellis_crds::Phase;

use crate::fixture::Fixture;
use crate::workers::Workers;

/// Far more than the API server may get while it is in trouble.
const JOBS: usize = 60;
/// How long each trouble lasts.
const LASTS: Duration = Duration::from_secs(6);
/// How many requests it may see in each: the first round, and then few.
const MOST: usize = 110;

/// What the API server does instead of answering at once.
#[derive(Clone, Copy, Debug)]
enum Trouble {
    /// It carries nothing out and answers with this code.
    Code(u16),
    /// It carries out what it is asked, and answers so much later.
    Slow(Duration),
}

/// A client whose requests get into trouble while there is one.
#[derive(Clone, Default)]
struct Troubled {
    trouble: Arc<Mutex<Option<Trouble>>>,
    seen: Arc<AtomicUsize>,
}

impl Troubled {
    fn set(&self, trouble: Option<Trouble>) {
        *self.trouble.lock().expect("nothing panics while it holds the trouble") = trouble;
    }

    fn of(&self, client: Client) -> Client {
        let namespace = client.default_namespace().to_owned();
        let troubled = self.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let (client, troubled) = (client.clone(), troubled.clone());
            async move {
                let trouble = *troubled.trouble.lock().expect("nothing panics while it holds the trouble");
                troubled.seen.fetch_add(usize::from(trouble.is_some()), Relaxed);
                match trouble {
                    None => Ok::<_, BoxError>(client.send(request).await?),
                    Some(Trouble::Code(code)) => refused(code),
                    Some(Trouble::Slow(time)) => {
                        let answer = client.send(request).await?;
                        tokio::time::sleep(time).await;
                        Ok(answer)
                    }
                }
            }
        });
        Client::new(service, namespace)
    }
}

fn refused(code: u16) -> Result<Response<Body>, BoxError> {
    let status = json!({
        "kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code,
        "reason": "", "message": "as the test asked",
    });
    Ok(Response::builder().status(code).body(Body::from(serde_json::to_vec(&status)?))?)
}

/// Has many jobs created while the API server gets into one trouble after another. Afterwards all are done, each at the first attempt.
async fn survive(name: &str, troubles: &[Trouble]) -> Result<()> {
    let fixture = Fixture::new(name).await?;
    fixture.create_pool(json!({"replicas": {"min": 2, "max": 2}})).await?;
    let workers = Workers::start(&fixture.namespace);
    let troubled = Troubled::default();
    let operator = fixture.operator_with(troubled.of(fixture.client.clone()), "operator-1");
    fixture.pool("ready", |pool| pool.status.as_ref().is_some_and(|status| status.idle == 2)).await?;
    let names: Vec<_> = (0..JOBS).map(|n| format!("job-{n:02}")).collect();
    troubled.set(troubles.first().copied());
    try_join_all(names.iter().map(|name| fixture.create_job(name, "complete", json!({})))).await?;
    for trouble in troubles {
        troubled.set(Some(*trouble));
        tokio::time::sleep(LASTS).await;
        let seen = troubled.seen.swap(0, Relaxed);
        assert!((1..=MOST).contains(&seen), "{seen} requests during {trouble:?}");
    }
    troubled.set(None);
    for name in &names {
        fixture.job_in(name, Phase::Completed).await?;
    }
    operator.stop().await?;
    let mut log = workers.log();
    log.begun.sort();
    assert_eq!((log.begun, log.clashes), (names, Vec::<String>::new()));
    fixture.namespace.delete().await
}

#[tokio::test]
async fn an_api_server_with_too_much_to_do_is_left_alone_and_then_all_is_done() -> Result<()> {
    survive("throttled", &[Trouble::Code(429)]).await
}

#[tokio::test]
async fn an_api_server_that_fails_is_left_alone_and_then_all_is_done() -> Result<()> {
    survive("failing", &[Trouble::Code(500)]).await
}

#[tokio::test]
async fn an_api_server_that_gets_slower_and_slower_is_left_alone_and_then_all_is_done() -> Result<()> {
    survive("slow", &[2, 10].map(|seconds| Trouble::Slow(Duration::from_secs(seconds)))).await
}
