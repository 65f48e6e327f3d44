//! Decisions, one by one and as a whole.

mod rollout;
mod scaling;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use proptest::collection::vec;
use proptest::option::of;
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::json;
use trellis_crds::conditions::reason;
use trellis_crds::{
    Assignment, Attempt, FailureReason, GenerationJob, GenerationJobStatus, Outcome, Phase, WebhookStatus,
    labels,
};

use super::*;
use crate::status;
use crate::time::seconds_after;
use crate::validate::{Crash, Job};

const FAILURES: [Option<FailureReason>; 6] = [
    Some(FailureReason::InvalidInput),
    Some(FailureReason::Transient),
    Some(FailureReason::OutOfMemory),
    Some(FailureReason::Internal),
    Some(FailureReason::WorkerCrashed),
    None,
];

fn start() -> Timestamp {
    "2026-01-01T00:00:00Z".parse().unwrap()
}

fn object(spec: serde_json::Value) -> GenerationJob {
    let mut object: GenerationJob = serde_json::from_value(json!({
        "apiVersion": "trellis3d.dev/v1alpha1", "kind": "GenerationJob",
        "metadata": {
            "name": "cup", "namespace": "a", "uid": "job-1", "resourceVersion": "1", "generation": 1,
            "creationTimestamp": "2026-01-01T00:00:00Z",
        },
        "spec": {"input": {"image": {"sources": [{"uri": "gs://b/cup.png"}]}}},
    }))
    .unwrap();
    let mut full = serde_json::to_value(&object.spec).unwrap();
    full.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
    object.spec = serde_json::from_value(full).unwrap();
    object
}

fn waits_for_workers() -> Situation {
    let waiting = Waiting { reason: reason::NO_IDLE_WORKER, message: "All workers are busy.".into() };
    let held = Held { since: start(), from_the_start: true };
    Situation {
        waiting: Ok(waiting),
        done_in: None,
        worker: Fate::Alive,
        worker_taken: false,
        held,
        waiting_since: start(),
        ended: None,
        is_surplus: false,
    }
}

fn attempt(number: i32, outcome: Outcome, reason: Option<FailureReason>, end: Timestamp) -> Attempt {
    let (start, end) = (MicroTime(start()), MicroTime(end));
    Attempt {
        number,
        worker: "image-1".into(),
        start,
        end,
        outcome,
        reason,
        message: Some("it broke".into()),
    }
}

fn assignment(attempt: i32, time: Timestamp) -> Assignment {
    let (pool, worker, pod_uid) = ("image".into(), "image-1".into(), "pod-1".into());
    Assignment { pool, worker, pod_uid, attempt, time: MicroTime(time), batch: None }
}

/// A job whose first attempt is assigned and ended so.
fn after_attempt(spec: serde_json::Value, outcome: Outcome, reason: Option<FailureReason>) -> Job {
    let mut object = object(spec);
    object.status = Some(GenerationJobStatus {
        observed_generation: Some(1),
        phase: Some(Phase::Processing),
        assignment: Some(assignment(1, start())),
        attempts: vec![attempt(1, outcome, reason, start())],
        ..GenerationJobStatus::default()
    });
    Job::new(object).unwrap()
}

fn decided(job: &Job, decision: &Decision, now: Timestamp) -> Job {
    let mut object = (*job.object).clone();
    object.status = status::after(job, decision, now);
    Job::new(object).unwrap()
}

#[test]
fn a_lost_worker_costs_no_attempt_and_no_time() {
    for outcome in [Outcome::Lost, Outcome::HandedBack] {
        let lost = after_attempt(json!({"backoffLimit": 0}), outcome, None);
        let decision = job(&lost, &waits_for_workers(), start());
        assert!(matches!(decision, Decision::Requeue { .. }), "{decision:?}");
        let requeued = decided(&lost, &decision, start());
        assert_eq!(requeued.status().unwrap().failures, 0);
        let next = job(&requeued, &waits_for_workers(), start());
        assert!(matches!(next, Decision::Queue { .. }), "{next:?}");
    }
}

