//! The world against a simulated API server whose watches lag, whose answers get lost, and whose workers misbehave.

mod batches;
mod circuit;
mod farewell;
mod rollout;
mod sim;
mod starts;

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, Time};
use kube::runtime::watcher::Event;
use proptest::collection::vec;
use proptest::prelude::*;
use trellis_crds::conditions::{self, STALLED};
use trellis_crds::labels::{DEAD_LETTER, DEAD_LETTER_RETRY};
use trellis_crds::{FailureReason, GenerationJob, Outcome, Phase};

use super::*;
use crate::apply::ApplyError;
use crate::observe::Observed;
use crate::plan::Decision;
use crate::pressure::MOST_IN_FLIGHT;
use crate::time::seconds_after;
use sim::{MAX_WORKERS, SURGE, Sim, in_state, is_over, respec};

/// What happens next. Numbers choose among what is there.
#[derive(Clone, Debug)]
enum Op {
    CreateJob {
        priority: i32,
    },
    DeleteJob(usize),
    Cancel(usize),
    Suspend(usize, bool),
    /// Somebody asks for another try.
    Retry(usize),
    Report(usize, Outcome, Option<FailureReason>),
    PodReady(usize),
    PodUnready(usize),
    PodGone(usize),
    PodCrashed(usize),
    /// The watch delivers so many events.
    Deliver(usize),
    /// One request is carried out and answered.
    Answer(usize),
    /// One request is lost on its way.
    Lose(usize),
    /// One write is carried out, but its answer is lost.
    LoseAnswer(usize),
    /// One write times out and may be carried out later.
    Delay(usize),
    /// One write that timed out is carried out.
    Land(usize),
    /// Another leader that knows of no successor gives a job to a worker.
    Intrude(usize),
    Pass(i32),
    /// Somebody sets the API server's clock.
    Jump(i32),
    /// The pool's template changes.
    Retemplate,
    /// Another replica takes over, with the caches as they are, and lists what runs.
    TakeOver,
    /// Its lists are answered.
    Lead,
    Restart,
}

fn op() -> impl Strategy<Value = Op> {
    let any = 0..8_usize;
    let reason = prop::sample::select(vec![
        FailureReason::Transient,
        FailureReason::InvalidInput,
        FailureReason::Internal,
    ]);
    prop_oneof![
        4 => (-1..2_i32).prop_map(|priority| Op::CreateJob { priority }),
        1 => any.clone().prop_map(Op::DeleteJob),
        1 => any.clone().prop_map(Op::Cancel),
        1 => (any.clone(), prop::bool::ANY).prop_map(|(job, held)| Op::Suspend(job, held)),
        1 => any.clone().prop_map(Op::Retry),
        3 => any.clone().prop_map(|job| Op::Report(job, Outcome::Succeeded, None)),
        2 => (any.clone(), reason).prop_map(|(job, why)| Op::Report(job, Outcome::Failed, Some(why))),
        1 => any.clone().prop_map(|job| Op::Report(job, Outcome::HandedBack, None)),
        4 => any.clone().prop_map(Op::PodReady),
        1 => any.clone().prop_map(Op::PodUnready),
        1 => any.clone().prop_map(Op::PodGone),
        1 => any.clone().prop_map(Op::PodCrashed),
        6 => (1..5_usize).prop_map(Op::Deliver),
        8 => any.clone().prop_map(Op::Answer),
        1 => any.clone().prop_map(Op::Lose),
        2 => any.clone().prop_map(Op::LoseAnswer),
        2 => any.clone().prop_map(Op::Delay),
        2 => any.clone().prop_map(Op::Land),
        2 => any.prop_map(Op::Intrude),
        2 => (1..20_i32).prop_map(Op::Pass),
        1 => (-100_000..100_000_i32).prop_map(Op::Jump),
        1 => Just(Op::Retemplate),
        1 => Just(Op::TakeOver),
        2 => Just(Op::Lead),
        1 => Just(Op::Restart),
    ]
}

