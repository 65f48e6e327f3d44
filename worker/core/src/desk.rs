//! Which job is this worker's now. Pure: what the watch says goes in, what to do comes out.

use std::collections::{BTreeMap, VecDeque};

use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use trellis_crds::{GenerationJob, Phase};

/// Who this worker is.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The name of its pod.
    pub pod_name: String,
    /// The uid of its pod: an assignment counts only when it names this one.
    pub pod_uid: String,
}

/// One attempt at one job.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct AttemptId {
    /// The uid of the job.
    pub(crate) job_uid: String,
    /// The number of the attempt, from 1.
    pub(crate) number: i32,
}

/// What jobs have in common that were assigned together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Together {
    /// How many they are.
    size: i32,
    time: Timestamp,
}

impl Together {
    /// `None` for a job that was assigned alone.
    pub(crate) fn of(job: &GenerationJob) -> Option<Self> {
        let assignment = job.assignment()?;
        Some(Self { size: assignment.batch?, time: assignment.time.0 })
    }
}

impl Identity {
    /// The attempt that this worker is to make at `job`; `None` when the job is another's, has ended, is to be ended,
    /// or has the end of the attempt on record.
    pub(crate) fn attempt_at(&self, job: &GenerationJob) -> Option<AttemptId> {
        let assignment = job.assignment()?;
        let ours = assignment.worker == self.pod_name
            && assignment.pod_uid == self.pod_uid
            && job.phase() == Phase::Processing
            && job.current_attempt_ended().is_none()
            && job.metadata.deletion_timestamp.is_none()
            && !job.spec.cancel;
        ours.then_some(())?;
        Some(AttemptId { job_uid: job.uid()?, number: assignment.attempt })
    }
}

/// So many attempts that have ended are remembered. No server lags behind by more.
const MEMORY: usize = 1024;

/// The jobs that the watch shows as this worker's, and the attempts at them that it has ended already.
///
/// The watch lags behind the worker's own writes, and a list may even show a job anew that was gone: without the latter, an attempt could be
/// made twice.
#[derive(Debug)]
pub(crate) struct Desk {
    identity: Identity,
    jobs: BTreeMap<String, GenerationJob>,
    /// The jobs of a list that is not complete yet.
    listing: BTreeMap<String, GenerationJob>,
    /// The attempts that ended last.
    ended: VecDeque<AttemptId>,
}

impl Desk {
    pub(crate) fn new(identity: Identity) -> Self {
        Self { identity, jobs: BTreeMap::new(), listing: BTreeMap::new(), ended: VecDeque::new() }
    }

    /// Takes in a job that was added or has changed.
    pub(crate) fn put(&mut self, job: GenerationJob) {
        let Some(uid) = job.uid() else { return };
        if self.identity.attempt_at(&job).is_some() {
            self.jobs.insert(uid, job);
        } else {
            self.remove(&uid);
        }
    }

    /// Takes out a job that is gone, or that no longer names this pod.
    pub(crate) fn remove(&mut self, uid: &str) {
        self.jobs.remove(uid);
    }

    /// The watch begins to list all jobs anew.
    pub(crate) fn begin_list(&mut self) {
        self.listing.clear();
    }

    /// Takes in a job of the list.
    pub(crate) fn list(&mut self, job: GenerationJob) {
        if let (Some(uid), Some(_)) = (job.uid(), self.identity.attempt_at(&job)) {
            self.listing.insert(uid, job);
        }
    }

    /// The list is complete: what is not in it is gone.
    pub(crate) fn end_list(&mut self) {
        self.jobs = std::mem::take(&mut self.listing);
    }

    /// Records that the worker is done with an attempt, however it ended.
    pub(crate) fn end(&mut self, attempt: AttemptId) {
        self.ended.truncate(MEMORY - 1);
        self.ended.push_front(attempt);
    }

    /// The job to take next, the one that was assigned first.
    pub(crate) fn next(&self) -> Option<(AttemptId, &GenerationJob)> {
        self.open().min_by_key(|(_, job)| job.assignment().map(|assignment| assignment.time.0))
    }