#[test]
fn an_invalid_input_is_never_tried_again() {
    let invalid =
        after_attempt(json!({"backoffLimit": 20}), Outcome::Failed, Some(FailureReason::InvalidInput));
    let decision = job(&invalid, &waits_for_workers(), start());
    let Decision::Fail { error, reason, .. } = &decision else { panic!("{decision:?}") };
    assert_eq!(
        (error.code.as_str(), error.retryable, *reason),
        ("InvalidInput", false, reason::INVALID_INPUT)
    );
}

#[test]
fn a_failed_attempt_is_followed_by_another_after_a_delay_and_no_sooner() {
    let failed = after_attempt(json!({"backoffLimit": 1}), Outcome::Failed, Some(FailureReason::Transient));
    let decision = job(&failed, &waits_for_workers(), start());
    assert!(matches!(decision, Decision::Retry { .. }), "{decision:?}");
    let backing_off = decided(&failed, &decision, start());
    let Decision::Idle { until: Some(until) } = job(&backing_off, &waits_for_workers(), start()) else {
        panic!()
    };
    assert!(
        until >= start() + SignedDuration::from_secs(2) && until <= start() + SignedDuration::from_secs(5)
    );
    assert!(matches!(
        job(&backing_off, &waits_for_workers(), until),
        Decision::Explain { .. } | Decision::Queue { .. }
    ));
}

#[test]
fn a_worker_whose_clock_is_wrong_holds_no_job_up() {
    let mut object = object(json!({"backoffLimit": 1}));
    let ahead = seconds_after(start(), 86_400);
    object.status = Some(GenerationJobStatus {
        phase: Some(Phase::Processing),
        assignment: Some(assignment(1, start())),
        attempts: vec![attempt(1, Outcome::Failed, Some(FailureReason::Transient), ahead)],
        ..GenerationJobStatus::default()
    });
    let failed = Job::new(object.clone()).unwrap();
    let backing_off = decided(&failed, &job(&failed, &waits_for_workers(), start()), start());
    let decision = job(&backing_off, &waits_for_workers(), seconds_after(start(), 7));
    assert!(!matches!(decision, Decision::Idle { .. }), "{decision:?}");

    let status = object.status.as_mut().unwrap();
    status.attempts.clear();
    let behind = json!({"stage": "sample", "percent": 5, "updatedAt": "2025-12-31T00:00:00.000000Z"});
    status.progress = Some(serde_json::from_value(behind).unwrap());
    let running = Job::new(object).unwrap();
    let decision = job(&running, &waits_for_workers(), seconds_after(start(), 400));
    assert!(matches!(decision, Decision::Idle { .. }), "{decision:?}");
}

#[test]
fn the_last_failure_within_the_limit_ends_the_job() {
    let failed = after_attempt(json!({"backoffLimit": 0}), Outcome::Failed, Some(FailureReason::Internal));
    let decision = job(&failed, &waits_for_workers(), start());
    let ended = decided(&failed, &decision, start());
    let status = ended.status().unwrap();
    assert_eq!((status.phase, status.failures), (Some(Phase::Failed), 1));
    assert_eq!(status.attempts.len(), 1, "the worker's own entry is the record");
    assert_eq!(job(&ended, &waits_for_workers(), start()), Decision::DeadLetter);
}

#[test]
fn a_worker_without_a_sign_of_life_loses_the_job_and_one_with_has_longer() {
    let mut object = object(json!({"deadlines": {"startSeconds": 10, "runSeconds": 100}}));
    let assigned = GenerationJobStatus {
        phase: Some(Phase::Processing),
        assignment: Some(assignment(1, start())),
        ..GenerationJobStatus::default()
    };
    object.status = Some(assigned);
    let silent = Job::new(object.clone()).unwrap();
    let decision = job(&silent, &waits_for_workers(), seconds_after(start(), 10));
    assert!(matches!(decision, Decision::Requeue { reason: reason::WORKER_LOST, .. }), "{decision:?}");
    let progress = json!({"stage": "sample", "percent": 5, "updatedAt": "2026-01-01T00:00:05.000000Z"});
    object.status.as_mut().unwrap().progress = Some(serde_json::from_value(progress).unwrap());
    let running = Job::new(object).unwrap();
    let end = seconds_after(start(), 100);
    let decision = job(&running, &waits_for_workers(), seconds_after(start(), 10));
    assert_eq!(decision, Decision::Idle { until: Some(end) });
    let decision = job(&running, &waits_for_workers(), end);
    assert!(matches!(decision, Decision::Retry { .. }), "{decision:?}");
}