impl Sim {
    fn act(&mut self, op: Op) {
        match op {
            Op::CreateJob { priority } => self.create_job(priority),
            Op::DeleteJob(n) => self.with_job(n, |_| None),
            Op::Cancel(n) => self.with_job(n, |job| Some(respec(job, |spec| spec.cancel = true))),
            Op::Suspend(n, held) => self.with_job(n, |job| Some(respec(job, |spec| spec.suspend = held))),
            Op::Retry(n) => self.with_job(n, |job| Some(labelled(job, DEAD_LETTER_RETRY))),
            Op::Report(n, outcome, reason) => self.report(n, outcome, reason),
            Op::PodReady(n) => self.with_pod(n, |pod| Some(in_state(pod, "Running", true))),
            Op::PodUnready(n) => self.with_pod(n, |pod| Some(in_state(pod, "Running", false))),
            Op::PodGone(n) => self.with_pod(n, |_| None),
            Op::PodCrashed(n) => self.with_pod(n, |pod| Some(in_state(pod, "Failed", false))),
            Op::Deliver(n) => self.deliver(n),
            Op::Answer(n) => self.answer(n),
            Op::Lose(n) => self.lose(n),
            Op::LoseAnswer(n) => self.lose_answer(n),
            Op::Delay(n) => self.delay(n),
            Op::Land(n) => self.land(n),
            Op::Intrude(n) => self.intrude(n),
            Op::Pass(seconds) => self.elapse(seconds),
            Op::Jump(seconds) => self.wall = seconds_after(self.wall, seconds),
            Op::Retemplate => self.retemplate(),
            Op::TakeOver => self.take_over(),
            Op::Lead => self.lead(),
            Op::Restart => self.restart(),
        }
        self.plan();
    }

    fn check(&self) -> Result<(), TestCaseError> {
        let mut taken = BTreeMap::new();
        let intrudes = |job: &&GenerationJob| self.intruders.contains(job.metadata.name.as_ref().unwrap());
        let runs = self.jobs.values().filter(|job| job.phase() == Phase::Processing);
        for job in runs.filter(|job| !intrudes(job)) {
            let worker = &job.assignment().unwrap().pod_uid;
            let jobs: &mut Vec<_> = taken.entry(worker).or_default();
            let job = crate::validate::Job::new(job.clone()).unwrap();
            let together = jobs.iter().all(|other| job.is_together_with(other));
            jobs.push(job);
            prop_assert!(together && jobs.len() <= self.batch_size(), "{worker} has {jobs:?}");
        }
        let pods = self.pods.values().filter(|pod| !is_over(pod)).count();
        prop_assert!(pods <= MAX_WORKERS + SURGE, "{pods} pods");
        Ok(())
    }

    fn batch_size(&self) -> usize {
        self.pool.spec.batch_size.try_into().unwrap()
    }

    fn is_at_rest(&self) -> bool {
        let done = self.jobs.values().all(GenerationJob::is_finished) && self.pods.is_empty();
        done && self.events.is_empty() && self.requests.is_empty() && self.world.next_time().is_none()
    }

    /// Everything works: answers come, pods start, jobs complete.
    fn calm_round(&mut self) -> Result<(), TestCaseError> {
        self.lead();
        self.late.clear();
        self.quiesce();
        // As long as a write that failed may wait to be repeated.
        self.elapse(16);
        self.quiesce();
        self.intruders.clear();
        self.check()?;
        let (jobs, pods) = (self.jobs.len(), self.pods.len());
        for n in 0..pods {
            self.with_pod(n, |pod| Some(if is_over(&pod) { pod } else { in_state(pod, "Running", true) }));
        }
        for n in 0..jobs {
            self.with_job(n, |job| Some(respec(job, |spec| spec.suspend = false)));
            self.report(n, Outcome::Succeeded, None);
        }
        self.elapse(5);
        self.plan();
        Ok(())
    }
}

