//! One seed's namespace: two operators, a kubelet with workers, people, and all that goes wrong between them.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::{Api, Client, ResourceExt as _};
use serde_json::{Value, json};
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use trellis_crds::{GenerationJob, WorkerPool};
use trellis_e2e::{Namespace, operator_settings};

use crate::engine::{Run, Runs};
use crate::history::Recorder;
use crate::invariants;
use crate::kubelet::Kubelet;
use crate::layer::{Faults, Program};
use crate::schedule::{BUSY, Change, Deed, JOBS, Play, Schedule, WORKERS};

const POOL: &str = "image";
/// How long it may take, once nothing goes wrong any more, until every job is over. It covers the longest wait between attempts, a change of
/// leaders, and a busy machine.
const LIMIT: Duration = Duration::from_secs(120);
/// Nothing is written for so long once everything is over.
const QUIET: Duration = Duration::from_secs(2);

/// What a seed came to.
pub(crate) struct Outcome {
    pub(crate) faults: u64,
    pub(crate) writes: u64,
    pub(crate) jobs: usize,
    pub(crate) attempts: usize,
    /// Attempts that were made together with others.
    pub(crate) together: usize,
}

/// Plays a seed.
///
/// # Errors
/// What went wrong that must not, with the history of it.
pub(crate) async fn play(client: &Client, schedule: Schedule) -> Result<Outcome> {
    let namespace = Namespace::create(client, &format!("seed-{}", schedule.seed)).await?;
    let faults = Faults::new(schedule);
    let runs = Runs::default();
    let recorder = Recorder::start(namespace.api()).await?;
    create_pool(&namespace, schedule.batch_size()).await?;
    let kubelet = Kubelet::start(&namespace, &faults, &runs);
    let mut operators = JoinSet::new();
    let mut ends = Vec::new();
    for replica in ["operator-0", "operator-1"] {
        let (end, ended) = oneshot::channel::<()>();
        ends.push(end);
        operators.spawn(operator(
            Program::new(replica, &faults),
            client.clone(),
            namespace.name().to_owned(),
            ended,
        ));
    }

    let people = People { namespace: &namespace, kubelet: &kubelet, batch_size: schedule.batch_size() };
    people.play(schedule).await;
    faults.on.store(false, Relaxed);
    let settled = settle(&namespace, &recorder, &faults).await;
    drop(ends);
    while let Some(ended) = operators.join_next().await {
        ended??;
    }

    let history = recorder.revisions()?;
    let runs = runs.lock().unwrap().clone();
    let mut broken = invariants::broken(&history, &runs);
    broken.extend(settled.err().map(|error| error.to_string()));
    let attempts = runs.len();
    let (writes, count) = (faults.writes.load(Relaxed), faults.count());
    let changes = schedule.deeds().iter().filter(|(_, deed)| matches!(deed, Deed::Pool(_))).count() as u64;
    // Of a job that all goes well with: accept and assign, report, event, and what explains a wait; of a worker: its pod and its end. A change
    // of the pool may cost each worker both, and tells each job of the queue.
    let budget =
        6 * JOBS as u64 + 6 * attempts as u64 + 6 * count + 40 + changes * (4 * WORKERS + JOBS) as u64;
    if writes > budget {
        broken.push(format!("{writes} writes reached the server, more than {budget}"));
    }
    if broken.is_empty() {
        let jobs = history.iter().filter_map(|revision| revision.job.uid()).collect::<BTreeSet<_>>().len();
        namespace.delete().await?;
        let is_shared = |run: &&Run| runs.iter().any(|other| run.job != other.job && run.is_of_batch(other));
        let together = runs.iter().filter(is_shared).count();
        return Ok(Outcome { faults: count, writes, jobs, attempts, together });
    }
    let told: Vec<_> = history.iter().map(|revision| told(&revision.job)).collect();
    bail!(
        "seed {}:\n{}\n\nwhat went wrong on purpose:\n{}\n\nhistory:\n{}\n\nruns:\n{}",
        schedule.seed,
        broken.join("\n"),
        faults.log.lock().unwrap().join("\n"),
        told.join("\n"),
        runs.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
    )
}

fn told(job: &GenerationJob) -> String {
    let status = job.status.clone().unwrap_or_default();
    let assigned = status.assignment.map(|at| format!("{} at {}", at.attempt, at.worker));
    let ended: Vec<_> = status.attempts.iter().map(|at| format!("{} {:?}", at.number, at.outcome)).collect();
    format!(
        "{} {} {:?} {assigned:?} {ended:?}",
        job.name_any(),
        job.resource_version().unwrap_or_default(),
        status.phase
    )
}

async fn create_pool(namespace: &Namespace, batch_size: i32) -> Result<()> {
    let spec = json!({
        "model": "tiny", "modelUri": "gs://models/tiny", "idleSeconds": 3600, "batchSize": batch_size,
        "replicas": {"min": 1, "max": WORKERS},
        // On a node, so that a pod that is deleted ends first.
        "template": {"spec": {"nodeName": "node", "containers": [{"name": "worker", "image": "worker:test"}]}},
    });
    let pool = WorkerPool::new(POOL, serde_json::from_value(spec)?);
    namespace.api().create(&PostParams::default(), &pool).await?;
    Ok(())
}

