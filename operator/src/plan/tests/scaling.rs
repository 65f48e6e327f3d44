//! Pools.

use std::collections::BTreeSet;

use super::*;
use crate::key::Uid;
use crate::validate::Pool;
use clap::Parser as _;

pub(super) fn pool(min: i32, max: i32) -> Pool {
    with_surge(min, max, 1)
}

pub(super) fn with_surge(min: i32, max: i32, surge: i32) -> Pool {
    let object = serde_json::from_value(json!({
        "apiVersion": "trellis3d.dev/v1alpha1", "kind": "WorkerPool",
        "metadata": {
            "name": "image", "namespace": "a", "uid": "pool-1", "resourceVersion": "1",
            "creationTimestamp": "2026-01-01T00:00:00Z",
        },
        "spec": {
            "model": "m", "modelUri": "gs://b/m", "idleSeconds": 60, "replicas": {"min": min, "max": max, "surge": surge},
            "template": {"spec": {"containers": [{"name": "worker"}]}},
        },
    }));
    let settings =
        crate::Settings::parse_from(["", "--operator-namespace=o", "--pod-name=p", "--output-uri=gs://b"]);
    Pool::new(object.unwrap(), &settings).unwrap()
}

/// No workers but these idle ones, and nothing to do.
pub(super) fn census<'a>(idle: &'a BTreeSet<(Timestamp, Uid)>, outdated: &'a BTreeSet<Uid>) -> Census<'a> {
    Census {
        starting: 0,
        busy: 0,
        draining: 0,
        queued: 0,
        stuck: Vec::new(),
        coming: Vec::new(),
        idle,
        outdated,
        run: None,
        start: None,
        hold_until: None,
    }
}

proptest! {
    #[test]
    fn a_pool_never_outgrows_max_and_comes_to_rest(
        min in 0..4_i32, max in 1..6_i32,
        starting in 0..4_usize, busy in 0..4_usize, draining in 0..3_usize, queued in 0..9_usize, stuck in 0..3_usize,
        ages in vec(0..200_i32, 0..5),
    ) {
        let pool = pool(min.min(max), max);
        let now = seconds_after(start(), 1_000);
        let mut idle: BTreeSet<(Timestamp, Uid)> = ages.iter().enumerate()
            .map(|(index, age)| (seconds_after(now, -age), index.to_string().into()))
            .collect();
        let stuck: Vec<Uid> = (0..stuck.min(starting)).map(|n| format!("stuck-{n}").into()).collect();
        let coming: Vec<Uid> = (stuck.len()..starting).map(|n| format!("coming-{n}").into()).collect();
        let none = BTreeSet::new();
        let census = Census { starting, busy, draining, queued, stuck: stuck.clone(), coming: coming.clone(), ..census(&idle, &none) };
        let (before, wanted) = (census.alive() + draining, census.wanted(&pool));
        let change = scale(&pool, &census, now);
        prop_assert!(change.create == 0 || before + change.create <= pool.max());
        prop_assert!(change.create == 0 || change.delete.is_empty());
        let (gone, given_up): (Vec<&Uid>, Vec<&Uid>) = change.delete.iter().partition(|uid| !stuck.contains(uid) && !coming.contains(uid));
        for deleted in gone {
            let entry = idle.iter().find(|(_, uid)| uid == deleted).cloned();
            prop_assert!(idle.remove(&entry.unwrap()), "none goes that is busy");
        }
        let starting = starting + change.create - given_up.len();
        let left = |uids: &[Uid]| uids.iter().filter(|uid| !given_up.contains(uid)).cloned().collect();
        let (stuck, coming) = (left(&stuck), left(&coming));
        let after = Census { starting, busy, draining, queued, stuck, coming, ..self::census(&idle, &none) };
        prop_assert!(change.delete.is_empty() || after.alive() >= wanted);
        let again = scale(&pool, &after, now);
        prop_assert_eq!((again.create, again.delete.len()), (0, 0), "nothing more to do at the same time");
    }
}