#[test]
fn a_job_that_nobody_takes_in_time_fails() {
    let patient = Job::new(object(json!({"deadlines": {"queueSeconds": 60}}))).unwrap();
    let decision = job(&patient, &waits_for_workers(), seconds_after(start(), 60));
    let Decision::Fail { error, .. } = decision else { panic!("{decision:?}") };
    assert_eq!((error.code.as_str(), error.retryable), ("DeadlineExceeded", true));
}

#[test]
fn a_job_waits_for_its_worker_only_from_when_it_was_resumed() {
    let mut object = object(json!({"deadlines": {"queueSeconds": 60}, "suspend": true}));
    let fresh = Job::new(object.clone()).unwrap();
    object.status = decided(&fresh, &job(&fresh, &waits_for_workers(), start()), start()).status().cloned();
    object.spec.suspend = false;
    let resumed = Job::new(object.clone()).unwrap();
    let now = seconds_after(start(), 3600);
    let decision = job(&resumed, &waits_for_workers(), now);
    assert!(matches!(decision, Decision::Explain { .. }), "{decision:?}");
    let waiting = decided(&resumed, &decision, now);
    let decision = job(&waiting, &waits_for_workers(), now);
    assert_eq!(decision, Decision::Queue { until: Some(seconds_after(now, 60)) });
}

#[test]
fn waiting_is_explained_once_and_again_only_when_somebody_must_act() {
    let fresh = Job::new(object(json!({}))).unwrap();
    let now = seconds_after(start(), 2);
    let explained = decided(&fresh, &job(&fresh, &waits_for_workers(), now), now);
    let starting = Waiting { reason: reason::POOL_STARTING, message: "A worker is starting.".into() };
    let starting = Situation { waiting: Ok(starting), ..waits_for_workers() };
    assert_eq!(job(&explained, &starting, now), Decision::Queue { until: None });
    let stuck = Waiting { reason: reason::PODS_NOT_STARTING, message: "ImagePullBackOff".into() };
    let stuck = Situation { waiting: Ok(stuck.clone()), ..waits_for_workers() };
    assert!(matches!(job(&explained, &stuck, now), Decision::Explain { .. }));
}

#[test]
fn a_settled_job_is_written_again_only_after_its_specification_changed() {
    let mut object = object(json!({}));
    object.status = Some(GenerationJobStatus {
        observed_generation: Some(1),
        phase: Some(Phase::Completed),
        ..GenerationJobStatus::default()
    });
    assert_eq!(job(&Job::new(object.clone()).unwrap(), &waits_for_workers(), start()), Decision::Settled);
    object.metadata.generation = Some(2);
    let changed = Job::new(object).unwrap();
    let decision = job(&changed, &waits_for_workers(), start());
    assert_eq!(decision, Decision::Acknowledge);
    assert_eq!(job(&decided(&changed, &decision, start()), &waits_for_workers(), start()), Decision::Settled);
}

#[test]
fn a_result_by_a_clock_that_is_behind_is_kept_for_its_whole_time_to_live() {
    let mut object = object(json!({"ttlSecondsAfterFinished": 60}));
    let assigned = assignment(1, seconds_after(start(), 100));
    object.status = Some(GenerationJobStatus {
        observed_generation: Some(1),
        phase: Some(Phase::Completed),
        assignment: Some(assigned),
        completion_time: Some(MicroTime(start())),
        ..GenerationJobStatus::default()
    });
    let done = Job::new(object).unwrap();
    let until = |at: &Situation| match job(&done, at, start()) {
        Decision::Idle { until: Some(until) } => until,
        other => panic!("{other:?}"),
    };
    assert_eq!(until(&waits_for_workers()), seconds_after(start(), 160), "from its assignment");
    let seen = Situation { ended: Some(seconds_after(start(), 130)), ..waits_for_workers() };
    assert_eq!(until(&seen), seconds_after(start(), 190), "from when it was seen to end");
}