proptest! {
    #[test]
    fn whatever_happens_no_worker_gets_two_batches_and_in_the_end_all_is_done_and_quiet(
        ops in vec(op(), 1..80), surge in 0..=1_i32, batch_size in 1..4_i32,
    ) {
        let mut sim = Sim::new();
        // So that workers which do not start are given up meanwhile.
        sim.change_pool(|spec| (spec.start_seconds, spec.replicas.surge, spec.batch_size) = (60, surge, batch_size));
        for op in ops {
            sim.act(op);
            sim.check()?;
        }
        for _ in 0..300 {
            sim.calm_round()?;
            sim.check()?;
            if sim.is_at_rest() {
                break;
            }
        }
        for job in sim.jobs.values() {
            prop_assert!(job.is_finished(), "{:?}\n{:?}\n{:?}", job.status, sim.pool.status, sim.pods.keys());
        }
        prop_assert!(sim.pods.is_empty(), "not at the minimum: {:?}", sim.pods.keys());
        let writes = sim.writes;
        for _ in 0..3 {
            sim.elapse(100_000);
            sim.plan();
            prop_assert!(sim.requests.is_empty(), "{:?}", sim.requests);
        }
        sim.restart();
        sim.plan();
        prop_assert!(sim.requests.is_empty(), "after a restart: {:?}", sim.requests);
        prop_assert_eq!(sim.writes, writes);
    }
}

#[test]
fn the_higher_priority_goes_first_and_then_the_older() {
    let mut sim = Sim::new();
    for priority in [0, 0, 5] {
        sim.act(Op::CreateJob { priority });
        sim.now = seconds_after(sim.now, 1);
    }
    let mut order = Vec::new();
    for _ in 0..40 {
        sim.deliver(usize::MAX);
        sim.plan();
        while !sim.requests.is_empty() {
            sim.answer(0);
        }
        // One worker only.
        sim.with_pod(0, |pod| Some(in_state(pod, "Running", true)));
        for (n, job) in sim.jobs.clone().into_values().enumerate() {
            if job.phase() == Phase::Processing {
                order.push(job.spec.priority * 10 + i32::try_from(n).unwrap());
                sim.report(n, Outcome::Succeeded, None);
            }
        }
    }
    assert_eq!(order, [52, 0, 1]);
}

impl Sim {
    /// The watch delivers all there is, and requests are answered until there is none.
    fn quiesce(&mut self) {
        self.deliver(usize::MAX);
        self.plan();
        while !self.requests.is_empty() {
            self.answer(0);
            self.plan();
            self.deliver(usize::MAX);
        }
    }

    /// A job and the one worker that runs it.
    fn with_a_job_that_runs() -> Self {
        let mut sim = Self::new();
        sim.create_job(1);
        sim.quiesce();
        sim.with_pod(0, |pod| Some(in_state(pod, "Running", true)));
        sim.quiesce();
        assert_eq!(sim.jobs.values().next().unwrap().phase(), Phase::Processing);
        sim
    }

    /// Carries out the only request that matches; the answer is still on its way.
    fn carry_out_the(&mut self, matches: fn(&Action) -> bool) -> Applied {
        let request = self.requests.iter().position(matches);
        let request = request.unwrap_or_else(|| panic!("{:?}", self.requests));
        let request = self.requests.remove(request);
        self.carry_out(request)
    }

    fn asks_for(&self, matches: fn(&Action) -> bool) -> bool {
        self.requests.iter().any(matches)
    }
}

fn labelled(mut job: GenerationJob, value: &str) -> GenerationJob {
    job.metadata.labels.get_or_insert_default().insert(DEAD_LETTER.into(), value.into());
    job
}

fn assigns(action: &Action) -> bool {
    matches!(action, Action::Decide { decision: Decision::Assign(_), .. })
}

fn creates(action: &Action) -> bool {
    matches!(action, Action::CreateWorker { .. })
}

fn deletes(action: &Action) -> bool {
    matches!(action, Action::DeleteWorker { .. })
}

