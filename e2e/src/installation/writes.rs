//! Which requests to the API server are the price of a job.

use super::NAMESPACE;
use crate::AuditEvent;

/// The writes by which jobs of a namespace are carried out: those about the jobs, whoever makes them, and all that the product's own
/// programs write (statuses, events, pods), but for the renewal of the leader's Lease, which is the same without any job.
pub fn job_writes<'a>(requests: &'a [AuditEvent], namespace: &str) -> Vec<&'a AuditEvent> {
    let ours = format!("system:serviceaccount:{NAMESPACE}:");
    let is_ours = |request: &AuditEvent| {
        let lease = request.object_ref.as_ref().is_some_and(|object| object.resource == "leases");
        request.user.username.starts_with(&ours) && !lease
    };
    requests
        .iter()
        .filter(|request| request.is_write())
        .filter(|request| is_ours(request) || request.is_about(namespace, "generationjobs"))
        .collect()
}
