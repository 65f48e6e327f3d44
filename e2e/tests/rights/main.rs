//! Whether the chart grants what operator, API, workers and cleanup need, and no more: each runs with its own service account's token, and the audit log
//! says what it asked for.

mod grants;
mod installation;

mod repeating;
mod tokens;
mod workers;

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use kube::api::{DeleteParams, Patch, PatchParams};
use reqwest::StatusCode;
use serde_json::json;
use trellis_crds::{DeliveryState, GenerationJob, Phase, labels};

use grants::{Rights, asked, granted};
use installation::{Installation, Scope};

/// Rights that the programs need without a request of this server that shows it.
const SHOWN_ELSEWHERE: [(&str, &str); 2] = [
    // Asked by the admission plugin OwnerReferencesPermissionEnforcement, which this server runs, when the operator creates a pod.
    ("operator", "update workerpools.trellis3d.dev/finalizers"),
    // Photos beside their jobs are read by the worker that has the model: `examples/photo`, which `make demo` and `--test product` run.
    ("worker", "get configmaps"),
];

/// Makes each program do all that it can do.
async fn use_everything(installation: &Installation) -> Result<()> {
    // A job by kubectl that fails again and again: retries are announced twice, then it is labelled.
    installation.create_job("broken", json!({"backoffLimit": 2})).await?;
    // REST: create, look at, ask for what is not there, delete.
    let id = installation.submit().await?;
    installation.job(&id, "completed", |job| job.phase() == Phase::Completed).await?;
    assert_eq!(installation.get(&format!("/api/v1/jobs/{id}/status")).await?, StatusCode::OK);
    // By its id it may be so new that the watch does not show it yet.
    let absent = "/api/v1/jobs/gj-7zzzzzzzzzzzzzzzzzzzzzzzzz/status";
    assert_eq!(installation.get(absent).await?, StatusCode::NOT_FOUND);
    installation.delete(&format!("/api/v1/jobs/{id}")).await?;
    // One that waits for as long as it is held back, so that it can be cancelled.
    installation.create_job_over_rest("gj-7zzzzzzzzzzzzzzzzzzzzzzzzy", json!({"suspend": true})).await?;
    installation.post("/api/v1/jobs/gj-7zzzzzzzzzzzzzzzzzzzzzzzzy/cancel").await?;
    // A webhook that nobody sends, of which two events tell.
    let webhook = json!({"url": "https://example.com/", "events": ["start", "completed"]});
    installation.create_job("told", json!({ "webhook": webhook })).await?;
    installation.job("told", "given up on its webhook", |job| has_given_up(job) == 2).await?;
    installation.clean().await?;
    // A job whose time to live is over.
    installation.create_job("brief", json!({"ttlSecondsAfterFinished": 1})).await?;
    installation.gone("brief").await?;
    installation
        .job("broken", "labelled as a dead letter", |job| {
            job.metadata.labels.as_ref().is_some_and(|known| known.contains_key(labels::DEAD_LETTER))
        })
        .await?;
    // Workers that are not needed any more.
    let idle = Patch::Merge(json!({"spec": {"idleSeconds": 0, "replicas": {"min": 0}}}));
    installation.pools().patch("image", &PatchParams::default(), &idle).await?;
    installation.no_pods().await?;
    installation.jobs().delete("broken", &DeleteParams::default()).await?;
    Ok(())
}

/// How many of the job's messages were given up.
fn has_given_up(job: &GenerationJob) -> usize {
    let webhook = job.status.as_ref().and_then(|status| status.webhook.as_ref());
    let deliveries = webhook.map(|webhook| webhook.deliveries.as_slice()).unwrap_or_default();
    deliveries.iter().filter(|delivery| delivery.state == DeliveryState::Dead).count()
}

#[tokio::test]
async fn the_chart_grants_each_program_what_it_asks_for_and_nothing_else() -> Result<()> {
    compare(Scope::AllNamespaces).await
}

#[tokio::test]
async fn so_it_does_where_jobs_are_in_named_namespaces_alone() -> Result<()> {
    compare(Scope::OwnNamespace).await
}

/// Compares what each program may do with what it asks for.
async fn compare(scope: Scope) -> Result<()> {
    let installation = Installation::start(scope).await?;
    let outcome = use_everything(&installation).await;
    let tokens = installation.tokens.clone();
    let (events, chart) = installation.stop().await?;
    let mut refused = BTreeMap::<&str, Rights>::new();
    let mut unused = BTreeMap::<&str, Rights>::new();
    for part in ["operator", "api", "worker", "cleanup"] {
        let account = tokens.account(part);
        let user = format!("system:serviceaccount:{}:{account}", tokens.namespace.name());
        let granted = granted(&chart, &account)?;
        assert!(!granted.is_empty(), "the chart grants nothing to {account}");
        let mut used = asked(&events, &user, false);
        for (_, right) in SHOWN_ELSEWHERE.iter().filter(|(of, _)| *of == part) {
            assert!(used.insert((*right).to_owned()), "{part}: {right:?} is shown here");
            assert!(granted.contains(*right), "{part}: {right:?} is not granted");
        }
        refused.insert(part, asked(&events, &user, true));
        unused.insert(part, granted.difference(&used).cloned().collect());
    }
    // Before the outcome: what is not granted is a likely cause.
    assert!(refused.values().all(Rights::is_empty), "asked for, and not granted: {refused:?}");
    outcome.context("not everything could be tried")?;
    assert!(unused.values().all(Rights::is_empty), "granted, and never used: {unused:?}");
    Ok(())
}
