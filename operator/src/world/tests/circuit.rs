//! Pools whose workers fail at one job after another.

use trellis_crds::conditions::{self, READY, SCHEDULED, STALLED, reason};

use super::*;

impl Sim {
    /// Three idle workers, and the circuit open after five failures. Eight jobs wait.
    fn with_an_open_circuit() -> Self {
        let mut sim = Self::new();
        sim.pool.spec.replicas.min = 3;
        sim.restart();
        sim.quiesce();
        for pod in 0..3 {
            sim.with_pod(pod, |pod| Some(in_state(pod, "Running", true)));
        }
        (0..8).for_each(|_| sim.create_job(0));
        while sim.pool.status.as_ref().is_none_or(|status| status.circuit.is_none()) {
            sim.quiesce();
            assert!(sim.runs() > 0, "{:?}", sim.pool.status);
            sim.fail_all();
        }
        sim.quiesce();
        sim
    }

    fn running(&self) -> Vec<usize> {
        let jobs = self.jobs.values().enumerate();
        jobs.filter(|(_, job)| job.phase() == Phase::Processing).map(|(n, _)| n).collect()
    }

    fn runs(&self) -> usize {
        self.running().len()
    }

    fn fail_all(&mut self) {
        for job in self.running() {
            self.report(job, Outcome::Failed, Some(FailureReason::Internal));
        }
        self.deliver(usize::MAX);
        self.plan();
        while !self.requests.is_empty() {
            self.answer(0);
        }
    }

    fn wait(&mut self, seconds: i32) {
        for _ in 0..seconds {
            self.now = seconds_after(self.now, 1);
            self.plan();
            self.quiesce();
        }
    }

    fn pool_says(&self, kind: &str) -> (bool, String) {
        let conditions = &self.pool.status.as_ref().unwrap().conditions;
        let reason = conditions::get(conditions, kind).unwrap().reason.clone();
        (conditions::is_true(conditions, kind), reason)
    }
}

#[test]
fn a_pool_whose_workers_fail_in_a_row_gives_no_jobs_out_and_says_so() {
    let mut sim = Sim::with_an_open_circuit();
    assert_eq!(sim.pool_says(READY), (false, reason::CIRCUIT_OPEN.to_owned()));
    assert_eq!(sim.pool_says(STALLED), (true, reason::CIRCUIT_OPEN.to_owned()));
    sim.wait(20);
    assert_eq!(sim.runs(), 0, "within the pause");
    let told = |job: &GenerationJob| {
        let status = job.status.as_ref().unwrap();
        conditions::get(&status.conditions, SCHEDULED).unwrap().reason == reason::CIRCUIT_OPEN
    };
    assert!(sim.jobs.values().any(told), "{:?}", sim.jobs.values());
}

#[test]
fn one_probe_runs_at_a_time_and_not_with_a_job_that_failed_itself() {
    let mut sim = Sim::with_an_open_circuit();
    sim.wait(30);
    assert_eq!(sim.runs(), 1, "a probe");
    let probe = sim.running()[0];
    assert_eq!(sim.jobs.values().nth(probe).unwrap().status.as_ref().unwrap().failures, 0);
    sim.wait(30);
    assert_eq!(sim.runs(), 1, "{:?}", sim.running());
    sim.fail_all();
    sim.wait(55);
    assert_eq!(sim.runs(), 0, "the pause is twice as long");
    sim.wait(10);
    assert_eq!(sim.runs(), 1);
}

#[test]
fn a_probe_that_works_closes_the_circuit() {
    let mut sim = Sim::with_an_open_circuit();
    sim.wait(30);
    let probe = sim.running()[0];
    sim.report(probe, Outcome::Succeeded, None);
    sim.wait(1);
    assert_eq!(sim.runs(), 3, "all workers have jobs");
    assert_eq!(sim.pool.status.as_ref().unwrap().circuit, None);
    assert!(!sim.pool_says(STALLED).0);
}

#[test]
fn a_pool_with_no_job_to_try_takes_new_ones_after_the_pause() {
    let mut sim = Sim::with_an_open_circuit();
    while !sim.jobs.is_empty() {
        sim.with_job(0, |_| None);
    }
    sim.wait(20);
    assert_eq!(sim.pool_says(READY).1, reason::CIRCUIT_OPEN);
    sim.wait(10);
    assert_eq!(
        sim.pool_says(READY),
        (true, reason::WORKERS_READY.to_owned()),
        "the API would refuse the probe"
    );
    sim.create_job(0);
    sim.create_job(0);
    sim.wait(1);
    assert_eq!(sim.runs(), 1);
    assert_eq!(sim.pool_says(READY).1, reason::CIRCUIT_OPEN);
}

#[test]
fn an_open_circuit_outlives_the_operator() {
    let mut sim = Sim::with_an_open_circuit();
    sim.restart();
    sim.wait(20);
    assert_eq!(sim.runs(), 0, "{:?}", sim.pool.status);
    sim.wait(10);
    assert_eq!(sim.runs(), 1);
    sim.restart();
    sim.wait(10);
    assert_eq!(sim.runs(), 1, "the probe is still running");
}