#[test]
fn a_new_process_fails_no_running_job_because_of_an_old_clock() {
    let mut object = object(json!({"deadlines": {"startSeconds": 300, "runSeconds": 3600}}));
    object.status = Some(GenerationJobStatus {
        phase: Some(Phase::Processing),
        assignment: Some(assignment(1, start())),
        progress: serde_json::from_value(json!({
            "stage": "sample", "percent": 5, "updatedAt": "2026-01-01T00:00:00.000000Z",
        }))
        .unwrap(),
        ..GenerationJobStatus::default()
    });
    let running = Job::new(object).unwrap();
    let now = seconds_after(start(), 86_400);
    let at = Situation { held: Held { since: now, from_the_start: false }, ..waits_for_workers() };
    assert_eq!(job(&running, &at, now), Decision::Idle { until: Some(seconds_after(now, 360)) });
}

#[test]
fn a_job_that_is_tried_again_has_all_its_time_for_the_queue() {
    let patient = Job::new(object(json!({"deadlines": {"queueSeconds": 60}}))).unwrap();
    let late = seconds_after(start(), 60);
    let mut failed = (*decided(&patient, &job(&patient, &waits_for_workers(), late), late).object).clone();
    failed.metadata.labels = Some([(labels::DEAD_LETTER.into(), labels::DEAD_LETTER_RETRY.into())].into());
    let failed = Job::new(failed).unwrap();
    let now = seconds_after(start(), 3600);
    let surplus = Situation { is_surplus: true, ..waits_for_workers() };
    assert_eq!(job(&failed, &surplus, now), Decision::Revive);
    let mut again = (*decided(&failed, &Decision::Revive, now).object).clone();
    assert_eq!(job(&Job::new(again.clone()).unwrap(), &waits_for_workers(), now), Decision::Unlabel);
    again.metadata.labels = None;
    let at = Situation { waiting_since: now, ..waits_for_workers() };
    let decision = job(&Job::new(again).unwrap(), &at, seconds_after(now, 60));
    assert!(matches!(decision, Decision::Fail { .. }), "{decision:?}");
}

#[test]
fn failures_may_be_kept_longer_than_results() {
    let spec = json!({"ttlSecondsAfterFinished": 60, "ttlSecondsAfterFailed": 600});
    for (phase, seconds) in [(Phase::Completed, 60), (Phase::Cancelled, 60), (Phase::Failed, 600)] {
        let mut object = object(spec.clone());
        object.metadata.labels = Some([(labels::DEAD_LETTER.into(), "true".into())].into());
        object.status = Some(GenerationJobStatus {
            phase: Some(phase),
            observed_generation: Some(1),
            completion_time: Some(MicroTime(start())),
            ..GenerationJobStatus::default()
        });
        let ended = Job::new(object).unwrap();
        let until = Some(seconds_after(start(), seconds));
        assert_eq!(job(&ended, &waits_for_workers(), start()), Decision::Idle { until }, "{phase:?}");
    }
}

/// What the webhook was told of how the job ended.
fn told(state: &str) -> Option<WebhookStatus> {
    let delivery = json!({"event": "completed", "id": "1", "time": "2026-01-01T00:00:00.000000Z", "state": state, "attempts": 1});
    serde_json::from_value(json!({ "deliveries": [delivery] })).unwrap()
}

