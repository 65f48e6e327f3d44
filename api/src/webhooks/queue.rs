//! Which jobs have something to be delivered, and whose turn it is: the earliest first, a few at a time to one host, so that a slow receiver holds
//! up nobody else.

use std::collections::{BTreeSet, HashMap, VecDeque};

use k8s_openapi::jiff::Timestamp;

/// How many deliveries are under way at most.
pub(super) const AT_A_TIME: usize = 64;
/// How many of them to one host.
pub(super) const PER_HOST: usize = 4;

/// A job by name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Key {
    /// Its namespace.
    pub(super) namespace: String,
    /// Its name.
    pub(super) name: String,
}

/// Something that is to be delivered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Task {
    /// The host it goes to.
    pub(super) host: String,
    /// When it is to be tried, at the earliest.
    pub(super) at: Timestamp,
    /// When that happened which it tells.
    pub(super) since: Timestamp,
}

/// A job of which something is being delivered.
#[derive(Debug)]
struct UnderWay {
    host: String,
    /// What has been heard of the job meanwhile.
    heard: Option<Task>,
}

/// The deliveries that are due, or will be. Of each job one is under way at most.
#[derive(Debug, Default)]
pub(super) struct Queue {
    /// What is not under way.
    tasks: HashMap<Key, Task>,
    /// The same, by time, but for what waits for its host.
    by_time: BTreeSet<(Timestamp, Key)>,
    /// What has come to its turn while its host has as many as it may.
    by_host: HashMap<String, VecDeque<Key>>,
    /// What is under way.
    under_way: HashMap<Key, UnderWay>,
    /// How many are under way to each host, progress included.
    busy: HashMap<String, usize>,
    /// How many are under way, progress included.
    total: usize,
}

impl Queue {
    /// Sets what is to be delivered of a job, nothing where `None`.
    pub(super) fn set(&mut self, key: Key, task: Option<Task>) {
        if let Some(under_way) = self.under_way.get_mut(&key) {
            under_way.heard = task;
            return;
        }
        if self.tasks.get(&key) == task.as_ref() {
            return;
        }
        self.remove(&key);
        if let Some(task) = task {
            self.by_time.insert((task.at, key.clone()));
            self.tasks.insert(key, task);
        }
    }

    fn remove(&mut self, key: &Key) {
        let Some(task) = self.tasks.remove(key) else { return };
        self.by_time.remove(&(task.at, key.clone()));
        if let Some(waiting) = self.by_host.get_mut(&task.host) {
            waiting.retain(|other| other != key);
            if waiting.is_empty() {
                self.by_host.remove(&task.host);
            }
        }
    }

    /// The next job whose turn it is by `now`, and what is to be delivered of it. It is under way from here on.
    pub(super) fn start(&mut self, now: Timestamp) -> Option<(Key, Task)> {
        while self.total < AT_A_TIME {
            let (at, key) = self.by_time.first()?;
            if *at > now {
                return None;
            }
            let key = key.clone();
            self.by_time.pop_first();
            let Some(task) = self.tasks.remove(&key) else { continue };
            let host = task.host.clone();
            if self.occupy(&host) {
                self.under_way.insert(key.clone(), UnderWay { host, heard: None });
                return Some((key, task));
            }
            self.tasks.insert(key.clone(), task);
            self.by_host.entry(host).or_default().push_back(key);
        }
        None
    }

    /// A delivery of the job has ended, and this is to be delivered next, as far as it knows. What was heard meanwhile may be older or newer, so
    /// the earlier of both counts: who has the turn looks at the job itself first.
    pub(super) fn finish(&mut self, key: Key, next: Option<Task>) {
        let under_way = self.under_way.remove(&key);
        if let Some(under_way) = &under_way {
            self.release(&under_way.host);
        }
        let heard = under_way.and_then(|under_way| under_way.heard);
        self.set(key, [next, heard].into_iter().flatten().min_by_key(|task| task.at));
    }

    /// Takes a place for something that does not wait for one, such as progress. False where there is none.
    pub(super) fn occupy(&mut self, host: &str) -> bool {
        let busy = self.busy.entry(host.to_owned()).or_default();
        if self.total >= AT_A_TIME || *busy >= PER_HOST {
            return false;
        }
        *busy += 1;
        self.total += 1;
        true
    }

    /// Gives a place back, to the next that waits for the host.
    pub(super) fn release(&mut self, host: &str) {
        self.total -= 1;
        if let Some(busy) = self.busy.get_mut(host) {
            *busy -= 1;
            if *busy == 0 {
                self.busy.remove(host);
            }
        }
        let Some(waiting) = self.by_host.get_mut(host) else { return };
        let next = waiting.pop_front();
        if waiting.is_empty() {
            self.by_host.remove(host);
        }
        if let Some((key, task)) = next.and_then(|key| self.tasks.get_key_value(&key)) {
            self.by_time.insert((task.at, key.clone()));
        }
    }

