//! The one task that owns the [`World`]: feeds it what is observed, lets it plan, and has its actions carried out.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future::{BoxFuture, pending};
use futures::stream::FuturesUnordered;
use futures::{FutureExt as _, StreamExt as _};
use k8s_openapi::jiff::Timestamp;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use trellis_telemetry::Health;

use crate::action::{Action, Applied};
use crate::apply::Applier;
use crate::client::WatchProgress;
use crate::leader::Role;
use crate::metrics::Metrics;
use crate::observe::{Observed, Scope};
use crate::pressure::Pressure;
use crate::settings::Settings;
use crate::time::Clock;
use crate::world::{Batch, World};

const HEARTBEAT: Duration = Duration::from_secs(5);
/// How long the process is taken for live after a heartbeat.
const ALIVE: Duration = Duration::from_secs(60);
/// How long a watched resource may go without an answer before the process is no longer taken for live: a new one may do better.
const WATCH_DEADLINE: Duration = Duration::from_secs(180);
/// How long writes that are under way may take when the process is to end.
const DRAIN: Duration = Duration::from_secs(10);
/// How long a new leader waits before it asks again for what it must know.
const CATCH_UP_AGAIN: Duration = Duration::from_secs(1);

/// How far this replica is on its way to write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Term {
    Standby,
    /// It holds the Lease. Before it decides it must know what the last leader wrote, which its watches may not show yet.
    Elected,
    CatchesUp,
    Leads,
}

/// The scheduler's parts.
pub(crate) struct Scheduler {
    pub(crate) settings: Arc<Settings>,
    pub(crate) scope: Scope,
    pub(crate) applier: Arc<Applier>,
    pub(crate) metrics: Metrics,
    pub(crate) health: Health,
    pub(crate) progress: WatchProgress,
    pub(crate) clock: Clock,
    pub(crate) role: watch::Receiver<Role>,
}

impl Scheduler {
    /// Schedules until `stop` is cancelled; writes that are under way then are completed.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        let clock = self.clock.clone();
        let mut world = World::new(self.settings.clone(), self.metrics.clone());
        let mut observed = self.scope.watch();
        let mut heartbeat = tokio::time::interval(HEARTBEAT);
        let mut writes = FuturesUnordered::new();
        let mut catch_up: BoxFuture<'static, Vec<Observed>> = pending().boxed();
        let mut pressure = Pressure::new();
        let mut term = Term::Standby;
        loop {
            let wake = next_look(&world, &pressure, writes.len(), self.clock.now());
            tokio::select! {
                () = stop.cancelled() => break,
                Ok(()) = self.role.changed() => {
                    term = self.next_term();
                    writes.clear();
                    world.end_term(self.clock.now());
                    catch_up = pending().boxed();
                }
                news = &mut catch_up => {
                    catch_up = pending().boxed();
                    term = Term::Elected;
                    if world.end_catch_up(news, self.clock.now()) {
                        world.begin_term();
                        term = Term::Leads;
                    }
                }
                Some(news) = observed.next() => world.observe(news, self.clock.now()),
                Some(applied) = writes.next(), if !writes.is_empty() => {
                    pressure.note(&applied, self.clock.now());
                    world.settle(applied, self.clock.now());
                }
                _ = heartbeat.tick() => self.vouch(),
                () = until(&clock, wake), if term == Term::Leads => {}
            }
            if term == Term::Elected && world.may_catch_up() {
                world.begin_catch_up();
                catch_up = self.catch_up();
                term = Term::CatchesUp;
            }
            if world.is_complete() {
                self.health.set_ready();
                if term == Term::Leads {
                    let actions = self.plan(&mut world, &pressure, writes.len());
                    writes.extend(actions.into_iter().map(|action| self.apply(action)));
                }
            }
        }
        let drained = tokio::time::timeout(DRAIN, self.drain(&mut world, writes)).await;
        if drained.is_err() {
            tracing::warn!("some writes did not end in time");
        }
    }

    /// Lets the writes that are under way end, and publishes the events about them: the next leader would not know of any.
    async fn drain<F: Future<Output = Applied>>(&self, world: &mut World, mut writes: FuturesUnordered<F>) {
        while let Some(applied) = writes.next().await {
            world.settle(applied, self.clock.now());
        }
        let notices = world.take_notices().into_iter().map(|notice| self.apply(Action::Announce(notice)));
        notices.collect::<FuturesUnordered<_>>().for_each(async |_| ()).await;
    }

    fn next_term(&mut self) -> Term {
        let role = *self.role.borrow_and_update();
        self.metrics.set_leader(role == Role::Leader);
        match role {
            Role::Standby => Term::Standby,
            Role::Leader => Term::Elected,
        }
    }

    /// What runs, as a new leader has to know it; asks until there is an answer.
    fn catch_up(&self) -> BoxFuture<'static, Vec<Observed>> {
        let scope = self.scope.clone();
        async move {
            loop {
                match scope.catch_up().await {
                    Ok(news) => return news,
                    Err(error) => {
                        tracing::warn!(%error, "a new leader cannot see what runs; trying again");
                    }
                }
                tokio::time::sleep(CATCH_UP_AGAIN).await;
            }
        }
        .boxed()
    }

    fn plan(&self, world: &mut World, pressure: &Pressure, in_flight: usize) -> Vec<Action> {
        let most = pressure.most(self.clock.now());
        if in_flight >= most {
            return Vec::new();
        }
        let start = Instant::now();
        let mut batch = Batch::new(in_flight, most);
        world.plan(self.clock.now(), &mut batch);
        self.metrics.plan_seconds.observe(start.elapsed().as_secs_f64());
        batch.into_actions()
    }

    fn apply(&self, action: Action) -> impl Future<Output = Applied> + Send + use<> {
        let (applier, settings) = (self.applier.clone(), self.settings.clone());
        async move { applier.apply(action, &settings).await }
    }

    /// The loop turns and its watches are answered: the process is live.
    fn vouch(&self) {
        if self.progress.age() < WATCH_DEADLINE {
            self.health.keep_alive(ALIVE);
        }
    }
}

/// When to plan again though nothing happens. Without room for a request nothing is planned, so that a time that has come would come again at
/// once.
fn next_look(world: &World, pressure: &Pressure, in_flight: usize, now: Timestamp) -> Option<Timestamp> {
    pressure.pause_ends(now).or_else(|| world.next_time().filter(|_| in_flight < pressure.most(now)))
}

async fn until(clock: &Clock, time: Option<Timestamp>) {
    let Some(time) = time else { return pending().await };
    let rest = time.duration_since(clock.now());
    tokio::time::sleep(Duration::try_from(rest).unwrap_or_default()).await;
}
