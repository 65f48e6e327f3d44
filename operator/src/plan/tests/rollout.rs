//! Workers of an older template are replaced.

use std::collections::{BTreeMap, BTreeSet};

use super::scaling::{census, with_surge};
use super::*;
use crate::key::Uid;
use crate::validate::Pool;

#[derive(Clone, Copy, Debug, PartialEq)]
enum State {
    Starting,
    Idle,
    Busy,
}

/// A pool while its template changes. Deleted pods are gone at once.
#[derive(Debug)]
struct Site {
    pool: Pool,
    /// By name, whether it is of the new template, and what it does.
    workers: BTreeMap<Uid, (bool, State)>,
    queued: usize,
    made: usize,
}

impl Site {
    /// All workers are of the old template and ready; the first `busy` have jobs.
    fn new(pool: Pool, workers: usize, busy: usize) -> Self {
        let state = |n| if n < busy { State::Busy } else { State::Idle };
        let workers = (0..workers).map(|n| (format!("old-{n}").as_str().into(), (false, state(n))));
        Self { pool, workers: workers.collect(), queued: 0, made: 0 }
    }

    fn count(&self, matches: impl Fn(bool, State) -> bool) -> usize {
        self.workers.values().filter(|(new, state)| matches(*new, *state)).count()
    }

    fn ready(&self) -> usize {
        self.count(|_, state| state != State::Starting)
    }

    fn old(&self) -> usize {
        self.count(|new, _| !new)
    }

    /// Carries out what is decided, and gives jobs to workers that stay. Says how many are wanted.
    fn step(&mut self) -> usize {
        let idle = self.workers.iter().filter(|(_, (_, state))| *state == State::Idle);
        let idle: BTreeSet<_> = idle.map(|(name, _)| (start(), name.clone())).collect();
        let outdated = self.workers.iter().filter(|(_, (new, _))| !new);
        let outdated: BTreeSet<Uid> = outdated.map(|(name, _)| name.clone()).collect();
        let coming = self.workers.iter().filter(|(_, (_, state))| *state == State::Starting);
        let coming = coming.map(|(name, _)| name.clone()).collect();
        let census = Census {
            coming,
            starting: self.count(|_, state| state == State::Starting),
            busy: self.count(|_, state| state == State::Busy),
            queued: self.queued,
            ..census(&idle, &outdated)
        };
        let wanted = census.wanted(&self.pool);
        // All have been idle for less than the pool's idleSeconds.
        let scale = scale(&self.pool, &census, start());
        for name in &scale.delete {
            let gone = self.workers.remove(name).unwrap();
            assert_ne!(gone.1, State::Busy, "{name} had a job");
        }
        for _ in 0..scale.create {
            self.made += 1;
            let name = format!("new-{}", self.made);
            self.workers.insert(name.as_str().into(), (true, State::Starting));
        }
        self.change_some(self.queued, State::Idle, State::Busy, |_| true);
        wanted
    }

    /// Up to `most` workers in one state are in another from now on.
    fn change_some(&mut self, most: usize, from: State, to: State, which: fn(bool) -> bool) {
        let matching = self.workers.values_mut().filter(|(new, state)| *state == from && which(*new));
        let mut changed = 0;
        matching.take(most).for_each(|(_, state)| {
            *state = to;
            changed += 1;
        });
        if to == State::Busy {
            self.queued -= changed;
        }
    }
}

proptest! {
    #[test]
    fn a_rollout_replaces_all_and_leaves_as_many_ready_as_are_wanted_all_the_time(
        min in 0..5_i32, max in 1..9_i32, surge in 1..3_i32, busy in 0..9_usize, workers in 1..9_usize,
        ends in vec((0..3_usize, 0..3_usize, 0..3_usize), 60..61),
    ) {
        let workers = workers.min(usize::try_from(max).unwrap());
        let mut site = Site::new(with_surge(min.min(max), max, surge), workers, busy.min(workers));
        for (starts, dones, news) in ends {
            let ready = site.ready();
            let wanted = site.step();
            prop_assert!(site.ready() >= ready.min(wanted), "{site:?}");
            prop_assert!(site.workers.len() <= usize::try_from(max + surge).unwrap(), "{site:?}");
            site.change_some(starts, State::Starting, State::Idle, |_| true);
            site.change_some(dones, State::Busy, State::Idle, |_| true);
            site.queued = (site.queued + news).min(3);
        }
        for _ in 0..40 {
            site.step();
            site.change_some(1, State::Starting, State::Idle, |_| true);
            site.change_some(1, State::Busy, State::Idle, |_| true);
            site.step();
        }
        prop_assert_eq!(site.old(), 0, "{:?}", site);
    }

    #[test]
    fn a_template_whose_workers_never_get_ready_takes_no_worker_away_that_is_wanted(
        max in 1..9_i32, surge in 1..3_i32, busy in 0..9_usize, dones in vec(0..3_usize, 30..31),
    ) {
        let workers = usize::try_from(max).unwrap();
        let mut site = Site::new(with_surge(max, max, surge), workers, busy.min(workers));
        for done in dones {
            site.step();
            site.change_some(done, State::Busy, State::Idle, |_| true);
            site.queued = done;
        }
        prop_assert_eq!((site.old(), site.ready()), (workers, workers), "{:?}", site);
        prop_assert!(site.made > 0, "nothing was tried: {:?}", site);
    }
}

#[test]
fn without_room_beside_them_one_worker_at_a_time_makes_room() {
    let mut site = Site::new(with_surge(3, 3, 0), 3, 0);
    site.step();
    assert_eq!((site.old(), site.workers.len()), (2, 2));
    site.step();
    assert_eq!((site.old(), site.workers.len()), (2, 3));
    site.step();
    site.step();
    assert_eq!(site.old(), 2, "the new one is not ready");
    site.change_some(1, State::Starting, State::Idle, |_| true);
    site.step();
    assert_eq!(site.old(), 1);
}

#[test]
fn workers_that_nothing_waits_for_are_not_replaced_but_go() {
    let mut site = Site::new(with_surge(0, 3, 1), 3, 0);
    site.step();
    assert!(site.workers.is_empty() && site.made == 0, "{site:?}");
}
