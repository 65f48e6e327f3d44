//! Workers that are told to end while they have a job.

use super::*;

/// A worker with a job is told to end within half a minute.
fn with_a_worker_that_ends() -> Sim {
    let mut sim = Sim::with_a_job_that_runs();
    let end = seconds_after(sim.now, 30);
    sim.with_pod(0, |mut pod| {
        pod.metadata.deletion_timestamp = Some(Time(end));
        pod.metadata.deletion_grace_period_seconds = Some(30);
        Some(pod)
    });
    sim.quiesce();
    sim
}

fn attempts(sim: &Sim) -> Vec<Outcome> {
    let status = sim.jobs.values().next().unwrap().status.clone().unwrap();
    status.attempts.iter().map(|attempt| attempt.outcome).collect()
}

#[test]
fn a_job_is_not_taken_from_a_worker_that_ends_before_it_hands_it_back() {
    let mut sim = with_a_worker_that_ends();
    sim.now = seconds_after(sim.now, 29);
    sim.quiesce();
    assert_eq!(attempts(&sim), [], "the worker may still be at it");
    sim.report(0, Outcome::HandedBack, None);
    sim.quiesce();
    assert_eq!(attempts(&sim), [Outcome::HandedBack]);
    assert_eq!(sim.jobs.values().next().unwrap().phase(), Phase::Pending);
}

#[test]
fn a_job_is_lost_when_the_worker_that_ends_is_gone_or_its_grace_period_over() {
    let mut sim = with_a_worker_that_ends();
    sim.with_pod(0, |_| None);
    sim.quiesce();
    assert_eq!(attempts(&sim), [Outcome::Lost]);
    let mut sim = with_a_worker_that_ends();
    sim.now = sim.world.next_time().unwrap();
    sim.plan();
    sim.quiesce();
    assert_eq!(attempts(&sim), [Outcome::Lost]);
    assert_eq!(sim.now, seconds_after("2026-01-01T00:00:00Z".parse().unwrap(), 30));
}
