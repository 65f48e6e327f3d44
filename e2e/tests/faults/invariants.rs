//! What must hold of any history. Pure.

use std::collections::{BTreeMap, BTreeSet};

use kube::ResourceExt as _;
use trellis_crds::{GenerationJob, Phase};

use crate::engine::Run;
use crate::history::Revision;

/// Everything that the history breaks, in words.
pub(crate) fn broken(history: &[Revision], runs: &[Run]) -> Vec<String> {
    let mut jobs: BTreeMap<String, Vec<&Revision>> = BTreeMap::new();
    for revision in history {
        jobs.entry(revision.job.uid().unwrap_or_default()).or_default().push(revision);
    }
    let mut broken = Vec::new();
    for revisions in jobs.values() {
        broken.extend(ends_once(revisions));
        broken.extend(attempts_follow_each_other(revisions));
    }
    broken.extend(nothing_runs_twice(runs));
    broken.extend(nothing_runs_beside_itself(history, runs));
    broken.extend(batches_run_one_by_one(runs));
    broken.extend(what_ran_was_assigned(history, runs));
    broken
}

/// A job comes to an end, and nothing is written into its status after it.
fn ends_once(revisions: &[&Revision]) -> Vec<String> {
    let Some(last) = revisions.last() else { return vec![] };
    let name = last.job.name_any();
    let Some(end) = revisions.iter().find(|revision| revision.job.is_finished()) else {
        return if last.deleted { vec![] } else { vec![format!("{name} never ends: {:?}", last.job.status)] };
    };
    let after = |revision: &&&Revision| outcome(&revision.job) != outcome(&end.job);
    let changed = revisions.iter().skip_while(|revision| !revision.job.is_finished()).find(after);
    let told = |revision: &Revision| format!("{:?}", revision.job.status);
    changed
        .map(|changed| format!("{name} changes after its end: {} to {}", told(end), told(changed)))
        .into_iter()
        .collect()
}

/// What an end settles. Conditions may say later that they know of a newer generation.
fn outcome(job: &GenerationJob) -> (Phase, String) {
    let status = job.status.clone().unwrap_or_default();
    (
        job.phase(),
        format!("{:?} {:?} {:?} {:?}", status.outputs, status.attempts, status.completion_time, status.error),
    )
}

/// Attempts are numbered one by one, each has one worker, and none begins before the end of the one before is on record.
fn attempts_follow_each_other(revisions: &[&Revision]) -> Vec<String> {
    let mut broken = Vec::new();
    let mut last: Option<(i32, String)> = None;
    for revision in revisions {
        let Some(assignment) = revision.job.assignment() else { continue };
        let now = (assignment.attempt, assignment.pod_uid.clone());
        if last.as_ref() == Some(&now) {
            continue;
        }
        let name = revision.job.name_any();
        let before = last.as_ref().map_or(0, |(number, _)| *number);
        let mut attempts = revision.job.status.iter().flat_map(|status| &status.attempts);
        if now.0 != before + 1 {
            broken.push(format!("{name} has attempt {} of {} after {last:?}", now.0, now.1));
        } else if before > 0 && !attempts.any(|attempt| attempt.number == before) {
            broken.push(format!("{name} has attempt {} before the end of {before} is on record", now.0));
        }
        last = Some(now);
    }
    broken
}

/// What an attempt's record says that was taken from a worker which was well: it may still be ending when the next begins, and its result is no
/// longer taken.
const TAKEN: [&str; 2] = ["spec.suspend", "the worker has another job"];

/// No attempt at a job begins while another runs.
fn nothing_runs_beside_itself(history: &[Revision], runs: &[Run]) -> Vec<String> {
    let overlaps = |run: &Run, next: &Run| {
        run.job == next.job && run.attempt < next.attempt && run.end.is_none_or(|end| end > next.start)
    };
    let pairs = runs.iter().flat_map(|run| runs.iter().map(move |next| (run, next)));
    let pairs = pairs.filter(|(run, next)| overlaps(run, next) && !was_taken(history, run));
    pairs.map(|(run, next)| format!("{run}, and beside it: {next}")).collect()
}

fn was_taken(history: &[Revision], run: &Run) -> bool {
    let revisions = history.iter().filter(|revision| revision.job.uid().as_ref() == Some(&run.job));
    let attempts =
        revisions.flat_map(|revision| revision.job.status.iter()).flat_map(|status| &status.attempts);
    let mut messages =
        attempts.filter(|past| past.number == run.attempt).filter_map(|past| past.message.as_deref());
    messages.any(|message| TAKEN.iter().any(|taken| message.contains(taken)))
}

/// No attempt runs twice.
fn nothing_runs_twice(runs: &[Run]) -> Vec<String> {
    let same = |run: &Run, other: &Run| (&run.job, run.attempt) == (&other.job, other.attempt);
    let again = |(index, run)| {
        runs[index + 1..].iter().filter(move |other| same(run, other)).map(move |other| (run, other))
    };
    runs.iter().enumerate().flat_map(again).map(|(run, other)| format!("{run}, and again: {other}")).collect()
}

