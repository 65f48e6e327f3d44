//! Cleaning the storage, as the chart's CronJob does.

use anyhow::{Context as _, Result, ensure};
use trellis_e2e::installation::{Installation, NAMESPACE};
use trellis_e2e::pipe;

/// Everything here is young, so that nothing goes; that the pod reaches Kubernetes and the storage is what only a cluster shows.
#[tokio::test(flavor = "multi_thread")]
async fn the_cleanup_of_the_chart_looks_through_the_storage() -> Result<()> {
    let installation = Installation::existing()?;
    let kubectl = |arguments: &[&str]| -> Result<String> {
        let mut kubectl = installation.kubectl()?;
        pipe(kubectl.args(["--namespace", NAMESPACE]).args(arguments), "")
    };
    tokio::task::block_in_place(|| {
        let name = "cleanup-by-test";
        kubectl(&["delete", "job", name, "--ignore-not-found"])?;
        kubectl(&["create", "job", name, "--from=cronjob/trellis-cleanup"])?;
        let complete = kubectl(&["wait", "--for=condition=Complete", "--timeout=120s", "job", name]);
        let logs = kubectl(&["logs", &format!("job/{name}")]).unwrap_or_default();
        complete.with_context(|| format!("it says: {logs}"))?;
        ensure!(logs.contains("0 objects of 0 bytes deleted in all"), "{logs}");
        kubectl(&["delete", "job", name]).map(drop)
    })
}