#[test]
fn a_pool_scales_from_zero_for_work_and_back_after_idling() {
    let pool = pool(0, 3);
    let (none, current) = (BTreeSet::new(), BTreeSet::new());
    let census = Census { queued: 10, ..census(&none, &current) };
    assert_eq!(scale(&pool, &census, start()).create, 3);
    let held = Census { hold_until: Some(seconds_after(start(), 5)), ..census };
    assert_eq!(scale(&pool, &held, start()).create, 0, "not while starts keep failing");
    let idle = BTreeSet::from([(start(), "w".into())]);
    let census = self::census(&idle, &current);
    let early = scale(&pool, &census, seconds_after(start(), 59));
    assert_eq!((early.delete.len(), early.until), (0, Some(seconds_after(start(), 60))));
    assert_eq!(scale(&pool, &census, seconds_after(start(), 60)).delete.len(), 1);
}

#[test]
fn a_worker_that_cannot_start_goes_as_soon_as_nothing_waits_for_it() {
    let (none, current, stuck) = (BTreeSet::new(), BTreeSet::new(), vec![Uid::from("w")]);
    let census = Census { starting: 1, queued: 1, stuck, ..census(&none, &current) };
    assert_eq!(scale(&pool(0, 3), &census, start()).delete.len(), 0);
    assert_eq!(scale(&pool(0, 3), &Census { queued: 0, ..census }, start()).delete.len(), 1);
}

/// How many workers are wanted for a queue when jobs run for 10 s.
fn wanted(pool: &Pool, queued: usize, ready: usize, start_seconds: Option<i64>) -> usize {
    let idle = (0..ready).map(|n| (start(), n.to_string().as_str().into())).collect();
    let current = BTreeSet::new();
    let run = Some(SignedDuration::from_secs(10));
    let start = start_seconds.map(SignedDuration::from_secs);
    Census { queued, run, start, ..census(&idle, &current) }.wanted(pool)
}

fn that_may_wait(seconds: i32) -> Pool {
    let pool = pool(0, 100);
    let mut object = (*pool.object).clone();
    object.spec.target_wait_seconds = seconds;
    Pool { object: std::sync::Arc::new(object), ..pool }
}

#[test]
fn a_queue_gets_as_many_workers_as_begin_its_last_job_in_time() {
    assert_eq!(wanted(&that_may_wait(0), 40, 0, None), 40, "one each");
    assert_eq!(wanted(&that_may_wait(30), 40, 0, None), 10, "each begins one at once and three more");
    assert_eq!(wanted(&that_may_wait(30), 1, 0, None), 1);
    assert_eq!(wanted(&that_may_wait(86_400), 40, 0, None), 1);
    let census = census(&BTreeSet::new(), &BTreeSet::new()).wanted(&that_may_wait(30));
    assert_eq!(census, 0, "nothing waits");
}

#[test]
fn no_worker_is_started_that_would_come_when_the_queue_has_drained() {
    assert_eq!(wanted(&that_may_wait(0), 12, 2, Some(60)), 2, "two workers do twelve jobs in a minute");
    assert_eq!(wanted(&that_may_wait(0), 13, 2, Some(60)), 13);
    assert_eq!(wanted(&that_may_wait(0), 5, 0, Some(60)), 5, "nobody drains it");
}

proptest! {
    #[test]
    fn what_is_wanted_lies_between_min_and_max_and_covers_what_runs(
        min in 0..4_i32, max in 1..9_i32, busy in 0..9_usize, queued in 0..50_usize,
        run in of(0..100_i64), start in of(0..500_i64), wait in 0..100_i32,
    ) {
        let mut pool = pool(min.min(max), max);
        let mut object = (*pool.object).clone();
        object.spec.target_wait_seconds = wait;
        pool.object = std::sync::Arc::new(object);
        let (idle, current) = (BTreeSet::new(), BTreeSet::new());
        let (run, start) = (run.map(SignedDuration::from_secs), start.map(SignedDuration::from_secs));
        let wanted = Census { busy, queued, run, start, ..census(&idle, &current) }.wanted(&pool);
        prop_assert!(wanted >= pool.min() && wanted <= pool.max());
        prop_assert!(wanted >= busy.min(pool.max()));
        prop_assert!(wanted > 0 || busy + queued == 0, "a queue that nobody serves");
    }
}