#[test]
fn a_job_is_not_deleted_before_its_webhook_was_told_but_for_a_day_at_most() {
    let webhook = json!({"url": "https://a.example"});
    let mut object = object(json!({"ttlSecondsAfterFinished": 60, "webhook": webhook}));
    object.status = Some(GenerationJobStatus {
        phase: Some(Phase::Completed),
        observed_generation: Some(1),
        completion_time: Some(MicroTime(start())),
        ..GenerationJobStatus::default()
    });
    let decide = |webhook: Option<WebhookStatus>, is_surplus, now| {
        let mut object = object.clone();
        object.status.as_mut().unwrap().webhook = webhook;
        let ended = Job::new(object).unwrap().condensed();
        job(&ended, &Situation { is_surplus, ..waits_for_workers() }, now)
    };
    let (over, day) = (seconds_after(start(), 60), seconds_after(start(), 86_400));
    for (webhook, is_told) in
        [(None, false), (told("Pending"), false), (told("Delivered"), true), (told("Dead"), true)]
    {
        let expected = if is_told { Decision::Delete } else { Decision::Idle { until: Some(day) } };
        assert_eq!(decide(webhook.clone(), false, over), expected, "{webhook:?}");
        assert_eq!(decide(webhook.clone(), true, start()), expected, "surplus, {webhook:?}");
        assert_eq!(decide(webhook.clone(), false, day), Decision::Delete, "{webhook:?}");
    }
}

#[test]
fn a_cancelled_attempt_stays_on_record() {
    let mut object = object(json!({"cancel": true}));
    object.status = Some(GenerationJobStatus {
        phase: Some(Phase::Processing),
        assignment: Some(assignment(3, start())),
        ..GenerationJobStatus::default()
    });
    let running = Job::new(object).unwrap();
    let now = seconds_after(start(), 7);
    let cancelled = decided(&running, &job(&running, &waits_for_workers(), now), now);
    let status = cancelled.status().unwrap();
    let [attempt] = status.attempts.as_slice() else { panic!("{:?}", status.attempts) };
    assert_eq!((attempt.number, attempt.outcome, attempt.end.0), (3, Outcome::HandedBack, now));
    assert_eq!((status.phase, status.failures), (Some(Phase::Cancelled), 0));
    assert!(status.assignment.is_some(), "it names the worker that had it last");
}

/// What the world does to an assigned attempt.
#[derive(Clone, Debug)]
enum Blow {
    Report(Outcome, Option<FailureReason>),
    LosePod,
    Crash(FailureReason),
    Leave,
    Hang,
}

fn blow() -> impl Strategy<Value = Blow> {
    let outcomes = [Outcome::Failed, Outcome::HandedBack, Outcome::Lost, Outcome::Succeeded];
    prop_oneof![
        (select(outcomes.to_vec()), select(FAILURES.to_vec()))
            .prop_map(|(outcome, reason)| Blow::Report(outcome, reason)),
        Just(Blow::LosePod),
        select(vec![FailureReason::OutOfMemory, FailureReason::WorkerCrashed]).prop_map(Blow::Crash),
        Just(Blow::Leave),
        Just(Blow::Hang),
    ]
}

/// What a job may do to its workers.
fn own_blow() -> impl Strategy<Value = Blow> {
    blow().prop_filter("what others do", |blow| {
        !matches!(blow, Blow::LosePod | Blow::Report(Outcome::HandedBack | Outcome::Lost, _))
    })
}

/// Any status that the schema admits, sensible or not.
fn any_status() -> impl Strategy<Value = GenerationJobStatus> {
    let attempts = vec((1..4, select(vec![Outcome::Failed, Outcome::Lost, Outcome::HandedBack])), 0..4);
    (of(select(Phase::ALL.to_vec())), of(1..5_i32), attempts, 0..5_i32, of(-1..3_i64)).prop_map(
        |(phase, assigned, attempts, failures, observed_generation)| GenerationJobStatus {
            phase,
            observed_generation,
            assignment: assigned.map(|number| assignment(number, start())),
            attempts: attempts.into_iter().map(|(n, outcome)| attempt(n, outcome, None, start())).collect(),
            failures,
            ..GenerationJobStatus::default()
        },
    )
}