    /// The jobs to take next, together, the first of them first, and whether all that were assigned together are there.
    pub(crate) fn next_batch(&self) -> (Vec<(AttemptId, &GenerationJob)>, bool) {
        let Some(first) = self.next() else { return (Vec::new(), true) };
        let Some(batch) = Together::of(first.1) else { return (vec![first], true) };
        let members: Vec<_> = self.open().filter(|(_, job)| Together::of(job) == Some(batch)).collect();
        let complete = usize::try_from(batch.size).is_ok_and(|size| members.len() >= size);
        (members, complete)
    }

    /// The jobs that were assigned together with those of the attempts `begun`, and came too late to begin with them. To wait for the end of
    /// their own batch they would show no sign of life for as long.
    pub(crate) fn late(&self, batch: Together, begun: &[&AttemptId]) -> Vec<(AttemptId, &GenerationJob)> {
        let members = self.open().filter(|(_, job)| Together::of(job) == Some(batch));
        members.filter(|(attempt, _)| !begun.contains(&attempt)).collect()
    }

    /// The attempts that this worker is to make or is making.
    pub(crate) fn open(&self) -> impl Iterator<Item = (AttemptId, &GenerationJob)> {
        self.jobs
            .values()
            .filter_map(|job| Some((self.identity.attempt_at(job)?, job)))
            .filter(|(attempt, _)| !self.ended.contains(attempt))
    }

    /// Whether `attempt` is still this worker's to make.
    pub(crate) fn holds(&self, attempt: &AttemptId) -> bool {
        self.jobs.get(&attempt.job_uid).and_then(|job| self.identity.attempt_at(job)).as_ref()
            == Some(attempt)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, Time};
    use trellis_crds::{Assignment, Attempt, GenerationJobSpec, GenerationJobStatus, Outcome};

    use super::*;

    pub(crate) fn at(second: i64) -> MicroTime {
        MicroTime(Timestamp::from_second(second).unwrap())
    }

    pub(crate) fn identity() -> Identity {
        Identity { pod_name: "image-1".into(), pod_uid: "pod-uid".into() }
    }

    /// A job that is assigned to [`identity`] as its attempt 1.
    pub(crate) fn assigned(uid: &str) -> GenerationJob {
        let mut job = GenerationJob::new("cup", GenerationJobSpec::default());
        job.metadata.uid = Some(uid.into());
        job.metadata.namespace = Some("shop".into());
        job.metadata.generation = Some(1);
        let assignment = Assignment {
            pool: "image".into(),
            worker: "image-1".into(),
            pod_uid: "pod-uid".into(),
            attempt: 1,
            time: at(10),
            batch: None,
        };
        job.status = Some(GenerationJobStatus {
            phase: Some(Phase::Processing),
            assignment: Some(assignment),
            ..Default::default()
        });
        job
    }

    pub(crate) fn ended(number: i32) -> Attempt {
        Attempt {
            number,
            worker: "image-1".into(),
            start: at(10),
            end: at(11),
            outcome: Outcome::Failed,
            reason: None,
            message: None,
        }
    }

    fn changed(change: impl FnOnce(&mut GenerationJob)) -> GenerationJob {
        let mut job = assigned("a");
        change(&mut job);
        job
    }

    #[test]
    fn only_what_is_assigned_to_this_very_pod_and_not_over_is_taken() {
        assert!(identity().attempt_at(&assigned("a")).is_some());
        fn assignment(job: &mut GenerationJob) -> &mut Assignment {
            job.status.as_mut().unwrap().assignment.as_mut().unwrap()
        }
        let others = [
            changed(|job| assignment(job).pod_uid = "an earlier pod of the same name".into()),
            changed(|job| assignment(job).worker = "image-2".into()),
            changed(|job| job.status.as_mut().unwrap().assignment = None),
            changed(|job| job.status.as_mut().unwrap().phase = Some(Phase::Pending)),
            changed(|job| job.status.as_mut().unwrap().phase = Some(Phase::Completed)),
            changed(|job| job.status.as_mut().unwrap().attempts = vec![ended(1)]),
            changed(|job| job.metadata.deletion_timestamp = Some(Time(Timestamp::UNIX_EPOCH))),
            changed(|job| job.spec.cancel = true),
            changed(|job| job.status = None),
        ];
        for job in others {
            assert_eq!(identity().attempt_at(&job), None, "{job:?}");
        }
    }