/// Runs a replica until it is told to end, and anew whenever it died or ended by itself.
async fn operator(
    program: Arc<Program>,
    client: Client,
    namespace: String,
    mut ended: oneshot::Receiver<()>,
) -> Result<()> {
    for number in 0.. {
        let (shutdown, stopped) = oneshot::channel::<()>();
        let settings = operator_settings(&namespace, &program.name);
        let stopped = async move { _ = stopped.await };
        let (client, death) = program.client(&client);
        let mut task = tokio::spawn(trellis_operator::run(client, settings, stopped));
        tokio::select! {
            _ = &mut ended => {
                drop(shutdown);
                task.await??;
                return Ok(());
            }
            () = death.cancelled() => {
                task.abort();
                let _ = task.await;
            }
            ended = &mut task => {
                death.cancel();
                program.faults.note(format!("{} ended: {ended:?}", program.name));
            }
        }
        tokio::select! {
            _ = &mut ended => return Ok(()),
            () = tokio::time::sleep(program.faults.schedule.absence(&program.name, number)) => {}
        }
    }
    Ok(())
}

/// Waits until every job is over and nothing is written any more.
async fn settle(namespace: &Namespace, recorder: &Recorder, faults: &Faults) -> Result<()> {
    let jobs: Api<GenerationJob> = namespace.api();
    let deadline = Instant::now() + LIMIT;
    loop {
        let open: Vec<_> = jobs.list(&ListParams::default()).await?.items;
        let open = open.iter().filter(|job| !job.is_finished()).map(told).collect::<Vec<_>>();
        if open.is_empty() {
            break;
        }
        ensure!(Instant::now() < deadline, "not over after {} s: {}", LIMIT.as_secs(), open.join(", "));
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    // What is told of the last end, and workers that end, may still be written.
    loop {
        let before = (faults.writes.load(Relaxed), recorder.revisions()?.len());
        tokio::time::sleep(QUIET).await;
        if before == (faults.writes.load(Relaxed), recorder.revisions()?.len()) {
            return Ok(());
        }
        ensure!(Instant::now() < deadline, "there is no quiet after {} s", LIMIT.as_secs());
    }
}

/// What people and machines do.
struct People<'a> {
    namespace: &'a Namespace,
    kubelet: &'a Kubelet,
    batch_size: i32,
}

impl People<'_> {
    async fn play(&self, schedule: Schedule) {
        let start = tokio::time::Instant::now();
        let mut created = 0;
        for (time, deed) in schedule.deeds() {
            tokio::time::sleep_until(start + time).await;
            if let Deed::Create(play) = deed {
                self.create(created, play).await;
                created += 1;
            } else {
                self.act(deed).await;
            }
        }
        tokio::time::sleep_until(start + BUSY).await;
    }

    async fn create(&self, number: usize, play: Play) {
        let spec = json!({"input": {"image": {"sources": [{"uri": "gs://photos/cup.png"}]}}});
        let mut job = GenerationJob::new(&name(number), serde_json::from_value(spec).expect("a job"));
        let play = match play {
            Play::Complete => "complete",
            Play::FailOnce => "fail-once",
            Play::Invalid => "invalid",
        };
        job.labels_mut().insert("play".into(), play.into());
        self.jobs().create(&PostParams::default(), &job).await.expect("the API server takes a job");
    }

    /// What is to be changed may not be there, yet or any more.
    async fn act(&self, deed: Deed) {
        match deed {
            Deed::Create(_) => {}
            Deed::Cancel(job) => self.patch(job, json!({"cancel": true})).await,
            Deed::Suspend(job) => self.patch(job, json!({"suspend": true})).await,
            Deed::Resume(job) => self.patch(job, json!({"suspend": false})).await,
            Deed::Delete(job) => _ = self.jobs().delete(&name(job), &DeleteParams::default()).await,
            Deed::DeletePod(number) => self.kubelet.delete_pod(number).await,
            Deed::LoseNode(number) => self.kubelet.lose_node(number).await,
            Deed::Pool(change) => self.change(change).await,
        }
    }

    async fn change(&self, change: Change) {
        let pools: Api<WorkerPool> = self.namespace.api();
        let spec = match change {
            Change::Scale { min, max, surge } => {
                json!({"replicas": {"min": min, "max": max, "surge": surge}})
            }
            Change::Template(number) => {
                json!({"template": {"spec": {"containers": [{"name": "worker", "image": format!("worker:{number}")}]}}})
            }
            Change::MaxJobs(most) => json!({"maxJobsPerWorker": most}),
            Change::Remake => {
                pools.delete(POOL, &DeleteParams::default()).await.expect("the API server deletes a pool");
                return create_pool(self.namespace, self.batch_size)
                    .await
                    .expect("the API server takes a pool");
            }
        };
        let patch = Patch::Merge(json!({"spec": spec}));
        pools
            .patch(POOL, &PatchParams::default(), &patch)
            .await
            .expect("the API server takes a change of the pool");
    }

    async fn patch(&self, job: usize, spec: Value) {
        let patch = Patch::Merge(json!({"spec": spec}));
        let _ = self.jobs().patch(&name(job), &PatchParams::default(), &patch).await;
    }

    fn jobs(&self) -> Api<GenerationJob> {
        self.namespace.api()
    }
}

fn name(number: usize) -> String {
    format!("job-{number}")
}