proptest! {
    #[test]
    fn from_any_state_and_after_any_failures_a_job_ends_and_stays_ended(
        status in any_status(),
        backoff_limit in 0..4,
        cancel in any::<bool>(),
        blows in vec(blow(), 0..8),
    ) {
        let mut object = object(json!({"backoffLimit": backoff_limit, "cancel": cancel}));
        object.status = Some(status);
        ends_and_stays_ended(object, blows.into_iter())?;
    }

    #[test]
    fn what_is_kept_of_a_job_that_ended_decides_as_all_of_it_does(
        status in any_status(),
        label in of(select(vec!["true", labels::DEAD_LETTER_RETRY])),
        ttl in (of(0..200), of(0..200)),
        surplus in any::<bool>(),
        passed in 0..300,
        webhook in of(of(select(vec!["Pending", "Delivered", "Dead"]))),
    ) {
        let mut status = status;
        status.webhook = webhook.flatten().and_then(told);
        let webhook = webhook.map(|_| json!({"url": "https://a.example"}));
        let spec = json!({"ttlSecondsAfterFinished": ttl.0, "ttlSecondsAfterFailed": ttl.1, "webhook": webhook});
        let mut object = object(spec);
        object.metadata.labels = label.map(|label| [(labels::DEAD_LETTER.into(), label.into())].into());
        object.status = Some(status);
        let whole = Job::new(object).unwrap();
        let at = Situation { is_surplus: surplus, ..waits_for_workers() };
        let now = seconds_after(start(), passed);
        prop_assert_eq!(job(&whole.clone().condensed(), &at, now), job(&whole, &at, now));
    }

    #[test]
    fn a_job_that_harms_its_workers_for_ever_ends(backoff_limit in 0..4, blows in vec(own_blow(), 1..5)) {
        ends_and_stays_ended(object(json!({ "backoffLimit": backoff_limit })), blows.into_iter().cycle())?;
    }
}

fn ends_and_stays_ended(
    mut current: GenerationJob,
    mut blows: impl Iterator<Item = Blow>,
) -> Result<(), TestCaseError> {
    let mut now = start();
    let mut writes = 0;
    loop {
        let here = Job::new(current.clone()).unwrap();
        let mut at = waits_for_workers();
        let mut decision = job(&here, &at, now);
        let runs = current.phase() == Phase::Processing && current.assignment().is_some();
        if let Decision::Queue { .. } = decision {
            let (pool, worker, uid) = (Key::new("a", "image"), "image-1".into(), "pod-1".into());
            decision = Decision::Assign(Seat { pool, worker, uid, time: now, batch: 1, done_in: None });
        } else if runs && matches!(decision, Decision::Idle { .. }) {
            match blows.next() {
                Some(Blow::LosePod) => at.worker = Fate::Lost("it is gone".into()),
                Some(Blow::Leave) => at.worker = Fate::Left("exit code 0".into()),
                Some(Blow::Crash(reason)) => {
                    at.worker = Fate::Crashed(Crash { reason, message: "it died".into(), exit_code: None });
                }
                Some(Blow::Hang) => now = seconds_after(now, 400),
                Some(Blow::Report(outcome, reason)) => report(&mut current, outcome, reason, now),
                None => complete(&mut current, now),
            }
            if current.status != here.object.status {
                continue;
            }
            decision = job(&here, &at, now);
        }
        match decision {
            Decision::Settled => break,
            Decision::Idle { until: Some(until) } => {
                prop_assert!(until > now);
                now = until;
            }
            Decision::Unlabel => current.metadata.labels = None,
            Decision::DeadLetter => {
                current.metadata.labels = Some([(labels::DEAD_LETTER.to_owned(), "true".to_owned())].into());
            }
            decision => {
                writes += 1;
                prop_assert!(writes < 60, "no end in sight: {decision:?} after {:?}", current.status);
                let status = status::after(&here, &decision, now);
                prop_assert!(status.is_some(), "{decision:?} writes nothing");
                prop_assert_ne!(&status, &current.status, "{:?} changes nothing", decision);
                current.status = status;
            }
        }
    }
    let ended = Job::new(current).unwrap();
    prop_assert!(ended.object.is_finished());
    for later in [1, 1_000, 1_000_000] {
        let decision = job(&ended, &waits_for_workers(), seconds_after(now, later));
        prop_assert_eq!(decision, Decision::Settled);
    }
    Ok(())
}

