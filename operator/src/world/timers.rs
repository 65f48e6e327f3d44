//! When to look at something again though nothing happened to it.

use std::collections::{BTreeSet, HashMap};

use k8s_openapi::jiff::Timestamp;

use crate::key::{Key, Uid};

/// What is to be looked at.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Subject {
    Job(Uid),
    Pool(Key),
}

/// At most one time for each subject.
#[derive(Debug, Default)]
pub(super) struct Timers {
    by_time: BTreeSet<(Timestamp, Subject)>,
    by_subject: HashMap<Subject, Timestamp>,
}

impl Timers {
    /// Sets the subject's only time; `None` for never.
    pub(super) fn set(&mut self, subject: Subject, time: Option<Timestamp>) {
        let old = match time {
            Some(time) => self.by_subject.insert(subject.clone(), time),
            None => self.by_subject.remove(&subject),
        };
        if let Some(old) = old {
            self.by_time.remove(&(old, subject.clone()));
        }
        if let Some(time) = time {
            self.by_time.insert((time, subject));
        }
    }

    /// Takes a subject whose time has come.
    pub(super) fn pop_due(&mut self, now: Timestamp) -> Option<Subject> {
        let (time, _) = self.by_time.first()?;
        if *time > now {
            return None;
        }
        let (_, subject) = self.by_time.pop_first()?;
        self.by_subject.remove(&subject);
        Some(subject)
    }

    /// The earliest time.
    pub(super) fn next(&self) -> Option<Timestamp> {
        self.by_time.first().map(|(time, _)| *time)
    }
}
