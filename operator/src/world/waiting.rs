//! Why jobs wait, and when they are told.

use k8s_openapi::jiff::{SignedDuration, Timestamp};
use trellis_crds::conditions::reason;

use super::World;
use super::pool_index::{CONDITION_MESSAGE, PoolIndex};
use crate::key::{Key, Uid};
use crate::plan::{self, Waiting};
use crate::text::clip;
use crate::time::after;

/// How long another reason for waiting must hold before a queue is told.
const TELL_AFTER: SignedDuration = SignedDuration::from_secs(10);

/// Kubernetes' reason for a pod that no node takes.
const UNSCHEDULABLE: &str = "Unschedulable";
/// What helps where that pod is to take the place of another.
const NO_ROOM_BESIDE: &str = ". Where no more devices are to be had, set spec.replicas.surge to 0: a worker then ends before the next one starts.";

impl World {
    /// Why jobs of the pool wait, as they are told.
    pub(super) fn why_jobs_wait(&self, key: &Key) -> Waiting {
        let told = self.indexes.get(key).and_then(|index| index.told.clone());
        told.unwrap_or_else(|| self.why_jobs_wait_now(key))
    }

    fn why_jobs_wait_now(&self, key: &Key) -> Waiting {
        let index = self.indexes.get(key);
        if index.is_some_and(|index| index.circuit.is_open()) {
            let message = format!(
                "The workers of WorkerPool {key} failed at one job after another: one job at a time is tried until one works."
            );
            return Waiting { reason: reason::CIRCUIT_OPEN, message };
        }
        let ready = index.is_some_and(PoolIndex::has_ready_worker);
        match if ready { None } else { self.trouble(key) } {
            Some(trouble) => trouble,
            None if ready => {
                let message = format!("All workers of WorkerPool {key} are busy.");
                Waiting { reason: reason::NO_IDLE_WORKER, message }
            }
            None if index.is_some_and(|index| !index.gated.is_empty()) => {
                let message =
                    format!("The workers of WorkerPool {key} wait for quota: they are not admitted yet.");
                Waiting { reason: reason::WAITING_FOR_QUOTA, message }
            }
            None => {
                let message = format!("A worker of WorkerPool {key} is starting.");
                Waiting { reason: reason::POOL_STARTING, message }
            }
        }
    }

    /// What keeps the pool's workers from starting.
    pub(super) fn trouble(&self, key: &Key) -> Option<Waiting> {
        let pool = self.pools.get(key)?;
        if let Err(error) = &pool.pod {
            let message = format!("WorkerPool {key}: {error}.");
            return Some(Waiting { reason: reason::PODS_REFUSED, message });
        }
        let index = self.indexes.get(key)?;
        let Some(trouble) = index.troubles.values().next() else {
            // An old failure is none of a pool that has the workers it needs.
            return index
                .last_failure
                .clone()
                .filter(|_| index.ready_workers() < index.wanted(pool) || !index.outdated.is_empty());
        };
        let no_room = !index.outdated.is_empty() && trouble.reason == UNSCHEDULABLE;
        let hint = if no_room { NO_ROOM_BESIDE } else { "" };
        let message = format!(
            "A worker of WorkerPool {key} cannot start: {}: {}{hint}",
            trouble.reason, trouble.message
        );
        Some(Waiting { reason: reason::PODS_NOT_STARTING, message: clip(&message, CONDITION_MESSAGE) })
    }

    /// Whether all that the pool's workers lack is a node, which an autoscaler may be bringing: none of them was given up yet for want of one.
    pub(super) fn waits_for_nodes(&self, key: &Key) -> bool {
        let (Some(pool), Some(index)) = (self.pools.get(key), self.indexes.get(key)) else { return false };
        pool.pod.is_ok()
            && index.last_failure.is_none()
            && index.outdated.is_empty()
            && index.troubles.values().all(|trouble| trouble.reason == UNSCHEDULABLE)
    }

    /// Has every job of the queue looked at when the reason for waiting is another one and stays it for a while: one that comes and goes
    /// would cost a write for each job of the queue every time. Says when to look again.
    pub(super) fn tell_queue(&mut self, key: &Key, now: Timestamp) -> Option<Timestamp> {
        let why = self.why_jobs_wait_now(key);
        let index = self.index(key);
        let same = index.told.as_ref().is_none_or(|told| told.reason == why.reason);
        if !same && !index.queue.is_empty() {
            let news = index.news.filter(|(reason, _)| *reason == why.reason);
            let (_, since) = *index.news.insert(news.unwrap_or((why.reason, now)));
            let tell_at = after(since, TELL_AFTER);
            if now < tell_at {
                return Some(tell_at);
            }
        }
        index.news = None;
        let told = index.told.replace(why);
        let (Some(before), Some(now)) = (&told, &index.told) else { return None };
        if !plan::says_the_same(before.reason, now.reason) {
            let queue: Vec<Uid> = index.queue.iter().map(|place| place.uid.clone()).collect();
            self.dirty_jobs.extend(queue);
        }
        None
    }
}