#[test]
fn nothing_is_remembered_of_workers_that_are_gone() {
    let mut sim = Sim::with_a_job_that_runs();
    sim.with_pod(0, |_| None);
    sim.quiesce();
    assert!(sim.world.loads.is_empty(), "{:?}", sim.world.loads);
    sim.with_pod(0, |pod| Some(in_state(pod, "Running", true)));
    sim.quiesce();
    sim.report(0, Outcome::Succeeded, None);
    sim.with_pod(0, |_| None);
    sim.quiesce();
    sim.restart();
    assert!(sim.world.loads.is_empty(), "{:?}", sim.world.loads);
}

#[test]
fn a_deleted_job_frees_its_worker() {
    let mut sim = Sim::with_a_job_that_runs();
    sim.act(Op::DeleteJob(0));
    sim.act(Op::CreateJob { priority: 0 });
    sim.act(Op::Deliver(9));
    assert!(sim.asks_for(assigns), "{:?}", sim.requests);
}

#[test]
fn a_job_that_a_finalizer_keeps_frees_its_worker_too() {
    let mut sim = Sim::with_a_job_that_runs();
    let now = sim.now;
    sim.with_job(0, |mut job| {
        job.metadata.deletion_timestamp = Some(Time(now));
        Some(job)
    });
    sim.act(Op::CreateJob { priority: 0 });
    sim.act(Op::Deliver(9));
    assert!(sim.asks_for(assigns), "{:?}", sim.requests);
}

#[test]
fn an_answer_that_comes_after_the_jobs_deletion_brings_it_not_back() {
    let mut sim = Sim::with_a_job_that_runs();
    sim.report(0, Outcome::Succeeded, None);
    sim.create_job(0);
    sim.deliver(usize::MAX);
    sim.plan();
    let late = sim.carry_out_the(assigns);
    sim.with_job(1, |_| None);
    sim.deliver(usize::MAX);
    sim.world.settle(late, sim.now);
    sim.act(Op::CreateJob { priority: 0 });
    sim.act(Op::Deliver(9));
    assert!(sim.asks_for(assigns), "{:?}", sim.requests);
}

#[test]
fn an_answer_that_comes_after_the_workers_end_brings_it_not_back() {
    let mut sim = Sim::new();
    sim.create_job(0);
    sim.deliver(usize::MAX);
    sim.plan();
    let late = sim.carry_out_the(creates);
    sim.with_pod(0, |_| None);
    sim.deliver(usize::MAX);
    sim.world.settle(late, sim.now);
    sim.plan();
    assert!(sim.asks_for(creates), "{:?}", sim.requests);
}

#[test]
fn a_worker_that_the_watch_shows_before_its_creation_is_answered_is_not_too_many() {
    let mut sim = Sim::new();
    sim.pool.spec.replicas.max = 1;
    sim.restart();
    sim.create_job(0);
    sim.deliver(usize::MAX);
    sim.plan();
    let answer = sim.carry_out_the(creates);
    sim.deliver(usize::MAX);
    sim.plan();
    assert!(!sim.asks_for(deletes), "{:?}", sim.requests);
    sim.world.settle(answer, sim.now);
    sim.plan();
    assert!(!sim.asks_for(deletes) && !sim.asks_for(creates), "{:?}", sim.requests);
}

#[test]
fn a_worker_that_cannot_be_deleted_is_not_asked_for_at_once_again() {
    let mut sim = Sim::with_a_job_that_runs();
    sim.report(0, Outcome::Succeeded, None);
    sim.quiesce();
    sim.now = seconds_after(sim.now, 100);
    sim.plan();
    assert!(sim.asks_for(deletes), "{:?}", sim.requests);
    let refused = |sim: &mut Sim| {
        let request = sim.requests.iter().position(deletes).unwrap();
        sim.lose(request);
        sim.plan();
    };
    refused(&mut sim);
    assert!(!sim.asks_for(deletes), "a write storm: {:?}", sim.requests);
    sim.now = sim.world.next_time().unwrap();
    sim.plan();
    assert!(sim.asks_for(deletes), "{:?}", sim.requests);
}