    #[test]
    fn a_job_that_comes_after_its_batch_began_is_late() {
        let of_batch = |uid: &str, second| {
            let mut job = assigned(uid);
            let assignment = job.status.as_mut().unwrap().assignment.as_mut().unwrap();
            (assignment.batch, assignment.time) = (Some(2), at(second));
            job
        };
        let mut desk = Desk::new(identity());
        desk.put(of_batch("a", 10));
        let (begun, _) = desk.next().unwrap();
        let batch = Together::of(&of_batch("a", 10)).unwrap();
        assert!(desk.late(batch, &[&begun]).is_empty());
        for other in [of_batch("b", 10), of_batch("c", 11), assigned("d")] {
            desk.put(other);
        }
        // Whatever became of the one that began.
        desk.remove("a");
        let [(late, _)] = &desk.late(batch, &[&begun])[..] else { panic!("{desk:?}") };
        assert_eq!(late.job_uid, "b");
        desk.end(late.clone());
        assert!(desk.late(batch, &[&begun]).is_empty());
    }

    #[test]
    fn an_attempt_is_made_once_even_while_the_watch_lags_behind() {
        let mut desk = Desk::new(identity());
        desk.put(assigned("a"));
        let (attempt, _) = desk.next().unwrap();
        desk.end(attempt);
        assert!(desk.next().is_none());
        // The operator gives the job to this worker again.
        desk.put(changed(|job| {
            let status = job.status.as_mut().unwrap();
            status.attempts = vec![ended(1)];
            status.assignment.as_mut().unwrap().attempt = 2;
        }));
        assert_eq!(desk.next().unwrap().0.number, 2);
    }

    #[test]
    fn an_attempt_is_held_until_the_job_goes_or_changes_hands() {
        let mut desk = Desk::new(identity());
        desk.put(assigned("a"));
        let (attempt, _) = desk.next().unwrap();
        desk.put(assigned("b"));
        assert!(desk.holds(&attempt));
        desk.put(changed(|job| job.spec.cancel = true));
        assert!(!desk.holds(&attempt));
        desk.put(assigned("a"));
        assert!(desk.holds(&attempt));
        desk.remove("a");
        assert!(!desk.holds(&attempt));
    }

    #[test]
    fn a_watch_that_starts_anew_interrupts_nothing() {
        let mut desk = Desk::new(identity());
        desk.put(assigned("a"));
        let (attempt, _) = desk.next().unwrap();
        desk.begin_list();
        assert!(desk.holds(&attempt));
        desk.list(assigned("a"));
        desk.end_list();
        assert!(desk.holds(&attempt));
        desk.begin_list();
        desk.end_list();
        assert!(!desk.holds(&attempt));
    }

    #[test]
    fn an_attempt_that_ended_is_not_made_again_for_a_list_that_is_older_than_its_end() {
        let mut desk = Desk::new(identity());
        desk.put(assigned("a"));
        desk.end(desk.next().unwrap().0);
        desk.remove("a");
        desk.begin_list();
        desk.list(assigned("a"));
        desk.end_list();
        assert!(desk.next().is_none());
    }

    #[test]
    fn a_result_that_nobody_took_is_not_made_again_after_other_jobs() {
        let mut desk = Desk::new(identity());
        desk.put(assigned("a"));
        desk.end(desk.next().unwrap().0);
        desk.put(assigned("b"));
        desk.end(desk.next().unwrap().0);
        assert!(desk.next().is_none());
    }
}
