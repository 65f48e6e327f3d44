//! What the operator adds to the traces of jobs that are part of one.

use std::time::SystemTime;

use k8s_openapi::jiff::Timestamp;
use trellis_telemetry::{TraceParent, TraceSpan};

use crate::plan::Seat;
use crate::validate::Job;

/// Where the job is in the trace that its annotation names.
pub(crate) fn place(job: &Job) -> TraceParent {
    job.object.traceparent().map(TraceParent::parse).unwrap_or_default()
}

/// Records how long the job waited for this worker.
pub(crate) fn assigned(job: &Job, seat: &Seat) {
    let place = place(job);
    if place.trace_id().is_none() {
        return;
    }
    let span = TraceSpan::since(waiting_since(job), "wait for a worker", &place);
    span.set("trellis3d.pool", seat.pool.to_string());
    span.set("trellis3d.attempt", i64::from(job.object.next_attempt_number()));
}

/// Since its last attempt ended, or it was created. Other clocks tell both, and may be ahead.
fn waiting_since(job: &Job) -> SystemTime {
    let last = job.status().and_then(|status| status.attempts.last());
    last.map_or(job.identity.created, |attempt| attempt.end.0).min(Timestamp::now()).into()
}
