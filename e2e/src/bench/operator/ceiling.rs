//! What the API server can do by itself.

use std::time::Duration;

use anyhow::Result;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::Timestamp;
use kube::api::PostParams;
use kube::runtime::watcher;
use kube::{Resource as _, ResourceExt as _};
use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use trellis_crds::{Assignment, GenerationJob, Phase};

use super::board::names;
use super::{Board, Site, Size};
use crate::Namespace;

/// How many jobs are written about at once.
const AT_ONCE: usize = 64;

/// Makes the writes that draining a queue makes, a job's one after the other, with as many watches as workers have, and nobody to decide anything.
/// Returns how many jobs a second that comes to.
pub(super) async fn measure(site: &Site, size: &Size) -> Result<f64> {
    let namespace = site.namespace("ceiling").await?;
    let board = Board::watch(&namespace, false);
    let queue = board.create(&names("job", size.queued), "complete").await?;
    let mut watches = JoinSet::new();
    for worker in 0..size.workers {
        let selected =
            watcher::Config::default().fields(&format!("status.assignment.worker={}", worker_name(worker)));
        let changes = watcher(namespace.api::<GenerationJob>(), selected);
        watches.spawn(changes.for_each(async |_| ()));
    }
    sleep(Duration::from_secs(2)).await;
    let start = Instant::now();
    let done = stream::iter(queue.into_iter().enumerate())
        .map(async |(number, job)| write(&namespace, job, &worker_name(number % size.workers)).await);
    done.buffer_unordered(AT_ONCE).try_collect::<()>().await?;
    Ok(size.queued as f64 / start.elapsed().as_secs_f64())
}

fn worker_name(number: usize) -> String {
    format!("image-{number:05}")
}

/// The assignment, the report, the event.
async fn write(namespace: &Namespace, mut job: GenerationJob, worker: &str) -> Result<()> {
    let jobs = namespace.api::<GenerationJob>();
    let name = job.name_any();
    let now = MicroTime(Timestamp::now());
    let status = job.status.get_or_insert_default();
    status.phase = Some(Phase::Processing);
    status.assignment = Some(Assignment {
        pool: "image".into(),
        worker: worker.into(),
        pod_uid: "11111111-1111-1111-1111-111111111111".into(),
        attempt: 1,
        time: now.clone(),
        batch: None,
    });
    let mut job = jobs.replace_status(&name, &PostParams::default(), &job).await?;
    let product = trellis_worker_core::Product::since(now.0);
    trellis_worker_core::complete(&mut job, &product);
    let job = jobs.replace_status(&name, &PostParams::default(), &job).await?;
    let event: Event = serde_json::from_value(json!({
        "metadata": {"generateName": format!("{name}-")},
        "eventTime": now, "reportingController": "bench", "reportingInstance": "bench", "action": "Complete",
        "reason": "Completed", "type": "Normal", "note": "The asset is there: 2 files, see status.outputs.",
        "regarding": job.object_ref(&()),
    }))?;
    namespace.api::<Event>().create(&PostParams::default(), &event).await?;
    Ok(())
}