/// What a worker runs at a time was assigned to it at one time.
fn batches_run_one_by_one(runs: &[Run]) -> Vec<String> {
    let overlaps = |run: &Run, next: &Run| {
        run.worker == next.worker
            && run.assigned < next.assigned
            && run.end.is_none_or(|end| end > next.start)
            && next.end.is_none_or(|end| end > run.start)
    };
    let pairs = runs.iter().flat_map(|run| runs.iter().map(move |next| (run, next)));
    let pairs = pairs.filter(|(run, next)| overlaps(run, next));
    pairs.map(|(run, next)| format!("{run}, and of another batch at a time with it: {next}")).collect()
}

/// Workers run nothing but what they were assigned.
fn what_ran_was_assigned(history: &[Revision], runs: &[Run]) -> Vec<String> {
    let assigned = |revision: &Revision| {
        let assignment = revision.job.assignment()?;
        Some((revision.job.uid()?, assignment.attempt, assignment.worker.clone()))
    };
    let assigned: BTreeSet<_> = history.iter().filter_map(assigned).collect();
    let was = |run: &&Run| !assigned.contains(&(run.job.clone(), run.attempt, run.worker.clone()));
    runs.iter().filter(was).map(|run| format!("{run}: it was never assigned")).collect()
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use k8s_openapi::jiff::Timestamp;
    use serde_json::{Value, json};

    use super::*;

    fn revision(status: Value) -> Revision {
        let job = json!({
            "apiVersion": "trellis3d.dev/v1alpha1", "kind": "GenerationJob", "metadata": {"name": "cup", "uid": "1"},
            "spec": {"input": {"image": {"sources": [{"uri": "gs://photos/cup.png"}]}}}, "status": status,
        });
        Revision { job: serde_json::from_value(job).unwrap(), deleted: false }
    }

    fn assigned(attempt: i32, worker: &str, ended: &[i32]) -> Revision {
        let time = "2026-01-01T00:00:00.000000Z";
        let ended: Vec<_> = ended
            .iter()
            .map(|number| json!({"number": number, "worker": "w", "start": time, "end": time, "outcome": "Lost"}))
            .collect();
        revision(json!({
            "phase": "Processing", "attempts": ended,
            "assignment": {"pool": "image", "worker": worker, "podUid": worker, "attempt": attempt, "time": time},
        }))
    }

    fn completed() -> Revision {
        revision(json!({"phase": "Completed"}))
    }

    fn run(attempt: i32, start: u64, end: u64) -> Run {
        let zero = Instant::now();
        let at = |seconds| zero + Duration::from_secs(seconds);
        Run {
            job: "1".into(),
            attempt,
            worker: "w".into(),
            assigned: None,
            start: at(start),
            end: Some(at(end)),
        }
    }

    #[test]
    fn a_history_as_it_should_be_breaks_nothing() {
        let history = [revision(json!({})), assigned(1, "w", &[]), assigned(2, "w", &[1]), completed()];
        assert_eq!(broken(&history, &[run(1, 0, 1), run(2, 2, 3)]), [""; 0]);
    }

    #[test]
    fn each_way_to_lose_a_job_or_to_run_it_twice_is_seen() {
        let lost = [assigned(1, "w", &[])];
        let ended_twice = [completed(), revision(json!({"phase": "Failed"}))];
        let skipped = [assigned(1, "w", &[]), assigned(3, "w", &[1]), completed()];
        let at_two_workers = [assigned(1, "w", &[]), assigned(1, "v", &[]), completed()];
        let not_on_record = [assigned(1, "w", &[]), assigned(2, "v", &[]), completed()];
        for history in [&lost[..], &ended_twice, &skipped, &at_two_workers, &not_on_record] {
            assert_eq!(broken(history, &[]).len(), 1, "{history:?}");
        }
        let history = [assigned(1, "w", &[]), assigned(2, "w", &[1]), completed()];
        for runs in [[run(1, 0, 1), run(1, 2, 3)], [run(1, 0, 1), run(3, 2, 3)]] {
            assert_eq!(broken(&history, &runs).len(), 1, "{}, {}", runs[0], runs[1]);
        }
        let beside = [run(1, 0, 2), run(2, 1, 3)];
        assert_eq!(broken(&history, &beside).len(), 1, "{}, {}", beside[0], beside[1]);
    }

    #[test]
    fn batches_of_a_worker_that_overlap_are_seen() {
        let zero = Instant::now();
        let run = |job: &str, batch, start, end| Run {
            job: job.into(),
            attempt: 1,
            worker: "w".into(),
            assigned: Some(Timestamp::from_second(batch).unwrap()),
            start: zero + Duration::from_secs(start),
            end: Some(zero + Duration::from_secs(end)),
        };
        assert_eq!(
            batches_run_one_by_one(&[run("1", 1, 0, 2), run("2", 1, 1, 3), run("3", 2, 3, 4)]),
            [""; 0]
        );
        assert_eq!(batches_run_one_by_one(&[run("1", 1, 0, 2), run("2", 2, 1, 3)]).len(), 1);
        assert_eq!(batches_run_one_by_one(&[run("1", 2, 0, 2), run("2", 1, 1, 3)]).len(), 1);
    }
}