#[test]
fn a_worker_that_does_nothing_costs_an_attempt_from_the_third_time_on() {
    let mut object = object(json!({"backoffLimit": 0}));
    for (attempts, counts) in [(0, false), (1, false), (2, true)] {
        object.status = Some(GenerationJobStatus {
            phase: Some(Phase::Processing),
            assignment: Some(assignment(9, start())),
            attempts: (0..attempts)
                .flat_map(|n| {
                    let silent =
                        attempt(2 * n + 1, Outcome::Lost, Some(FailureReason::NoSignOfLife), start());
                    // What others did in between changes nothing.
                    [silent, attempt(2 * n + 2, Outcome::Lost, None, start())]
                })
                .collect(),
            ..GenerationJobStatus::default()
        });
        let decision =
            job(&Job::new(object.clone()).unwrap(), &waits_for_workers(), seconds_after(start(), 300));
        assert_eq!(matches!(decision, Decision::Fail { .. }), counts, "{decision:?}");
    }
}

#[test]
fn a_job_that_many_workers_in_a_row_give_back_at_once_waits_before_the_next() {
    let mut object = object(json!({}));
    for (times, waits) in [(4, false), (5, true), (10, true)] {
        object.status = Some(GenerationJobStatus {
            phase: Some(Phase::Pending),
            attempts: (1..=times).map(|n| attempt(n, Outcome::HandedBack, None, start())).collect(),
            ..GenerationJobStatus::default()
        });
        let decision = job(&Job::new(object.clone()).unwrap(), &waits_for_workers(), start());
        assert_eq!(matches!(decision, Decision::Idle { .. }), waits, "{times}: {decision:?}");
    }
}

#[test]
fn a_retry_or_a_change_is_explained_only_where_no_worker_takes_the_job_in_a_moment() {
    let failed = after_attempt(json!({"backoffLimit": 1}), Outcome::Failed, Some(FailureReason::Transient));
    let backing_off = decided(&failed, &job(&failed, &waits_for_workers(), start()), start());
    let Decision::Idle { until: Some(again) } = job(&backing_off, &waits_for_workers(), start()) else {
        panic!()
    };
    let moment = seconds_after(again, 1);
    assert_eq!(job(&backing_off, &waits_for_workers(), again), Decision::Queue { until: Some(moment) });
    assert!(matches!(job(&backing_off, &waits_for_workers(), moment), Decision::Explain { .. }));

    let mut object = object(json!({"suspend": true}));
    let fresh = Job::new(object.clone()).unwrap();
    object.status = decided(&fresh, &job(&fresh, &waits_for_workers(), start()), start()).status().cloned();
    object.spec.suspend = false;
    object.metadata.generation = Some(2);
    let resumed = Job::new(object).unwrap();
    let moment = seconds_after(start(), 1);
    assert_eq!(job(&resumed, &waits_for_workers(), start()), Decision::Queue { until: Some(moment) });
    let explained = decided(&resumed, &job(&resumed, &waits_for_workers(), moment), moment);
    assert_eq!(job(&explained, &waits_for_workers(), moment), Decision::Queue { until: None });
}

fn report(job: &mut GenerationJob, outcome: Outcome, reason: Option<FailureReason>, now: Timestamp) {
    let status = job.status.as_mut().unwrap();
    let number = status.assignment.as_ref().unwrap().attempt;
    status.record_attempt(attempt(number, outcome, reason, now));
}

fn complete(job: &mut GenerationJob, now: Timestamp) {
    report(job, Outcome::Succeeded, None, now);
    let status = job.status.as_mut().unwrap();
    status.phase = Some(Phase::Completed);
    status.completion_time = Some(MicroTime(now));
}