#[test]
fn a_job_that_came_too_late_for_a_worker_that_ended_in_order_is_not_to_blame() {
    for (code, failures) in [(trellis_crds::EXIT_FAULTY, 0), (134, 1)] {
        let mut sim = Sim::with_a_job_that_runs();
        sim.with_pod(0, |mut pod| {
            let ended = serde_json::json!({"phase": "Failed", "containerStatuses": [{
                "name": "worker", "image": "", "imageID": "", "ready": false, "restartCount": 0,
                "state": {"terminated": {"exitCode": code}},
            }]});
            pod.status = serde_json::from_value(ended).unwrap();
            Some(pod)
        });
        sim.quiesce();
        assert_eq!(sim.jobs.values().next().unwrap().status.as_ref().unwrap().failures, failures, "{code}");
    }
}

#[test]
fn a_worker_that_somebody_gives_to_another_pool_counts_there_alone() {
    let mut sim = Sim::with_a_job_that_runs();
    for change in [Some("other"), None, Some("image")] {
        sim.with_pod(0, |mut pod| {
            let owner = &mut pod.metadata.owner_references.as_mut().unwrap()[0];
            owner.name = change?.into();
            Some(pod)
        });
        sim.deliver(usize::MAX);
        let busy = |pool: &str| sim.world.indexes.get(&Key::new("a", pool)).map_or(0, |index| index.busy);
        assert_eq!((busy("image"), busy("other")), (0, usize::from(change == Some("other"))), "{change:?}");
    }
}

#[test]
fn a_pod_on_a_node_that_does_not_answer_holds_its_place_only_until_it_should_be_gone() {
    let mut sim = Sim::with_a_job_that_runs();
    sim.pool.spec.replicas.max = 1;
    sim.restart();
    let grace_ends = seconds_after(sim.now, 30);
    sim.with_pod(0, |mut pod| {
        pod.metadata.deletion_timestamp = Some(Time(grace_ends));
        Some(pod)
    });
    sim.quiesce();
    assert_eq!(sim.pods.len(), 1, "its device may be in use");
    while sim.pods.len() < 2 {
        sim.now = sim.world.next_time().expect("the job would wait for as long as the node is away");
        sim.plan();
        sim.quiesce();
    }
    assert!(sim.now > grace_ends);
}

