//! What goes wrong, when: drawn from a seed, so that a seed that failed can be played again.
//!
//! The same seed gives each program the same fault at its n-th call of a kind. How the programs' calls interleave is the machine's choice.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

/// What becomes of a call.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Fault {
    /// Nothing goes wrong.
    Pass,
    /// It is sent after a while.
    Delay(Duration),
    /// It never reaches the server.
    Lost,
    /// It is carried out, and the answer never comes back.
    AnswerLost,
    /// The caller is told that the connection broke, and it is carried out later.
    Late(Duration),
    /// It is carried out twice, and the second answer comes back.
    Twice,
    /// The server refuses it with this code.
    Refused(u16),
    /// The program ends before it is sent.
    KilledBefore,
    /// It is carried out, and the program ends.
    KilledAfter,
    /// A list of some time ago comes back, as a server that lags behind would give it.
    Stale,
}

/// What becomes of a line of a watch.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum LineFault {
    Pass,
    Delay(Duration),
    /// It comes twice.
    Twice,
    /// It comes after the next one, if that is about another object.
    Swapped,
    /// The watch ends before it.
    Cut,
    /// The watch ends with the message that its place in history is gone.
    Expired,
}

/// What kind of call it is, as far as faults differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    /// One that changes something.
    Write,
    /// A list that a watch goes on from.
    ListToWatch,
    /// Any other read, the beginning of a watch too.
    Read,
}

/// What people and machines do to jobs and workers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Deed {
    Create(Play),
    Cancel(usize),
    Suspend(usize),
    Resume(usize),
    Delete(usize),
    /// Somebody deletes a worker's pod.
    DeletePod(usize),
    /// A node is lost with a worker's pod: its program ends without a word.
    LoseNode(usize),
    /// Somebody changes the pool.
    Pool(Change),
}

/// What somebody does to the pool.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Change {
    Scale {
        min: usize,
        max: usize,
        surge: usize,
    },
    /// Its workers are to be built anew.
    Template(u32),
    MaxJobs(u32),
    /// It is deleted and made again, and its old workers stay: nothing collects garbage here.
    Remake,
}

/// How a job goes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Play {
    Complete,
    /// It fails once in a way that may pass.
    FailOnce,
    /// It can never be made.
    Invalid,
}

/// How long people are at it.
pub(crate) const BUSY: Duration = Duration::from_millis(4000);
/// Workers at most.
pub(crate) const WORKERS: usize = 3;
/// How many jobs are made.
pub(crate) const JOBS: usize = 10;

#[derive(Clone, Copy, Debug)]
pub(crate) struct Schedule {
    pub(crate) seed: u64,
}

impl Schedule {
    fn random(self, of: impl std::hash::Hash) -> StdRng {
        let mut hasher = DefaultHasher::new();
        (self.seed, of).hash(&mut hasher);
        StdRng::seed_from_u64(hasher.finish())
    }

    /// The share of calls that something happens to: seeds differ in it.
    fn trouble(self) -> f64 {
        [0.02, 0.05, 0.1, 0.2][(self.seed % 4) as usize]
    }

    /// How many jobs a worker of the pool is given together at most.
    pub(crate) fn batch_size(self) -> i32 {
        self.random("batch").random_range(1..=3)
    }

    /// What becomes of the `number`-th call of a kind that a program makes.
    pub(crate) fn call(self, program: &str, kind: Kind, number: u64) -> Fault {
        let mut random = self.random((program, kind, number));
        if !random.random_bool(self.trouble()) {
            return Fault::Pass;
        }
        let while_ = Duration::from_millis(random.random_range(10..800));
        match (kind, random.random_range(0..10)) {
            (_, 0 | 1) => Fault::Delay(while_),
            (_, 2) => Fault::Lost,
            (_, 3) => Fault::Refused([429, 500, 503, 504][random.random_range(0..4)]),
            (Kind::Write, 4 | 5) => Fault::AnswerLost,
            (Kind::Write, 6) => Fault::Late(while_),
            (Kind::Write, 7) => Fault::Twice,
            (Kind::Write, 8) => Fault::KilledBefore,
            (Kind::Write, _) => Fault::KilledAfter,
            (Kind::ListToWatch, _) => Fault::Stale,
            (Kind::Read, _) => Fault::Delay(while_),
        }
    }