    /// When the next turn comes; `None` where that is not for time to tell.
    pub(super) fn wakes_at(&self) -> Option<Timestamp> {
        self.by_time.first().map(|(at, _)| *at).filter(|_| self.total < AT_A_TIME)
    }

    /// How many jobs have something to be delivered, and since when the oldest of it has been.
    pub(super) fn backlog(&self) -> (usize, Option<Timestamp>) {
        let oldest = self.tasks.values().map(|task| task.since).min();
        (self.tasks.len() + self.under_way.len(), oldest)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn key(name: impl ToString) -> Key {
        Key { namespace: "team".into(), name: name.to_string() }
    }

    fn task(host: &str, second: i64) -> Option<Task> {
        Some(Task { host: host.into(), at: at(second), since: at(0) })
    }

    fn started(queue: &mut Queue, second: i64) -> Vec<String> {
        std::iter::from_fn(|| queue.start(at(second))).map(|(key, _)| key.name).collect()
    }

    #[test]
    fn the_earliest_goes_first_and_none_before_its_time() {
        let mut queue = Queue::default();
        for (name, second) in [("late", 30), ("early", 10), ("later", 40)] {
            queue.set(key(name), task(name, second));
        }
        assert_eq!(started(&mut queue, 5), [""; 0]);
        assert_eq!(queue.wakes_at(), Some(at(10)));
        assert_eq!(started(&mut queue, 35), ["early", "late"]);
        queue.set(key("later"), None);
        assert_eq!(started(&mut queue, 99), [""; 0]);
    }

    #[test]
    fn a_slow_host_holds_up_no_other() {
        let mut queue = Queue::default();
        for n in 0..100 {
            queue.set(key(format!("slow-{n:03}")), task("slow", 1));
        }
        queue.set(key("other"), task("other", 2));
        let first = started(&mut queue, 9);
        assert_eq!(first, ["slow-000", "slow-001", "slow-002", "slow-003", "other"]);
        assert_eq!(queue.wakes_at(), None, "nothing spins while the host is busy");
        assert!(!queue.occupy("slow") && queue.occupy("third"));
        queue.finish(key("slow-002"), task("slow", 60));
        assert_eq!(started(&mut queue, 9), ["slow-004"]);
    }

    #[test]
    fn a_job_is_under_way_once() {
        let mut queue = Queue::default();
        queue.set(key("a"), task("host", 1));
        assert_eq!(started(&mut queue, 1), ["a"]);
        queue.set(key("a"), task("host", 1));
        assert_eq!(started(&mut queue, 1), [""; 0]);
        queue.finish(key("a"), None);
        assert_eq!(started(&mut queue, 1), ["a"], "what was heard meanwhile may be news");
        queue.finish(key("a"), None);
        assert_eq!(queue.backlog(), (0, None));
        assert!(queue.busy.is_empty() && queue.total == 0);
    }

    /// What may happen to the queue.
    #[derive(Clone, Debug)]
    enum Step {
        Set { job: u8, host: u8, second: i64 },
        Unset { job: u8 },
        Start { second: i64 },
        Finish { which: u8, again: bool },
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => (0..40_u8, 0..3_u8, 0..20_i64).prop_map(|(job, host, second)| Step::Set { job, host, second }),
            1 => (0..40_u8).prop_map(|job| Step::Unset { job }),
            3 => (0..20_i64).prop_map(|second| Step::Start { second }),
            3 => (any::<u8>(), any::<bool>()).prop_map(|(which, again)| Step::Finish { which, again }),
        ]
    }

    proptest! {
        #[test]
        fn limits_hold_and_everything_gets_its_turn(steps in prop::collection::vec(step(), 0..200)) {
            let mut queue = Queue::default();
            let mut running: Vec<Key> = Vec::new();
            for step in steps {
                match step {
                    Step::Set { job, host, second } => queue.set(key(job), task(&host.to_string(), second)),
                    Step::Unset { job } => queue.set(key(job), None),
                    Step::Start { second } => running.extend(std::iter::from_fn(|| queue.start(at(second))).map(|(key, _)| key)),
                    Step::Finish { which, again } if !running.is_empty() => {
                        let key = running.swap_remove(usize::from(which) % running.len());
                        queue.finish(key, task("0", 5).filter(|_| again));
                    }
                    Step::Finish { .. } => {}
                }
                prop_assert_eq!(queue.total, running.len());
                prop_assert!(queue.busy.values().all(|busy| *busy <= PER_HOST));
            }
            // Let all of it run to its end.
            for _ in 0..200 {
                running.extend(std::iter::from_fn(|| queue.start(at(100))).map(|(key, _)| key));
                let Some(key) = running.pop() else { break };
                queue.finish(key, None);
            }
            prop_assert_eq!(queue.backlog(), (0, None));
            prop_assert!(queue.by_time.is_empty() && queue.by_host.is_empty() && queue.busy.is_empty());
        }
    }
}