fn without_an_answer(applied: Applied) -> Applied {
    let unknown = || ApplyError::Unknown("timed out".to_owned().into());
    match applied {
        Applied::WorkerCreated { pool, name, .. } => {
            Applied::WorkerCreated { pool, name, result: Err(unknown()) }
        }
        Applied::WorkerDeleted { uid, .. } => Applied::WorkerDeleted { uid, result: Err(unknown()) },
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_creation_without_an_answer_makes_no_second_pod() {
    let mut sim = Sim::new();
    sim.create_job(0);
    sim.deliver(usize::MAX);
    sim.plan();
    let made = sim.carry_out_the(creates);
    sim.world.settle(without_an_answer(made), sim.now);
    // The watch lags.
    for _ in 0..5 {
        sim.now = seconds_after(sim.now, 5);
        sim.plan();
        while !sim.requests.is_empty() {
            sim.answer(0);
        }
    }
    assert_eq!(sim.pods.len(), 1);
}

#[test]
fn a_worker_whose_deletion_had_no_answer_gets_no_job_and_is_deleted() {
    let mut sim = Sim::with_a_job_that_runs();
    sim.report(0, Outcome::Succeeded, None);
    sim.quiesce();
    sim.now = seconds_after(sim.now, 100);
    sim.plan();
    let request = sim.requests.iter().position(deletes).unwrap();
    sim.lose(request);
    sim.create_job(0);
    sim.deliver(usize::MAX);
    sim.plan();
    assert!(!sim.asks_for(assigns), "its pod may end at any time: {:?}", sim.requests);
    sim.now = seconds_after(sim.now, 5);
    sim.plan();
    assert!(sim.asks_for(deletes), "{:?}", sim.requests);
}

#[test]
fn a_worker_that_is_well_takes_no_delay_from_others_that_crash_at_their_start() {
    let mut sim = Sim::with_a_job_that_runs();
    sim.create_job(0);
    sim.quiesce();
    let starting = sim.pods.values().position(|pod| pod.status.is_none()).unwrap();
    sim.with_pod(starting, |pod| Some(in_state(pod, "Failed", false)));
    // The first one is heard of again.
    let well = sim.pods.values().position(|pod| !is_over(pod)).unwrap();
    sim.with_pod(well, |mut pod| {
        pod.metadata.labels.get_or_insert_default().insert("seen".into(), "again".into());
        Some(pod)
    });
    sim.deliver(usize::MAX);
    sim.plan();
    assert!(!sim.asks_for(creates), "without a delay: {:?}", sim.requests);
}

#[test]
fn the_workers_of_a_pool_that_was_made_anew_get_no_job_of_the_next() {
    let mut sim = Sim::with_a_job_that_runs();
    sim.report(0, Outcome::Succeeded, None);
    sim.quiesce();
    sim.pool.metadata.uid = Some("another".into());
    sim.restart();
    sim.create_job(0);
    sim.deliver(usize::MAX);
    sim.plan();
    assert!(!sim.asks_for(assigns), "{:?}", sim.requests);
    assert!(sim.asks_for(deletes), "{:?}", sim.requests);
}

#[test]
fn a_worker_is_not_given_away_while_an_assignment_to_it_may_still_be_carried_out() {
    let mut sim = Sim::with_a_job_that_runs();
    sim.pool.spec.replicas.max = 1;
    sim.restart();
    sim.report(0, Outcome::Succeeded, None);
    sim.create_job(0);
    sim.create_job(0);
    sim.deliver(usize::MAX);
    sim.plan();
    for _ in 0..3 {
        assert_eq!(sim.requests.iter().filter(|action| assigns(action)).count(), 1, "{:?}", sim.requests);
        let request = sim.requests.iter().position(assigns).unwrap();
        sim.requests.drain(..request);
        sim.act(Op::Delay(0));
        assert!(!sim.asks_for(assigns), "a write storm: {:?}", sim.requests);
        sim.now = sim.world.next_time().unwrap();
        sim.plan();
    }
    sim.act(Op::Land(0));
    sim.check().unwrap();
    sim.quiesce();
    sim.check().unwrap();
    let runs = sim.jobs.values().filter(|job| job.phase() == Phase::Processing);
    assert_eq!(runs.count(), 1);
}

#[test]
fn what_went_while_a_new_leader_listed_what_runs_does_not_come_back() {
    let mut sim = Sim::with_a_job_that_runs();
    sim.take_over();
    sim.with_pod(0, |_| None);
    sim.with_job(0, |_| None);
    sim.deliver(usize::MAX);
    sim.lead();
    assert!(sim.world.jobs.is_empty() && sim.world.workers.is_empty(), "{:?}", sim.world);
}

#[test]
fn a_new_leader_lists_what_runs_again_when_a_watch_did_so_meanwhile() {
    let mut sim = Sim::with_a_job_that_runs();
    sim.take_over();
    sim.world.observe(Observed::Worker(Event::Init), sim.now);
    assert!(!sim.world.may_catch_up(), "which list is the newer one?");
    sim.world.observe(Observed::Worker(Event::InitDone), sim.now);
    let listed_before = sim.caught_up.take().unwrap();
    assert!(!sim.world.end_catch_up(listed_before, sim.now));
    assert!(sim.world.workers.is_empty(), "the pod went before the watch listed");
}

#[test]
fn a_job_that_a_former_leader_gave_to_a_worker_that_has_one_is_taken_back() {
    let mut sim = Sim::with_a_job_that_runs();
    sim.create_job(0);
    sim.deliver(usize::MAX);
    sim.plan();
    let taken = sim.jobs.values().next().unwrap().status.clone();
    sim.now = seconds_after(sim.now, 1);
    let now = MicroTime(sim.now);
    sim.with_job(1, |mut job| {
        job.status = taken;
        job.status.as_mut().unwrap().assignment.as_mut().unwrap().time = now;
        Some(job)
    });
    assert!(sim.check().is_err(), "the worker has both");
    sim.quiesce();
    sim.check().unwrap();
    let [first, second] = [0, 1].map(|n| sim.jobs.values().nth(n).unwrap());
    assert_eq!((first.phase(), second.phase()), (Phase::Processing, Phase::Pending));
    assert_eq!(second.status.as_ref().unwrap().failures, 0);
    assert!(sim.pods.values().all(|pod| !is_over(pod)), "the worker is not to blame");
}

fn explains(action: &Action) -> bool {
    matches!(action, Action::Decide { decision: Decision::Explain { .. }, .. })
}

#[test]
fn a_long_queue_is_explained_once_as_there_is_room_and_looked_at_no_more_often() {
    let mut sim = Sim::new();
    (0..200).for_each(|_| sim.create_job(0));
    sim.quiesce();
    sim.elapse(1);
    sim.plan();
    let mut explained = 0;
    while sim.asks_for(explains) {
        assert!(sim.requests.len() <= MOST_IN_FLIGHT / 2, "no room for others: {}", sim.requests.len());
        let next = sim.world.next_time();
        assert!(
            next.is_none_or(|next| next > seconds_after(sim.now, 1)),
            "it looks again and again: {next:?}"
        );
        let request = sim.requests.iter().position(explains).unwrap();
        sim.answer(request);
        explained += 1;
        sim.plan();
    }
    assert_eq!(explained, 200);
}

#[test]
fn a_reason_for_waiting_is_told_when_it_stays_and_not_whenever_it_comes_and_goes() {
    let mut sim = Sim::new();
    (0..10).for_each(|_| sim.create_job(0));
    sim.quiesce();
    sim.elapse(1);
    sim.quiesce();
    let unplaced = |sim: &mut Sim, unplaced: bool| {
        let scheduled = if unplaced { "False" } else { "True" };
        let condition =
            serde_json::json!({"type": "PodScheduled", "status": scheduled, "reason": "Unschedulable"});
        sim.with_pod(0, |mut pod| {
            pod.status = serde_json::from_value(serde_json::json!({"conditions": [condition]})).unwrap();
            Some(pod)
        });
        sim.deliver(usize::MAX);
        sim.plan();
    };
    for _ in 0..5 {
        for is in [true, false] {
            unplaced(&mut sim, is);
            sim.elapse(4);
            sim.plan();
            assert!(!sim.asks_for(explains), "{:?}", sim.requests);
        }
    }
    unplaced(&mut sim, true);
    sim.elapse(10);
    sim.plan();
    assert_eq!(sim.requests.iter().filter(|action| explains(action)).count(), 10, "{:?}", sim.requests);
}

proptest! {
    #[test]
    fn a_job_is_passed_by_no_job_that_comes_more_minutes_later_than_its_priority_is_higher(
        arrivals in vec((0..200_i32, -3..4_i32), 1..20),
    ) {
        let mut sim = Sim::new();
        for (pause, priority) in arrivals {
            sim.elapse(pause);
            sim.create_job(priority);
        }
        sim.deliver(usize::MAX);
        sim.plan();
        let (_, index) = sim.world.indexes.first_key_value().unwrap();
        let jobs: Vec<_> = index.queue.iter().map(|place| &sim.jobs[&*place.uid]).collect();
        prop_assert_eq!(jobs.len(), sim.jobs.len());
        for (n, job) in jobs.iter().enumerate() {
            for passed in &jobs[n..] {
                let created = |job: &GenerationJob| job.metadata.creation_timestamp.clone().unwrap().0;
                let steps = job.spec.priority - passed.spec.priority;
                prop_assert!(created(job) <= seconds_after(created(passed), 60 * steps));
            }
        }
    }
}

#[test]
fn a_job_of_low_priority_starts_within_its_bound_whatever_comes_after() {
    let mut sim = Sim::with_a_job_that_runs();
    sim.pool.spec.replicas.max = 1;
    sim.restart();
    sim.create_job(-2);
    let low = sim.jobs.keys().last().unwrap().clone();
    let mut waited = 0;
    while sim.jobs[&low].phase() == Phase::Pending {
        // One comes as one ends.
        sim.create_job(0);
        (0..sim.jobs.len()).for_each(|n| sim.report(n, Outcome::Succeeded, None));
        sim.quiesce();
        sim.elapse(5);
        waited += 5;
        assert!(waited <= 130, "it starves");
    }
    assert!(waited >= 120, "those of a higher priority go first: {waited}");
}

#[test]
fn a_job_that_failed_for_good_is_tried_again_by_one_label() {
    let mut sim = Sim::with_a_job_that_runs();
    sim.report(0, Outcome::Failed, Some(FailureReason::InvalidInput));
    sim.quiesce();
    let job = |sim: &Sim| sim.jobs.values().next().unwrap().clone();
    assert_eq!(job(&sim).metadata.labels.unwrap()[DEAD_LETTER], "true");
    sim.with_job(0, |job| Some(labelled(job, DEAD_LETTER_RETRY)));
    sim.quiesce();
    let again = job(&sim);
    assert_eq!((again.phase(), again.assignment().map(|at| at.attempt)), (Phase::Processing, Some(2)));
    assert_eq!(again.metadata.labels.as_ref().unwrap().get(DEAD_LETTER), None);
    let status = again.status.unwrap();
    assert_eq!((status.failures, status.attempts.len(), &status.error), (0, 1, &None));
    assert!(!conditions::is_true(&status.conditions, STALLED));
    sim.report(0, Outcome::Succeeded, None);
    sim.quiesce();
    assert_eq!(job(&sim).phase(), Phase::Completed);
}

#[test]
fn of_the_jobs_that_completed_a_namespace_keeps_as_many_as_its_limit() {
    let mut sim = Sim::with_a_job_that_runs();
    sim.world = sim::world_with(&["--history-completed=1"]);
    sim.relist();
    for _ in 0..3 {
        sim.create_job(0);
        sim.quiesce();
        sim.elapse(1);
        (0..sim.jobs.len()).for_each(|n| sim.report(n, Outcome::Succeeded, None));
        sim.quiesce();
    }
    let ended: Vec<_> = sim.jobs.values().filter(|job| job.is_finished()).collect();
    assert_eq!(ended.len(), 1, "{:?}", sim.jobs.keys());
}

#[test]
fn an_estimate_comes_from_the_last_runs_and_costs_no_write_of_its_own() {
    let mut sim = Sim::with_a_job_that_runs();
    sim.pool.spec.replicas.max = 1;
    sim.restart();
    let estimate = |sim: &Sim, n: usize| {
        let status = sim.jobs.values().nth(n).unwrap().status.clone().unwrap();
        status.estimated_completion_time.map(|time| time.0)
    };
    assert_eq!(estimate(&sim, 0), None, "nothing is known yet");
    sim.elapse(30);
    sim.report(0, Outcome::Succeeded, None);
    sim.quiesce();
    let (begin, writes) = (sim.now, sim.writes);
    (0..3).for_each(|_| sim.create_job(0));
    sim.quiesce();
    sim.elapse(1);
    sim.quiesce();
    let phases: Vec<_> = sim.jobs.values().map(GenerationJob::phase).collect();
    let of = |phase| (0..4).filter(|n| phases[*n] == phase).collect::<Vec<_>>();
    let (runs, wait) = (of(Phase::Processing), of(Phase::Pending));
    assert_eq!(estimate(&sim, runs[0]), Some(seconds_after(begin, 30)));
    // Two that wait, for one worker.
    assert_eq!(estimate(&sim, wait[0]), Some(seconds_after(begin, 1 + 30 * 3)));
    assert_eq!(sim.requests.len(), 0);
    // One assignment, two explanations, and the pool's status.
    assert!(sim.writes <= writes + 4, "{} writes", sim.writes - writes);
    sim.with_job(wait[0], |job| Some(respec(job, |spec| spec.suspend = true)));
    sim.quiesce();
    assert_eq!(estimate(&sim, wait[0]), None);
}
