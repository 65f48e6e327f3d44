//! Jobs that go to one worker together.

use trellis_crds::Quality;

use super::*;

/// A pool of one worker for batches of so many jobs, and its worker, which runs a job while others come.
fn busy(batch_size: i32) -> Sim {
    let mut sim = Sim::new();
    sim.change_pool(|spec| (spec.batch_size, spec.replicas.max) = (batch_size, 1));
    sim.create_job(1000);
    sim.quiesce();
    sim.with_pod(0, |pod| Some(in_state(pod, "Running", true)));
    sim.quiesce();
    sim
}

impl Sim {
    fn end_what_runs(&mut self, outcome: Outcome, reason: Option<FailureReason>) {
        (0..self.jobs.len()).for_each(|n| self.report(n, outcome, reason));
    }

    /// How many jobs run, and with how many together each says it was assigned.
    fn batches(&self) -> Vec<Option<i32>> {
        let runs = self.jobs.values().filter(|job| job.phase() == Phase::Processing);
        runs.map(|job| job.assignment().unwrap().batch).collect()
    }
}

#[test]
fn jobs_that_fit_go_to_one_worker_together() {
    let mut sim = busy(3);
    (0..5).for_each(|_| sim.create_job(0));
    sim.quiesce();
    assert_eq!(sim.batches(), [None], "whoever is there goes at once");
    sim.end_what_runs(Outcome::Succeeded, None);
    sim.quiesce();
    assert_eq!(sim.batches(), [Some(3); 3]);
    sim.elapse(20);
    sim.quiesce();
    assert_eq!(sim.batches(), [Some(3); 3], "none is taken back for the others");
    sim.end_what_runs(Outcome::Succeeded, None);
    sim.quiesce();
    assert_eq!(sim.batches(), [Some(2); 2]);
}

#[test]
fn jobs_that_do_not_fit_are_not_given_together() {
    let mut sim = busy(4);
    (0..3).for_each(|_| sim.create_job(0));
    let n = sim.jobs.values().position(|job| job.phase() == Phase::Pending).unwrap();
    sim.with_job(n, |job| Some(respec(job, |spec| spec.quality = Quality::Fast)));
    sim.end_what_runs(Outcome::Succeeded, None);
    sim.quiesce();
    assert_eq!(sim.batches(), [None]);
    sim.end_what_runs(Outcome::Succeeded, None);
    sim.quiesce();
    assert_eq!(sim.batches(), [Some(2); 2]);
}

#[test]
fn a_job_that_failed_once_runs_alone() {
    let mut sim = busy(4);
    (0..3).for_each(|_| sim.create_job(0));
    sim.end_what_runs(Outcome::Succeeded, None);
    sim.quiesce();
    assert_eq!(sim.batches(), [Some(3); 3]);
    sim.end_what_runs(Outcome::Failed, Some(FailureReason::Internal));
    sim.quiesce();
    sim.elapse(30);
    sim.quiesce();
    assert_eq!(sim.batches(), [None]);
}

#[test]
fn a_batch_that_fails_tells_as_much_of_the_workers_as_one_job() {
    let mut sim = busy(6);
    (0..6).for_each(|_| sim.create_job(0));
    sim.end_what_runs(Outcome::Succeeded, None);
    sim.quiesce();
    assert_eq!(sim.batches(), [Some(6); 6]);
    sim.end_what_runs(Outcome::Failed, Some(FailureReason::Internal));
    sim.quiesce();
    assert!(!sim.world.indexes.values().any(|index| index.circuit.is_open()));
}