    /// What becomes of the `number`-th line that a program's watches show.
    pub(crate) fn line(self, program: &str, number: u64) -> LineFault {
        let mut random = self.random((program, "line", number));
        if !random.random_bool(self.trouble()) {
            return LineFault::Pass;
        }
        let while_ = Duration::from_millis(random.random_range(10..800));
        match random.random_range(0..8) {
            0..=2 => LineFault::Delay(while_),
            3 => LineFault::Twice,
            4 | 5 => LineFault::Swapped,
            6 => LineFault::Cut,
            _ => LineFault::Expired,
        }
    }

    /// What people and machines do, and when, in order.
    pub(crate) fn deeds(self) -> Vec<(Duration, Deed)> {
        let mut random = self.random("deeds");
        let mut deeds = Vec::new();
        let at = |random: &mut StdRng, from: u64| {
            Duration::from_millis(random.random_range(from..BUSY.as_millis() as u64))
        };
        for _ in 0..JOBS {
            let play = match random.random_range(0..12) {
                0 => Play::FailOnce,
                1 => Play::Invalid,
                _ => Play::Complete,
            };
            deeds.push((at(&mut random, 0), Deed::Create(play)));
        }
        for _ in 0..random.random_range(0..6) {
            let job = random.random_range(0..JOBS);
            let start = at(&mut random, 0);
            match random.random_range(0..6) {
                0 => deeds.push((start, Deed::Cancel(job))),
                1 | 2 => {
                    deeds.push((start, Deed::Suspend(job)));
                    let end = at(&mut random, start.as_millis() as u64).max(start);
                    deeds.push((end, Deed::Resume(job)));
                }
                3 => deeds.push((start, Deed::Delete(job))),
                4 => deeds.push((start, Deed::DeletePod(random.random_range(0..4)))),
                _ => deeds.push((start, Deed::LoseNode(random.random_range(0..4)))),
            }
        }
        deeds.extend(self.changes().into_iter().map(|(time, change)| (time, Deed::Pool(change))));
        // What was suspended is resumed in the end, whatever came first.
        deeds.extend((0..JOBS).map(|job| (BUSY, Deed::Resume(job))));
        deeds.sort_by_key(|&(time, _)| time);
        deeds
    }

    fn changes(self) -> Vec<(Duration, Change)> {
        let mut random = self.random("pool");
        let count = random.random_range(0..4);
        let change = |number| {
            let change = match random.random_range(0..5) {
                0 | 1 => Change::Scale {
                    min: random.random_range(0..2),
                    max: random.random_range(1..=WORKERS),
                    surge: random.random_range(0..2),
                },
                2 => Change::Template(number),
                3 => Change::MaxJobs(random.random_range(0..3)),
                _ => Change::Remake,
            };
            (Duration::from_millis(random.random_range(500..BUSY.as_millis() as u64)), change)
        };
        (0..count).map(change).collect()
    }

    /// By how many seconds the clock that operators go by is off, so long after the beginning: from some moment on by an hour, or never.
    pub(crate) fn clock_error(self, passed: Duration) -> i64 {
        let mut random = self.random("clock");
        let jumps_after = Duration::from_millis(random.random_range(500..BUSY.as_millis() as u64));
        let error = [0, 3600, -3600][random.random_range(0..3)];
        if passed < jumps_after { 0 } else { error }
    }

    /// How long an attempt runs.
    pub(crate) fn run_time(self, job: &str, attempt: i32) -> Duration {
        Duration::from_millis(self.random((job, attempt)).random_range(5..400))
    }

    /// How long a program that ended stays away.
    pub(crate) fn absence(self, program: &str, number: u32) -> Duration {
        Duration::from_millis(self.random((program, "absence", number)).random_range(0..1500))
    }
}
